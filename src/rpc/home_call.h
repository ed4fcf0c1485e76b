// How a gRPC thread gets work done on the home reactor: the work is sent there as a task, the thread waits
// for its answer until the caller's deadline (or the default one) has passed or the caller is gone. The work
// itself always runs to its end; what it needs it owns.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "base/error.h"
#include "rt/message.h"
#include "rt/reactor.h"
#include "rt/task.h"
#include "rt/wait.h"

namespace holdfast::rpc {

// Waits for `ready` as long as the call of `context` is wanted. OK when it is ready.
grpc::Status wait_for_answer(grpc::ServerContext& context,
                             const std::function<bool(std::chrono::milliseconds)>& ready);

// Where calls go. Lives on the home core; outlives every call.
class HomePort {
 public:
  explicit HomePort(Reactor& home) noexcept : home_(home), gate_(home) {}

  Reactor& home() const noexcept { return home_; }
  // Home core. No further work is let in; returns when what is under way has ended.
  Task<void> close() { return gate_.close(); }
  Gate& gate() noexcept { return gate_; }

 private:
  Reactor& home_;
  Gate gate_;
};

namespace detail {

// Work on its way to the home core and its answer on the way back. Owns itself until the work has ended.
template <class Work, class Convert>
class HomeCall final : Message, TaskObserver {
  using ResultType = typename std::invoke_result_t<Work&>::value_type;
  using Answer = std::invoke_result_t<Convert&, ResultType&>;

 public:
  static std::future<Answer> start(HomePort& port, Work work, Convert convert, Answer refused) {
    auto* call = new HomeCall(port, std::move(work), std::move(convert), std::move(refused));
    auto answer = call->promise_.get_future();
    port.home().send(*call);
    return answer;
  }

 private:
  HomeCall(HomePort& port, Work work, Convert convert, Answer refused)
      : port_(port), work_(std::move(work)), convert_(std::move(convert)), refused_(std::move(refused)) {}

  void run() noexcept override {
    hold_.emplace(port_.gate().enter());
    if (!*hold_) {
      promise_.set_value(std::move(refused_));
      delete this;
      return;
    }
    task_.emplace(work_());
    task_->start(this);
    if (task_->done()) finish();
  }
  void task_finished(std::coroutine_handle<>) noexcept override { finish(); }
  void finish() noexcept {
    ResultType result = task_->take();
    task_.reset();
    promise_.set_value(convert_(result));
    delete this;
  }

  HomePort& port_;
  Work work_;
  Convert convert_;
  Answer refused_;
  std::optional<Gate::Hold> hold_;
  std::optional<Task<ResultType>> task_;
  std::promise<Answer> promise_;
};

}  // namespace detail

// Runs work() -> Task<Result<Reply>> on the home core and gives its reply, or the status that `to_status`
// makes of its error. `work` owns copies of everything it uses: it may outlive the call.
template <class Reply, class Work>
grpc::Status call_home(HomePort& port, grpc::ServerContext& context, Reply* reply,
                       grpc::Status (*to_status)(const Error&), Work work) {
  struct Answer {
    grpc::Status status;
    Reply reply;
  };
  const auto convert = [to_status](Result<Reply>& result) {
    Answer answer;
    if (result.ok()) {
      answer.reply = std::move(result).value();
    } else {
      answer.status = to_status(result.error());
    }
    return answer;
  };
  Answer refused;
  refused.status = grpc::Status(grpc::StatusCode::UNAVAILABLE, "this process is stopping");
  auto future =
      detail::HomeCall<Work, decltype(convert)>::start(port, std::move(work), convert, std::move(refused));
  const auto ready = [&](std::chrono::milliseconds patience) {
    return future.wait_for(patience) == std::future_status::ready;
  };
  auto waited = wait_for_answer(context, ready);
  if (!waited.ok()) return waited;
  Answer answer = future.get();
  if (answer.status.ok()) *reply = std::move(answer.reply);
  return answer.status;
}

// For threads that serve no gRPC call: the value of work() -> Task<T>, or nothing when the process is stopping
// or the answer takes longer than `patience`.
template <class T, class Work>
std::optional<T> ask_home(HomePort& port, std::chrono::milliseconds patience, Work work) {
  const auto convert = [](T& value) { return std::optional<T>(std::move(value)); };
  auto future =
      detail::HomeCall<Work, decltype(convert)>::start(port, std::move(work), convert, std::optional<T>());
  if (future.wait_for(patience) != std::future_status::ready) return std::nullopt;
  return future.get();
}

}  // namespace holdfast::rpc
