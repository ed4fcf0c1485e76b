#include "sim/net.h"

#include <algorithm>
#include <cerrno>

#include "base/assert.h"
#include "sim/reactor.h"
#include "sim/stream.h"

namespace holdfast::sim {

namespace {

constexpr Nanos syn_retry = 1s;
constexpr Nanos unblock_poll = 100ms;
constexpr Nanos loopback_latency = 8us;
constexpr std::size_t window_min = 8 << 10;
constexpr std::size_t window_max = 512 << 10;

}  // namespace

SimNet::SimNet(World& world) : world_(world), random_(world.fork_random()) {}
SimNet::~SimNet() = default;

void SimNet::set_link(const Node& from, const Node& to, const LinkOptions& link) {
  links_[link_id(from, to)] = link;
}

void SimNet::block(const Node& from, const Node& to) {
  if (&from != &to) blocked_.insert(link_id(from, to));
}

void SimNet::partition(const Node& a, const Node& b) {
  block(a, b);
  block(b, a);
}

void SimNet::heal(const Node& a, const Node& b) {
  blocked_.erase(link_id(a, b));
  blocked_.erase(link_id(b, a));
  std::vector<std::uint64_t> ids;
  for (const auto& [id, c] : connections_) ids.push_back(id);
  for (const std::uint64_t id : ids) {
    Connection* c = find(id);
    if (c == nullptr || (c->ends[0].held.empty() && c->ends[1].held.empty())) continue;
    if (blocked(*c->ends[0].node, *c->ends[1].node) || blocked(*c->ends[1].node, *c->ends[0].node)) continue;
    if (random_.chance(1, 4)) {
      cut(id);
      continue;
    }
    release_held(id, 0);
    release_held(id, 1);
  }
}

void SimNet::heal_all() {
  const auto links = blocked_;
  for (const auto& [from, to] : links) heal(world_.node(from), world_.node(to));
}

void SimNet::cut(const Node& a, const Node& b) {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, c] : connections_) {
    const Node* x = c.ends[0].node;
    const Node* y = c.ends[1].node;
    if ((x == &a && y == &b) || (x == &b && y == &a)) ids.push_back(id);
  }
  for (const std::uint64_t id : ids) cut(id);
}

bool SimNet::cut_one() {
  if (connections_.empty()) return false;
  const auto chosen = random_.below(connections_.size());
  cut(std::next(connections_.begin(), static_cast<std::ptrdiff_t>(chosen))->first);
  return true;
}

bool SimNet::half_open(const Node& node) const {
  for (const auto& [id, c] : connections_) {
    for (const int side : {0, 1}) {
      const End& peer = c.ends[1 - side];
      if (c.ends[side].node != &node || !(c.ends[side].dead || c.ends[side].closed)) continue;
      if (!peer.closed && !peer.dead && !peer.reset && !peer.end_of_stream) return true;
    }
  }
  return false;
}

void SimNet::refuse(const Node& to, bool refused) {
  if (refused) {
    refusing_.insert(to.index());
  } else {
    refusing_.erase(to.index());
  }
}

const LinkOptions& SimNet::link(const Node& from, const Node& to) const {
  const auto found = links_.find(link_id(from, to));
  return found == links_.end() ? default_link_ : found->second;
}

Nanos SimNet::delay(const Node& from, const Node& to, std::size_t bytes) {
  if (&from == &to) return Nanos(random_.below(static_cast<std::uint64_t>(loopback_latency.count())));
  const LinkOptions& way = link(from, to);
  const auto low = static_cast<std::uint64_t>(way.latency_min.count());
  const auto high = static_cast<std::uint64_t>(way.latency_max.count());
  std::uint64_t ns = random_.between(low, high) + bytes * 1'000'000'000 / way.bytes_per_second;
  if (random_.below(1000) < way.spike_per_mille)
    ns += random_.below(static_cast<std::uint64_t>(2 * way.spike.count()));
  return Nanos(ns);
}

SimNet::Connection* SimNet::find(std::uint64_t id) noexcept {
  const auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : &found->second;
}

