// CoreContext: the target's part of one core: its connections, their watchdog, counters and the log limit.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nvme/status.h"
#include "nvmf/target/types.h"
#include "rt/log_limiter.h"
#include "rt/reactor.h"
#include "rt/scope.h"

namespace holdfast::nvmf::target {

class Connection;
class Registry;

class CoreContext {
 public:
  // Made on the home core; everything else is called on `core`.
  CoreContext(Reactor& core, Registry& registry, const TargetConfig& config);
  ~CoreContext();

  Reactor& reactor() const noexcept { return core_; }
  Registry& registry() const noexcept { return registry_; }
  const TargetConfig& config() const noexcept { return config_; }
  TargetStats& stats() noexcept { return stats_; }

  // --- Memory of connections. ---

  // Whether a connection that holds `held` bytes of data buffers may take `bytes` more now. One that holds
  // little comes before one that holds much, and a part of the pool stays free for newcomers.
  bool may_hold(std::size_t held, std::size_t bytes) const noexcept;
  // No connection holds any.
  bool holds_nothing() const noexcept { return held_bytes_ == 0; }
  void count_held(std::size_t bytes) noexcept { held_bytes_ += bytes; }
  void count_dropped(std::size_t bytes) noexcept { held_bytes_ -= bytes; }
  // A connection that holds `held` bytes waits for `bytes` more: it is asked again from time to time. Tells
  // whether it waits for what others hold; the same goes to end_wait().
  bool begin_wait(std::size_t held, std::size_t bytes) noexcept;
  void end_wait(bool for_others) noexcept;
  // Somebody waits for memory that others hold.
  bool short_of_memory() const noexcept { return deprived_ > 0; }
  // Whether an I/O queue may have a large receive buffer now.
  bool may_have_large_staging() const noexcept;
  // Room for the commands of a queue; false when the queues of this core have too many entries already.
  bool reserve_entries(std::uint32_t entries) noexcept;
  void return_entries(std::uint32_t entries) noexcept { entries_ -= entries; }

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

  // Receive buffer of a connection that is not an I/O queue, or while memory is short.
  static constexpr std::size_t small_staging_bytes = 4096;

 private:
  class Watchdog final : public Timer {
   public:
    explicit Watchdog(CoreContext& c) noexcept : context_(c) {}
    void fire() noexcept override { context_.sweep(); }

   private:
    CoreContext& context_;
  };
  class Reminder final : public Timer {
   public:
    explicit Reminder(CoreContext& c) noexcept : context_(c) {}
    void fire() noexcept override { context_.ask_again(); }

   private:
    CoreContext& context_;
  };
  Task<void> serve(std::unique_ptr<Stream> stream);
  void sweep() noexcept;
  void ask_again() noexcept;
  bool make_room() noexcept;
  const char* refusal(const Endpoint& peer);
  std::size_t connection_buffer_bytes_max() const noexcept;
  std::size_t free_bytes() const noexcept;

  Reactor& core_;
  Registry& registry_;
  const TargetConfig& config_;
  // Of this core.
  const std::size_t connections_max_;
  const std::size_t connections_per_peer_max_;
  const std::size_t entries_max_;
  TaskScope scope_;
  Watchdog watchdog_;
  Reminder reminder_;
  std::vector<Connection*> connections_;                   // the oldest first
  std::map<std::string, std::size_t, std::less<>> peers_;  // connections by address
  std::size_t held_bytes_ = 0;                             // data buffers of all connections
  std::size_t entries_ = 0;                                // of all queues
  unsigned waiting_ = 0;                                   // connections that wait for memory
  unsigned deprived_ = 0;                                  // of these, because of others
  TargetStats stats_;
  LogLimiter limiter_;
  bool closing_ = false;
};

}  // namespace holdfast::nvmf::target
