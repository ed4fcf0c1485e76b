// A block device as one file of a filesystem in user space, for a loop device to sit on. The kernel's
// requests come in on a thread of their own and are carried out on the home core; so are as many at once as
// there are slots.
//
// reads and writes   go to the channel, straight from and to the memory in which the kernel's request lies
// fsync              flushes the device
// fallocate          punching a hole and zeroing a range become write_zeroes (a loop device punches holes for
//                    discards and for zeroes alike, so a hole must read as zeroes)
//
// The directory and the file are for root alone.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "block/block_device.h"
#include "cli/attach/system.h"
#include "rt/log_limiter.h"
#include "rt/reactor.h"
#include "rt/scope.h"

struct fuse_session;

namespace holdfast::cli {

class FuseExport {
 public:
  // On the home core. Channel and geometry are of a device that takes buffers of any alignment. `directory`
  // exists and is empty. read_only: writes are refused.
  FuseExport(Reactor& home, Channel& channel, const Geometry& geometry, bool read_only,
             std::string directory);
  FuseExport(const FuseExport&) = delete;
  FuseExport& operator=(const FuseExport&) = delete;
  ~FuseExport();  // stop() was awaited, or start() failed

  // Mounts and begins to serve. Errors: not_supported (no /dev/fuse), failed_precondition; texts name the
  // remedy.
  Status start();
  std::string file_path() const { return directory_ + "/disk"; }
  // Open handles of the file.
  int handles() const noexcept { return handles_.load(std::memory_order_relaxed); }
  // Of the first write or flush that failed, if one did. On the home core.
  const std::optional<Error>& lost() const noexcept { return lost_; }
  // What the file's size is from now on. Whoever has it open sees it after his next look.
  void set_size(std::uint64_t bytes) noexcept { size_bytes_.store(bytes, std::memory_order_relaxed); }
  // Waits for the requests under way, then unmounts. A handle that is still open gets errors from then on.
  Task<void> stop();

 private:
  friend struct FuseOperations;
  struct Slot;

  void serve_kernel() noexcept;
  Slot* take_slot();
  void give_back(Slot& slot) noexcept;
  // False when the thread should end.
  bool wait_for_kernel() noexcept;

  Task<void> carry_out(Slot& slot);
  Task<Status> perform(Slot& slot);
  bool in_range(std::uint64_t offset, std::uint64_t length) const noexcept;

  Reactor& home_;
  Channel& channel_;
  const std::uint32_t block_bytes_;
  const bool read_only_;
  const std::string directory_;
  std::atomic<std::uint64_t> size_bytes_;
  std::atomic<int> handles_{0};
  std::optional<Error> lost_;
  LogLimiter log_limiter_;

  fuse_session* session_ = nullptr;
  FileDescriptor wake_;  // eventfd: ends the thread
  std::thread thread_;
  TaskScope requests_;

  std::mutex slots_mutex_;
  std::condition_variable slot_freed_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_slots_;
  Slot* receiving_ = nullptr;  // the thread's: the slot whose request it decodes
};

}  // namespace holdfast::cli
