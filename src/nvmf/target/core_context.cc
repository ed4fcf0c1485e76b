#include "nvmf/target/core_context.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/log.h"
#include "nvmf/target/connection.h"

namespace holdfast::nvmf::target {
namespace {

constexpr Nanos sweep_interval = 2s;

}  // namespace

bool LogLimiter::admit(Nanos now, std::uint64_t& left_out) noexcept {
  if (now >= next_) {
    tokens_ = burst;
    next_ = now + 1s;
  }
  if (tokens_ == 0) {
    ++left_out_;
    return false;
  }
  // After a burst only one line a second, so that a flood stays a trickle.
  tokens_ = left_out_ > 0 ? 0 : tokens_ - 1;
  left_out = std::exchange(left_out_, 0);
  return true;
}

CoreContext::CoreContext(Reactor& core, Registry& registry, const TargetConfig& config,
                         std::size_t connections_max)
    : core_(core),
      registry_(registry),
      config_(config),
      connections_max_(connections_max),
      scope_(core),
      watchdog_(*this) {}

CoreContext::~CoreContext() { HF_ASSERT(connections_.empty()); }

std::size_t CoreContext::connection_buffer_bytes_max() const noexcept {
  const std::size_t given = config_.connection_buffer_bytes_max;
  const std::size_t most = given != 0 ? given : core_.buffers().budget_bytes() / 4;
  return std::max<std::size_t>(most, transfer_bytes_max);
}

void CoreContext::begin(std::unique_ptr<PendingStream> accepted) {
  if (closing_) return;  // the stream is closed by its PendingStream
  if (connections_.size() >= connections_max_) {
    ++stats_.connections_refused;
    return;
  }
  scope_.spawn(serve(core_.adopt(std::move(accepted))));
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
  ++stats_.connections;
  ++stats_.connections_accepted;
  if (!watchdog_.armed()) core_.arm(watchdog_, core_.now() + sweep_interval);
}

void CoreContext::leave(Connection& c) noexcept {
  std::erase(connections_, &c);
  --stats_.connections;
  if (connections_.empty()) core_.disarm(watchdog_);
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

void CoreContext::log_peer(const Endpoint& peer, std::string_view what, std::string_view detail) {
  std::uint64_t left_out = 0;
  if (!limiter_.admit(core_.now(), left_out)) return;
  HF_LOG(warn, "nvmf", what, {"peer", peer.to_string()}, {"detail", detail}, {"left_out", left_out});
}

void CoreContext::log_refusal(const Endpoint& peer, std::uint16_t qid, std::uint8_t opcode,
                              nvme::CommandStatus status) {
  std::uint64_t left_out = 0;
  if (!limiter_.admit(core_.now(), left_out)) return;
  HF_LOG(info, "nvmf", "command refused", {"peer", peer.to_string()}, {"qid", qid}, {"opcode", opcode},
         {"status", nvme::name(status.code)}, {"left_out", left_out});
}

}  // namespace holdfast::nvmf::target
