// PatientCalls: questions to what may never answer, a disk that hangs for one, by somebody who does not hang with it.
//
// Each runs on a thread of its own until it has its answer, however late that is. Whoever asks the same meanwhile waits
// for that one: what hangs keeps one thread. Any thread.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace holdfast::engine {

template <class Answer>
class PatientCalls {
 public:
  using Clock = std::chrono::steady_clock;

  class Pending {
   public:
    // nullopt: there is no answer by then.
    std::optional<Answer> wait(Clock::time_point until) const {
      if (!answer_.valid() || answer_.wait_until(until) != std::future_status::ready) return std::nullopt;
      return answer_.get();
    }

   private:
    friend class PatientCalls;
    std::shared_future<Answer> answer_;  // not valid: there was no thread for it
  };

  PatientCalls() = default;
  PatientCalls(const PatientCalls&) = delete;
  PatientCalls& operator=(const PatientCalls&) = delete;

  // `name` tells questions apart. `ask` owns what it needs, and may outlive this; it does not throw.
  Pending begin(const std::string& name, std::function<Answer()> ask) {
    const std::lock_guard hold(mutex_);
    Pending& known = calls_[name];
    if (known.answer_.valid() && !known.wait(Clock::now())) return known;
    std::promise<Answer> promise;
    known.answer_ = promise.get_future().share();
    try {
      std::thread([promise = std::move(promise), ask = std::move(ask)]() mutable {
        promise.set_value(ask());
      }).detach();
    } catch (const std::system_error&) {
      known = Pending();
    }
    return known;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, Pending> calls_;
};

}  // namespace holdfast::engine
