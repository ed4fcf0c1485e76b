#include "uring/runtime.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <semaphore>
#include <string>
#include <thread>

#include <pthread.h>
#include <sched.h>

#include "uring/uring_reactor.h"

namespace holdfast::uring {

namespace {

cpu_set_t current_affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) CPU_SET(0, &set);
  return set;
}

// The index-th CPU of the set, round and round.
cpu_set_t single_cpu(const cpu_set_t& allowed, unsigned index) {
  int skip = static_cast<int>(index) % std::max(1, CPU_COUNT(&allowed));
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed) && skip-- == 0) CPU_SET(cpu, &one);
  }
  return one;
}

// cgroup v2: "max 100000" or "200000 100000".
unsigned cgroup_cpus(unsigned otherwise) {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  std::uint64_t period = 0;
  if (!(file >> quota >> period) || period == 0) return otherwise;
  auto number = parse_number(quota);
  if (!number.ok()) return otherwise;
  return static_cast<unsigned>(std::max<std::uint64_t>(1, number.value() / period));
}

}  // namespace

struct Runtime::Shared {
  explicit Shared(const cpu_set_t& set) : affinity(set), helpers(std::make_unique<Helpers>(set)) {}
  const cpu_set_t affinity;
  std::unique_ptr<Helpers> helpers;
};

// A core with a thread of its own.
struct Runtime::Worker {
  // Ends the loop, from inside it.
  struct Quit final : Message {
    void run() noexcept override { now = true; }
    bool now = false;
  };

  void serve(const UringReactor::Options& options, Helpers& helpers) {
    pthread_setname_np(pthread_self(), ("core" + std::to_string(options.core)).c_str());
    auto own = std::make_unique<UringReactor>(options, helpers);
    opened.emplace(own->open());
    reactor = own.get();
    const bool serving = opened->ok();
    ready.release();
    while (serving && !quit.now) own->turn();
    dismissed.acquire();
  }

  UringReactor* reactor = nullptr;
  std::optional<Status> opened;  // set when `ready` is released
  std::binary_semaphore ready{0};
  std::binary_semaphore dismissed{0};  // nobody touches the reactor any more
  Quit quit;
  std::thread thread;
};

unsigned Runtime::usable_cpus() {
  const cpu_set_t set = current_affinity();
  const auto allowed = static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
  return std::min(allowed, cgroup_cpus(allowed));
}

Result<std::unique_ptr<Runtime>> Runtime::create(const Options& options) {
  if (options.cores > cores_max)
    return Error(Errc::invalid_argument, "at most " + std::to_string(cores_max) + " cores are supported");
  Options chosen = options;
  if (chosen.cores == 0) chosen.cores = std::min(4u, usable_cpus());
  std::unique_ptr<Runtime> runtime(new Runtime(chosen));
  HF_CHECK(runtime->start(chosen));
  return runtime;
}

Runtime::Runtime(const Options&) : shared_(std::make_unique<Shared>(current_affinity())) {}

Status Runtime::start(const Options& options) {
  UringReactor::Options each;
  each.spin = options.spin_us < 0 ? Nanos{-1} : std::chrono::microseconds(options.spin_us);
  each.buffer_bytes = options.memory_bytes / options.cores;
  for (unsigned core = 1; core < options.cores; ++core) {
    each.core = core;
    auto worker = std::make_unique<Worker>();
    Worker* w = worker.get();
    w->thread = std::thread([this, w, each] { w->serve(each, *shared_->helpers); });
    workers_.push_back(std::move(worker));
    w->ready.acquire();
    if (!w->opened->ok()) return w->opened->error();
  }
  each.core = 0;
  home_ = std::make_unique<UringReactor>(each, *shared_->helpers);
  HF_CHECK(home_->open());
  if (options.pin) {
    for (unsigned core = 0; core < options.cores; ++core) {
      const cpu_set_t one = single_cpu(shared_->affinity, core);
      const pthread_t thread = core == 0 ? pthread_self() : workers_[core - 1]->thread.native_handle();
      static_cast<void>(pthread_setaffinity_np(thread, sizeof one, &one));
    }
  }
  std::vector<Reactor*> all(1, home_.get());
  for (const auto& w : workers_) all.push_back(w->reactor);
  cores_ = std::make_unique<Cores>(all);
  return Status();
}

// Who sends to a reactor touches it for a moment after the message was taken. So helpers end first, then the
// workers, and a worker keeps its reactor until the call that ends it has returned.
Runtime::~Runtime() {
  shared_->helpers.reset();
  for (auto& w : workers_) {
    if (w->opened->ok()) w->reactor->send(w->quit);
  }
  for (auto& w : workers_) w->dismissed.release();
  for (auto& w : workers_) w->thread.join();
}

void Runtime::turn_until(const bool& finished) noexcept {
  while (!finished) home_->turn();
}

void Runtime::stop() noexcept {
  if (!stop_sent_.exchange(true)) home_->send(stop_message_);
}

}  // namespace holdfast::uring
