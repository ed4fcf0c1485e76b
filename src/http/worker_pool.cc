#include "http/worker_pool.h"

#include <utility>

namespace holdfast::http {

void WorkerPool::enqueue(std::function<void()> job) {
  std::unique_lock lock(mutex_);
  room_there_.wait(lock, [&] { return jobs_.size() < threads_max_; });
  jobs_.push_back(std::move(job));
  if (idle_ < jobs_.size() && threads_.size() < threads_max_) threads_.emplace_back([this] { work(); });
  work_there_.notify_one();
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
