#include "support/agent_process.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <httplib.h>
#include <sys/wait.h>
#include <unistd.h>

namespace holdfast::testing_support {

namespace fs = std::filesystem;

std::string AgentProcess::program() {
  if (const char* given = std::getenv("HOLDFAST_AGENT")) return given;
  return (fs::read_symlink("/proc/self/exe").parent_path() / "holdfast-agent").string();
}

AgentProcess::AgentProcess(const ScratchDir& scratch, const std::string& name,
                           std::vector<std::string> further_flags)
    : data_dir_(scratch.path(name + "-data")),
      log_path_(scratch.path(name + ".log")),
      further_flags_(std::move(further_flags)),
      http_port_(free_port()),
      grpc_port_(free_port()),
      store_port_(free_port()) {}

AgentProcess::~AgentProcess() { kill(); }

bool AgentProcess::start() {
  std::vector<std::string> words = {program(),
                                    "--data-dir",
                                    data_dir_,
                                    "--http",
                                    "127.0.0.1:" + std::to_string(http_port_),
                                    "--grpc-server-addr",
                                    registration_endpoint(),
                                    "--store-listen",
                                    "127.0.0.1:" + std::to_string(store_port_),
                                    "--log-level",
                                    "debug"};
  words.insert(words.end(), further_flags_.begin(), further_flags_.end());
  std::vector<char*> argv;
  for (auto& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  const int log_file = ::open(log_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(log_file, STDOUT_FILENO);
    ::dup2(log_file, STDERR_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(log_file);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (std::chrono::steady_clock::now() < deadline && running()) {
    httplib::Client client("127.0.0.1", http_port_);
    const auto result = client.Get("/livez");
    if (result && result->status == 200) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  std::printf("the agent did not start:\n%s\n", log().c_str());
  return false;
}

void AgentProcess::signal(int number) {
  if (pid_ > 0) ::kill(pid_, number);
}

bool AgentProcess::running() { return pid_ > 0 && !wait_exit(std::chrono::milliseconds(0)); }

std::optional<int> AgentProcess::wait_exit(std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  do {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    if (patience.count() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  } while (std::chrono::steady_clock::now() < deadline);
  return std::nullopt;
}

void AgentProcess::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::string AgentProcess::log() const {
  std::ifstream in(log_path_);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace holdfast::testing_support
