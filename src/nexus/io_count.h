// Counts of operations under way, kept by the frames that run them.
#pragma once

#include "nexus/core_state.h"

namespace holdfast::nexus {

// An operation of the host. stop() waits for the last.
class CoreState::Inside {
 public:
  explicit Inside(CoreState& s) noexcept : state_(s) { ++s.inside_; }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  ~Inside() {
    if (--state_.inside_ == 0) state_.outside_.wake_all();
  }

 private:
  CoreState& state_;
};

// An operation at a child. drain() waits for the last.
class CoreState::Busy {
 public:
  explicit Busy(CoreChild& c) noexcept : child_(c) { ++c.operations; }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
  ~Busy() {
    if (--child_.operations == 0) child_.idle.wake_all();
  }

 private:
  CoreChild& child_;
};

}  // namespace holdfast::nexus
