// I/O as the runtime offers it: files, streams, listeners. Operations, not system calls; every operation is
// an awaitable that ends exactly once, with the caller's buffers untouched from then on. No operating system
// here: src/uring and sim/ implement these interfaces.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "rt/task.h"

namespace holdfast {

// One piece of memory of a vector operation. Laid out as the kernel's struct iovec (asserted in src/uring).
struct IoVec {
  std::byte* data = nullptr;
  std::size_t size = 0;
};
// The vectors, and the memory that they name, belong to the caller until the operation has ended. For writes
// and sends the memory is only read.
using IoVecs = std::span<const IoVec>;
inline constexpr std::size_t io_vectors_max = 1024;

constexpr std::size_t total_bytes(IoVecs vectors) noexcept {
  std::size_t n = 0;
  for (const auto& v : vectors) n += v.size;
  return n;
}

// One operation under way. Lives in the frame of the coroutine that awaits it. The backend sets the result
// and posts the waiter to its reactor; it never resumes inline.
class IoOp {
 public:
  IoOp(const IoOp&) = delete;
  IoOp& operator=(const IoOp&) = delete;
  bool await_ready() const noexcept { return false; }
  // Bytes done, or the negative errno.
  Result<std::size_t> await_resume() const noexcept {
    if (result < 0) [[unlikely]]
      return error_from_errno(static_cast<int>(-result));
    return static_cast<std::size_t>(result);
  }

  std::coroutine_handle<> waiter;
  std::int64_t result = 0;

 protected:
  IoOp() = default;
  ~IoOp() = default;
};

class File;
class Stream;

class [[nodiscard]] FileOp final : public IoOp {
 public:
  enum class Kind : std::uint8_t {
    read,
    write,
    sync,         // everything written before is durable afterwards (data and what is needed to find it)
    discard,      // the range is given back; it reads as anything
    write_zeroes  // the range reads as zeroes
  };
  FileOp(File& f, Kind k, std::uint64_t off, std::uint64_t len, IoVecs vecs, bool is_durable) noexcept
      : file(f), kind(k), durable(is_durable), offset(off), length(len), vectors(vecs) {}
  void await_suspend(std::coroutine_handle<> h) noexcept;

  File& file;
  const Kind kind;
  const bool durable;  // write: durable when it ends (FUA)
  const std::uint64_t offset;
  const std::uint64_t length;  // bytes
  const IoVecs vectors;
};

// An open file or block device. One reactor.
class File {
 public:
  // Which file or block device it is, whatever its path names by now; for as long as it is open.
  struct Id {
    std::uint64_t device = 0;  // that it is on; a block device's own number
    std::uint64_t inode = 0;   // 0: a block device
    bool operator==(const Id&) const = default;
  };
  struct Info {
    Id id;
    std::uint64_t size_bytes = 0;
    std::uint32_t block_bytes = 512;  // alignment that direct I/O asks for: offset, length and memory
    bool is_block_device = false;
    bool direct = false;  // bypasses the page cache
    bool read_only = false;
    bool can_discard = false;
    bool can_write_zeroes = false;
  };

  File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  // Every operation has ended, and close() was awaited (asserted by the implementations).
  virtual ~File() = default;

  virtual const Info& info() const noexcept = 0;
  // Reads the size again after the file or device grew; info() shows it.
  virtual Task<Status> refresh() = 0;
  virtual Task<void> close() = 0;

  // A short count means the end of the file, or an error that the next operation there will name.
  FileOp read(std::uint64_t offset, IoVecs into) noexcept {
    return FileOp(*this, FileOp::Kind::read, offset, total_bytes(into), into, false);
  }
  FileOp write(std::uint64_t offset, IoVecs from, bool durable = false) noexcept {
    return FileOp(*this, FileOp::Kind::write, offset, total_bytes(from), from, durable);
  }
  FileOp sync() noexcept { return FileOp(*this, FileOp::Kind::sync, 0, 0, IoVecs(), false); }
  FileOp discard(std::uint64_t offset, std::uint64_t length) noexcept {
    return FileOp(*this, FileOp::Kind::discard, offset, length, IoVecs(), false);
  }
  FileOp write_zeroes(std::uint64_t offset, std::uint64_t length) noexcept {
    return FileOp(*this, FileOp::Kind::write_zeroes, offset, length, IoVecs(), false);
  }

 protected:
  friend class FileOp;
  virtual void start(FileOp& op) noexcept = 0;
};

inline void FileOp::await_suspend(std::coroutine_handle<> h) noexcept {
  waiter = h;
  file.start(*this);
}

struct OpenOptions {
  bool direct = true;  // falls back to buffered, with a warning, where the file system cannot
  bool read_only = false;
  bool exclusive =
      true;  // refuse (busy) a device or file that another user holds: O_EXCL on devices, a lock on files
};

// A numeric IP address and a port.
struct Endpoint {
  std::string address;  // "127.0.0.1", "::1", without brackets
  std::uint16_t port = 0;

