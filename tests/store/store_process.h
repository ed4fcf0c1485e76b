// Stores as processes: real etcds, and the embedded server in a program of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "support/engine_process.h"

namespace holdfast::testing_support {

// A program that ends with the test, whatever happens to that.
class ChildProcess {
 public:
  ChildProcess(std::vector<std::string> command, std::string log_path)
      : command_(std::move(command)), log_path_(std::move(log_path)) {}
  ~ChildProcess() { kill(); }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  void start();
  void kill();  // SIGKILL, and waits
  bool running() const noexcept { return pid_ > 0; }
  std::string log() const;

 private:
  const std::vector<std::string> command_;
  const std::string log_path_;
  pid_t pid_ = -1;
};

// Something that speaks the etcd API and can be killed and started again.
class StoreProcesses {
 public:
  virtual ~StoreProcesses() = default;
  virtual std::vector<std::string> endpoints() const = 0;
  virtual std::size_t size() const = 0;
  virtual void start(std::size_t member) = 0;
  virtual void kill(std::size_t member) = 0;
};

// The members of an etcd on loopback, started. Empty: etcd is not installed, or does not answer (a failure of
// the test).
std::unique_ptr<StoreProcesses> start_etcd(std::size_t members);
// One embedded store as a process, started.
std::unique_ptr<StoreProcesses> start_embedded();

}  // namespace holdfast::testing_support
