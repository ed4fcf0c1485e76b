#include "cli/up/process.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;

constexpr double first_delay_seconds = 0.5;
constexpr double longest_delay_seconds = 30;
// Whoever ran that long gets the first delay again.
constexpr double stable_seconds = 60;
constexpr std::uintmax_t log_bytes_max = 32u << 20;

// A log does not grow for ever: at a start the one before is kept, and no more.
void rotate(const std::string& log_file) {
  std::error_code error;
  if (fs::file_size(log_file, error) > log_bytes_max && !error)
    fs::rename(log_file, log_file + ".old", error);
}

// In the child. Only what is safe between fork and exec.
[[noreturn]] void become(char* const* argv, int log, pid_t parent) {
  ::setpgid(0, 0);  // an interrupt on the terminal is the parent's to handle
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(EXIT_FAILURE);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int s : {SIGPIPE, SIGCHLD, SIGINT, SIGHUP}) std::signal(s, SIG_DFL);
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, STDIN_FILENO);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::execv(argv[0], argv);
  static constexpr char text[] = "holdfast up: the program cannot be executed\n";
  static_cast<void>(!::write(STDERR_FILENO, text, sizeof text - 1));
  ::_exit(127);
}

}  // namespace

Status Process::start(double now) {
  Status spawned = spawn(now);
  if (!spawned.ok() && state_ == State::waiting) wait_longer(now);
  return spawned;
}

void Process::wait_longer(double now) {
  delay_ = delay_ == 0 ? first_delay_seconds : std::min(delay_ * 2, longest_delay_seconds);
  restart_at_ = now + delay_;
}

Status Process::spawn(double now) {
  rotate(log_file_);
  const int log = ::open(log_file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (log < 0) return error_from_errno(errno).with_context(log_file_);
  std::vector<char*> argv;
  std::vector<std::string> words = command_;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) become(argv.data(), log, parent);
  const int fork_errno = errno;
  ::close(log);
  if (child < 0) return error_from_errno(fork_errno).with_context("fork");
  pid_ = child;
  started_at_ = now;
  state_ = State::running;
  return {};
}

void Process::stop(double now, bool kill) {
  if (pid_ < 0) {
    state_ = State::off;
    return;
  }
  // The programs take a second SIGTERM for the wish to end at once.
  if (state_ == State::stopping && !kill) return;
  stopping_since_ = now;
  state_ = State::stopping;
  ::kill(pid_, kill ? SIGKILL : SIGTERM);
}

bool Process::ended(int wait_status, double now) {
  last_end_ = WIFSIGNALED(wait_status) ? fmt::format("killed by signal {}", WTERMSIG(wait_status))
                                       : fmt::format("exit status {}", WEXITSTATUS(wait_status));
  const bool stable = uptime(now) >= stable_seconds;
  pid_ = -1;
  if (state_ == State::stopping) {
    state_ = State::off;
    delay_ = 0;
    return true;
  }
  if (stable) delay_ = 0;
  wait_longer(now);
  state_ = State::waiting;
  ++restarts_;
  return false;
}

const char* Process::state_name() const noexcept {
  switch (state_) {
    case State::off:
      return "stopped";
    case State::running:
      return "running";
    case State::waiting:
      return "restarting";
    case State::stopping:
      return "stopping";
  }
  return "?";
}

std::string Process::log_tail(unsigned lines) const {
  std::ifstream file(log_file_, std::ios::ate);
  if (!file.is_open()) return {};
  constexpr std::streamoff most = 16 << 10;
  const std::streamoff size = file.tellg();
  file.seekg(std::max<std::streamoff>(0, size - most));
  std::deque<std::string> last;
  for (std::string line; std::getline(file, line);) {
    last.push_back(line);
    if (last.size() > lines) last.pop_front();
  }
  std::string text;
  for (const std::string& line : last) text += "\n  " + line;
  return text;
}

std::string find_program(const std::string& name) {
  std::error_code error;
  const auto usable = [](const fs::path& path) { return ::access(path.c_str(), X_OK) == 0; };
  const fs::path beside = fs::read_symlink("/proc/self/exe", error).parent_path() / name;
  if (usable(beside)) return beside;
  const char* path = std::getenv("PATH");
  std::string rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const auto colon = std::min(rest.find(':'), rest.size());
    const fs::path candidate = fs::path(rest.substr(0, colon)) / name;
    if (colon > 0 && usable(candidate)) return candidate;
    rest.erase(0, colon + 1);
  }
  return {};
}

}  // namespace holdfast::cli
