// IoCommands: the NVM command set of one I/O queue, on the queue's core. Commands are judged at once and run
// as one coroutine each on the namespace's channel; they answer through the connection.
#pragma once

#include <cstdint>
#include <vector>

#include "block/block_device.h"
#include "nvme/errc_status.h"
#include "nvme/sqe.h"
#include "nvmf/target/request.h"
#include "nvmf/target/subsystem_view.h"
#include "rt/scope.h"

namespace holdfast::nvmf::target {

class Connection;

constexpr Durable durable_of(const nvme::Sqe& sqe) noexcept {
  return (sqe.cdw12.get() & nvme::cdw12_fua) != 0 ? Durable::yes : Durable::no;
}

class IoCommands {
 public:
  IoCommands(Connection& connection, TaskScope& scope) noexcept : connection_(connection), scope_(scope) {}

  void attach(SubsystemView& view, const Uuid& host_id) noexcept {
    view_ = &view;
    host_id_ = host_id;
  }
  // After attach().
  void start(Request& r);
  // The halves of a fused operation: a compare, and what the host sent right behind it (io_fused.cc).
  void start_fused(Request& first, Request& second);

 private:
  // A command's range, within its namespace.
  struct Target {
    Target(NamespaceView& n, nvme::IoRange range) noexcept
        : ns(&n),
          first(Lba{range.slba}),
          blocks(range.blocks),
          bytes(blocks * std::uint64_t{n.geometry.block_bytes}) {}
    BlockRange range() const noexcept { return {first, blocks}; }
    NamespaceView* ns;
    Lba first;
    std::uint32_t blocks;
    std::uint64_t bytes;
  };

  nvme::CommandStatus find_namespace(const Request& r, NamespaceView*& ns) noexcept;
  // Again, for a command that has waited: its namespace may have changed or gone, and another one may have its
  // identifier.
  nvme::CommandStatus find_again(const Request& r, NamespaceView*& ns) noexcept;
  // The same. nullptr: r was answered.
  NamespaceView* still_there(Request& r);
  nvme::CommandStatus check_range(const Target& t) const noexcept;
  // Of find_again() and the range, where r was not aborted. False: r was answered.
  bool still_valid(Request& r, Target& t);
  void start_read(Request& r, Target t);
  void start_write(Request& r, Target t);
  void start_write_zeroes(Request& r, Target t);
  void start_dsm(Request& r, NamespaceView& ns);

  Task<void> read(Request& r, Target t);
  Task<void> write(Request& r, Target t);
  Task<void> compare(Request& r, Target t);
  Task<void> write_zeroes(Request& r, Target t);
  Task<void> deallocate(Request& r, std::uint32_t ranges);
  Task<void> flush(Request& r, NamespaceView& ns);
  Task<void> flush_all(Request& r);
  // io_copy.cc
  void start_copy(Request& r, NamespaceView& ns);
  void start_verify(Request& r, Target t);
  Task<void> copy(Request& r, std::uint32_t ranges);
  Task<void> verify(Request& r, Target t);
  nvme::CommandStatus judge_copy(const NamespaceView& ns, const std::vector<BlockRange>& from,
                                 Lba to) const noexcept;
  Task<Status> copy_range(Request& r, NamespaceView& ns, BlockRange from, Lba to);

  void fail_fused(Request& first, Request& second, nvme::CommandStatus status);
  Task<bool> fetch_fused(Request& first, Request& second, std::uint32_t bytes);
  Task<void> compare_and_write(Request& first, Request& second, Target t);

  // io_reservations.cc
  void start_reservation(Request& r, const NamespaceView& ns);
  Task<void> change_reservation(Request& r, std::uint32_t bytes);
  Task<Status> apply_reservation(const Request& r, ReservationGuard& guard);
  Task<void> report_reservation(Request& r, std::uint32_t bytes);

  Task<Status> compare_with(const Request& r, const Target& t);
  Task<Status> compare_by_read(const Request& r, const Target& t);
  Task<Status> zero_by_write(Request& r, Target t, Durable durable);
  // `result` is what a failed command says besides its status.
  void finish(Request& r, const Status& status, nvme::IoKind kind, std::uint64_t lba,
              std::uint64_t result = 0);

  Connection& connection_;
  TaskScope& scope_;
  SubsystemView* view_ = nullptr;
  Uuid host_id_;
};

}  // namespace holdfast::nvmf::target
