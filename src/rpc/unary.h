// A gRPC call that a coroutine awaits. The call runs on gRPC's threads, its answer comes back to the reactor as a
// message.
//
//   const auto stub = etcdserverpb::KV::NewStub(channel);
//   rpc::CallOptions options(5s);
//   HF_CO_TRY(auto answer,
//             co_await rpc::unary(home, *stub->async(), &KV::Stub::async::Range, request, options));
#pragma once

#include <chrono>
#include <coroutine>
#include <functional>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include "base/error.h"
#include "rpc/status.h"
#include "rt/message.h"
#include "rt/reactor.h"
#include "rt/stop.h"
#include "rt/task.h"

namespace holdfast::rpc {

struct CallOptions {
  CallOptions() = default;
  explicit CallOptions(Nanos t, StopToken s = StopToken()) : timeout(t), stop(s) {}

  Nanos timeout = 10s;  // no_deadline: none
  // Asks gRPC to give the call up, which then ends with CANCELLED; the peer may carry it out all the same.
  StopToken stop;
  // Waits for a connection until the deadline, instead of failing at once while there is none.
  bool wait_for_ready = false;
  std::vector<std::pair<std::string, std::string>> metadata;
};

template <class Reply>
struct Answer {
  grpc::Status status;
  Reply reply;
  std::map<std::string, std::string> trailers;  // the peer's trailing metadata; the first of equal names
};

void apply(const CallOptions& options, grpc::ClientContext& context);
std::map<std::string, std::string> trailers_of(const grpc::ClientContext& context);

namespace detail {

template <class Async, class Request, class Reply>
using Method = void (Async::*)(grpc::ClientContext*, const Request*, Reply*,
                               std::function<void(grpc::Status)>);

template <class Async, class Request, class Reply>
class UnaryCall final : Message, StopCallback {
 public:
  UnaryCall(Reactor& home, Async& stub, Method<Async, Request, Reply> method, const Request& request,
            const CallOptions& options)
      : home_(home), stub_(stub), method_(method), request_(request), stop_(options.stop) {
    apply(options, context_);
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) {
    waiter_ = waiter;
    (stub_.*method_)(&context_, &request_, &answer_.reply, [this](grpc::Status status) {
      answer_.status = std::move(status);
      home_.send(*this);
    });
    stop_.subscribe(*this);
  }
  Answer<Reply> await_resume() {
    answer_.trailers = trailers_of(context_);
    return std::move(answer_);
  }

 private:
  void run() noexcept override {
    unregister();
    home_.post(waiter_);
  }
  void on_stop() noexcept override { context_.TryCancel(); }

  Reactor& home_;
  Async& stub_;
  const Method<Async, Request, Reply> method_;
  const Request& request_;
  StopToken stop_;
  grpc::ClientContext context_;
  Answer<Reply> answer_;
  std::coroutine_handle<> waiter_;
};

}  // namespace detail

// On `home`. The stub outlives the call. Always ends; with the deadline at the latest.
template <class Async, class Request, class Reply>
Task<Answer<Reply>> call(Reactor& home, Async& stub, detail::Method<Async, Request, Reply> method,
                         std::type_identity_t<Request> request, CallOptions options) {
  detail::UnaryCall<Async, Request, Reply> under_way(home, stub, method, request, options);
  co_return co_await under_way;
}

// The same for callers who need no more than the reply or the Error (error_of).
template <class Async, class Request, class Reply>
Task<Result<Reply>> unary(Reactor& home, Async& stub, detail::Method<Async, Request, Reply> method,
                          std::type_identity_t<Request> request, CallOptions options) {
  detail::UnaryCall<Async, Request, Reply> under_way(home, stub, method, request, options);
  Answer<Reply> answer = co_await under_way;
  if (!answer.status.ok()) co_return error_of(answer.status);
  co_return std::move(answer.reply);
}

}  // namespace holdfast::rpc
