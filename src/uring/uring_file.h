// Files and block devices on one ring.
#pragma once

#include <memory>
#include <string>

#include "rt/io.h"
#include "rt/scope.h"
#include "rt/wait.h"
#include "uring/ring.h"
#include "uring/socket.h"

namespace holdfast::uring {

class UringReactor;

class UringFile final : public File {
 public:
  // The body of UringReactor::open_file.
  static Task<Result<std::unique_ptr<File>>> open(UringReactor& reactor, std::string path,
                                                  OpenOptions options);
  UringFile(UringReactor& reactor, Fd fd, std::string path, const Info& info);
  ~UringFile() override;

  const Info& info() const noexcept override { return info_; }
  Task<Status> refresh() override;
  Task<void> close() override;

 protected:
  void start(FileOp& op) noexcept override;

 private:
  // The ends of reads, writes and syncs. A FileOp has no place for a Completion, so its address travels in
  // one of these, kept in a free list.
  class Slot final : public Completion {
   public:
    void complete(std::int32_t result, std::uint32_t flags) noexcept override;
    UringFile* file = nullptr;
    FileOp* op = nullptr;
    Slot* next_free = nullptr;
  };

  void submit(FileOp& op, Completion& to) noexcept;
  void finish(FileOp& op, std::int64_t result) noexcept;
  Slot& take_slot();
  // Discards and zeroing: those need several system calls where the first is not supported.
  Task<void> run_range_op(FileOp& op);
  Task<std::int32_t> fallocate(int mode, std::uint64_t offset, std::uint64_t length);
  Task<std::int32_t> discard_device(std::uint64_t offset, std::uint64_t length);
  Task<std::int32_t> zero(std::uint64_t offset, std::uint64_t length);
  Task<std::int32_t> write_zero_bytes(std::uint64_t offset, std::uint64_t length);

  UringReactor& reactor_;
  Fd fd_;
  const std::string path_;
  Info info_;
  TaskScope scope_;
  Semaphore discards_;
  std::size_t under_way_ = 0;
  std::vector<std::unique_ptr<Slot>> slots_;
  Slot* free_slots_ = nullptr;
};

}  // namespace holdfast::uring
