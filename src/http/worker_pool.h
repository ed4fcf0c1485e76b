// The threads of a server: started when they are wanted, up to a limit. When all are busy and as many connections
// wait, the caller waits too, so that further ones queue in the kernel.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace holdfast::http {

class WorkerPool {
 public:
  explicit WorkerPool(std::size_t threads_max) : threads_max_(threads_max) {}
  ~WorkerPool() { shutdown(); }
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void enqueue(std::function<void()> job);
  // What is queued is still done. Returns when every thread has ended.
  void shutdown();

 private:
  void work();
  bool add_thread();

  const std::size_t threads_max_;
  std::mutex mutex_;
  std::condition_variable work_there_;
  std::condition_variable room_there_;
  std::deque<std::function<void()>> jobs_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool ending_ = false;
};

}  // namespace holdfast::http
