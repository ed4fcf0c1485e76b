// A real holdfast-engine on free loopback ports, with clients of its services.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "holdfast/v1/pool.grpc.pb.h"
#include "holdfast/v1/rebuild.grpc.pb.h"
#include "mayastor/v1/bdev.grpc.pb.h"
#include "mayastor/v1/host.grpc.pb.h"
#include "mayastor/v1/nexus.grpc.pb.h"
#include "mayastor/v1/pool.grpc.pb.h"
#include "mayastor/v1/replica.grpc.pb.h"
#include "mayastor/v1/snapshot.grpc.pb.h"
#include "mayastor/v1/snapshot_rebuild.grpc.pb.h"
#include "mayastor/v1/stats.grpc.pb.h"
#include "mayastor/v1/test.grpc.pb.h"

namespace holdfast::testing_support {

// Ports that were free a moment ago.
std::uint16_t free_port();
// Where a process runs: the address that it is reached at, and its network namespace (ip-netns(8)); "": the test's own.
struct Place {
  std::string address = "127.0.0.1";
  std::string network = {};
};
// Starts a program, with its output at the end of a file: its process id. It ends with the calling thread, by SIGKILL.
pid_t spawn_program(std::vector<std::string> words, const std::string& log_path, const Place& place);
// A directory of its own below the system's temporary one, removed with everything in it; after a test that was killed,
// by the next (leftovers.h).
class ScratchDir {
 public:
  ScratchDir();
  ~ScratchDir();
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;
  std::string path(const std::string& name = "") const;

 private:
  std::string root_;
  int lock_ = -1;  // held as long as the test lives
};

class EngineProcess {
 public:
  // Where the program is: next to the test's own folder, or $HOLDFAST_ENGINE.
  static std::string program();

  // Picks ports and a data directory; nothing runs yet. They stay the same over restarts.
  explicit EngineProcess(const ScratchDir& scratch, const std::string& name,
                         std::vector<std::string> further_flags = {}, Place place = {});
  ~EngineProcess();  // SIGKILL, if it still runs
  EngineProcess(const EngineProcess&) = delete;
  EngineProcess& operator=(const EngineProcess&) = delete;

  // Starts it and waits until its services answer. False, with its log on standard output, when they do not.
  bool start();
  // Without waiting.
  void spawn();
  bool wait_ready(std::chrono::milliseconds patience);
  void signal(int number);
  // The exit status, or minus the signal that ended it; nullopt when it still runs.
  std::optional<int> wait_exit(std::chrono::milliseconds patience);
  void kill();  // SIGKILL, and waits

  pid_t pid() const noexcept { return pid_; }
  std::uint16_t grpc_port() const noexcept { return grpc_port_; }
  std::uint16_t nvmf_port() const noexcept { return nvmf_port_; }
  std::uint16_t metrics_port() const noexcept { return metrics_port_; }
  const std::string& data_dir() const noexcept { return data_dir_; }
  std::string log() const;
  double cpu_seconds() const;  // of the process so far
  std::uint64_t resident_bytes() const;

  mayastor::v1::BdevRpc::Stub& bdev() const { return *bdev_; }
  mayastor::v1::NexusRpc::Stub& nexus() const { return *nexus_; }
  mayastor::v1::HostRpc::Stub& host() const { return *host_; }
  mayastor::v1::PoolRpc::Stub& pool() const { return *pool_; }
  mayastor::v1::ReplicaRpc::Stub& replica() const { return *replica_; }
  mayastor::v1::SnapshotRpc::Stub& snapshot() const { return *snapshot_; }
  mayastor::v1::SnapshotRebuildRpc::Stub& snapshot_rebuild() const { return *snapshot_rebuild_; }
  mayastor::v1::StatsRpc::Stub& stats() const { return *stats_; }
  mayastor::v1::TestRpc::Stub& test() const { return *test_; }
  holdfast::v1::PoolRpc::Stub& pool_extras() const { return *pool_extras_; }
  holdfast::v1::ReplicaRebuildRpc::Stub& replica_rebuild() const { return *replica_rebuild_; }
  std::shared_ptr<grpc::Channel> channel() const { return channel_; }

 private:
  const std::string name_;
  const std::vector<std::string> further_flags_;
  const Place place_;
  const std::string data_dir_;
  const std::string log_path_;
  const std::uint16_t grpc_port_;
  const std::uint16_t nvmf_port_;
  const std::uint16_t metrics_port_;
  pid_t pid_ = -1;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<mayastor::v1::BdevRpc::Stub> bdev_;
  std::unique_ptr<mayastor::v1::NexusRpc::Stub> nexus_;
  std::unique_ptr<mayastor::v1::HostRpc::Stub> host_;
  std::unique_ptr<mayastor::v1::PoolRpc::Stub> pool_;
  std::unique_ptr<mayastor::v1::ReplicaRpc::Stub> replica_;
  std::unique_ptr<mayastor::v1::SnapshotRpc::Stub> snapshot_;
  std::unique_ptr<mayastor::v1::SnapshotRebuildRpc::Stub> snapshot_rebuild_;
  std::unique_ptr<mayastor::v1::StatsRpc::Stub> stats_;
  std::unique_ptr<mayastor::v1::TestRpc::Stub> test_;
  std::unique_ptr<holdfast::v1::PoolRpc::Stub> pool_extras_;
  std::unique_ptr<holdfast::v1::ReplicaRebuildRpc::Stub> replica_rebuild_;
};

// Runs a program to its end: exit status and standard error.
struct Finished {
  int status = -1;
  std::string output;
};
Finished run(const std::vector<std::string>& command);

// Makes malloc:///name and exports it; its URI. A failure is one of the test.
std::string share_malloc(const EngineProcess& engine, const std::string& name, unsigned size_mib = 64);

// One unary call, with a deadline that no healthy engine misses.
template <class Stub, class Request, class Reply>
grpc::Status call(Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                  const Request& request, Reply* reply) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  return (stub.*method)(&context, request, reply);
}

}  // namespace holdfast::testing_support
