// CoreGuard: what the home core must know of the operations of a pool on all cores, without a lock or a message
// on their way.
//
// Grace period: an operation that looks at maps, or that has I/O under way at clusters which it found there, is
// inside. What a change took out of the maps may be destroyed or used again after grace_period(): every operation
// that was inside when it began has ended. Each core counts those inside in two phases; home asks each core to
// begin the other phase, and the core answers when the former one is empty.
#pragma once

#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "rt/reactor.h"
#include "rt/task.h"
#include "rt/wait.h"

namespace holdfast::pool {

class CoreGuard {
 public:
  // One core's operations. That core only.
  class alignas(64) Slot {
   public:
    explicit Slot(Reactor& core) noexcept : core_(core), empty_(core) {}

    class [[nodiscard]] Inside {
     public:
      explicit Inside(Slot& s) noexcept : slot_(s), phase_(s.phase_) { ++s.inside_[phase_]; }
      Inside(const Inside&) = delete;
      Inside& operator=(const Inside&) = delete;
      ~Inside() {
        if (--slot_.inside_[phase_] == 0 && phase_ != slot_.phase_) [[unlikely]]
          slot_.empty_.wake_all();
      }

     private:
      Slot& slot_;
      const unsigned phase_;
    };

    // Ends when all that is inside now has left. One at a time.
    Task<void> pass() {
      const unsigned former = phase_;
      phase_ = 1 - phase_;
      while (inside_[former] > 0) co_await empty_.wait();
    }
    Reactor& core() const noexcept { return core_; }
    unsigned inside() const noexcept { return inside_[0] + inside_[1]; }

   private:
    Reactor& core_;
    std::array<unsigned, 2> inside_{};
    unsigned phase_ = 0;
    WaitQueue empty_;
  };

  explicit CoreGuard(const Cores& cores);
  CoreGuard(const CoreGuard&) = delete;
  CoreGuard& operator=(const CoreGuard&) = delete;

  Slot& at(unsigned core) noexcept { return *slots_[core]; }
  // Home core; calls at the same time go one after the other.
  Task<void> grace_period();

 private:
  const Cores& cores_;
  std::vector<std::unique_ptr<Slot>> slots_;
  Semaphore one_;
};

// The writes of one volume on one core: counted while they are under way, and held back while home pauses them.
// That core only.
class WriteGate {
 public:
  explicit WriteGate(Reactor& core) noexcept : changed_(core) {}
  WriteGate(const WriteGate&) = delete;
  WriteGate& operator=(const WriteGate&) = delete;
  ~WriteGate() { HF_ASSERT(inside_ == 0); }

  class [[nodiscard]] Inside {
   public:
    explicit Inside(WriteGate& g) noexcept : gate_(g) { ++g.inside_; }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;
    ~Inside() {
      if (--gate_.inside_ == 0 && gate_.pauses_ != 0) [[unlikely]]
        gate_.changed_.wake_all();
    }

   private:
    WriteGate& gate_;
  };

  // While it is paused nobody enters: await open() and ask again.
  bool paused() const noexcept { return pauses_ != 0; }
  Task<void> open() {
    while (pauses_ != 0) co_await changed_.wait();
  }
  // Ends when the writes that were inside have left.
  Task<void> pause() {
    ++pauses_;
    while (inside_ > 0) co_await changed_.wait();
  }
  void resume() noexcept {
    if (--pauses_ == 0) changed_.wake_all();
  }

 private:
  unsigned inside_ = 0;
  unsigned pauses_ = 0;
  WaitQueue changed_;
};

}  // namespace holdfast::pool
