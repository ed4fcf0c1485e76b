#include "control/nodes.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/log.h"

namespace holdfast::control {
namespace {

// Longer than any call of an engine takes: what was touched before cannot be in a report that is still to come.
constexpr Nanos touched_kept = 120s;

const auto& key_of(const PoolState& pool) { return pool.id; }
template <class State>
const Uuid& key_of(const State& state) {
  return state.uuid;
}

// Tells of a state that takes the place of another one, or of none. How much is used changes with every write of a thin
// volume: that alone is no news, but for room that was freed.
void tell(News& news, const PoolState* before, const PoolState& now) {
  if (before == nullptr) return news.everything();
  PoolState same_room = *before;
  same_room.used_bytes = now.used_bytes;
  if (before->used_bytes > now.used_bytes || same_room != now) news.anything();
  same_room.committed_bytes = now.committed_bytes;
  // Where there is room matters to those alone that wait for it.
  if (same_room != now) news.everything();
}
void tell(News& news, const ReplicaState* before, const ReplicaState& now) {
  if (before != nullptr) {
    ReplicaState same_space = *before;
    same_space.space = now.space;
    if (same_space == now) return;
  }
  news.of_replica_state(now.uuid);
}
void tell(News& news, const NexusState* before, const NexusState& now) {
  if (before == nullptr || *before != now) news.of_nexus_state(now.uuid);
}
void tell(News& news, const SnapshotState* before, const SnapshotState& now) {
  if (before == nullptr || *before != now) news.anything();
}
void tell_gone(News& news, const PoolState&) { news.everything(); }
void tell_gone(News& news, const ReplicaState& gone) { news.of_replica_state(gone.uuid); }
void tell_gone(News& news, const NexusState& gone) { news.of_nexus_state(gone.uuid); }
void tell_gone(News& news, const SnapshotState&) { news.anything(); }

// What the node reports takes the place of what it `had`, but for what is newer. `taken_from` is told whose was taken
// over.
template <class State, class Key, class Newer, class TakenFrom>
void replace(const NodeId& node, HashedMap<Key, State>& kept, std::vector<State>& reported,
             std::set<Key>& had, News& news, const Newer& is_newer, const TakenFrom& taken_from) {
  const auto less = [](const State& a, const State& b) { return key_of(a) < key_of(b); };
  std::stable_sort(reported.begin(), reported.end(), less);
  const auto same = [](const State& a, const State& b) { return key_of(a) == key_of(b); };
  reported.erase(std::unique(reported.begin(), reported.end(), same), reported.end());
  auto next = reported.begin();
  for (auto it = had.begin(); it != had.end();) {
    while (next != reported.end() && key_of(*next) < *it) ++next;
    if (next != reported.end() && key_of(*next) == *it) {
      ++it;
      continue;
    }
    const auto found = kept.find(*it);
    const bool here = found != kept.end() && found->second.node == node;
    const bool gone = here && !is_newer(*it);
    if (gone) {
      tell_gone(news, found->second);
      kept.erase(found);
    }
    it = gone || !here ? had.erase(it) : std::next(it);
  }
  for (State& one : reported) {
    const Key key = key_of(one);
    had.insert(key);
    if (is_newer(key)) continue;
    const auto found = kept.find(key);
    if (found != kept.end() && found->second.node != node) taken_from(found->second.node);
    tell(news, found != kept.end() ? &found->second : nullptr, one);
    kept[key] = std::move(one);
  }
}

}  // namespace

struct Nodes::Node {
  Node(Reactor& home, NodeId node, std::string at)
      : id(std::move(node)), endpoint(std::move(at)), wake(home), polled(home) {}

