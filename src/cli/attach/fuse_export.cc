#define FUSE_USE_VERSION 312

#include "cli/attach/fuse_export.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <fuse_lowlevel.h>
#include <linux/falloc.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"

namespace holdfast::cli {
namespace {

constexpr fuse_ino_t file_inode = 2;
constexpr const char* file_name = "disk";
// As many requests as a loop device sends at once (its nr_requests).
constexpr std::size_t slot_count = 128;
// What libfuse reads at once: 256 pages of data and one for the header.
constexpr std::size_t data_pages = 256;
constexpr std::size_t header_bytes = 4096;

std::size_t request_bytes() noexcept {
  return data_pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) + header_bytes;
}

int errno_of(const Error& e) noexcept {
  switch (e.code()) {
    case Errc::out_of_space:
      return ENOSPC;
    case Errc::out_of_range:
      return EFBIG;
    case Errc::read_only:
      return EROFS;
    case Errc::not_supported:
      return EOPNOTSUPP;
    default:
      return EIO;  // a loop device knows no other failures
  }
}

}  // namespace

// One request of the kernel and the memory that it came in, which a read answers from. Handed to the home
// core as a message, back to the thread by give_back().
struct FuseExport::Slot final : Message {
  enum class Kind : std::uint8_t { none, read, write, flush, zero };

  explicit Slot(FuseExport& e) : owner(e), bytes(request_bytes()) {
    // Untouched pages cost nothing, so every slot can take the largest request.
    void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    HF_ASSERT(mapped != MAP_FAILED);
    memory = static_cast<std::byte*>(mapped);
  }
  ~Slot() { ::munmap(memory, bytes); }
  void run() noexcept override { owner.requests_.spawn(owner.carry_out(*this)); }

  FuseExport& owner;
  const std::size_t bytes;
  std::byte* memory = nullptr;
  Kind kind = Kind::none;
  fuse_req_t request = nullptr;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::array<IoVec, 1> data{};
  bool unmap = false;
};

// The kernel's operations, on the thread. What needs the device goes to the home core.
struct FuseOperations {
  static FuseExport& self(fuse_req_t request) {
    return *static_cast<FuseExport*>(fuse_req_userdata(request));
  }

  static void hand_over(fuse_req_t request, FuseExport::Slot::Kind kind, std::uint64_t offset,
                        std::uint64_t length, std::byte* data) {
    FuseExport& e = self(request);
    FuseExport::Slot& slot = *std::exchange(e.receiving_, nullptr);
    slot.kind = kind;
    slot.request = request;
    slot.offset = offset;
    slot.length = length;
    slot.data[0] = {data, length};
    e.home_.send(slot);
  }

  static struct stat attributes(const FuseExport& e, fuse_ino_t inode) {
    struct stat st {};
    st.st_ino = inode;
    if (inode == file_inode) {
      st.st_mode = S_IFREG | (e.read_only_ ? 0400 : 0600);
      st.st_nlink = 1;
      st.st_size = static_cast<off_t>(e.size_bytes_.load(std::memory_order_relaxed));
      st.st_blksize = 4096;
      st.st_blocks = st.st_size / 512;
    } else {
      st.st_mode = S_IFDIR | 0700;
      st.st_nlink = 2;
    }
    return st;
  }

