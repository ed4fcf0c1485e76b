// Calls between cores. Tasks never change core: the called task runs on the other one, its result comes back.
#pragma once

#include <coroutine>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "rt/reactor.h"
#include "rt/when_all.h"

namespace holdfast {

namespace detail {

template <class F>
class CrossCall final : Message, TaskObserver {
  using TaskType = std::invoke_result_t<F&>;
  using T = typename TaskType::value_type;
  static constexpr bool is_void = std::is_void_v<T>;
  struct Nothing {};
  using Value = std::conditional_t<is_void, Nothing, T>;

 public:
  CrossCall(Reactor& here, Reactor& there, F& f) noexcept : here_(here), there_(there), f_(f) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) noexcept {
    waiter_ = h;
    there_.send(*this);
  }
  T await_resume() noexcept {
    if constexpr (!is_void) return std::move(*value_);
  }

 private:
  enum class Leg : std::uint8_t { out, back };

  void run() noexcept override {
    if (leg_ == Leg::back) {
      here_.post(waiter_);
      return;
    }
    task_.emplace(f_());
    task_->start(this);
    if (task_->done()) finish();
  }
  void task_finished(std::coroutine_handle<>) noexcept override { finish(); }
  void finish() noexcept {
    if constexpr (is_void) {
      task_->take();
    } else {
      value_.emplace(task_->take());
    }
    task_.reset();  // its frame belongs to that thread
    leg_ = Leg::back;
    here_.send(*this);
  }

  Reactor& here_;
  Reactor& there_;
  F& f_;
  Leg leg_ = Leg::out;
  std::coroutine_handle<> waiter_;
  std::optional<TaskType> task_;
  std::optional<Value> value_;
};

}  // namespace detail

// Runs f(), a callable that gives a Task<T>, on `there`, and returns its result on `here`, the caller's core.
// f lives in the caller's frame meanwhile. Name the lambda before the statement that awaits (g++ 12,
// style 4.4):
//   auto attach = [&]() -> Task<Status> { ... };
//   HF_CO_CHECK(co_await run_on(here, there, attach));
template <class F>
typename std::invoke_result_t<F&> run_on(Reactor& here, Reactor& there, F& f) {
  if (&here == &there) co_return co_await f();
  detail::CrossCall<F> call(here, there, f);
  co_return co_await call;
}

// Runs f(Reactor&) -> Task<void> on every core at once; returns on `here` when all have finished.
template <class F>
Task<void> run_on_all(Reactor& here, const Cores& cores, F& f) {
  struct OneCore {
    static Task<void> run(Reactor& from, Reactor& to, F& g) {
      auto there = [&g, &to]() -> Task<void> { return g(to); };
      co_await run_on(from, to, there);
    }
  };
  std::vector<Task<void>> calls;
  calls.reserve(cores.count());
  for (Reactor* r : cores) calls.push_back(OneCore::run(here, *r, f));
  co_await when_all(std::span(calls));
}

}  // namespace holdfast
