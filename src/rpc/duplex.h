// A bidirectional gRPC stream that coroutines read and write.
//
//   rpc::Duplex<WatchRequest, WatchResponse> stream(home);
//   stream.begin(*stub->async(), &Watch::Stub::async::Watch, options);
//   if (co_await stream.write(request)) { while (co_await stream.read(answer)) ... }
//   const grpc::Status status = co_await stream.end();
#pragma once

#include <atomic>
#include <utility>

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>
#include <grpcpp/support/status.h>

#include "base/assert.h"
#include "rpc/unary.h"
#include "rt/message.h"
#include "rt/reactor.h"
#include "rt/task.h"
#include "rt/wait.h"

namespace holdfast::rpc {

// On one reactor; gRPC's threads send messages to it. One reader and one writer at a time. end() is awaited
// before destruction, when begin() was called (asserted).
template <class Request, class Reply>
class Duplex final : grpc::ClientBidiReactor<Request, Reply>, StopCallback {
  using Base = grpc::ClientBidiReactor<Request, Reply>;

 public:
  explicit Duplex(Reactor& home) : read_(home), write_(home), done_(home) {}
  Duplex(const Duplex&) = delete;
  Duplex& operator=(const Duplex&) = delete;
  ~Duplex() override { HF_ASSERT(!begun_ || ended_); }

  // Once. The stop of the options cancels the stream.
  template <class Async>
  void begin(Async& stub, void (Async::*method)(grpc::ClientContext*, Base*), const CallOptions& options) {
    HF_ASSERT(!begun_);
    begun_ = true;
    apply(options, context_);
    (stub.*method)(&context_, this);
    Base::AddHold();  // reads and writes start on the reactor's thread, also after the peer has ended
    Base::StartCall();
    options.stop.subscribe(*this);
  }
  // False: the stream is over; end() says why.
  Task<bool> write(const Request& request) {
    write_.finished.reset();
    Base::StartWrite(&request);
    co_await write_.finished.wait();
    co_return write_.ok;
  }
  Task<bool> read(Reply& into) {
    read_.finished.reset();
    Base::StartRead(&into);
    co_await read_.finished.wait();
    co_return read_.ok;
  }
  // What is under way ends soon with false.
  void cancel() { context_.TryCancel(); }
  // Cancels what is left of the stream and waits for its end. No read or write is under way.
  Task<grpc::Status> end() {
    HF_ASSERT(begun_ && !ended_);
    unregister();
    context_.TryCancel();
    Base::RemoveHold();
    co_await done_.finished.wait();
    ended_ = true;
    co_return status_;
  }

 private:
  // An operation that ends on gRPC's thread, and is known of on the reactor.
  struct Operation final : Message {
    explicit Operation(Reactor& r) noexcept : home(r), finished(r) {}
    void run() noexcept override { finished.set(); }
    Reactor& home;
    Event finished;
    bool ok = false;
  };

  void OnReadDone(bool ok) override { finish(read_, ok); }
  void OnWriteDone(bool ok) override { finish(write_, ok); }
  void OnDone(const grpc::Status& status) override {
    status_ = status;
    finish(done_, true);
  }
  static void finish(Operation& operation, bool ok) noexcept {
    operation.ok = ok;
    operation.home.send(operation);
  }
  void on_stop() noexcept override { cancel(); }

  grpc::ClientContext context_;
  Operation read_;
  Operation write_;
  Operation done_;
  grpc::Status status_;
  bool begun_ = false;
  bool ended_ = false;
};

}  // namespace holdfast::rpc
