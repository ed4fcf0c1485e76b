#include "support/engine_process.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/leftovers.h"

namespace holdfast::testing_support {

namespace fs = std::filesystem;
namespace v1 = mayastor::v1;

namespace {

bool can_listen(std::uint16_t port, const std::string& address = Place().address) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  ::inet_pton(AF_INET, address.c_str(), &at.sin_addr);
  const bool free = ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                    ::bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0;
  ::close(fd);
  return free;
}

// Of the namespace; -1: none is wanted.
int open_network(const Place& place) {
  if (place.network.empty()) return -1;
  return ::open(("/var/run/netns/" + place.network).c_str(), O_RDONLY | O_CLOEXEC);
}

bool can_listen_at(const Place& place, std::uint16_t port) {
  if (place.network.empty()) return can_listen(port, place.address);
  bool free = false;
  std::thread inside([&] {  // a namespace is a thread's
    const int network = open_network(place);
    free = ::setns(network, CLONE_NEWNET) == 0 && can_listen(port, place.address);
    ::close(network);
  });
  inside.join();
  return free;
}

// Below those that the kernel gives to outgoing connections: one of these could take a port between the moment it was
// found free and the moment its process listens. In blocks that no other test program has while this one runs: while a
// process is stopped, another program's must not take its place, nor be found there by its peers.
class Ports {
 public:
  std::uint16_t next() {
    const std::scoped_lock lock(mutex_);
    for (unsigned tried = 0; tried < blocks * block_ports; ++tried) {
      if (at_ == mine_.size() * block_ports && !take_block()) at_ = 0;
      if (mine_.empty()) break;
      const std::size_t port = first + mine_[at_ / block_ports] * block_ports + at_ % block_ports;
      ++at_;
      if (can_listen(static_cast<std::uint16_t>(port))) return static_cast<std::uint16_t>(port);
    }
    std::abort();
  }

 private:
  static constexpr unsigned first = 17000, blocks = 160, block_ports = 50;

  bool take_block() {
    for (unsigned i = 0; i < blocks; ++i) {
      const unsigned block = (static_cast<unsigned>(::getpid()) + i) % blocks;
      const auto path = fs::temp_directory_path() / ("holdfast-test-ports-" + std::to_string(block));
      // Open, and locked, until the program ends.
      const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
      if (file >= 0 && ::flock(file, LOCK_EX | LOCK_NB) == 0) {
        mine_.push_back(block);
        return true;
      }
      if (file >= 0) ::close(file);
    }
    return false;
  }

  std::mutex mutex_;
  std::vector<unsigned> mine_;
  std::size_t at_ = 0;
};

}  // namespace

