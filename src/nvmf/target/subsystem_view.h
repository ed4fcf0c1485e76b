// What the I/O queues of one core know of a subsystem: its namespaces, each with a channel of that core.
//
// Owned by the Subsystem on the home core, used on its own core only: home changes it by calls to that core.
// It outlives the queues that use it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "block/block_device.h"
#include "block/reservation_guard.h"
#include "nvme/log_page.h"
#include "nvme/status.h"
#include "nvmf/target/range_fence.h"
#include "rt/wait.h"

namespace holdfast::nvmf::target {

// ok, or what a command for a namespace in this state is answered with.
nvme::CommandStatus ana_status(nvme::AnaState state) noexcept;

// Held by every command that uses a namespace's channel: the channel stays open, and a host that takes the
// right to it away waits for the command.
class ChannelGate {
 public:
  class Hold {
   public:
    Hold(Gate& gate, ReservationSlot* slot) noexcept : open_(gate.enter()) {
      if (slot != nullptr) pass_.emplace(*slot);
    }

   private:
    Gate::Hold open_;
    std::optional<ReservationSlot::Pass> pass_;
  };
  explicit ChannelGate(Reactor& core) noexcept : gate_(core) {}
  void set_slot(ReservationSlot* slot) noexcept { slot_ = slot; }
  [[nodiscard]] Hold enter() noexcept { return Hold(gate_, slot_); }
  // For commands about reservations, which do not wait for themselves.
  [[nodiscard]] Gate::Hold enter_aside() noexcept { return gate_.enter(); }
  Task<void> close() { return gate_.close(); }

 private:
  Gate gate_;
  ReservationSlot* slot_ = nullptr;
};

struct NamespaceView {
  NamespaceView(Reactor& core, std::uint32_t id, std::uint64_t nth) noexcept
      : nsid(id), incarnation(nth), gate(core), fence(core) {}

  const std::uint32_t nsid;
  const std::uint64_t incarnation;  // another namespace that gets the identifier later has another one
  Geometry geometry;
  Capabilities capabilities;
  nvme::AnaState ana_state = nvme::AnaState::optimized;
  std::unique_ptr<Channel> channel;       // empty when it could not be opened: open_error says why
  Errc open_error = Errc::not_connected;  //
  ChannelGate gate;
  RangeFence fence;                      // passed by every command that touches data
  std::optional<Gate::Hold> fence_hold;  // while the fence is up
  ReservationGuard* guard = nullptr;     // home core; nullptr: no reservations
  ReservationSlot* slot = nullptr;       // the guard's, of this core

  // Whether reservations let the host do that.
  bool allows(const Uuid& host, ReservedAccess access) const noexcept {
    return slot == nullptr || slot->allows(host, access);
  }
};

class SubsystemView {
 public:
  explicit SubsystemView(Reactor& core) noexcept : core_(core) {}

  Reactor& core() const noexcept { return core_; }
  // nullptr when the namespace does not exist.
  NamespaceView* find(std::uint32_t nsid) noexcept {
    return nsid < table_.size() ? table_[nsid].get() : nullptr;
  }
  // Every namespace identifier is less.
  std::uint32_t nsid_end() const noexcept { return static_cast<std::uint32_t>(table_.size()); }
  struct Added {
    Added() = default;
    std::uint32_t nsid = 0;
    std::uint64_t incarnation = 0;
    Geometry geometry;
    Capabilities capabilities;
    nvme::AnaState state = nvme::AnaState::optimized;
    ReservationGuard* guard = nullptr;  // no reservations
  };
  // Opens a channel. A device that refuses leaves a namespace whose commands fail with its error.
  Task<void> add(Added what, BlockDevice& device);
  // Once more, where the device refused a channel before.
  Task<void> open_again(std::uint32_t nsid, BlockDevice& device);
  // New commands find nothing; waits for those under way, then closes the channel.
  Task<void> remove(std::uint32_t nsid);
  Task<void> remove_all();
  // Every device that caches, also where one fails: the first error.
  Task<Status> flush();
  // Raises the fence of a namespace. nullptr: it does not exist, or is being removed.
  Task<NamespaceView*> fence(std::uint32_t nsid, BlockRange range);
  void lift(NamespaceView& ns) noexcept;

 private:
  Reactor& core_;
  std::vector<std::unique_ptr<NamespaceView>> table_;  // by nsid
};

}  // namespace holdfast::nvmf::target
