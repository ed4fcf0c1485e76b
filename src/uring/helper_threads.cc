#include "uring/helper_threads.h"

#include <system_error>
#include <utility>

#include <pthread.h>

#include "base/assert.h"

namespace holdfast::uring {

HelperThreads::~HelperThreads() {
  {
    const std::lock_guard lock(mutex_);
    HF_ASSERT(jobs_.empty());
    closing_ = true;
  }
  work_.notify_all();
  for (auto& t : threads_) t.join();
}

void HelperThreads::submit(HelperJob job) {
  const std::lock_guard lock(mutex_);
  jobs_.push_back(std::move(job));
  if (idle_ >= jobs_.size() || threads_.size() == threads_max) {
    work_.notify_one();
    return;
  }
  try {
    threads_.emplace_back([this] { serve(); });
  } catch (const std::system_error&) {
    if (threads_.empty()) panic("the system gives no thread");
    work_.notify_one();  // those that there are do it, later
  }
}

void HelperThreads::serve() noexcept {
  pthread_setname_np(pthread_self(), name_);
  static_cast<void>(pthread_setaffinity_np(pthread_self(), sizeof affinity_, &affinity_));
  std::unique_lock lock(mutex_);
  for (;;) {
    while (jobs_.empty() && !closing_) {
      ++idle_;
      work_.wait(lock);
      --idle_;
    }
    if (jobs_.empty()) return;
    HelperJob job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job.work();
    job.work = nullptr;
    job.reactor->send(*job.done);
    lock.lock();
  }
}

}  // namespace holdfast::uring
