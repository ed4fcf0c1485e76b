#include "cli/attach/daemon.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/units.h"
#include "cli/attach/serve.h"
#include "uring/runtime.h"

namespace holdfast::cli {
namespace {

using Tree = nlohmann::ordered_json;

// Tells the thread that watches signals that there is nothing left to watch for.
constexpr int signal_of_the_end = SIGUSR2;

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, signal_of_the_end}) sigaddset(&set, s);
  return set;
}

void watch_signals(uring::Runtime& runtime, AttachServer& server) {
  const sigset_t set = watched_signals();
  bool failing = false;
  int signal = 0;
  while (sigwait(&set, &signal) == 0 && signal != signal_of_the_end) {
    if (signal == SIGTERM || signal == SIGINT) runtime.stop();
    if (signal == SIGUSR1 && !std::exchange(failing, true)) server.fail_requests();
  }
}

// The kernel may wait for this process to write out dirty pages so that memory gets free: it must not wait
// for such a thing itself, nor be the one that is ended for want of memory.
void protect_process() {
  prctl(PR_SET_NAME, "holdfast-attach");
  const bool flusher = prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0;
  const bool locked = mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
  const bool spared = write_text("/proc/self/oom_score_adj", "-900").ok();
  if (flusher && locked && spared) return;
  HF_LOG(info, "attach", "without CAP_SYS_RESOURCE and CAP_IPC_LOCK this may stall when memory is short",
         {"io_flusher", flusher}, {"memory_locked", locked}, {"spared_by_oom_killer", spared});
}

// What the command was given besides these belongs to its caller, who waits for it to be closed.
void close_all_but(std::initializer_list<int> kept) {
  std::vector<int> open;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    open.push_back(std::atoi(entry.path().filename().c_str()));
  }
  for (const int fd : open) {
    if (fd > STDERR_FILENO && std::find(kept.begin(), kept.end(), fd) == kept.end()) ::close(fd);
  }
}

// A session of its own, nothing on the terminal, messages into the log.
void leave_terminal(const std::string& log_file) {
  ::setsid();
  static_cast<void>(!::chdir("/"));
  const int null = ::open("/dev/null", O_RDWR);
  const int log = ::open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(null, STDIN_FILENO);
  ::dup2(log >= 0 ? log : null, STDOUT_FILENO);
  ::dup2(log >= 0 ? log : null, STDERR_FILENO);
  if (null > STDERR_FILENO) ::close(null);
  if (log > STDERR_FILENO) ::close(log);
}

// What the process tells the command that started it; then the pipe is closed.
void tell(FileDescriptor& pipe, const Tree& message) {
  const std::string text = message.dump();
  static_cast<void>(!::write(pipe.get(), text.data(), text.size()));
  pipe.reset();
}

Status serve(const DaemonPlan& plan, FileDescriptor& pipe) {
  uring::Runtime::Options options;
  options.cores = 1;
  options.spin_us = plan.spin_us;
  options.memory_bytes = 64 * MiB;
  HF_TRY(const auto runtime, uring::Runtime::create(options));
  AttachServer server(runtime->cores(), plan);
  std::thread watcher([&] { watch_signals(*runtime, server); });
  auto ready = [&pipe](const Attachment& attachment) {
    tell(pipe, {{"attachment", attachment.to_tree().dump()}});
  };
  Status done = runtime->run(server.run(ready, runtime->stop_token()));
  pthread_kill(watcher.native_handle(), signal_of_the_end);
  watcher.join();
  return done;
}

[[noreturn]] void be_the_daemon(const DaemonPlan& plan, FileDescriptor pipe) {
  close_all_but({pipe.get(), plan.lock.get()});
  leave_terminal(plan.store.log_file(plan.attachment.id));
  log::configure(log::Level::info, log::Format::text);
  std::signal(SIGPIPE, SIG_IGN);
  const sigset_t set = watched_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  protect_process();
  const Status done = serve(plan, pipe);
  if (pipe) {
    // Never got ready.
    tell(pipe, done.ok() ? Tree{{"code", name(Errc::cancelled)},
                                {"text", "told to end before the device was there"}}
                         : Tree{{"code", name(done.error().code())}, {"text", done.error().message()}});
    plan.store.forget(plan.attachment.id);
  } else if (done.ok()) {
    plan.store.forget(plan.attachment.id);
  } else {
    HF_LOG(error, "attach", "ended with an error: the last writes may be lost", {"error", done.error()});
  }
  std::_Exit(done.ok() ? EXIT_SUCCESS : EXIT_FAILURE);
}

Errc code_of(const std::string& word) noexcept {
  for (auto c = static_cast<int>(Errc::io_error); c <= static_cast<int>(Errc::internal); ++c) {
    if (word == name(static_cast<Errc>(c))) return static_cast<Errc>(c);
  }
  return Errc::internal;
}

Result<Attachment> understand(const std::string& message, pid_t child, const std::string& log_file) {
  const Tree tree = Tree::parse(message, nullptr, false);
  if (tree.is_object() && tree.contains("attachment"))
    return Attachment::from_text(tree["attachment"].get<std::string>());
  int status = 0;
  ::waitpid(child, &status, 0);
  if (tree.is_object() && tree.contains("text")) {
    return Error(code_of(tree.value("code", "")), tree["text"].get<std::string>());
  }
  return Error(Errc::internal, fmt::format("the process that serves the device ended; see {}", log_file));
}

}  // namespace

Result<Attachment> start_daemon(DaemonPlan plan) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return system_error("pipe");
  FileDescriptor from_child(ends[0]);
  FileDescriptor to_parent(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return system_error("fork");
  if (child == 0) {
    from_child.reset();
    be_the_daemon(plan, std::move(to_parent));
  }
  to_parent.reset();
  plan.lock.reset();
  std::string message;
  char piece[4096];
  for (;;) {
    const ssize_t n = ::read(from_child.get(), piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    message.append(piece, static_cast<std::size_t>(n));
  }
  return understand(message, child, plan.store.log_file(plan.attachment.id));
}

}  // namespace holdfast::cli
