// The API over a plain service on a home reactor of its own, without sockets.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "control/rest/api.h"
#include "control/rest/testing/plain_service.h"
#include "rpc/home_call.h"
#include "uring/runtime.h"

namespace holdfast::control::rest::testing {

class ApiRig {
 public:
  explicit ApiRig(ApiOptions options = {}) {
    std::promise<void> ready;
    thread_ = std::thread([this, &ready] { run(ready); });
    ready.get_future().wait();
    api_ = std::make_unique<Api>(*home_, std::move(options));
  }
  ~ApiRig() {
    api_.reset();
    runtime_->stop();
    thread_.join();
  }
  ApiRig(const ApiRig&) = delete;
  ApiRig& operator=(const ApiRig&) = delete;

  Api& api() { return *api_; }
  Home& home() { return *home_; }
  http::Reply ask(const std::string& method, const std::string& target, const std::string& body = "",
                  const std::string& authorization = "") {
    http::Request request;
    request.method = method;
    request.target = target;
    request.body = body;
    request.authorization = authorization;
    return api_->handle(request);
  }
  // What the service was asked last.
  std::string last() {
    auto text = home_->read([](Service& service) { return static_cast<PlainService&>(service).last(); });
    return text.ok() ? text.value() : text.error().message();
  }
  void fail_with(std::optional<Error> error) {
    home_
        ->read([error](Service& service) {
          static_cast<PlainService&>(service).fail_with(error);
          return true;
        })
        .ignore("set");
  }
  void answer_after(Nanos delay) {
    home_
        ->read([delay](Service& service) {
          static_cast<PlainService&>(service).answer_after(delay);
          return true;
        })
        .ignore("set");
  }

 private:
  struct Asked final : StopCallback {
    Asked(Reactor& home, StopToken stop) : event(home) { stop.subscribe(*this); }
    void on_stop() noexcept override { event.set(); }
    holdfast::Event event;
  };
  static Task<Status> serve(Reactor& home, StopToken stop, rpc::HomePort& port) {
    Asked asked(home, stop);
    co_await asked.event.wait();
    co_await port.close();
    co_return Status();
  }
  void run(std::promise<void>& ready) {
    uring::Runtime::Options options;
    options.spin_us = 0;
    auto runtime = uring::Runtime::create(options);
    HF_ASSERT(runtime.ok());
    runtime_ = runtime.value().get();
    rpc::HomePort port(runtime_->home());
    PlainService service(runtime_->home());
    home_ = std::make_unique<Home>(port, service);
    ready.set_value();
    runtime_->run(serve(runtime_->home(), runtime_->stop_token(), port)).ignore("it cannot fail");
    home_.reset();
  }

  uring::Runtime* runtime_ = nullptr;
  std::unique_ptr<Home> home_;
  std::unique_ptr<Api> api_;
  std::thread thread_;
};

}  // namespace holdfast::control::rest::testing