  const NodeId id;
  std::string endpoint;
  std::unique_ptr<Engine> engine;
  Nanos heard{0};
  bool ever_heard = false;
  bool departed = false;
  bool is_stranger = false;  // at its endpoint answers the engine of another node
  holdfast::Event wake;
  WaitQueue polled;
  bool mixed = true;  // what is known of it is not what it reported last
  std::uint64_t polls_begun = 0;
  std::uint64_t polls_ended = 0;
  std::optional<Error> failure;  // of the last poll
  // Whatever it was last known to have, and maybe more: by now others may have reported it as theirs.
  std::set<PoolId> pools;
  std::set<Uuid> replicas, nexuses, snapshots;
  bool leaving = false;
  StopSource stop;
};

Nodes::Nodes(Reactor& home, EngineDirectory& directory, const Options& options, News& news,
             std::function<void(const NodeState&)> status_changed)
    : home_(home),
      directory_(directory),
      options_(options),
      news_(news),
      status_changed_(std::move(status_changed)),
      began_(home.now()),
      scope_(home) {}

Nodes::~Nodes() { HF_ASSERT(nodes_.empty() && leaving_.empty()); }

void Nodes::watch(const NodeId& id, const std::string& endpoint) {
  auto& node = nodes_[id];
  if (node != nullptr) {
    if (node->endpoint == endpoint) return;
    node->endpoint = endpoint;
    node->is_stranger = false;
    std::unique_ptr<Engine> former = std::move(node->engine);
    node->engine = directory_.connect(id, endpoint);
    observed_.nodes[id].grpc_endpoint = endpoint;
    node->wake.set();
    scope_.spawn(retire(std::move(former)));
    return;
  }
  node = std::make_unique<Node>(home_, id, endpoint);
  // Of an earlier time under this name: answers to calls that came after it was forgotten.
  const auto take_in = [&id](const auto& kept, auto& had) {
    for (const auto& [key, one] : kept) {
      if (one.node == id) had.insert(key);
    }
  };
  take_in(observed_.pools, node->pools);
  take_in(observed_.replicas, node->replicas);
  take_in(observed_.nexuses, node->nexuses);
  take_in(observed_.snapshots, node->snapshots);
  node->engine = directory_.connect(id, endpoint);
  node->heard = home_.now();
  NodeState& state = observed_.nodes[id];
  state.id = id;
  state.grpc_endpoint = endpoint;
  scope_.spawn(attend(*node));
}

void Nodes::forget(const NodeId& id) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) return;
  found->second->leaving = true;
  found->second->polled.wake_all();  // nobody waits for what goes
  found->second->stop.request_stop();
  leaving_.push_back(std::move(found->second));
  nodes_.erase(found);
  observed_.nodes.erase(id);
  erase_if(observed_.pools, [&](const auto& p) { return p.second.node == id; });
  erase_if(observed_.replicas, [&](const auto& r) { return r.second.node == id; });
  erase_if(observed_.nexuses, [&](const auto& n) { return n.second.node == id; });
  erase_if(observed_.snapshots, [&](const auto& s) { return s.second.node == id; });
  news_.everything();
}

// One of these runs for each node, so a slow one delays nobody else.
Task<void> Nodes::attend(Node& node) {
  while (!node.leaving) {
    node.wake.reset();
    (co_await poll(node)).ignore("kept for those who wait for it");
    if (node.leaving) break;
    check_deadline(node);
    // Until it is known whether it answers, or while it has just been lost, asking again soon is worth it.
    const bool unsure = !node.ever_heard || node.failure;
    const Nanos pause = unsure ? options_.poll_period / 5 : options_.poll_period;
    co_await node.wake.wait(home_.now() + pause, node.stop.token());
  }
  co_await node.engine->close();
  std::erase_if(leaving_, [&node](const auto& n) { return n.get() == &node; });
}

Task<void> Nodes::retire(std::unique_ptr<Engine> former) {
  ++retiring_;
  co_await home_.sleep(touched_kept, closing_.token());
  co_await former->close();
  --retiring_;
}

Task<Status> Nodes::poll(Node& node) {
  const Nanos asked = home_.now();
  ++node.polls_begun;
  Engine& engine = *node.engine;
  const Tell tell = std::exchange(node.mixed, false) ? Tell::all : Tell::news;
  auto told = co_await engine.observe(tell);
  // Its address may be another engine's by now.
  const bool is_stranger =
      told.ok() && told.value() && !told.value()->engine.id.empty() && told.value()->engine.id != node.id;
  const bool answered = told.ok() && !is_stranger;
  const bool is_current = node.engine.get() == &engine;  // else it has another endpoint by now
  if (told.ok() && is_current) node.is_stranger = is_stranger;
  if (node.leaving) {
    node.failure = Error(Errc::cancelled);
  } else if (answered) {
    if (auto& report = told.value()) {
      observed_.nodes[node.id].instance = report->engine.instance;
      apply(node, std::move(*report), asked);
    }
    heard_of(node, asked >= relied_on_from_);
    node.failure.reset();
  } else if (is_stranger) {
    node.mixed = true;
    node.failure = refusal(Kind::unavailable, fmt::format("node {}: at {} answers the engine of node {}",
                                                          node.id, node.endpoint, told.value()->engine.id));
    if (is_current && observed_.nodes[node.id].status == NodeStatus::online)
      set_status(node, NodeStatus::offline);
  } else {
    node.mixed = true;
    node.failure = told.error();
  }
  // All of them are gone through: once a round is often enough.
  const bool is_first = !nodes_.empty() && nodes_.begin()->second.get() == &node;
  if (is_first) forget_old_touches();
  ++node.polls_ended;
  node.polled.wake_all();
  if (node.failure) co_return *node.failure;
  co_return Status();
}

