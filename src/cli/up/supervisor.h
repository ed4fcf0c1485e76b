// Keeps the processes of a cluster on this machine running, until it is told to stop.
#pragma once

#include <csignal>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/up/bring_up.h"
#include "cli/up/control_socket.h"
#include "cli/up/plan.h"
#include "cli/up/process.h"

namespace holdfast::cli {

// The programs that a cluster is made of.
struct Programs {
  std::string engine;
  std::string agent;  // empty: engines only
};
// Errors: not_found, naming the engine's.
Result<Programs> find_programs();

// The signals that Supervisor::run() takes. SIGINT and SIGHUP are not among them where whoever started this has them
// ignored: under nohup, or in the background of a script.
sigset_t supervised_signals();

class Supervisor {
 public:
  // say: what people should know. ready: called once, when the cluster can be used.
  Supervisor(ClusterPlan plan, const Programs& programs, std::function<void(const std::string&)> say,
             std::function<void()> ready);

  // Starts everything and keeps it until a signal, or a request over the control socket, ends it; then stops
  // everything cleanly. The supervised_signals() must be blocked. Errors: what kept the cluster from
  // becoming ready, after all of it was stopped again.
  Status run();

 private:
  Status start();
  Status wait_for_events(int signals);
  void take_signals(int signals);
  void reap();
  void restart_due();
  void advance();
  void stop_all();
  void push_stop();
  bool all_off() const;
  Tree answer(const Tree& request);
  Tree status() const;
  Process* find(const std::string& name);

  const ClusterPlan plan_;
  std::function<void(const std::string&)> say_;
  std::function<void()> ready_callback_;
  std::vector<Process> processes_;  // the agent first
  BringUp bring_up_;
  ControlSocket socket_;
  const bool agent_;
  bool ready_ = false;
  bool stopping_ = false;
  double started_at_ = 0;
  double next_advance_ = 0;
  std::optional<Error> failure_;
};

}  // namespace holdfast::cli