  bool is_ipv6() const noexcept { return address.find(':') != std::string::npos; }
  std::string to_string() const;  // "127.0.0.1:8420", "[::1]:8420"
  bool operator==(const Endpoint&) const = default;
};
// Splits "host:port", "[v6]:port", "host" or "[v6]"; the host may be a name. Errors: invalid_argument.
Result<Endpoint> parse_host_port(std::string_view text, std::uint16_t default_port);

// Lets a backend read the memory of a send after the send has ended, until the peer has it all: what saves the
// copy into the socket. Lives until then.
class SendHold {
 public:
  SendHold(const SendHold&) = delete;
  SendHold& operator=(const SendHold&) = delete;
  // Known when the send has ended. True: the memory must stay as it is until on_released().
  bool held() const noexcept { return held_; }

  // For the backend.
  void hold() noexcept { held_ = true; }
  void release() noexcept {
    held_ = false;
    on_released();
  }

 protected:
  SendHold() = default;
  ~SendHold() = default;
  // Once after hold(), from the reactor's loop; it may come before the coroutine that sent is resumed.
  virtual void on_released() noexcept = 0;

 private:
  bool held_ = false;
};

class [[nodiscard]] StreamOp final : public IoOp {
 public:
  enum class Kind : std::uint8_t { receive, send };
  StreamOp(Stream& s, Kind k, IoVecs vecs, SendHold* may_hold) noexcept
      : stream(s), kind(k), vectors(vecs), hold(may_hold) {}
  void await_suspend(std::coroutine_handle<> h) noexcept;

  Stream& stream;
  const Kind kind;
  const IoVecs vectors;
  SendHold* const hold;  // send: nullptr when the memory is the caller's again at the end
};

// A connected byte stream (TCP, no delay). One reactor; at most one receive and one send under way.
class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  // Nothing is under way and close() was awaited (asserted by the implementations).
  virtual ~Stream() = default;

  // At least one byte; 0 is the end of the stream.
  StreamOp receive(IoVecs into) noexcept { return StreamOp(*this, StreamOp::Kind::receive, into, nullptr); }
  // All the bytes, or an error. At most io_vectors_max vectors. With a hold the memory may stay in use after the end,
  // also after an error, as hold->held() says; worth it when may_hold().
  StreamOp send(IoVecs from, SendHold* hold = nullptr) noexcept {
    return StreamOp(*this, StreamOp::Kind::send, from, hold);
  }
  // Whether a send of so many bytes with a hold may save something. Answers differ from moment to moment.
  virtual bool may_hold(std::size_t /*bytes*/) const noexcept { return false; }
  // Ends our direction after everything sent so far: the peer reads that and then the end of the stream, while
  // we still receive. No send is under way (asserted); a later one fails.
  virtual void end_sending() noexcept = 0;
  // Ends the connection both ways: what is under way, and whatever comes later, ends soon with an error or 0; and
  // memory that is held is released soon, whether the peer has it or not.
  virtual void shutdown() noexcept = 0;
  // As shutdown(), and what has not reached the peer yet never does. The peer may lose what it has not read.
  virtual void abort() noexcept = 0;
  // After shutdown() or abort(), the end of all operations, and the release of all that is held.
  virtual Task<void> close() = 0;
  virtual const Endpoint& local() const noexcept = 0;
  virtual const Endpoint& peer() const noexcept = 0;

 protected:
  friend class StreamOp;
  virtual void start(StreamOp& op) noexcept = 0;
};

inline void StreamOp::await_suspend(std::coroutine_handle<> h) noexcept {
  waiter = h;
  stream.start(*this);
}

// An accepted connection that no reactor serves yet: Reactor::adopt makes it a Stream. May change thread.
class PendingStream {
 public:
  explicit PendingStream(Endpoint peer) : peer_(std::move(peer)) {}
  PendingStream(const PendingStream&) = delete;
  PendingStream& operator=(const PendingStream&) = delete;
  virtual ~PendingStream() = default;  // closes the connection unless it was adopted

  const Endpoint& peer() const noexcept { return peer_; }

 private:
  const Endpoint peer_;
};

class Listener {
 public:
  Listener() = default;
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  virtual ~Listener() = default;

  // One caller at a time. Errors: cancelled after shutdown(); resource_exhausted (out of descriptors): try
  // later.
  virtual Task<Result<std::unique_ptr<PendingStream>>> accept() = 0;
  virtual void shutdown() noexcept = 0;
  virtual Task<void> close() = 0;
  virtual const Endpoint& local() const noexcept = 0;  // with the port that was given for port 0
};

}  // namespace holdfast