Node* SimNet::find_node(const Node& from, const std::string& address) {
  if (address == "127.0.0.1" || address == "::1") return &world_.node(from.index());
  for (std::size_t i = 0; i < world_.node_count(); ++i) {
    Node& node = world_.node(i);
    if (address == node.ipv4() || address == node.ipv6()) return &node;
  }
  return nullptr;
}

SimListener* SimNet::find_listener(const Node& node, const Endpoint& to) {
  const char* any = to.is_ipv6() ? "::" : "0.0.0.0";
  for (SimListener* l : listeners_) {
    if (&l->reactor().node() != &node || l->local().port != to.port) continue;
    if (l->local().address == to.address || l->local().address == any) return l;
  }
  return nullptr;
}

Result<std::vector<Endpoint>> SimNet::resolve(const Endpoint& name) {
  std::vector<Endpoint> found;
  const bool numeric = name.address.find_first_not_of("0123456789abcdefABCDEF.:") == std::string::npos &&
                       name.address.find_first_of(".:") != std::string::npos;
  if (numeric) found.push_back(name);
  for (std::size_t i = 0; i < world_.node_count() && !numeric; ++i) {
    Node& node = world_.node(i);
    if (node.name() != name.address) continue;
    found.push_back(Endpoint{node.ipv4(), name.port});
    found.push_back(Endpoint{node.ipv6(), name.port});
  }
  if (name.address == "localhost") found.push_back(Endpoint{"127.0.0.1", name.port});
  if (found.empty()) return Error(Errc::not_found, "host '" + name.address + "' is not known");
  return found;
}

Result<std::unique_ptr<Listener>> SimNet::listen(SimReactor& reactor, const Endpoint& at) {
  Endpoint bound = at;
  if (!reactor.node().has_address(at.address)) {
    return Error(Errc::invalid_argument, "'" + at.address + "' is not an address of this host");
  }
  if (bound.port == 0) bound.port = ephemeral_port_++;
  for (SimListener* l : listeners_) {
    if (&l->reactor().node() == &reactor.node() && l->local() == bound) {
      return Error(Errc::busy, bound.to_string() + " is in use");
    }
  }
  return std::unique_ptr<Listener>(std::make_unique<SimListener>(*this, reactor, bound));
}

std::unique_ptr<Stream> SimNet::adopt(SimReactor& reactor, std::unique_ptr<PendingStream> accepted) {
  const std::uint64_t id = static_cast<SimPendingStream&>(*accepted).take();
  Connection* c = find(id);
  HF_ASSERT(c != nullptr && c->ends[1].process == reactor.node().process());
  c->ends[1].reactor = &reactor;
  return std::make_unique<SimStream>(*this, reactor, id, 1, c->ends[1].local, c->ends[0].local);
}

Task<Result<std::unique_ptr<Stream>>> SimNet::connect(SimReactor& from, Endpoint to, Nanos deadline,
                                                      StopToken stop) {
  Attempt attempt(from);
  attempt.reactor = &from;
  attempt.to = to;
  const std::uint64_t id = ids_++;
  attempts_[id] = &attempt;
  syn(id);
  const Wake woken = co_await attempt.done.wait(deadline, stop);
  attempts_.erase(id);
  if (attempt.connection != 0) {
    Connection* c = find(attempt.connection);
    std::unique_ptr<Stream> stream =
        std::make_unique<SimStream>(*this, from, attempt.connection, 0, c->ends[0].local, to);
    if (woken == Wake::signalled) co_return stream;
    co_await stream->close();  // it came together with the deadline or the stop
  }
  if (woken == Wake::stopped) co_return Error(Errc::cancelled);
  if (woken == Wake::timed_out) co_return Error(Errc::timed_out, to.to_string() + " does not answer");
  co_return error_from_errno(ECONNREFUSED).with_context(to.to_string());
}

