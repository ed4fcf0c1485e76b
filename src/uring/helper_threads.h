// HelperThreads: a few threads for calls that may block (opening devices, resolving names, discards).
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
  static constexpr std::size_t threads_max = 8;

  // Helper threads run on `affinity`, not on the one CPU that a pinned reactor has.
  explicit HelperThreads(const cpu_set_t& affinity) : affinity_(affinity) {}
  HelperThreads(const HelperThreads&) = delete;
  HelperThreads& operator=(const HelperThreads&) = delete;
  // Every job has been done by then.
  ~HelperThreads();

  // Any thread. Jobs start in order; threads are made when they are needed.
  void submit(HelperJob job);

 private:
  void serve() noexcept;

  const cpu_set_t affinity_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<HelperJob> jobs_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool closing_ = false;
};

}  // namespace holdfast::uring
