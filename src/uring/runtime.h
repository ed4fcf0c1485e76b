// Runtime: the cores of a process. One UringReactor per core; core 0, home, runs on the thread that made the
// Runtime, the others on threads of their own.
//
//   HF_TRY(auto runtime, uring::Runtime::create(options));
//   Status done = runtime->run(serve(runtime->cores(), runtime->stop_token()));
//
// Other threads (gRPC) reach a core by Reactor::send. Threads started from the home thread inherit its CPU
// when cores are pinned: start them before create(), or by run_blocking.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "rt/message.h"
#include "rt/reactor.h"
#include "rt/stop.h"
#include "rt/task.h"

namespace holdfast::uring {

class UringReactor;

class Runtime final {
 public:
  static constexpr unsigned cores_max = 64;

  struct Options {
    unsigned cores = 1;         // 0: all that the process may use (affinity and cgroup), at most 4
    std::int64_t spin_us = 50;  // how long an idle core polls before it sleeps; -1: it never sleeps
    std::uint64_t memory_bytes = 256 * MiB;  // budget of I/O buffers, split over the cores; taken when needed
    bool pin = false;                        // each core's thread to one CPU
  };

  // Errors: invalid_argument (more cores than cores_max), and those of io_uring (texts name the remedy).
  static Result<std::unique_ptr<Runtime>> create(const Options& options);
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  // On the thread that made it. Nothing is under way on any core.
  ~Runtime();

  const Cores& cores() const noexcept { return *cores_; }
  Reactor& home() const noexcept { return cores_->home(); }

  // Runs `main` on the home core until it has finished; the other cores turn meanwhile. On the thread that
  // made the Runtime; may be called again afterwards.
  template <class T>
  T run(Task<T> main) {
    MainTask observer;
    main.start(&observer);
    if (!main.done()) turn_until(observer.finished);
    return main.take();
  }

  // Requests the stop that stop_token() shows to tasks of the home core. Any thread, and signal handlers;
  // only the first call counts.
  void stop() noexcept;
  StopToken stop_token() noexcept { return stop_.token(); }

  // CPUs that the process may use: affinity and cgroup quota, at least 1.
  static unsigned usable_cpus();

 private:
  struct Worker;
  struct Shared;
  struct MainTask final : TaskObserver {
    void task_finished(std::coroutine_handle<>) noexcept override { finished = true; }
    bool finished = false;
  };
  struct StopMessage final : Message {
    explicit StopMessage(StopSource& s) noexcept : source(s) {}
    void run() noexcept override { source.request_stop(); }
    StopSource& source;
  };

  explicit Runtime(const Options& options);
  Status start(const Options& options);
  void turn_until(const bool& finished) noexcept;

  std::unique_ptr<Shared> shared_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<UringReactor> home_;
  std::unique_ptr<Cores> cores_;
  StopSource stop_;
  StopMessage stop_message_{stop_};
  std::atomic<bool> stop_sent_{false};
};

}  // namespace holdfast::uring
