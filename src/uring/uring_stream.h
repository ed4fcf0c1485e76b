// TCP streams and listeners on one ring.
#pragma once

#include <memory>

#include "rt/io.h"
#include "rt/stop.h"
#include "rt/timer.h"
#include "uring/ring.h"
#include "uring/socket.h"

namespace holdfast::uring {

class UringReactor;

class UringStream final : public Stream {
 public:
  UringStream(UringReactor& reactor, Fd fd, Endpoint local, Endpoint peer);
  ~UringStream() override;

  void shutdown() noexcept override;
  Task<void> close() override;
  const Endpoint& local() const noexcept override { return local_; }
  const Endpoint& peer() const noexcept override { return peer_; }

  // The reactor's call at the end of the turn in which a receive was asked for.
  void start_receive() noexcept;

 protected:
  void start(StreamOp& op) noexcept override;

 private:
  class Receive final : public Completion {
   public:
    explicit Receive(UringStream& s) noexcept : stream(s) {}
    void complete(std::int32_t result, std::uint32_t flags) noexcept override;
    UringStream& stream;
    StreamOp* op = nullptr;
    msghdr header{};
    // Nothing was left in the socket after the last receive: wait for more before trying.
    bool drained = false;
  };
  // The timer is for another try when the kernel is short of memory.
  class Send final : public Completion, Timer {
   public:
    explicit Send(UringStream& s) noexcept : stream(s) {}
    void start(StreamOp& o) noexcept;
    void complete(std::int32_t result, std::uint32_t flags) noexcept override;
    UringStream& stream;
    StreamOp* op = nullptr;

   private:
    void fire() noexcept override { submit(); }
    void submit() noexcept;
    void advance(std::size_t bytes) noexcept;
    void finish(std::int64_t result) noexcept;
    IoVecs left_;
    IoVec partial_;  // what is left of a vector of which only a part was sent
    std::size_t sent_ = 0;
    msghdr header_{};
  };

  UringReactor& reactor_;
  Fd fd_;
  Endpoint local_;
  Endpoint peer_;
  Receive receive_;
  Send send_;
};

class UringPendingStream final : public PendingStream {
 public:
  UringPendingStream(Fd fd, Endpoint peer) noexcept : fd_(std::move(fd)), peer_(std::move(peer)) {}
  Fd take_fd() noexcept { return std::move(fd_); }
  const Endpoint& peer() const noexcept { return peer_; }

 private:
  Fd fd_;
  Endpoint peer_;
};

class UringListener final : public Listener {
 public:
  // Errors: as Reactor::listen.
  static Result<std::unique_ptr<UringListener>> open(UringReactor& reactor, const Endpoint& at);
  UringListener(UringReactor& reactor, Fd fd) noexcept;
  ~UringListener() override;

  Task<Result<std::unique_ptr<PendingStream>>> accept() override;
  void shutdown() noexcept override;
  Task<void> close() override;
  const Endpoint& local() const noexcept override { return local_; }

 private:
  UringReactor& reactor_;
  Fd fd_;
  Endpoint local_;
  bool shut_down_ = false;
  bool accepting_ = false;
};

// Connects; the body of UringReactor::connect.
Task<Result<std::unique_ptr<Stream>>> connect_stream(UringReactor& reactor, Endpoint to, Nanos deadline,
                                                     StopToken stop);

}  // namespace holdfast::uring
