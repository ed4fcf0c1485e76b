// A real holdfast-agent with its embedded store, on free loopback ports.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "support/engine_process.h"

namespace holdfast::testing_support {

class AgentProcess {
 public:
  // Where the program is: next to the test's own, or $HOLDFAST_AGENT.
  static std::string program();

  // Picks ports and a data directory; nothing runs yet. They stay the same over restarts.
  explicit AgentProcess(const ScratchDir& scratch, const std::string& name = "agent",
                        std::vector<std::string> further_flags = {}, Place place = {});
  ~AgentProcess();  // SIGKILL, if it still runs
  AgentProcess(const AgentProcess&) = delete;
  AgentProcess& operator=(const AgentProcess&) = delete;

  // Starts it and waits until it serves. False, with its log on standard output, when it does not.
  bool start();
  void signal(int number);
  // The exit status, or minus the signal that ended it; nullopt when it still runs.
  std::optional<int> wait_exit(std::chrono::milliseconds patience);
  bool running();
  void kill();  // SIGKILL, and waits

  const std::string& address() const noexcept { return place_.address; }
  std::uint16_t http_port() const noexcept { return http_port_; }
  // For engines: --registration-endpoint.
  std::string registration_endpoint() const { return address() + ":" + std::to_string(grpc_port_); }
  // For engines: --store.
  std::string store_url() const { return "http://" + address() + ":" + std::to_string(store_port_); }
  const std::string& data_dir() const noexcept { return data_dir_; }
  std::string log() const;

 private:
  const std::string data_dir_;
  const std::string log_path_;
  const std::vector<std::string> further_flags_;
  const Place place_;
  const std::uint16_t http_port_;
  const std::uint16_t grpc_port_;
  const std::uint16_t store_port_;
  pid_t pid_ = -1;
};

}  // namespace holdfast::testing_support
