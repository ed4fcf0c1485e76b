#include "support/agent_process.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

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
                           std::vector<std::string> further_flags, Place place)
    : data_dir_(scratch.path(name + "-data")),
      log_path_(scratch.path(name + ".log")),
      further_flags_(std::move(further_flags)),
      place_(std::move(place)),
      http_port_(free_port()),
      grpc_port_(free_port()),
      store_port_(free_port()) {}

AgentProcess::~AgentProcess() { kill(); }

bool AgentProcess::start() {
  std::vector<std::string> words = {program(),
                                    "--data-dir",
                                    data_dir_,
                                    "--http",
                                    address() + ":" + std::to_string(http_port_),
                                    "--grpc-server-addr",
                                    registration_endpoint(),
                                    "--store-listen",
                                    address() + ":" + std::to_string(store_port_),
                                    "--log-level",
                                    "debug"};
  words.insert(words.end(), further_flags_.begin(), further_flags_.end());
  pid_ = spawn_program(std::move(words), log_path_, place_);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (std::chrono::steady_clock::now() < deadline && running()) {
    httplib::Client client(address(), http_port_);
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