void Nodes::heard_of(Node& node, bool synced) {
  node.heard = home_.now();
  node.ever_heard = true;
  NodeState& state = observed_.nodes[node.id];
  if (node.departed) return;
  if (synced && !std::exchange(state.synced, true)) news_.everything();
  if (state.status != NodeStatus::online) set_status(node, NodeStatus::online);
}

void Nodes::check_deadline(Node& node) {
  NodeState& state = observed_.nodes[node.id];
  if (node.departed || home_.now() - node.heard < options_.heartbeat_deadline) return;
  if (state.status != NodeStatus::offline) set_status(node, NodeStatus::offline);
}

void Nodes::set_status(Node& node, NodeStatus status) {
  NodeState& state = observed_.nodes[node.id];
  state.status = status;
  if (status != NodeStatus::online) state.synced = false;
  status_changed_(state);
  news_.everything();
}

void Nodes::heartbeat(const Registration& r) {
  watch(r.id, r.grpc_endpoint);
  Node& node = *nodes_.at(r.id);
  NodeState& state = observed_.nodes[r.id];
  const bool other_run = state.instance != r.instance;
  state.nqn = r.nqn;
  state.version = r.version;
  state.instance = r.instance;
  // What it had before it was started again is not there yet.
  if (other_run) {
    state.synced = false;
    node.engine->restarted();
  }
  if (other_run || node.departed || state.status != NodeStatus::online) node.wake.set();
  node.departed = false;
  if (!node.is_stranger) heard_of(node, false);  // else once its own engine answers there
}

void Nodes::departed(const NodeId& id) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) return;
  found->second->departed = true;
  set_status(*found->second, NodeStatus::unknown);
}

void Nodes::ask_anew() {
  relied_on_from_ = home_.now();
  for (auto& [id, node] : nodes_) {
    observed_.nodes[id].synced = false;
    node->wake.set();
  }
}

bool Nodes::settled() const noexcept {
  if (home_.now() - began_ >= options_.heartbeat_deadline) return true;
  return std::all_of(nodes_.begin(), nodes_.end(), [](const auto& n) { return n.second->polls_ended > 0; });
}

Result<Engine*> Nodes::engine(const NodeId& id) const {
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) return refusal(Kind::not_found, fmt::format("node {} is not registered", id));
  return found->second->engine.get();
}

Result<Engine*> Nodes::online_engine(const NodeId& id) const {
  HF_TRY(Engine * found, engine(id));
  if (observed_.node_online(id)) return found;
  return refusal(Kind::unavailable, fmt::format("node {} does not answer", id));
}

// ---- what is known

bool Nodes::newer(const Uuid& id, Nanos asked) const {
  const auto found = touched_.resources.find(id);
  return found != touched_.resources.end() && found->second >= asked;
}

void Nodes::apply(Node& node, EngineReport report, Nanos asked) {
  // What is left alone now is to be told again.
  const auto skipped = [&node](bool is_newer) {
    node.mixed |= is_newer;
    return is_newer;
  };
  const auto by_uuid = [&](const Uuid& u) { return skipped(newer(u, asked)); };
  const auto by_pool = [&](const PoolId& p) {
    const auto found = touched_.pools.find(p);
    return skipped(found != touched_.pools.end() && found->second >= asked);
  };
  const auto taken_from = [this](const NodeId& other) { mix(other); };
  replace(node.id, observed_.pools, report.pools, node.pools, news_, by_pool, taken_from);
  replace(node.id, observed_.replicas, report.replicas, node.replicas, news_, by_uuid, taken_from);
  replace(node.id, observed_.nexuses, report.nexuses, node.nexuses, news_, by_uuid, taken_from);
  replace(node.id, observed_.snapshots, report.snapshots, node.snapshots, news_, by_uuid, taken_from);
  NodeState& state = observed_.nodes[node.id];
  if (!report.engine.nqn.empty()) state.nqn = report.engine.nqn;
  if (!report.engine.version.empty()) state.version = report.engine.version;
}

void Nodes::mix(const NodeId& id) {
  if (const auto node = nodes_.find(id); node != nodes_.end()) node->second->mixed = true;
}

void Nodes::forget_old_touches() {
  const auto old = [&](const auto& t) { return t.second + touched_kept < home_.now(); };
  erase_if(touched_.resources, old);
  std::erase_if(touched_.pools, old);
}

template <class State, class Key>
void Nodes::keep(HashedMap<Key, State>& kept, std::set<Key> Node::*had, const State& state) {
  const auto [at, is_new] = kept.try_emplace(key_of(state));
  State& here = at->second;
  tell(news_, is_new ? nullptr : &here, state);
  mix(here.node);
  mix(state.node);
  here = state;
  if (const auto node = nodes_.find(state.node); node != nodes_.end()) {
    (node->second.get()->*had).insert(key_of(state));
  }
}

