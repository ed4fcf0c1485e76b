// World: one simulated universe. Virtual time, one seed, every reactor of every machine, their network.
//
// Everything that happens is a step: a coroutine resumed, a message run, a timer fired, or an event of the
// world (a sector written, bytes arrived). Which of the things that could happen happens next comes from the
// seed, so equal seeds give equal runs, and trace() shows it. Single threaded; no clock, no addresses, no
// unordered containers.
//
// A simulated process that crashes is never destroyed, only forgotten: its frames and objects stay reachable
// in the graveyard (LeakSanitizer), and nothing of it runs again. So the product needs no code for it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "rt/message.h"
#include "rt/task.h"
#include "rt/time.h"

namespace holdfast::sim {

class Node;
class SimNet;
class SimReactor;

// Keeps p reachable for ever: parts of crashed processes.
void bury(void* p);
void bury(std::function<void()> event);

class World {
 public:
  explicit World(std::uint64_t seed);
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  // Processes that were not crashed are stopped, which asserts that they gave back what they took. Tasks that
  // were spawned and have not finished make the processes count as crashed.
  ~World();

  std::uint64_t seed() const noexcept { return seed_; }
  // For faults and workloads. The scheduler, disks and network have generators of their own.
  Prng& random() noexcept { return random_; }
  Nanos now() const noexcept { return now_; }
  SimNet& net() noexcept { return *net_; }

  // The machine number i has the addresses 10.0.0.<i+1> and fd00::<i+1>.
  Node& add_node(std::string name);
  Node& node(std::size_t index) noexcept { return *nodes_[index]; }
  std::size_t node_count() const noexcept { return nodes_.size(); }

  // Runs `event` at a time, never earlier than now and in the order of the calls for equal times. With a
  // reactor it runs as that reactor's, waits while it is frozen, and is forgotten when it has crashed.
  void at(Nanos when, std::function<void()> event, SimReactor* on = nullptr);
  void after(Nanos delay, std::function<void()> event, SimReactor* on = nullptr) {
    at(now_ + delay, std::move(event), on);
  }

  // One thing happens. False: nothing is left to happen.
  bool step();
  // Steps until the predicate holds (true), or until virtual time passes the deadline or nothing is left.
  bool run_until(const std::function<bool()>& done, Nanos deadline);
  // Steps for that long; time gets there even when nothing happens.
  void run_for(Nanos duration);

  // Runs the task on a reactor to its end and returns its result. Panics when the world gets stuck, or when
  // that takes more virtual time than `limit`: a test that hangs.
  template <class T>
  T run(SimReactor& on, Task<T> task, Nanos limit = std::chrono::hours(1));
  // Starts a task on a reactor; the world owns it.
  void spawn(SimReactor& on, Task<void> task);

  // The reactor whose code runs right now; nullptr outside of any.
  SimReactor* current() const noexcept { return current_; }
  // A hash over everything that happened so far.
  std::uint64_t trace() const noexcept { return trace_; }
  void note(std::uint64_t what) noexcept;
  std::uint64_t steps() const noexcept { return steps_; }
  Prng fork_random() noexcept { return Prng(schedule_.next()); }

  // For SimReactor and Node.
  void attach(SimReactor& r) { live_.push_back(&r); }
  void detach(SimReactor& r) noexcept { std::erase(live_, &r); }
  bool has_events_on(const SimReactor& r) const noexcept;
  unsigned next_reactor_id() noexcept { return reactor_ids_++; }

 private:
  struct Event {
    Nanos when;
    std::uint64_t order;
    SimReactor* on;
    std::function<void()> run;
  };
  static bool later(const Event& a, const Event& b) noexcept {
    return a.when != b.when ? a.when > b.when : a.order > b.order;
  }
  struct Root final : Message {
    explicit Root(Task<void> t) : task(std::move(t)) {}
    void run() noexcept override { task.start(nullptr); }
    Task<void> task;
  };

  bool run_due();
  bool run_ready();
  Nanos next_time() const noexcept;
  void run_event();
  void start(SimReactor& on, Message& first);
  void drop_finished_roots();
  void run_root(SimReactor& on, Root& root, Nanos limit);

  std::uint64_t seed_;
  Prng schedule_;
  Prng random_;
  Nanos now_{0};
  std::uint64_t steps_ = 0;
  std::uint64_t trace_;
  std::uint64_t order_ = 0;
  unsigned reactor_ids_ = 0;
  SimReactor* current_ = nullptr;
  std::vector<Event> events_;  // a heap
  std::vector<SimReactor*> live_;
  std::vector<std::unique_ptr<Root>> roots_;
  std::unique_ptr<SimNet> net_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

namespace detail {

template <class T>
Task<void> keep_result(Task<T> task, std::optional<T>& out) {
  out.emplace(co_await task);
}

}  // namespace detail

template <class T>
T World::run(SimReactor& on, Task<T> task, Nanos limit) {
  if constexpr (std::is_void_v<T>) {
    Root root(std::move(task));
    run_root(on, root, limit);
  } else {
    std::optional<T> out;
    Root root(detail::keep_result(std::move(task), out));
    run_root(on, root, limit);
    return std::move(*out);
  }
}

}  // namespace holdfast::sim
