#include "cli/up/supervisor.h"

#include <algorithm>
#include <cerrno>
#include <csignal>

#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/tool/progress.h"

namespace holdfast::cli {
namespace {

// A few nodes on the same machine are asked more often than those of a large cluster.
constexpr const char* cache_period = "1s";
constexpr double tick_seconds = 0.1;
constexpr double start_patience_seconds = 120;
// A clean stop writes out what is in flight; after that a process is beyond asking.
constexpr double stop_patience_seconds = 30;

std::vector<std::string> engine_command(const ClusterPlan& plan, const EnginePlan& e,
                                        const Programs& programs) {
  std::vector<std::string> command = {programs.engine,
                                      "--node-name",
                                      e.name,
                                      "--grpc-ip",
                                      plan.address,
                                      "--grpc-port",
                                      std::to_string(e.grpc_port),
                                      "--nvmf-ip",
                                      plan.address,
                                      "--nvmf-port",
                                      std::to_string(e.nvmf_port),
                                      "--metrics-ip",
                                      plan.address,
                                      "--metrics-port",
                                      std::to_string(e.metrics_port),
                                      "--cores",
                                      "1",
                                      "--data-dir",
                                      plan.engine_dir(e) + "/data"};
  if (!programs.agent.empty()) {
    command.insert(command.end(),
                   {"--registration-endpoint", fmt::format("{}:{}", plan.address, plan.registration_port),
                    "--store", plan.store_url()});
  }
  return command;
}

std::vector<std::string> agent_command(const ClusterPlan& plan, const Programs& programs) {
  std::vector<std::string> command = {programs.agent,
                                      "--data-dir",
                                      plan.agent_dir(),
                                      "--cache-period",
                                      cache_period,
                                      "--grpc-server-addr",
                                      fmt::format("{}:{}", plan.address, plan.registration_port),
                                      "--store-listen",
                                      fmt::format("{}:{}", plan.address, plan.store_port),
                                      "--http",
                                      fmt::format("{}:{}", plan.address, plan.rest_port)};
  if (plan.replace_after_seconds > 0) {
    command.insert(command.end(),
                   {"--faulted-child-wait-period", fmt::format("{}s", plan.replace_after_seconds)});
  }
  return command;
}

}  // namespace

Result<Programs> find_programs() {
  Programs programs{find_program("holdfast-engine"), find_program("holdfast-agent")};
  if (!programs.engine.empty()) return programs;
  return Error(Errc::not_found, "holdfast-engine is neither beside this program nor in PATH");
}

sigset_t supervised_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGTERM, SIGCHLD}) sigaddset(&set, s);
  for (const int s : {SIGINT, SIGHUP}) {
    struct sigaction now {};
    ::sigaction(s, nullptr, &now);
    if (now.sa_handler != SIG_IGN) sigaddset(&set, s);
  }
  return set;
}

Supervisor::Supervisor(ClusterPlan plan, const Programs& programs,
                       std::function<void(const std::string&)> say, std::function<void()> ready)
    : plan_(std::move(plan)),
      say_(std::move(say)),
      ready_callback_(std::move(ready)),
      bring_up_(plan_, !programs.agent.empty(), say_),
      agent_(!programs.agent.empty()) {
  if (agent_) processes_.emplace_back("agent", agent_command(plan_, programs), plan_.log_file("agent"));
  for (const EnginePlan& e : plan_.engines) {
    processes_.emplace_back(e.name, engine_command(plan_, e, programs), plan_.log_file(e.name));
  }
}

Status Supervisor::start() {
  HF_CHECK(socket_.listen(plan_.socket_file()));
  started_at_ = monotonic_seconds();
  for (Process& p : processes_) HF_CHECK(p.start(started_at_));
  return {};
}

Status Supervisor::run() {
  // Ignored, as by some parents, it would let children vanish without a trace.
  std::signal(SIGCHLD, SIG_DFL);
  const sigset_t set = supervised_signals();
  const int signals = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) return error_from_errno(errno).with_context("signalfd");
  if (Status started = start(); !started.ok()) {
    failure_ = started.error();
    stop_all();
  }
  while (!stopping_ || !all_off()) {
    if (Status polled = wait_for_events(signals); !polled.ok()) {
      failure_ = polled.error();
      stop_all();
    }
    reap();
    if (stopping_) {
      push_stop();
      continue;
    }
    restart_due();
    advance();
  }
  ::close(signals);
  if (failure_) return *failure_;
  return {};
}

Status Supervisor::wait_for_events(int signals) {
  pollfd fds[2] = {{signals, POLLIN, 0}, {socket_.fd(), POLLIN, 0}};
  const int n = ::poll(fds, 2, static_cast<int>(tick_seconds * 1000));
  if (n < 0 && errno != EINTR) return error_from_errno(errno).with_context("poll");
  if (n <= 0) return {};
  if (fds[0].revents != 0) take_signals(signals);
  if (fds[1].revents != 0) socket_.serve([this](const Tree& request) { return answer(request); });
  return {};
}

void Supervisor::take_signals(int signals) {
  signalfd_siginfo info{};
  while (::read(signals, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo == SIGCHLD) continue;  // reap() asks anyway
    if (!stopping_) {
      say_("asked to stop: ending every process cleanly (once more: at once)");
      stop_all();
    } else {
      for (Process& p : processes_) p.stop(monotonic_seconds(), true);
    }
  }
}

