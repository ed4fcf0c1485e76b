// Guards: one change works on a resource at a time. What is guarded is a name (plan/action.h).
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

#include "base/error.h"
#include "rt/reactor.h"
#include "rt/task.h"
#include "rt/wait.h"

namespace holdfast::control {

class Guards {
 public:
  explicit Guards(Reactor& home) noexcept : home_(home), freed_(home) {}
  Guards(const Guards&) = delete;
  Guards& operator=(const Guards&) = delete;
  ~Guards() { HF_ASSERT(held_.empty()); }

  class [[nodiscard]] Guard {
   public:
    Guard() noexcept = default;
    Guard(Guards& guards, std::string name) noexcept : guards_(&guards), name_(std::move(name)) {}
    Guard(Guard&& o) noexcept : guards_(std::exchange(o.guards_, nullptr)), name_(std::move(o.name_)) {}
    Guard& operator=(Guard&& o) noexcept {
      if (this != &o) {
        release();
        guards_ = std::exchange(o.guards_, nullptr);
        name_ = std::move(o.name_);
      }
      return *this;
    }
    ~Guard() { release(); }
    void release() noexcept {
      if (auto* guards = std::exchange(guards_, nullptr)) guards->free(name_);
    }
    explicit operator bool() const noexcept { return guards_ != nullptr; }

   private:
    Guards* guards_ = nullptr;
    std::string name_;
  };

  // Empty when somebody has it.
  Guard try_take(const std::string& name) { return held_.insert(name).second ? Guard(*this, name) : Guard(); }
  // Waits for it. Errors: Conflict.
  Task<Result<Guard>> take(std::string name, Nanos patience);

 private:
  void free(const std::string& name) noexcept {
    held_.erase(name);
    freed_.wake_all();
  }
  Reactor& home_;
  WaitQueue freed_;
  std::set<std::string> held_;
};

}  // namespace holdfast::control