template <class State, class Key>
void Nodes::drop(HashedMap<Key, State>& kept, const Key& id) {
  const auto found = kept.find(id);
  if (found == kept.end()) return;
  tell_gone(news_, found->second);
  mix(found->second.node);
  kept.erase(found);
}

template <class State, class Key, class Which>
void Nodes::drop_if(HashedMap<Key, State>& kept, const Which& which) {
  erase_if(kept, [&](const auto& one) {
    if (!which(one.second)) return false;
    tell_gone(news_, one.second);
    mix(one.second.node);
    return true;
  });
}

void Nodes::note(const PoolState& pool) {
  touched_.pools[pool.id] = home_.now();
  keep(observed_.pools, &Node::pools, pool);
}
void Nodes::note(const ReplicaState& replica) {
  touched_.resources[replica.uuid] = home_.now();
  const auto known = observed_.replicas.find(replica.uuid);
  const auto pool = observed_.pools.find(replica.pool);
  // Until the pool is reported again.
  if (known == observed_.replicas.end() && pool != observed_.pools.end()) {
    pool->second.committed_bytes += replica.size_bytes;
    pool->second.used_bytes += replica.thin ? replica.space.allocated_bytes : replica.size_bytes;
  }
  ReplicaState now = replica;
  // Answers to calls do not tell the record.
  if (!now.record && known != observed_.replicas.end()) now.record = known->second.record;
  keep(observed_.replicas, &Node::replicas, now);
}
void Nodes::note_record(const Uuid& replica, std::uint64_t digest) {
  touched_.resources[replica] = home_.now();
  const auto known = observed_.replicas.find(replica);
  if (known == observed_.replicas.end()) return;
  // A write that ends after a later one shows an older record.
  if (std::exchange(known->second.record, digest) != digest) news_.of_replica_state(replica);
  mix(known->second.node);
}
void Nodes::note(const NexusState& nexus) {
  touched_.resources[nexus.uuid] = home_.now();
  keep(observed_.nexuses, &Node::nexuses, nexus);
}
void Nodes::note(const SnapshotState& snapshot) {
  touched_.resources[snapshot.uuid] = home_.now();
  keep(observed_.snapshots, &Node::snapshots, snapshot);
}
void Nodes::note_gone(const PoolId& pool) {
  touched_.pools[pool] = home_.now();
  drop(observed_.pools, pool);
  drop_if(observed_.replicas, [&](const ReplicaState& r) { return r.pool == pool; });
  drop_if(observed_.snapshots, [&](const SnapshotState& s) { return s.pool == pool; });
}
void Nodes::note_gone(Gone what, const Uuid& id) {
  touched_.resources[id] = home_.now();
  switch (what) {
    case Gone::replica: {
      const auto known = observed_.replicas.find(id);
      if (known == observed_.replicas.end()) break;
      const auto pool = observed_.pools.find(known->second.pool);
      if (pool != observed_.pools.end()) {
        const auto less = [](std::uint64_t& from, std::uint64_t n) { from = from > n ? from - n : 0; };
        less(pool->second.committed_bytes, known->second.size_bytes);
        less(pool->second.used_bytes,
             known->second.thin ? known->second.space.allocated_bytes : known->second.size_bytes);
      }
      drop(observed_.replicas, id);
      break;
    }
    case Gone::nexus:
      drop(observed_.nexuses, id);
      break;
    case Gone::snapshot:
      drop(observed_.snapshots, id);
      break;
  }
}

void Nodes::refresh(const NodeId& id) {
  const auto found = nodes_.find(id);
  if (found != nodes_.end()) found->second->wake.set();
}

Task<Status> Nodes::refresh_now(NodeId id) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) co_return refusal(Kind::not_found, fmt::format("node {} is not registered", id));
  Node& node = *found->second;
  // It may be forgotten meanwhile, and be there again as another one.
  const auto is_gone = [&] {
    const auto now = nodes_.find(id);
    return now == nodes_.end() || now->second.get() != &node;
  };
  // One that began after this call: the poll under way, if any, may have seen an older state.
  const std::uint64_t wanted = node.polls_begun + 1;
  node.wake.set();
  while (!is_gone() && node.polls_ended < wanted) {
    const Wake woken = co_await node.polled.wait(home_.now() + options_.heartbeat_deadline);
    if (woken != Wake::signalled)
      co_return refusal(Kind::unavailable, fmt::format("node {} does not answer", id));
  }
  if (is_gone()) co_return refusal(Kind::not_found, fmt::format("node {} is gone", id));
  if (node.failure) co_return *node.failure;
  co_return Status();
}

Task<void> Nodes::close() {
  closing_.request_stop();
  while (!nodes_.empty()) forget(NodeId(nodes_.begin()->first));
  co_await scope_.join();
}

}  // namespace holdfast::control
