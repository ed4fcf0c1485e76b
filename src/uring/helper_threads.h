// HelperThreads: threads for calls that may block (opening devices, resolving names, discards).
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include <sched.h>

#include "rt/message.h"
#include "rt/reactor.h"

namespace holdfast::uring {

// Work for a helper thread; the message then goes back to its reactor.
struct HelperJob {
  std::function<void()> work;
  Reactor* reactor = nullptr;
  Message* done = nullptr;
};

class HelperThreads {
 public:
  static constexpr std::size_t threads_max = 32;

  // They run on `affinity`, not on the one CPU that a pinned reactor has. `name`: of each thread, up to 15 characters.
  HelperThreads(const cpu_set_t& affinity, const char* name) : affinity_(affinity), name_(name) {}
  HelperThreads(const HelperThreads&) = delete;
  HelperThreads& operator=(const HelperThreads&) = delete;
  // Every job has been done by then.
  ~HelperThreads();

  // Any thread. Jobs start in order; threads are made when they are needed.
  void submit(HelperJob job);

 private:
  void serve() noexcept;

  const cpu_set_t affinity_;
  const char* const name_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<HelperJob> jobs_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool closing_ = false;
};

// Discards have threads of their own: a disk that answers none of them keeps nobody from opening another one, nor from
// resolving a name.
struct Helpers {
  explicit Helpers(const cpu_set_t& affinity) : calls(affinity, "helper"), discards(affinity, "discard") {}
  HelperThreads calls;
  HelperThreads discards;
};

}  // namespace holdfast::uring
