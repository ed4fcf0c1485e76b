// TCP streams and listeners on one ring.
//
// While data flows, sends and receives are plain system calls that do not wait: on a busy connection they
// succeed at once, and the ring's polling, task work and completion would only be added to them (measured: 2
// us of a round trip of 12). What cannot be done at once goes to the ring, and so do large sends whose caller lets
// us hold the memory (ZeroCopy).
#pragma once

#include <memory>

#include "rt/io.h"
#include "rt/stop.h"
#include "rt/time.h"
#include "rt/timer.h"
#include "uring/ring.h"
#include "uring/socket.h"
#include "uring/zero_copy.h"

namespace holdfast::uring {

class UringReactor;

class UringStream final : public Stream {
 public:
  UringStream(UringReactor& reactor, Fd fd, Endpoint local, Endpoint peer);
  ~UringStream() override;

  void end_sending() noexcept override;
  void shutdown() noexcept override;
  void abort() noexcept override;
  Task<void> close() override;
  const Endpoint& local() const noexcept override { return local_; }
  const Endpoint& peer() const noexcept override { return peer_; }
  bool may_hold(std::size_t bytes) const noexcept override { return zero_copy_.pays(bytes); }

  // For the reactor, once a receive was asked for. Without waiting: true when the receive has ended.
  bool try_receive() noexcept;
  int fd() const noexcept { return fd_.get(); }
  // Hands the receive to the ring.
  void start_receive() noexcept;
  // For DirectReceives: whether there was something at once when it looked for the last receive.
  bool has_more = true;

 protected:
  void start(StreamOp& op) noexcept override;

 private:
  class Receive final : public Completion {
   public:
    explicit Receive(UringStream& s) noexcept : stream(s) {}
    void complete(std::int32_t result, std::uint32_t flags) noexcept override;
    UringStream& stream;
    void finish(std::int64_t result) noexcept;
    StreamOp* op = nullptr;
    msghdr header{};
  };
  // The timer is for another try when the kernel is short of memory.
  class Send final : public Completion, public ZeroCopy::Sender, Timer {
   public:
    explicit Send(UringStream& s) noexcept : stream(s) {}
    void start(StreamOp& o) noexcept;
    void complete(std::int32_t result, std::uint32_t flags) noexcept override;
    void on_zero_copy_sent(std::int32_t result) noexcept override;
    UringStream& stream;
    StreamOp* op = nullptr;

   private:
    void fire() noexcept override { submit(); }
    // Sends what the socket takes at once. True: the send has ended.
    bool try_now() noexcept;
    void submit() noexcept;
    void submit_zero_copy() noexcept;
    // True: all is sent.
    bool advance(std::size_t bytes) noexcept;
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
  ZeroCopy zero_copy_;
};

class UringPendingStream final : public PendingStream {
 public:
  UringPendingStream(Fd fd, Endpoint peer) noexcept : PendingStream(std::move(peer)), fd_(std::move(fd)) {}
  Fd take_fd() noexcept { return std::move(fd_); }

 private:
  Fd fd_;
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
