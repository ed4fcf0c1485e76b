// Who wants to be called when a volume changes: a PUT with the event to the callback of each watch. Kept in memory, of
// this agent alone.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
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

  explicit Watches(Home& home) : home_(home) {}
  ~Watches() { stop(); }
  Watches(const Watches&) = delete;
  Watches& operator=(const Watches&) = delete;

  // Any thread. Errors of add(): InvalidArgument (not http://host[:port]/... or https://), AlreadyExists,
  // ResourceExhausted. Of remove(): NotFound.
  std::vector<std::string> of(const Uuid& volume) const;
  Status add(const Uuid& volume, std::string callback);
  Status remove(const Uuid& volume, const std::string& callback);

  // Ends the thread that calls.
  void stop();

 private:
  void run();
  void call_all(const Event& event);
  // Tries for a while; false: given up.
  bool call(const std::string& callback, const std::string& body);
  // False when stopped before.
  bool pause(std::chrono::milliseconds time);

  Home& home_;
  mutable std::mutex mutex_;
  std::condition_variable stopped_;
  bool stopping_ = false;
  std::map<Uuid, std::vector<std::string>> callbacks_;
  std::size_t count_ = 0;
  std::thread thread_;  // once there is a watch
};

}  // namespace holdfast::control::rest