  static void init(void*, fuse_conn_info* connection) {
    // Spliced requests would arrive in a pipe, not in the slot's memory.
    connection->want &=
        ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
    connection->want |= connection->capable & FUSE_CAP_ASYNC_DIO;
    connection->max_background = slot_count;
    connection->congestion_threshold = slot_count * 3 / 4;
  }
  static void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
    if (parent != FUSE_ROOT_ID || std::strcmp(name, file_name) != 0) {
      fuse_reply_err(request, ENOENT);
      return;
    }
    fuse_entry_param entry{};
    entry.ino = file_inode;
    entry.attr = attributes(self(request), file_inode);
    fuse_reply_entry(request, &entry);
  }
  static void getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
    const struct stat st = attributes(self(request), inode);
    fuse_reply_attr(request, &st, 0);
  }
  static void open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
    FuseExport& e = self(request);
    if (inode != file_inode) {
      fuse_reply_err(request, EISDIR);
    } else if (e.read_only_ && (info->flags & O_ACCMODE) != O_RDONLY) {
      fuse_reply_err(request, EROFS);
    } else {
      info->direct_io = 1;
      ++e.handles_;
      if (fuse_reply_open(request, info) != 0) --e.handles_;
    }
  }
  static void release(fuse_req_t request, fuse_ino_t, fuse_file_info*) {
    --self(request).handles_;
    fuse_reply_err(request, 0);
  }
  static void read(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset, fuse_file_info*) {
    FuseExport& e = self(request);
    const std::uint64_t from = static_cast<std::uint64_t>(offset);
    const std::uint64_t end = e.size_bytes_.load(std::memory_order_relaxed);
    const std::uint64_t length = from >= end ? 0 : std::min<std::uint64_t>(size, end - from);
    if (length == 0) {
      fuse_reply_buf(request, nullptr, 0);
    } else if (!e.in_range(from, length) || length > e.receiving_->bytes - header_bytes) {
      fuse_reply_err(request, EINVAL);
    } else {
      hand_over(request, FuseExport::Slot::Kind::read, from, length, e.receiving_->memory + header_bytes);
    }
  }
  static void write(fuse_req_t request, fuse_ino_t, const char* data, std::size_t size, off_t offset,
                    fuse_file_info*) {
    FuseExport& e = self(request);
    if (!e.in_range(static_cast<std::uint64_t>(offset), size)) {
      fuse_reply_err(request, EINVAL);
      return;
    }
    // The data lies in the slot's own memory, which nobody else touches meanwhile.
    std::byte* at = e.receiving_->memory +
                    (data - static_cast<const char*>(static_cast<const void*>(e.receiving_->memory)));
    hand_over(request, FuseExport::Slot::Kind::write, static_cast<std::uint64_t>(offset), size, at);
  }
  static void fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
    hand_over(request, FuseExport::Slot::Kind::flush, 0, 0, nullptr);
  }
  static void fallocate(fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t length,
                        fuse_file_info*) {
    FuseExport& e = self(request);
    const bool punch = (mode & FALLOC_FL_PUNCH_HOLE) != 0;
    const bool zero = (mode & FALLOC_FL_ZERO_RANGE) != 0;
    if (!punch && !zero) {
      fuse_reply_err(request, EOPNOTSUPP);
    } else if (e.read_only_) {
      fuse_reply_err(request, EROFS);
    } else if (!e.in_range(static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(length))) {
      fuse_reply_err(request, EINVAL);
    } else {
      e.receiving_->unmap = punch;
      hand_over(request, FuseExport::Slot::Kind::zero, static_cast<std::uint64_t>(offset),
                static_cast<std::uint64_t>(length), nullptr);
    }
  }
  static void statfs(fuse_req_t request, fuse_ino_t) {
    const FuseExport& e = self(request);
    struct statvfs st {};
    // A loop device takes its discard granularity from here.
    st.f_bsize = std::max<unsigned long>(e.block_bytes_, 4096);
    st.f_frsize = st.f_bsize;
    st.f_blocks = e.size_bytes_.load(std::memory_order_relaxed) / st.f_bsize;
    st.f_namemax = 255;
    fuse_reply_statfs(request, &st);
  }

  static fuse_lowlevel_ops table() {
    fuse_lowlevel_ops ops{};
    ops.init = init;
    ops.lookup = lookup;
    ops.getattr = getattr;
    ops.open = open;
    ops.release = release;
    ops.read = read;
    ops.write = write;
    ops.fsync = fsync;
    ops.fallocate = fallocate;
    ops.statfs = statfs;
    return ops;
  }
};

FuseExport::FuseExport(Reactor& home, Channel& channel, const Geometry& geometry, bool read_only,
                       std::string directory)
    : home_(home),
      channel_(channel),
      block_bytes_(geometry.block_bytes),
      read_only_(read_only),
      directory_(std::move(directory)),
      size_bytes_(geometry.size_bytes()),
      requests_(home) {
  HF_ASSERT(geometry.buffer_alignment == 1);
}

FuseExport::~FuseExport() { HF_ASSERT(session_ == nullptr && !thread_.joinable()); }

Status FuseExport::start() {
  if (::access("/dev/fuse", R_OK | W_OK) != 0) {
    return Error(
        Errc::not_supported,
        "this machine has no /dev/fuse: load the module 'fuse', and let the container have the device");
  }
  wake_ = FileDescriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) return system_error("eventfd");
  for (std::size_t i = 0; i < slot_count; ++i) {
    slots_.push_back(std::make_unique<Slot>(*this));
    free_slots_.push_back(slots_.back().get());
  }
  const fuse_lowlevel_ops operations = FuseOperations::table();
  std::string name = "holdfast", option = "-o", options = "fsname=holdfast,subtype=holdfast";
  char* arguments[] = {name.data(), option.data(), options.data()};
  fuse_args args = FUSE_ARGS_INIT(3, arguments);
  session_ = fuse_session_new(&args, &operations, sizeof operations, this);
  fuse_opt_free_args(&args);
  if (session_ == nullptr) return Error(Errc::failed_precondition, "libfuse refuses to start");
  if (fuse_session_mount(session_, directory_.c_str()) != 0) {
    fuse_session_destroy(std::exchange(session_, nullptr));
    return Error(
        Errc::failed_precondition,
        fmt::format("a filesystem in user space cannot be mounted at {}: root and CAP_SYS_ADMIN are needed",
                    directory_));
  }
  const int fd = fuse_session_fd(session_);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  thread_ = std::thread([this] { serve_kernel(); });
  return Status();
}