pid_t spawn_program(std::vector<std::string> words, const std::string& log_path, const Place& place) {
  std::vector<char*> argv;
  for (auto& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  const int log = ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const int network = open_network(place);
  // Of our programs nothing goes there.
  std::string proxy = "http_proxy=http://127.0.0.1:9";
  std::vector<char*> environment;
  for (char** v = environ; *v != nullptr; ++v) environment.push_back(*v);
  if (words.front().find("holdfast") != std::string::npos) environment.push_back(proxy.data());
  environment.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    if (!place.network.empty() && ::setns(network, CLONE_NEWNET) != 0) ::_exit(127);
    ::dup2(log, STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
    ::execve(argv[0], argv.data(), environment.data());
    ::_exit(127);
  }
  ::close(log);
  if (network >= 0) ::close(network);
  return pid;
}

std::uint16_t free_port() {
  static Ports ports;
  return ports.next();
}

ScratchDir::ScratchDir() {
  remove_leftovers();
  do {
    if (lock_ >= 0) ::close(lock_);
    root_ = (fs::temp_directory_path() / (std::string(folder_prefix) + "XXXXXX")).string();
    if (::mkdtemp(root_.data()) == nullptr) std::abort();
    lock_ = ::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    // Who clears up may have been faster.
  } while (lock_ < 0 || ::flock(lock_, LOCK_EX) != 0 || !fs::exists(root_));
}
ScratchDir::~ScratchDir() {
  std::error_code ignored;
  fs::remove_all(root_, ignored);
  ::close(lock_);
}
std::string ScratchDir::path(const std::string& name) const {
  return name.empty() ? root_ : root_ + "/" + name;
}

std::string EngineProcess::program() {
  if (const char* given = std::getenv("HOLDFAST_ENGINE")) return given;
  return (fs::read_symlink("/proc/self/exe").parent_path() / "holdfast-engine").string();
}

EngineProcess::EngineProcess(const ScratchDir& scratch, const std::string& name,
                             std::vector<std::string> further_flags, Place place)
    : name_(name),
      further_flags_(std::move(further_flags)),
      place_(std::move(place)),
      data_dir_(scratch.path(name + "-data")),
      log_path_(scratch.path(name + ".log")),
      grpc_port_(free_port()),
      nvmf_port_(free_port()),
      metrics_port_(free_port()) {}

EngineProcess::~EngineProcess() { kill(); }

void EngineProcess::spawn() {
  kill();  // a former process of it would be nobody's
  std::vector<std::string> words = {program(),
                                    "--node-name",
                                    name_,
                                    "--grpc-ip",
                                    place_.address,
                                    "--grpc-port",
                                    std::to_string(grpc_port_),
                                    "--nvmf-ip",
                                    place_.address,
                                    "--nvmf-port",
                                    std::to_string(nvmf_port_),
                                    "--metrics-port",
                                    std::to_string(metrics_port_),
                                    "--data-dir",
                                    data_dir_,
                                    "--cores",
                                    "1",
                                    "--log-level",
                                    "debug"};
  words.insert(words.end(), further_flags_.begin(), further_flags_.end());
  pid_ = spawn_program(std::move(words), log_path_, place_);
  grpc::ChannelArguments args;
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  channel_ = grpc::CreateCustomChannel(place_.address + ":" + std::to_string(grpc_port_),
                                       grpc::InsecureChannelCredentials(), args);
  bdev_ = v1::BdevRpc::NewStub(channel_);
  nexus_ = v1::NexusRpc::NewStub(channel_);
  host_ = v1::HostRpc::NewStub(channel_);
  pool_ = v1::PoolRpc::NewStub(channel_);
  replica_ = v1::ReplicaRpc::NewStub(channel_);
  snapshot_ = v1::SnapshotRpc::NewStub(channel_);
  snapshot_rebuild_ = v1::SnapshotRebuildRpc::NewStub(channel_);
  stats_ = v1::StatsRpc::NewStub(channel_);
  test_ = v1::TestRpc::NewStub(channel_);
  pool_extras_ = holdfast::v1::PoolRpc::NewStub(channel_);
  replica_rebuild_ = holdfast::v1::ReplicaRebuildRpc::NewStub(channel_);
}

bool EngineProcess::wait_ready(std::chrono::milliseconds patience) {
  return channel_->WaitForConnected(std::chrono::system_clock::now() + patience);
}

bool EngineProcess::start() {
  spawn();
  if (wait_ready(std::chrono::seconds(20))) return true;
  std::printf("%s did not start:\n%s\n", name_.c_str(), log().c_str());
  return false;
}

void EngineProcess::signal(int number) {
  if (pid_ > 0) ::kill(pid_, number);
}

std::optional<int> EngineProcess::wait_exit(std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  do {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  } while (std::chrono::steady_clock::now() < deadline);
  return std::nullopt;
}

void EngineProcess::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
  // The kernel takes the ring of a killed process apart a little later, and its sockets with it.
  for (int i = 0; i < 500 && !can_listen_at(place_, nvmf_port_); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

std::string EngineProcess::log() const {
  std::ifstream in(log_path_);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

double EngineProcess::cpu_seconds() const {
  // Fields 14 and 15 of proc(5)'s stat, counted after the name in parentheses.
  std::ifstream in("/proc/" + std::to_string(pid_) + "/stat");
  std::string line;
  std::getline(in, line);
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string skip;
  for (int i = 3; i < 14; ++i) fields >> skip;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

std::uint64_t EngineProcess::resident_bytes() const {
  std::ifstream in("/proc/" + std::to_string(pid_) + "/statm");
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  in >> size >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

Finished run(const std::vector<std::string>& command) {
  std::vector<std::string> words = command;
  std::vector<char*> argv;
  for (auto& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) std::abort();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(pipe[1], STDOUT_FILENO);
    ::dup2(pipe[1], STDERR_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(pipe[1]);
  Finished finished;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(pipe[0], buffer, sizeof buffer)) > 0;) {
    finished.output.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  finished.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return finished;
}

std::string share_malloc(const EngineProcess& engine, const std::string& name, unsigned size_mib) {
  namespace v1 = mayastor::v1;
  v1::CreateBdevRequest create;
  create.set_uri("malloc:///" + name + "?size_mb=" + std::to_string(size_mib));
  v1::CreateBdevResponse created;
  EXPECT_TRUE(call(engine.bdev(), &v1::BdevRpc::Stub::Create, create, &created).ok());
  v1::BdevShareRequest share;
  share.set_name(name);
  share.set_protocol(v1::NVMF);
  v1::BdevShareResponse shared;
  EXPECT_TRUE(call(engine.bdev(), &v1::BdevRpc::Stub::Share, share, &shared).ok());
  return shared.bdev().share_uri();
}

}  // namespace holdfast::testing_support
