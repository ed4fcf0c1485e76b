// Sockets as a test wants them: it says what it waits for, and until when. Underneath are the runtime's
// streams; each call turns the reactor until it is done, so that tests are plain functions.
#pragma once

#include <cstdint>
#include <memory>

#include "base/error.h"
#include "cli/conformance/bytes.h"
#include "rt/reactor.h"
#include "rt/scope.h"
#include "uring/runtime.h"

namespace holdfast::cli::conformance {

// One TCP connection. What arrives is kept until it is taken.
class Socket {
 public:
  Socket(uring::Runtime& runtime, std::unique_ptr<Stream> stream);
  ~Socket();  // ends the connection
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // False: the connection ended, or the peer took nothing until the deadline; it is of no use any more then.
  bool send(View bytes, Nanos deadline);
  // Waits until that many bytes are there, or the peer ended the connection. False: not by the deadline.
  bool wait(std::size_t bytes, Nanos deadline);
  View inbox() const noexcept { return inbox_; }
  void take(std::size_t bytes);
  bool ended() const noexcept { return ended_; }
  void shutdown() noexcept;
  void end_sending() noexcept;  // the peer sees our end; we still receive
  void hold(bool on) noexcept;  // nothing more is read from the kernel meanwhile

 private:
  void end() noexcept;
  Task<void> pump();
  Task<void> send_all(View bytes);
  Task<void> wait_for(std::size_t bytes, Nanos deadline);
  Task<void> wait_sent(Nanos deadline);
  Task<void> close();

  uring::Runtime& runtime_;
  std::unique_ptr<Stream> stream_;
  TaskScope scope_;
  Event changed_;
  Event released_;
  Bytes inbox_;
  bool held_ = false;
  bool ended_ = false;
  bool sending_ = false;
  bool sent_ = false;
};

class Network {
 public:
  Network(uring::Runtime& runtime, Endpoint target) : runtime_(runtime), target_(std::move(target)) {}

  const Endpoint& target() const noexcept { return target_; }
  Nanos now() const noexcept { return runtime_.home().now(); }
  void sleep(Nanos time);
  Result<std::unique_ptr<Socket>> connect(Nanos deadline);

 private:
  uring::Runtime& runtime_;
  const Endpoint target_;
};

}  // namespace holdfast::cli::conformance
