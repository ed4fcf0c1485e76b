#include "cli/up/up_command.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <limits>
#include <utility>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/units.h"
#include "cli/rest/rest_client.h"
#include "cli/tool/duration.h"
#include "cli/tool/paths.h"
#include "cli/tool/progress.h"
#include "cli/up/control_socket.h"
#include "cli/up/state_dir.h"
#include "cli/up/supervisor.h"

namespace holdfast::cli {
namespace {

constexpr double down_patience_seconds = 90;
constexpr double node_poll_seconds = 0.1;

struct Options {
  UpOptions up;
  std::string dir = default_state_dir();
  std::string node;
  bool detach = false;
  bool status = false;
  bool purge = false;
  bool kill = false;
};

std::string absolute(const std::string& dir) {
  std::error_code error;
  const auto path = std::filesystem::absolute(dir, error).lexically_normal().string();
  return path.size() > 1 && path.ends_with('/') ? path.substr(0, path.size() - 1) : path;
}

std::string uptime_text(const Tree& process) {
  const std::uint64_t seconds = number(process, "uptime_seconds");
  return text(process, "state") == "stopped" ? "" : format_duration(static_cast<double>(seconds));
}

void print_status(Output& out, const Tree& status) {
  Table table{
      {"NAME"},     {"STATE"}, {"PID", Align::right}, {"UPTIME", Align::right}, {"RESTARTS", Align::right},
      {"LAST-END"}, {"LOG"}};
  for (const Tree& p : at(status, "processes")) {
    const std::string pid = text(p, "pid");
    table.add_row({text(p, "name"), text(p, "state"), pid == "-1" ? "" : pid, uptime_text(p),
                   text(p, "restarts"), text(p, "last_end"), text(p, "log")});
  }
  out.print(table);
  const std::string waiting = text(status, "waiting_for");
  if (!waiting.empty()) out.note("waiting for " + waiting);
}

std::string hint_for(const Error& e, const std::string& dir) {
  if (e.code() == Errc::busy && e.message().starts_with("a cluster runs")) {
    return fmt::format(
        "'holdfast up --status --state-dir {0}' shows it, 'holdfast down --state-dir {0}' ends it", dir);
  }
  if (e.code() == Errc::busy) return "end what uses them, or shift all ports: --port-offset 100";
  if (e.code() == Errc::not_found && e.message().starts_with("holdfast-engine"))
    return "build or install it first";
  if (e.code() == Errc::not_found) return "'holdfast up' starts one";
  return {};
}

int fail(Tool& tool, const Error& e, const Options& o) { return tool.output().error(e, hint_for(e, o.dir)); }

// One request to the process that keeps the cluster.
Result<Tree> request(const Options& o, const Tree& what) {
  HF_TRY(auto reply, ask(o.dir + "/control", what));
  if (has(reply, "error")) return Error(Errc::failed_precondition, text(reply, "error"));
  return reply;
}

int show_reply(Tool& tool, const Options& o, const Result<Tree>& reply) {
  if (!reply.ok()) return fail(tool, reply.error(), o);
  tool.output().answer(reply.value(), [&] { print_status(tool.output(), reply.value()); });
  return exit_ok;
}

// The plan of a cluster that starts now: the one that is kept there, or a new one.
Result<ClusterPlan> plan_for(const Options& o) {
  auto kept = load_plan(o.dir);
  if (!kept.ok() && kept.error().code() != Errc::not_found) return kept.error();
  if (!kept.ok()) {
    HF_TRY(auto plan, make_plan(o.dir, o.up));
    return plan;
  }
  ClusterPlan plan = std::move(kept).value();
  HF_CHECK(extend_plan(plan, o.up));
  if (o.up.port_offset == 0) return plan;
  UpOptions moved = o.up;
  moved.nodes = static_cast<unsigned>(plan.engines.size());
  moved.disk_bytes = plan.disk_bytes;
  moved.replace_after_seconds = static_cast<double>(plan.replace_after_seconds);
  return make_plan(o.dir, moved);
}

void say_ready(Output& out, const ClusterPlan& plan, bool agent) {
  out.note(fmt::format("The cluster is ready: {} nodes, in {}", plan.engines.size(), plan.dir));
  if (!agent) {
    out.note(fmt::format("There is no holdfast-agent: engines only. holdfast engine --bind http://{}:{} info",
                         plan.address, plan.engines.front().grpc_port));
    return;
  }
  if (plan.rest_url() != default_rest_url)
    out.note(fmt::format("  export HOLDFAST_REST={}", plan.rest_url()));
  out.note("  holdfast get nodes");
  out.note(fmt::format("  holdfast create volume --size 1GiB --replicas {} --thin",
                       std::min<std::size_t>(3, plan.engines.size())));
}

struct Preparation {
  ClusterPlan plan;
  Programs programs;
  StateLock lock;
};

Result<Preparation> prepare(const Options& o) {
  HF_TRY(auto programs, find_programs());
  HF_TRY(auto lock, StateLock::take(o.dir));
  HF_TRY(auto plan, plan_for(o));
  HF_CHECK(check_ports(plan));
  HF_CHECK(save_plan(plan));
  HF_CHECK(prepare_files(plan));
  return Preparation{std::move(plan), std::move(programs), std::move(lock)};
}

Status run_supervisor(const Preparation& p, std::function<void(const std::string&)> say,
                      std::function<void()> ready) {
  Supervisor supervisor(p.plan, p.programs, std::move(say), std::move(ready));
  return supervisor.run();
}

int keep_in_foreground(Tool& tool, const Options& o, Preparation& p) {
  Output& out = tool.output();
  std::signal(SIGPIPE, SIG_IGN);  // who reads what is said may end first, as tee does at an interrupt
  const sigset_t set = supervised_signals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const auto ready = [&] {
    say_ready(out, p.plan, !p.programs.agent.empty());
    out.note("Ctrl-C stops it; 'holdfast up' again goes on where it was");
  };
  const Status done = run_supervisor(
      p, [&out](const std::string& text) { out.note(text); }, ready);
  return done.ok() ? exit_ok : fail(tool, done.error(), o);
}

// A line into the log of the process that was left behind.
void log_line(const std::string& text) {
  const std::time_t now = std::time(nullptr);
  std::tm calendar{};
  gmtime_r(&now, &calendar);
  char stamp[32];
  const std::size_t n = std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &calendar);
  std::cerr << std::string_view(stamp, n) << ' ' << text << std::endl;
}

// What the one that stays behind tells the command that started it: "+text" for a step, "!" at readiness,
// "-text" for a failure.
void tell(int pipe, char kind, const std::string& text) {
  if (pipe < 0) return;
  const std::string line = kind + text + '\0';
  static_cast<void>(!::write(pipe, line.data(), line.size()));
}

[[noreturn]] void keep_in_background(Preparation p, int pipe) {
  ::setsid();
  static_cast<void>(!::chdir("/"));
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  const int log = ::open(p.plan.log_file("up").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  ::dup2(null, STDIN_FILENO);
  ::dup2(log >= 0 ? log : null, STDOUT_FILENO);
  ::dup2(log >= 0 ? log : null, STDERR_FILENO);
  std::signal(SIGPIPE, SIG_IGN);  // the command may have been interrupted
  const sigset_t set = supervised_signals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const auto say = [&pipe](const std::string& text) {
    log_line(text);
    tell(pipe, '+', text);
  };
  const auto ready = [&pipe] {
    log_line("ready");
    tell(pipe, '!', "");
    ::close(std::exchange(pipe, -1));
  };
  const Status done = run_supervisor(p, say, ready);
  if (!done.ok()) {
    log_line(done.error().message());
    tell(pipe, '-', done.error().message());
  }
  std::_Exit(done.ok() ? EXIT_SUCCESS : EXIT_FAILURE);
}

// Follows what the process in the background tells until it is ready, or gives up.
int follow(Tool& tool, const Options& o, const ClusterPlan& plan, bool agent, int pipe) {
  std::string pending;
  char piece[4096];
  for (;;) {
    const ssize_t n = ::read(pipe, piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    pending.append(piece, static_cast<std::size_t>(n));
    for (auto end = pending.find('\0'); end != std::string::npos; end = pending.find('\0')) {
      const std::string line = pending.substr(0, end);
      pending.erase(0, end + 1);
      if (line.starts_with('+')) tool.output().note(line.substr(1));
      if (line.starts_with('-')) return fail(tool, Error(Errc::failed_precondition, line.substr(1)), o);
      if (!line.starts_with('!')) continue;
      say_ready(tool.output(), plan, agent);
      return show_reply(tool, o, request(o, Tree{{"do", "status"}}));
    }
  }
  return fail(tool,
              Error(Errc::internal, fmt::format("the process that keeps the cluster has ended; its log: {}",
                                                plan.log_file("up"))),
              o);
}

int detach(Tool& tool, const Options& o, Preparation p) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(tool, error_from_errno(errno).with_context("pipe"), o);
  const ClusterPlan plan = p.plan;
  const bool agent = !p.programs.agent.empty();
  const pid_t child = ::fork();
  if (child < 0) return fail(tool, error_from_errno(errno).with_context("fork"), o);
  if (child == 0) {
    ::close(ends[0]);
    keep_in_background(std::move(p), ends[1]);
  }
  ::close(ends[1]);
  const int status = follow(tool, o, plan, agent, ends[0]);
  ::close(ends[0]);
  return status;
}

int up(Tool& tool, Options& o) {
  o.dir = absolute(o.dir);
  if (o.status || !o.node.empty()) {
    const Tree what = o.node.empty() ? Tree{{"do", "status"}} : Tree{{"do", "start"}, {"node", o.node}};
    return show_reply(tool, o, request(o, what));
  }
  // What else the caller has open, a lock maybe, would stay open for as long as the cluster runs.
  if (o.detach) static_cast<void>(::close_range(3, ~0U, 0));
  auto prepared = prepare(o);
  if (!prepared.ok()) return fail(tool, prepared.error(), o);
  if (o.detach) return detach(tool, o, std::move(prepared).value());
  return keep_in_foreground(tool, o, prepared.value());
}

bool is_stopping(const Tree& status, const std::string& node) {
  const Tree& all = at(status, "processes");
  return std::any_of(all.begin(), all.end(), [&](const Tree& process) {
    return text(process, "name") == node && text(process, "state") == "stopping";
  });
}

int stop_node(Tool& tool, const Options& o) {
  auto reply = request(o, Tree{{"do", "stop"}, {"node", o.node}, {"kill", o.kill}});
  if (reply.ok() && is_stopping(reply.value(), o.node) && !o.kill)
    tool.output().note(fmt::format("stopping {} cleanly", o.node));
  const double deadline = monotonic_seconds() + down_patience_seconds;
  while (reply.ok() && is_stopping(reply.value(), o.node)) {
    if (monotonic_seconds() >= deadline) {
      const std::string after = format_duration(down_patience_seconds);
      return tool.output().error(
          Error(Errc::timed_out, fmt::format("{} is still stopping after {}", o.node, after)),
          "with --kill it ends at once");
    }
    sleep_seconds(node_poll_seconds);
    reply = request(o, Tree{{"do", "status"}});
  }
  return show_reply(tool, o, reply);
}

int down(Tool& tool, Options& o) {
  o.dir = absolute(o.dir);
  if (!o.node.empty()) return stop_node(tool, o);
  const auto plan = load_plan(o.dir);
  if (!plan.ok()) return fail(tool, plan.error(), o);
  const auto asked = request(o, Tree{{"do", "down"}});
  if (!asked.ok() && asked.error().code() != Errc::not_found) return fail(tool, asked.error(), o);
  if (asked.ok()) tool.output().note("stopping every process cleanly");
  const auto stopped = wait_unlocked(o.dir, down_patience_seconds);  // held while files are deleted
  if (!stopped.ok()) return fail(tool, stopped.error(), o);
  tool.output().note(asked.ok() ? fmt::format("The cluster in {} has stopped", o.dir)
                                : fmt::format("The cluster in {} was not running", o.dir));
  if (!o.purge) return exit_ok;
  if (const Status purged = purge_files(plan.value()); !purged.ok()) return fail(tool, purged.error(), o);
  tool.output().note(fmt::format("{} is gone, with everything that was in its volumes", o.dir));
  return exit_ok;
}

void add_dir(CLI::App& to, Options& o) {
  to.add_option("--state-dir", o.dir, "Where the cluster is kept; $HOLDFAST_UP_DIR")
      ->type_name("DIR")
      ->capture_default_str();
}

}  // namespace

void add_up_commands(Tool& tool) {
  auto& o = tool.keep<Options>();
  auto& c =
      tool.add_command(tool.app(), "up", "Run a whole cluster on this machine", [&] { return up(tool, o); });
  c.add_option("-n,--nodes", o.up.nodes,
               "How many storage nodes; 3 at first, then as before. More may follow later")
      ->check(CLI::Range(1u, up_nodes_max).description(""))
      ->type_name("N");
  add_size(c, "--disk-size", o.up.disk_bytes,
           "Of each node's two disks, which are sparse files; 10GiB at first")
      ->check(CLI::Range(std::uint64_t{1}, std::numeric_limits<std::uint64_t>::max()).description(""));
  add_duration(c, "--replace-after", o.up.replace_after_seconds,
               "How long a replica may be away before another node gets one; 10m at first");
  c.add_option("--port-offset", o.up.port_offset, "Added to every port")->type_name("N");
  c.add_flag("-d,--detach", o.detach, "Return when it is ready, and leave it running");
  auto* status = c.add_flag("--status", o.status, "Show the processes of the cluster that runs");
  c.add_option("--node", o.node, "Only start this node again, which 'down --node' has stopped")
      ->type_name("NODE")
      ->excludes(status);
  add_dir(c, o);
  tool.add_output_options(c);
  c.footer(
      "An agent with its own store, and storage engines with a pool each. A process that dies is started "
      "again.\n"
      "What the cluster holds stays when it stops, and 'holdfast up' goes on with it.");
  auto& d = tool.add_command(tool.app(), "down", "Stop the cluster that 'holdfast up' runs",
                             [&] { return down(tool, o); });
  auto* purge = d.add_flag("--purge", o.purge, "And delete it, with everything in its volumes");
  auto* node = d.add_option("--node", o.node, "Only stop this node, until 'up --node' starts it again")
                   ->type_name("NODE")
                   ->excludes(purge);
  d.add_flag("--kill", o.kill, "Stop the node as a crash would")->needs(node);
  add_dir(d, o);
  tool.add_output_options(d);
}

}  // namespace holdfast::cli
