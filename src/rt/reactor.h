// Reactor: one core's thread, ready queue, timers, memory and I/O. The only thing that resumes coroutines.
//
// Implemented by src/uring (io_uring) and sim (virtual time, seeded). Everything above takes its reactor by
// reference and touches clock, randomness, disk and network through it alone: that is what makes simulation
// exact. Unless a function says otherwise it is called on the reactor's own thread.
#pragma once

#include <coroutine>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/prng.h"
#include "rt/buffer.h"
#include "rt/io.h"
#include "rt/message.h"
#include "rt/stop.h"
#include "rt/task.h"
#include "rt/time.h"
#include "rt/timer.h"

namespace holdfast {

class Reactor {
 public:
  Reactor() = default;
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;
  virtual ~Reactor() = default;

  // Index of this core among the cores of the process.
  virtual unsigned core() const noexcept = 0;
  virtual Nanos now() const noexcept = 0;  // monotonic
  // How long turns have found something to do; waiting and polling are not in it. Zero in the simulation, where
  // turns take no time.
  virtual Nanos busy() const noexcept { return Nanos{0}; }
  // Of all streams.
  struct Sends {
    std::uint64_t ended = 0;
    std::uint64_t without_copy = 0;  // those that the network card took from the caller's memory
  };
  virtual Sends sends() const noexcept { return Sends(); }
  virtual WallTime wall_now() const noexcept = 0;
  virtual Prng& random() noexcept = 0;
  virtual BufferPool& buffers() noexcept = 0;

  // Resumes h soon, never inline.
  virtual void post(std::coroutine_handle<> h) noexcept = 0;
  // Runs m at the end of this turn, after everything that is ready now: for work that pays when batched.
  virtual void defer(Message& m) noexcept = 0;
  // ANY thread: runs m on this reactor soon. Pairs of calls from one thread keep their order.
  virtual void send(Message& m) noexcept = 0;
  virtual void arm(Timer& t, Nanos when) noexcept = 0;  // re-arms an armed timer
  virtual void disarm(Timer& t) noexcept = 0;

  // Files and devices. Errors: not_found, busy, failed_precondition (no permission), read_only; texts name
  // the path.
  virtual Task<Result<std::unique_ptr<File>>> open_file(std::string path, OpenOptions options) = 0;
  // Small whole files for records that must survive a crash: replaced at once or not at all, durable at the
  // end.
  virtual Task<Status> replace_file(std::string path, std::string content) = 0;
  virtual Task<Result<std::string>> read_file(std::string path) = 0;
  virtual Task<Status> remove_file(std::string path) = 0;  // ok when it does not exist

  // Network. connect errors: not_connected, timed_out at the deadline (on now()'s clock), cancelled by the
  // token.
  virtual Task<Result<std::unique_ptr<Stream>>> connect(Endpoint to, Nanos deadline, StopToken stop) = 0;
  // Errors: busy (the port is in use), invalid_argument (not an address of this host).
  virtual Result<std::unique_ptr<Listener>> listen(const Endpoint& at) = 0;
  virtual std::unique_ptr<Stream> adopt(std::unique_ptr<PendingStream> accepted) = 0;
  // Numeric addresses of a host name; a numeric address gives itself. Errors: not_found.
  virtual Task<Result<std::vector<Endpoint>>> resolve(Endpoint name) = 0;

  // Runs `work` where it may block (a helper thread; at once in the simulation) and waits for it.
  virtual Task<void> run_blocking(std::function<void()> work) = 0;

  // Suspends for d; ends early when the stop is requested. False then.
  auto sleep(Nanos d, StopToken stop = StopToken()) noexcept { return SleepAwaiter(*this, d, stop); }
  // Goes to the back of the ready queue.
  auto yield() noexcept { return YieldAwaiter(*this); }

 private:
  class SleepAwaiter final : Timer, StopCallback {
   public:
    SleepAwaiter(Reactor& r, Nanos d, StopToken stop) noexcept : reactor_(r), duration_(d), stop_(stop) {}
    bool await_ready() const noexcept { return stop_.stop_requested(); }
    void await_suspend(std::coroutine_handle<> h) noexcept {
      waiter_ = h;
      reactor_.arm(*this, reactor_.now() + duration_);
      stop_.subscribe(*this);
    }
    bool await_resume() noexcept { return !stop_.stop_requested(); }

   private:
    void fire() noexcept override {
      unregister();
      reactor_.post(waiter_);
    }
    void on_stop() noexcept override {
      if (!armed()) return;
      reactor_.disarm(*this);
      reactor_.post(waiter_);
    }
    Reactor& reactor_;
    Nanos duration_;
    StopToken stop_;
    std::coroutine_handle<> waiter_;
  };
  class YieldAwaiter {
   public:
    explicit YieldAwaiter(Reactor& r) noexcept : reactor_(r) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) const noexcept { reactor_.post(h); }
    void await_resume() const noexcept {}

   private:
    Reactor& reactor_;
  };
};

// The reactors of one process, by core index. Core 0 is home: control state lives there.
class Cores {
 public:
  explicit Cores(std::span<Reactor* const> all) : all_(all.begin(), all.end()) { HF_ASSERT(!all_.empty()); }
  Reactor& home() const noexcept { return *all_.front(); }
  Reactor& at(unsigned core) const noexcept { return *all_[core]; }
  unsigned count() const noexcept { return static_cast<unsigned>(all_.size()); }
  auto begin() const noexcept { return all_.begin(); }
  auto end() const noexcept { return all_.end(); }

 private:
  std::vector<Reactor*> all_;
};

}  // namespace holdfast
