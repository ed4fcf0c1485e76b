#include "http/worker_pool.h"

#include <system_error>
#include <utility>

namespace holdfast::http {

void WorkerPool::enqueue(std::function<void()> job) {
  std::unique_lock lock(mutex_);
  room_there_.wait(lock, [&] { return jobs_.size() < threads_max_; });
  jobs_.push_back(std::move(job));
  if (idle_ < jobs_.size() && threads_.size() < threads_max_ && !add_thread() && threads_.empty()) {
    const auto mine = std::move(jobs_.back());
    jobs_.pop_back();
    lock.unlock();
    return mine();
  }
  work_there_.notify_one();
}

// False when the system has none left: the job waits for one that there is.
bool WorkerPool::add_thread() {
  try {
    threads_.emplace_back([this] { work(); });
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

void WorkerPool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    work_there_.wait(lock, [&] { return !jobs_.empty() || ending_; });
    --idle_;
    if (jobs_.empty()) return;
    const auto job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    room_there_.notify_one();
    job();
    lock.lock();
  }
}

void WorkerPool::shutdown() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  work_there_.notify_all();
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace holdfast::http
