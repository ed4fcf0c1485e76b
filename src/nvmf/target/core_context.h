// CoreContext: the target's part of one core: its connections, their watchdog, counters and the log limit.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "nvme/status.h"
#include "nvmf/target/types.h"
#include "rt/reactor.h"
#include "rt/scope.h"

namespace holdfast::nvmf::target {

class Connection;
class Registry;

// Keeps hostile peers from filling the log: a burst, then one line a second with a count of what was left
// out.
class LogLimiter {
 public:
  // Whether a line may be written now; `left_out` is how many were not since the last one.
  bool admit(Nanos now, std::uint64_t& left_out) noexcept;

 private:
  static constexpr unsigned burst = 5;
  Nanos next_{0};
  unsigned tokens_ = burst;
  std::uint64_t left_out_ = 0;
};

class CoreContext {
 public:
  // Made on the home core; everything else is called on `core`.
  CoreContext(Reactor& core, Registry& registry, const TargetConfig& config, std::size_t connections_max);
  ~CoreContext();

  Reactor& reactor() const noexcept { return core_; }
  Registry& registry() const noexcept { return registry_; }
  const TargetConfig& config() const noexcept { return config_; }
  TargetStats& stats() noexcept { return stats_; }
  // Data buffers that one connection of this core may hold.
  std::size_t connection_buffer_bytes_max() const noexcept;

  // Serves an accepted connection until it ends.
  void begin(std::unique_ptr<PendingStream> accepted);
  // Disconnects all connections and waits for them.
  Task<void> close();

  // For connections.
  void enter(Connection& c);
  void leave(Connection& c) noexcept;
  // A peer broke the protocol, or stalled: one line in the log, within the limit.
  void log_peer(const Endpoint& peer, std::string_view what, std::string_view detail);
  // A command that was refused for good, the same way.
  void log_refusal(const Endpoint& peer, std::uint16_t qid, std::uint8_t opcode, nvme::CommandStatus status);

 private:
  class Watchdog final : public Timer {
   public:
    explicit Watchdog(CoreContext& c) noexcept : context_(c) {}
    void fire() noexcept override { context_.sweep(); }

   private:
    CoreContext& context_;
  };
  Task<void> serve(std::unique_ptr<Stream> stream);
  void sweep() noexcept;

  Reactor& core_;
  Registry& registry_;
  const TargetConfig& config_;
  const std::size_t connections_max_;  // of this core
  TaskScope scope_;
  Watchdog watchdog_;
  std::vector<Connection*> connections_;
  TargetStats stats_;
  LogLimiter limiter_;
  bool closing_ = false;
};

}  // namespace holdfast::nvmf::target
