// Who wants to be called when a volume changes: a PUT with the event to the callback of each watch. Kept in memory, of
// this agent alone. Each watch is told in order, and waits for itself alone: one that does not answer, or does not end
// its answer, delays no other.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/uuid.h"
#include "control/rest/home.h"

namespace holdfast::control::rest {

class Watches {
 public:
  static constexpr std::size_t watches_max = 1000;
  // What a watch was not told yet; further events are dropped, and that is logged.
  static constexpr std::size_t untold_max = 256;

  explicit Watches(Home& home) : home_(home) {}
  ~Watches() { stop(); }
  Watches(const Watches&) = delete;
  Watches& operator=(const Watches&) = delete;

  // Any thread. Errors of add(): InvalidArgument (not http://host[:port]/... or https://), AlreadyExists,
  // ResourceExhausted. Of remove(): NotFound. `last`: the number of the last event that is not to be told.
  std::vector<std::string> of(const Uuid& volume) const;
  Status add(const Uuid& volume, std::string callback, std::uint64_t last);
  Status remove(const Uuid& volume, const std::string& callback);

  // Ends the threads that call.
  void stop();

 private:
  using Clock = std::chrono::steady_clock;
  struct Watch {
    std::uint64_t number = 0;  // of each that was ever added, another one
    std::string callback;
    std::deque<std::string> untold{};
    bool being_called = false;
    int failures = 0;   // of the first of the untold
    bool dead = false;  // the last call failed
    Clock::time_point not_before{};
  };
  struct Call {
    Uuid volume;
    std::uint64_t watch = 0;
    std::string callback;
    std::string body;
    bool to_dead = false;
  };
  static constexpr unsigned callers = 8;
  // So many at most wait for those whose last call failed: the others are there for those that answer.
  static constexpr unsigned callers_of_the_dead_max = callers / 2;

  struct Calling;

  void listen(std::uint64_t after);
  void note(const Event& event);
  void work();
  // The next call that is due. With the lock. None: `wake` says when there may be one.
  std::optional<Call> take_call(Clock::time_point& wake);
  void note_called(const Call& call, bool told);
  Watch* find(const Uuid& volume, std::uint64_t watch);
  static bool tell(Calling& calling, const std::string& path, const std::string& body);
  // Ends the calls that were to be over by then.
  void end_calls(Clock::time_point due);
  // False when stopped before.
  bool pause(std::chrono::milliseconds time);

  Home& home_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::map<Uuid, std::vector<Watch>> watches_;
  std::size_t count_ = 0;
  std::uint64_t last_number_ = 0;
  unsigned calls_to_dead_ = 0;
  std::set<Calling*> calling_;        // on the stacks of the threads that call
  std::vector<std::thread> threads_;  // once there is a watch
};

}  // namespace holdfast::control::rest