bool FuseExport::in_range(std::uint64_t offset, std::uint64_t length) const noexcept {
  const std::uint64_t size = size_bytes_.load(std::memory_order_relaxed);
  return offset % block_bytes_ == 0 && length % block_bytes_ == 0 && length > 0 && offset <= size &&
         length <= size - offset;
}

FuseExport::Slot* FuseExport::take_slot() {
  std::unique_lock lock(slots_mutex_);
  slot_freed_.wait(lock, [this] { return !free_slots_.empty(); });
  Slot* slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

void FuseExport::give_back(Slot& slot) noexcept {
  const std::lock_guard lock(slots_mutex_);
  free_slots_.push_back(&slot);
  slot_freed_.notify_one();
}

bool FuseExport::wait_for_kernel() noexcept {
  std::array<pollfd, 2> fds{pollfd{fuse_session_fd(session_), POLLIN, 0}, pollfd{wake_.get(), POLLIN, 0}};
  while (::poll(fds.data(), fds.size(), -1) < 0) {
    if (errno != EINTR) return false;
  }
  return fds[1].revents == 0;
}

void FuseExport::serve_kernel() noexcept {
  while (fuse_session_exited(session_) == 0) {
    receiving_ = take_slot();
    fuse_buf buffer{};
    buffer.mem = receiving_->memory;
    const int received = fuse_session_receive_buf(session_, &buffer);
    if (received > 0) fuse_session_process_buf(session_, &buffer);
    if (Slot* unused = std::exchange(receiving_, nullptr)) give_back(*unused);
    if (received == -EAGAIN && !wait_for_kernel()) return;
    if (received == 0 || (received < 0 && received != -EAGAIN && received != -EINTR))
      return;  // unmounted by others
  }
}

Task<Status> FuseExport::perform(Slot& s) {
  const Lba first{s.offset / block_bytes_};
  switch (s.kind) {
    case Slot::Kind::read:
      co_return co_await channel_.read(first, IoVecs(s.data));
    case Slot::Kind::write:
      co_return co_await channel_.write(first, IoVecs(s.data), Durable::no);
    case Slot::Kind::flush:
      co_return co_await channel_.flush();
    case Slot::Kind::zero: {
      const BlockRange range{first, s.length / block_bytes_};
      const Unmap unmap = s.unmap ? Unmap::yes : Unmap::no;
      co_return co_await channel_.write_zeroes(range, unmap, Durable::no);
    }
    case Slot::Kind::none:
      break;
  }
  panic("a request without a kind");
}

Task<void> FuseExport::carry_out(Slot& s) {
  const Status done = co_await perform(s);
  if (!done.ok()) {
    // A later flush says nothing of what one that failed was to cover.
    const bool loses = s.kind != Slot::Kind::read;
    // The kernel does without what is not supported.
    if (loses && done.code() != Errc::not_supported && !lost_) lost_ = done.error();
    // A reader that tries again and again while the target is away would fill the memory that keeps the log.
    if (const auto left_out = log_limiter_.admit(home_.now())) {
      HF_LOG(warn, "attach", "request failed", {"offset", s.offset}, {"length", s.length},
             {"error", done.error()}, {"left_out", *left_out});
    }
    fuse_reply_err(s.request, errno_of(done.error()));
  } else if (s.kind == Slot::Kind::read) {
    fuse_reply_buf(s.request, static_cast<const char*>(static_cast<const void*>(s.data[0].data)), s.length);
  } else if (s.kind == Slot::Kind::write) {
    fuse_reply_write(s.request, s.length);
  } else {
    fuse_reply_err(s.request, 0);
  }
  give_back(s);
}

Task<void> FuseExport::stop() {
  if (session_ == nullptr) co_return;
  std::function<void()> end_thread = [this] {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(wake_.get(), &one, sizeof one));
    thread_.join();
  };
  co_await home_.run_blocking(end_thread);
  co_await requests_.join();
  fuse_session_unmount(session_);
  fuse_session_destroy(std::exchange(session_, nullptr));
}

}  // namespace holdfast::cli
