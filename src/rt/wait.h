// What coroutines of one reactor wait on: Event, Semaphore, Gate. All post their waiters; none resumes
// inline.
#pragma once

#include <coroutine>
#include <cstddef>
#include <utility>

#include "base/assert.h"
#include "rt/reactor.h"

namespace holdfast {

enum class Wake : std::uint8_t { signalled, timed_out, stopped };

// A FIFO of suspended coroutines, each with an optional deadline and stop token.
class WaitQueue {
 public:
  explicit WaitQueue(Reactor& r) noexcept : reactor_(r) {}
  WaitQueue(const WaitQueue&) = delete;
  WaitQueue& operator=(const WaitQueue&) = delete;
  ~WaitQueue() { HF_ASSERT(first_ == nullptr); }

  class [[nodiscard]] Awaiter final : Timer, StopCallback {
   public:
    Awaiter(WaitQueue& q, Nanos deadline, StopToken stop) noexcept
        : queue_(q), deadline_(deadline), stop_(stop) {}
    bool await_ready() noexcept {
      if (stop_.stop_requested()) outcome_ = Wake::stopped;
      return stop_.stop_requested();
    }
    void await_suspend(std::coroutine_handle<> h) noexcept;
    Wake await_resume() const noexcept { return outcome_; }

   private:
    friend class WaitQueue;
    void fire() noexcept override { finish(Wake::timed_out); }
    void on_stop() noexcept override { finish(Wake::stopped); }
    void finish(Wake outcome) noexcept;

    WaitQueue& queue_;
    Nanos deadline_;
    StopToken stop_;
    Wake outcome_ = Wake::signalled;
    std::coroutine_handle<> waiter_;
    Awaiter* prev_ = nullptr;
    Awaiter* next_ = nullptr;
  };

  Awaiter wait(Nanos deadline = no_deadline, StopToken stop = StopToken()) noexcept {
    return Awaiter(*this, deadline, stop);
  }
  bool wake_one() noexcept {
    if (first_ == nullptr) return false;
    first_->finish(Wake::signalled);
    return true;
  }
  void wake_all() noexcept {
    while (wake_one()) {
    }
  }
  bool empty() const noexcept { return first_ == nullptr; }
  Reactor& reactor() const noexcept { return reactor_; }

 private:
  Reactor& reactor_;
  Awaiter* first_ = nullptr;
  Awaiter* last_ = nullptr;
};

// Set until reset. Waiting on a set event does not suspend.
class Event {
 public:
  explicit Event(Reactor& r) noexcept : queue_(r) {}
  void set() noexcept {
    set_ = true;
    queue_.wake_all();
  }
  void reset() noexcept { set_ = false; }
  bool is_set() const noexcept { return set_; }
  // signalled; or timed_out, stopped. After waking the event may have been reset again: re-check what it
  // stands for.
  Task<Wake> wait(Nanos deadline = no_deadline, StopToken stop = StopToken()) {
    if (set_) co_return Wake::signalled;
    co_return co_await queue_.wait(deadline, stop);
  }

 private:
  WaitQueue queue_;
  bool set_ = false;
};

// Counts permits; waiters are served in order. A Semaphore of one permit is a mutex.
class Semaphore {
 public:
  Semaphore(Reactor& r, std::size_t permits) noexcept : queue_(r), free_(permits) {}

  class [[nodiscard]] Permit {
   public:
    Permit() noexcept = default;
    explicit Permit(Semaphore& s) noexcept : semaphore_(&s) {}
    Permit(Permit&& o) noexcept : semaphore_(std::exchange(o.semaphore_, nullptr)) {}
    Permit& operator=(Permit&& o) noexcept {
      if (this != &o) {
        release();
        semaphore_ = std::exchange(o.semaphore_, nullptr);
      }
      return *this;
    }
    ~Permit() { release(); }
    void release() noexcept {
      if (auto* s = std::exchange(semaphore_, nullptr)) s->give_back();
    }
    explicit operator bool() const noexcept { return semaphore_ != nullptr; }

   private:
    Semaphore* semaphore_ = nullptr;
  };

  Permit try_acquire() noexcept {
    if (free_ == 0) return Permit();
    --free_;
    return Permit(*this);
  }
  // An empty Permit when the deadline passed or the stop was requested.
  Task<Permit> acquire(Nanos deadline = no_deadline, StopToken stop = StopToken()) {
    if (free_ > 0) {
      --free_;
      co_return Permit(*this);
    }
    const Wake woken = co_await queue_.wait(deadline, stop);
    if (woken != Wake::signalled) co_return Permit();
    co_return Permit(*this);  // the permit was handed over, never freed in between
  }
  std::size_t free() const noexcept { return free_; }

 private:
  void give_back() noexcept {
    if (!queue_.wake_one()) ++free_;
  }
  WaitQueue queue_;
  std::size_t free_;
};

// Counts work in flight; close() refuses new work and waits for the rest.
class Gate {
 public:
  explicit Gate(Reactor& r) noexcept : idle_(r) {}
  ~Gate() { HF_ASSERT(inside_ == 0); }

  class [[nodiscard]] Hold {
   public:
    Hold() noexcept = default;
    explicit Hold(Gate& g) noexcept : gate_(&g) { ++g.inside_; }
    Hold(Hold&& o) noexcept : gate_(std::exchange(o.gate_, nullptr)) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold() {
      if (gate_ != nullptr) gate_->leave();
    }
    explicit operator bool() const noexcept { return gate_ != nullptr; }

   private:
    Gate* gate_ = nullptr;
  };

  // An empty Hold once close() has begun.
  Hold enter() noexcept { return closed_ ? Hold() : Hold(*this); }
  bool closed() const noexcept { return closed_; }
  std::size_t inside() const noexcept { return inside_; }
  Task<void> close() {
    closed_ = true;
    while (inside_ > 0) co_await idle_.wait();
  }

 private:
  void leave() noexcept {
    if (--inside_ == 0) idle_.wake_all();
  }
  WaitQueue idle_;
  std::size_t inside_ = 0;
  bool closed_ = false;
};

}  // namespace holdfast
