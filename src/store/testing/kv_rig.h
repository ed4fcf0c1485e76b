// A store, as a test has it.
#pragma once

#include <optional>
#include <utility>

#include "rt/reactor.h"
#include "store/kv.h"

namespace holdfast::store {

// A store, a client of it, and the reactor that the client lives on.
class KvRig {
 public:
  virtual ~KvRig() = default;
  virtual Reactor& home() = 0;
  virtual Kv& kv() = 0;
  // Runs the task on home() to its end.
  virtual void drive(Task<void> task) = 0;

  template <class T>
  T run(Task<T> task) {
    std::optional<T> out;
    drive(keep(std::move(task), out));
    return std::move(*out);
  }
  void run(Task<void> task) { drive(std::move(task)); }

 private:
  template <class T>
  static Task<void> keep(Task<T> task, std::optional<T>& out) {
    out.emplace(co_await task);
  }
};

}  // namespace holdfast::store
