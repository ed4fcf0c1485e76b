#include "nvmf/target/core_context.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/log.h"
#include "nvmf/target/connection.h"
#include "nvmf/tcp/staging.h"

namespace holdfast::nvmf::target {
namespace {

constexpr Nanos sweep_interval = 2s;
// How often connections that wait for memory are asked whether there is enough now.
constexpr Nanos shortage_interval = 10ms;
// What a connection has for good: its small receive buffer, and the reserve of its queue.
constexpr std::size_t connection_bytes = CoreContext::small_staging_bytes + capsule_data_bytes;
// What one queue entry may cost beside data: a Request, its response, the frames of its command.
constexpr std::size_t entry_bytes = 1024;

// A connection that holds no more is not the one that makes memory short.
constexpr std::size_t little_bytes = 64 << 10;
// One slab of each size may be partly used.
constexpr std::size_t fragments_bytes_max = 8 << 20;

std::size_t share_of(std::size_t total, const Cores& cores) noexcept {
  return (total + cores.count() - 1) / cores.count();
}

}  // namespace

CoreContext::CoreContext(Reactor& core, Registry& registry, const TargetConfig& config)
    : core_(core),
      registry_(registry),
      config_(config),
      connections_max_(std::min(share_of(config.connections_max, registry.cores()),
                                core.buffers().budget_bytes() / 2 / connection_bytes)),
      connections_per_peer_max_(share_of(config.connections_per_peer_max, registry.cores())),
      entries_max_(core.buffers().budget_bytes() / 2 / entry_bytes),
      scope_(core),
      watchdog_(*this),
      reminder_(*this) {}

CoreContext::~CoreContext() { HF_ASSERT(connections_.empty()); }

std::size_t CoreContext::connection_buffer_bytes_max() const noexcept {
  const std::size_t given = config_.connection_buffer_bytes_max;
  const std::size_t most = given != 0 ? given : core_.buffers().budget_bytes() / 4;
  return std::max<std::size_t>(most, transfer_bytes_max);
}

std::size_t CoreContext::free_bytes() const noexcept {
  return core_.buffers().budget_bytes() - core_.buffers().used_bytes();
}

// What n greedy connections leave free is about 2 / n of the pool. A part is kept from them altogether: what
// is free may lie in slabs that are cut for other sizes, and who needs little must find some.
bool CoreContext::may_hold(std::size_t held, std::size_t bytes) const noexcept {
  if (held > 0 && held + bytes > connection_buffer_bytes_max()) return false;
  if (held_bytes_ == 0) return true;
  const std::size_t kept =
      held + bytes <= little_bytes ? 0 : std::min(fragments_bytes_max, core_.buffers().budget_bytes() / 8);
  return held + bytes <= (free_bytes() - std::min(free_bytes(), kept)) / 2;
}

bool CoreContext::begin_wait(std::size_t held, std::size_t bytes) noexcept {
  const bool for_others = held == 0 || held + bytes <= connection_buffer_bytes_max();
  if (for_others) ++deprived_;
  if (waiting_++ == 0 && !reminder_.armed()) core_.arm(reminder_, core_.now() + shortage_interval);
  return for_others;
}

void CoreContext::end_wait(bool for_others) noexcept {
  --waiting_;
  if (for_others) --deprived_;
}

bool CoreContext::may_have_large_staging() const noexcept {
  return tcp::may_keep(core_.buffers(), config_.staging_bytes);
}

bool CoreContext::reserve_entries(std::uint32_t entries) noexcept {
  if (entries_ + entries > entries_max_) return false;
  entries_ += entries;
  return true;
}

void CoreContext::begin(std::unique_ptr<PendingStream> accepted) {
  if (closing_) return;  // the stream is closed by its PendingStream
  if (const char* why = refusal(accepted->peer())) {
    ++stats_.connections_refused;
    return log_peer(accepted->peer(), "connection refused", why);
  }
  scope_.spawn(serve(core_.adopt(std::move(accepted))));
}

// nullptr: the connection is welcome.
const char* CoreContext::refusal(const Endpoint& peer) {
  const auto others = peers_.find(peer.address);
  if (others != peers_.end() && others->second >= connections_per_peer_max_) {
    return "too many connections from its address";
  }
  if (connections_.size() >= connections_max_ && !make_room()) return "too many connections";
  return nullptr;
}

// A host that connects does so within moments; who does not keeps nobody else out.
bool CoreContext::make_room() noexcept {
  for (Connection* c : connections_) {
    if (!c->idles_before_connect()) continue;
    ++stats_.connections_refused;
    log_peer(c->peer(), "connection ended", "no Connect yet, and others want its place");
    c->disconnect();
    return true;
  }
  return false;
}

Task<void> CoreContext::serve(std::unique_ptr<Stream> stream) {
  Connection connection(*this, std::move(stream));
  co_await connection.serve();
}

Task<void> CoreContext::close() {
  closing_ = true;
  for (Connection* c : connections_) c->disconnect();
  co_await scope_.join();
}

void CoreContext::enter(Connection& c) {
  connections_.push_back(&c);
  ++peers_[c.peer().address];
  ++stats_.connections;
  ++stats_.connections_accepted;
  if (!watchdog_.armed()) core_.arm(watchdog_, core_.now() + sweep_interval);
}

void CoreContext::leave(Connection& c) noexcept {
  std::erase(connections_, &c);
  const auto peer = peers_.find(c.peer().address);
  if (--peer->second == 0) peers_.erase(peer);
  --stats_.connections;
  if (!connections_.empty()) return;
  core_.disarm(watchdog_);
  core_.disarm(reminder_);
}

void CoreContext::sweep() noexcept {
  const Nanos now = core_.now();
  for (Connection* c : connections_) {
    if (!c->stalled(now)) continue;
    ++stats_.connections_stalled;
    c->disconnect();
  }
  core_.arm(watchdog_, now + sweep_interval);
}

void CoreContext::ask_again() noexcept {
  for (Connection* c : connections_) c->memory_may_be_free();
  if (waiting_ > 0) core_.arm(reminder_, core_.now() + shortage_interval);
}

void CoreContext::log_peer(const Endpoint& peer, std::string_view what, std::string_view detail) {
  const auto left_out = limiter_.admit(core_.now());
  if (!left_out) return;
  HF_LOG(warn, "nvmf", what, {"peer", peer.to_string()}, {"detail", detail}, {"left_out", *left_out});
}

void CoreContext::log_refusal(const Endpoint& peer, std::uint16_t qid, std::uint8_t opcode,
                              nvme::CommandStatus status) {
  const auto left_out = limiter_.admit(core_.now());
  if (!left_out) return;
  HF_LOG(info, "nvmf", "command refused", {"peer", peer.to_string()}, {"qid", qid}, {"opcode", opcode},
         {"status", nvme::name(status.code)}, {"left_out", *left_out});
}

}  // namespace holdfast::nvmf::target