void Supervisor::reap() {
  const double now = monotonic_seconds();
  for (Process& p : processes_) {
    int status = 0;
    if (p.pid() < 0 || ::waitpid(p.pid(), &status, WNOHANG) != p.pid()) continue;
    if (p.ended(status, now)) {
      say_(fmt::format("{} has stopped ({})", p.name(), p.last_end()));
      continue;
    }
    if (stopping_) continue;
    if (!ready_) {
      failure_ =
          Error(Errc::failed_precondition, fmt::format("{} ended at once ({}); the end of {}:{}", p.name(),
                                                       p.last_end(), p.log_file(), p.log_tail()));
      return stop_all();
    }
    say_(fmt::format("{} died ({}); starting it again in {:.1f} s", p.name(), p.last_end(),
                     p.restart_at() - now));
  }
}

void Supervisor::restart_due() {
  const double now = monotonic_seconds();
  for (Process& p : processes_) {
    if (p.state() != Process::State::waiting || now < p.restart_at()) continue;
    if (const Status started = p.start(now); started.ok()) {
      say_(fmt::format("{} was started again", p.name()));
    } else {
      say_(fmt::format("{} cannot be started: {}", p.name(), started.error().message()));
    }
  }
}

void Supervisor::advance() {
  const double now = monotonic_seconds();
  if (ready_ || now < next_advance_) return;
  const auto done = bring_up_.advance();
  if (!done.ok()) {
    failure_ = done.error();
    return stop_all();
  }
  if (done.value()) {
    ready_ = true;
    return ready_callback_();
  }
  next_advance_ = monotonic_seconds() + tick_seconds;
  if (now - started_at_ < start_patience_seconds) return;
  failure_ = Error(Errc::timed_out,
                   fmt::format("still waiting for {} after {}; the logs are in {}/logs",
                               bring_up_.waiting_for(), format_duration(now - started_at_), plan_.dir));
  stop_all();
}

void Supervisor::stop_all() {
  stopping_ = true;
  push_stop();
}

// The engines together: each serves its replicas until the nexuses of the others are down. The agent after, because
// nexuses record their clean end in its store.
void Supervisor::push_stop() {
  const double now = monotonic_seconds();
  const bool engines_off = std::all_of(processes_.begin(), processes_.end(), [](const Process& p) {
    return p.name() == "agent" || p.state() == Process::State::off;
  });
  for (Process& p : processes_) {
    if (p.name() == "agent" && !engines_off) continue;
    if (p.state() == Process::State::running || p.state() == Process::State::waiting) p.stop(now, false);
    const bool overdue =
        p.state() == Process::State::stopping && now - p.stopping_since() > stop_patience_seconds;
    if (overdue) {
      say_(fmt::format("{} does not stop: killing it", p.name()));
      p.stop(now, true);
    }
  }
}

bool Supervisor::all_off() const {
  return std::all_of(processes_.begin(), processes_.end(),
                     [](const Process& p) { return p.state() == Process::State::off; });
}

Process* Supervisor::find(const std::string& name) {
  const auto found =
      std::find_if(processes_.begin(), processes_.end(), [&](const Process& p) { return p.name() == name; });
  return found == processes_.end() ? nullptr : &*found;
}

Tree Supervisor::status() const {
  const double now = monotonic_seconds();
  Tree all = Tree::array();
  for (const Process& p : processes_) {
    Tree one{{"name", p.name()}, {"state", p.state_name()}, {"pid", p.pid()}};
    one["uptime_seconds"] = static_cast<std::uint64_t>(p.uptime(now));
    one["restarts"] = p.restarts();
    one["last_end"] = p.last_end();
    one["log"] = p.log_file();
    all.push_back(std::move(one));
  }
  return {{"ready", ready_},
          {"stopping", stopping_},
          {"waiting_for", ready_ ? "" : bring_up_.waiting_for()},
          {"pid", ::getpid()},
          {"rest", agent_ ? plan_.rest_url() : ""},
          {"dir", plan_.dir},
          {"processes", std::move(all)}};
}

Tree Supervisor::answer(const Tree& request) {
  const std::string what = text(request, "do");
  const auto refused = [](std::string why) { return Tree{{"error", std::move(why)}}; };
  if (what == "status") return status();
  if (what == "down") {
    if (!stopping_) stop_all();
    return status();
  }
  if (what != "stop" && what != "start") return refused("a request of another version of holdfast");
  Process* process = find(text(request, "node"));
  if (process == nullptr)
    return refused(fmt::format("there is no '{}' in this cluster", text(request, "node")));
  if (stopping_) return refused("the cluster is being stopped");
  const double now = monotonic_seconds();
  if (what == "stop") {
    process->stop(now, flag(request, "kill"));
    return status();
  }
  const bool idle = process->state() == Process::State::off || process->state() == Process::State::waiting;
  if (!idle) return refused(fmt::format("{} is {}", process->name(), process->state_name()));
  if (const Status started = process->start(now); !started.ok()) return refused(started.error().message());
  return status();
}

}  // namespace holdfast::cli