void SimNet::syn(std::uint64_t attempt) {
  const auto found = attempts_.find(attempt);
  if (found == attempts_.end()) return;
  SimReactor& from = *found->second->reactor;
  const Endpoint& to = found->second->to;
  Node* target = find_node(from.node(), to.address);
  if (target == nullptr || !target->powered() || blocked(from.node(), *target)) {
    return world_.after(syn_retry, [this, attempt] { syn(attempt); });
  }
  world_.after(delay(from.node(), *target, 64), [this, attempt, target] {
    const auto still = attempts_.find(attempt);
    if (still == attempts_.end()) return;
    SimListener* listener = find_listener(*target, still->second->to);
    if (listener == nullptr || listener->full() || refusing_.contains(target->index())) {
      return refuse_attempt(attempt, *target);
    }
    const std::uint64_t id = make_connection(*still->second->reactor, *listener, still->second->to);
    syn_ack(attempt, id);
    auto add = [this, listening = listener->id(), id, peer = connections_.at(id).ends[0].local] {
      // It may have been shut down since; then this is nobody's connection.
      auto pending = std::make_unique<SimPendingStream>(*this, id, peer);
      for (SimListener* l : listeners_) {
        if (l->id() == listening) return l->add(std::move(pending));
      }
    };
    world_.after(1us, add, &listener->reactor());
  });
}

void SimNet::refuse_attempt(std::uint64_t attempt, const Node& by) {
  SimReactor* from = attempts_.at(attempt)->reactor;
  world_.after(
      delay(by, from->node(), 64),
      [this, attempt] {
        const auto found = attempts_.find(attempt);
        if (found != attempts_.end()) found->second->done.set();
      },
      from);
}

void SimNet::syn_ack(std::uint64_t attempt, std::uint64_t connection) {
  Connection* c = find(connection);
  if (c == nullptr) return;
  Node& from = *c->ends[1].node;
  Node& to = *c->ends[0].node;
  if (blocked(from, to)) {
    return world_.after(unblock_poll, [this, attempt, connection] { syn_ack(attempt, connection); });
  }
  world_.after(
      delay(from, to, 64),
      [this, attempt, connection] {
        const auto found = attempts_.find(attempt);
        if (found == attempts_.end() || found->second->connection != 0) {
          shut(connection, 0);  // nobody waits for it any more
          close(connection, 0);
          return;
        }
        if (find(connection) == nullptr) return;
        found->second->connection = connection;
        found->second->done.set();
      },
      c->ends[0].reactor);
}

std::uint64_t SimNet::make_connection(SimReactor& from, SimListener& listener, const Endpoint& to) {
  const std::uint64_t id = ids_++;
  Connection& c = connections_[id];
  c.window = random_.between(window_min, window_max);
  End& client = c.ends[0];
  client.node = &from.node();
  client.process = from.node().process();
  client.reactor = &from;
  client.local = Endpoint{to.is_ipv6() ? from.node().ipv6() : from.node().ipv4(), ephemeral_port_++};
  if (ephemeral_port_ == 0) ephemeral_port_ = 32768;
  End& server = c.ends[1];
  server.node = &listener.reactor().node();
  server.process = server.node->process();
  server.local = to;
  return id;
}

void SimNet::process_died(const Process& process, CrashKind kind) {
  std::erase_if(listeners_, [&](SimListener* l) { return process.owns(l->reactor()); });
  for (auto it = attempts_.begin(); it != attempts_.end();) {
    if (process.owns(*it->second->reactor)) {
      bury(it->second);
      it = attempts_.erase(it);
    } else {
      ++it;
    }
  }
  std::vector<std::pair<std::uint64_t, int>> ends;
  for (auto& [id, c] : connections_) {
    for (const int side : {0, 1}) {
      if (c.ends[side].process == &process && !c.ends[side].closed) ends.emplace_back(id, side);
    }
  }
  for (const auto& [id, side] : ends) end_died(id, side, kind);
}

void SimNet::assert_closed(const Process& process) const {
  for (const auto& [id, c] : connections_) {
    for (const End& end : c.ends) HF_ASSERT(end.process != &process || end.closed);
  }
  for (SimListener* l : listeners_) HF_ASSERT(!process.owns(l->reactor()));
}

}  // namespace holdfast::sim
