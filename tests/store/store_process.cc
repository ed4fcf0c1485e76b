#include "store/store_process.h"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "etcd/rpc.grpc.pb.h"

namespace holdfast::testing_support {

namespace fs = std::filesystem;

void ChildProcess::start() {
  std::vector<std::string> words = command_;
  std::vector<char*> argv;
  for (auto& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  const int log = ::open(log_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::dup2(log, STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(log);
}

void ChildProcess::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
}

std::string ChildProcess::log() const {
  std::ifstream in(log_path_);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

namespace {

bool answers(std::uint16_t port) {
  const auto channel =
      grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials());
  const auto kv = etcdserverpb::KV::NewStub(channel);
  const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(60);
  while (std::chrono::system_clock::now() < deadline) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
    etcdserverpb::RangeRequest request;
    request.set_key("none");
    etcdserverpb::RangeResponse reply;
    channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(5));
    if (kv->Range(&context, request, &reply).ok()) return true;
  }
  return false;
}

class Etcd final : public StoreProcesses {
 public:
  explicit Etcd(std::size_t members) {
    std::string cluster;
    for (std::size_t i = 0; i < members; ++i) {
      client_.push_back(free_port());
      peer_.push_back(free_port());
      cluster += (i > 0 ? "," : "") + name(i) + "=" + url(peer_[i]);
    }
    for (std::size_t i = 0; i < members; ++i) {
      const std::vector<std::string> command = {
          "etcd", "--name", name(i), "--data-dir", scratch_.path(name(i)), "--listen-client-urls",
          url(client_[i]), "--advertise-client-urls", url(client_[i]), "--listen-peer-urls", url(peer_[i]),
          "--initial-advertise-peer-urls", url(peer_[i]), "--initial-cluster", cluster,
          "--initial-cluster-state", "new", "--logger", "zap", "--log-level", "error",
          // Slow machines: an election needs the time that a busy disk takes.
          "--heartbeat-interval", "100", "--election-timeout", "1000"};
      members_.push_back(std::make_unique<ChildProcess>(command, scratch_.path(name(i) + ".log")));
    }
  }
  std::vector<std::string> endpoints() const override {
    std::vector<std::string> urls;
    for (const auto port : client_) urls.push_back(url(port));
    return urls;
  }
  std::size_t size() const override { return members_.size(); }
  void start(std::size_t member) override { members_[member]->start(); }
  void kill(std::size_t member) override { members_[member]->kill(); }
  bool ready() const {
    for (std::size_t i = 0; i < members_.size(); ++i) {
      if (!answers(client_[i])) {
        ADD_FAILURE() << "etcd does not answer:\n" << members_[i]->log();
        return false;
      }
    }
    return true;
  }

 private:
  static std::string name(std::size_t i) { return "m" + std::to_string(i); }
  static std::string url(std::uint16_t port) { return "http://127.0.0.1:" + std::to_string(port); }

  ScratchDir scratch_;
  std::vector<std::uint16_t> client_;
  std::vector<std::uint16_t> peer_;
  std::vector<std::unique_ptr<ChildProcess>> members_;
};

class Embedded final : public StoreProcesses {
 public:
  std::vector<std::string> endpoints() const override { return {listen_}; }
  std::size_t size() const override { return 1; }
  void start(std::size_t) override { process_->start(); }
  void kill(std::size_t) override { process_->kill(); }
  bool ready() const {
    if (answers(port_)) return true;
    ADD_FAILURE() << "the embedded store does not answer:\n" << process_->log();
    return false;
  }

 private:
  static std::string program() {
    return (fs::read_symlink("/proc/self/exe").parent_path() / "embedded-store").string();
  }
  ScratchDir scratch_;
  const std::uint16_t port_ = free_port();
  const std::string listen_ = "127.0.0.1:" + std::to_string(port_);
  const std::vector<std::string> command_{program(), scratch_.path("store.db"), listen_};
  std::unique_ptr<ChildProcess> process_ = std::make_unique<ChildProcess>(command_, scratch_.path("log"));
};

bool installed(const std::string& program) {
  std::stringstream path(std::getenv("PATH"));
  for (std::string folder; std::getline(path, folder, ':');) {
    if (::access((folder + "/" + program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

template <class T>
std::unique_ptr<StoreProcesses> started(std::unique_ptr<T> processes) {
  for (std::size_t i = 0; i < processes->size(); ++i) processes->start(i);
  if (!processes->ready()) return nullptr;
  return processes;
}

}  // namespace

std::unique_ptr<StoreProcesses> start_etcd(std::size_t members) {
  if (!installed("etcd")) return nullptr;
  return started(std::make_unique<Etcd>(members));
}

std::unique_ptr<StoreProcesses> start_embedded() { return started(std::make_unique<Embedded>()); }

}  // namespace holdfast::testing_support
