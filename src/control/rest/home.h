// How a thread of the REST server has something done on the home reactor, where the service lives.
#pragma once

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "control/model/kind.h"
#include "control/service.h"

namespace holdfast::rpc {
class HomePort;
}

namespace holdfast::control::rest {

struct Done {};

class Home {
 public:
  // Both outlive it and every call.
  Home(rpc::HomePort& port, Service& service) noexcept : port_(port), service_(service) {}

  // The answer of work(Service&) -> T or Result<T>, which changes nothing. Errors: those of the work; Unavailable when
  // the agent stops; Timeout when it does not get to it.
  template <class Work>
  auto read(Work work) {
    using T = typename Value<std::invoke_result_t<Work&, Service&>>::type;
    return ask<T>(read_patience, std::make_unique<ReadJob<T, Work>>(std::move(work)));
  }

  // The answer of work(Service&) -> Task<Result<T>>, T void included (then Done). The work goes on when `patience` is
  // over and the answer Timeout.
  template <class Work>
  auto change(std::chrono::milliseconds patience, Work work) {
    using T = typename Value<typename std::invoke_result_t<Work&, Service&>::value_type>::type;
    return ask<T>(patience, std::make_unique<ChangeJob<T, Work>>(std::move(work)));
  }

  // Events with a number above `after`, as soon as there is one; none when there is none for a second.
  Result<std::vector<Event>> next_events(std::uint64_t after);

  static constexpr std::chrono::milliseconds read_patience{5000};

 private:
  template <class T>
  struct Value {
    using type = T;
  };
  template <class T>
  struct Value<Result<T>> {
    using type = std::conditional_t<std::is_void_v<T>, Done, T>;
  };

  // Work on its way to the home reactor. Whoever gave up waiting for it does not keep it from being done.
  class Job {
   public:
    Job() = default;
    Job(const Job&) = delete;
    Job& operator=(const Job&) = delete;
    virtual ~Job() = default;
    // True, always.
    virtual Task<bool> run(Service& service) = 0;
  };

  // A Result that may be dropped unread.
  template <class T>
  struct Outcome {
    std::optional<T> value;
    std::optional<Error> error;
  };

  template <class T>
  class Answering : public Job {
   public:
    // Not carried out: the port is closed.
    ~Answering() override {
      if (!answered_) promise_.set_value({std::nullopt, stopping()});
    }
    std::future<Outcome<T>> answer() { return promise_.get_future(); }

   protected:
    template <class R>
    void set(R result) {
      Outcome<T> outcome;
      if (!result.ok()) {
        outcome.error = result.error();
      } else if constexpr (std::is_void_v<typename R::value_type>) {
        outcome.value.emplace();
      } else {
        outcome.value.emplace(std::move(result).value());
      }
      answered_ = true;
      promise_.set_value(std::move(outcome));
    }

   private:
    std::promise<Outcome<T>> promise_;
    bool answered_ = false;
  };

  template <class T, class Work>
  class ReadJob final : public Answering<T> {
   public:
    explicit ReadJob(Work work) : work_(std::move(work)) {}
    Task<bool> run(Service& service) override {
      using R = std::invoke_result_t<Work&, Service&>;
      if constexpr (std::is_same_v<R, T>) {
        this->set(Result<T>(work_(service)));
      } else {
        this->set(R(work_(service)));
      }
      co_return true;
    }

   private:
    Work work_;
  };

  template <class T, class Work>
  class ChangeJob final : public Answering<T> {
   public:
    explicit ChangeJob(Work work) : work_(std::move(work)) {}
    Task<bool> run(Service& service) override {
      auto result = co_await work_(service);
      this->set(std::move(result));
      co_return true;
    }

   private:
    Work work_;
  };

  template <class T>
  Result<T> ask(std::chrono::milliseconds patience, std::unique_ptr<Answering<T>> job) {
    auto answer = job->answer();
    send(std::move(job));
    if (answer.wait_for(patience) != std::future_status::ready) return late(patience);
    Outcome<T> outcome = answer.get();
    if (outcome.error) return std::move(*outcome.error);
    return std::move(*outcome.value);
  }

  void send(std::unique_ptr<Job> job);
  static Error late(std::chrono::milliseconds patience);
  static Error stopping();

  rpc::HomePort& port_;
  Service& service_;
};

}  // namespace holdfast::control::rest
