// The engine's heartbeat: tells a control plane that it is here, every few seconds, and on a clean stop that
// it goes.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "mayastor/v1/registration.pb.h"

namespace holdfast::engine {

class Registration {
 public:
  // Calls `endpoint` (host:port) from a thread of its own, at once and then each interval. A control plane
  // that cannot be reached is logged when that begins and when it ends; it stops nothing.
  Registration(std::string endpoint, mayastor::v1::RegisterRequest request);
  // Ends the thread, without deregistering.
  ~Registration();
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

  // Ends the heartbeat and deregisters; waits for the answer for a few seconds at most.
  void deregister();

 private:
  class Client;
  void stop_heartbeat();
  void beat();

  const std::string endpoint_;
  const mayastor::v1::RegisterRequest request_;
  std::unique_ptr<Client> client_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace holdfast::engine
