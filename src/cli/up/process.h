// A process that is kept running: started, watched, started again when it dies.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/error.h"

namespace holdfast::cli {

class Process {
 public:
  enum class State : std::uint8_t {
    off,       // stopped on demand, or never started
    running,   //
    waiting,   // it died; starts again at restart_at()
    stopping,  // was told to end
  };

  // `command[0]` is a path. Both outputs go to the end of `log_file`.
  Process(std::string name, std::vector<std::string> command, std::string log_file)
      : name_(std::move(name)), command_(std::move(command)), log_file_(std::move(log_file)) {}

  // Errors: of the system; one that is to be started again waits longer then. The process dies with the one that
  // calls this, by a clean stop. Its environment and working directory are the caller's; its signals are not.
  Status start(double now);
  // SIGTERM, or SIGKILL. It stays off. Nothing when it does not run.
  void stop(double now, bool kill);
  // The process has ended with this status of waitpid(). Whether that was asked for.
  bool ended(int wait_status, double now);

  const std::string& name() const noexcept { return name_; }
  const std::string& log_file() const noexcept { return log_file_; }
  State state() const noexcept { return state_; }
  const char* state_name() const noexcept;
  pid_t pid() const noexcept { return pid_; }  // -1 while there is none
  double restart_at() const noexcept { return restart_at_; }
  double stopping_since() const noexcept { return stopping_since_; }
  double uptime(double now) const noexcept { return pid_ < 0 ? 0 : now - started_at_; }
  unsigned restarts() const noexcept { return restarts_; }
  // "exit status 1", "killed by signal 9"; empty when it never ended.
  const std::string& last_end() const noexcept { return last_end_; }
  // The last lines of its log.
  std::string log_tail(unsigned lines = 5) const;

 private:
  Status spawn(double now);
  void wait_longer(double now);

  const std::string name_;
  const std::vector<std::string> command_;
  const std::string log_file_;
  State state_ = State::off;
  pid_t pid_ = -1;
  double started_at_ = 0;
  double restart_at_ = 0;
  double stopping_since_ = 0;
  double delay_ = 0;  // before the next start
  unsigned restarts_ = 0;
  std::string last_end_;
};

// Where a program of this product is: beside this one, else in $PATH; empty when nowhere.
std::string find_program(const std::string& name);

}  // namespace holdfast::cli
