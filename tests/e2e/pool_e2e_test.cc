// Pools in real processes, driven by the command line: what they hold survives SIGKILL, and mirrors over thin
// replicas behave when room is short.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/remote_disk.h"
#include "support/engine_process.h"
#include "support/fault_injection.h"

namespace holdfast::e2e {
namespace {

namespace fs = std::filesystem;
namespace v1 = mayastor::v1;
using testing::HasSubstr;
using testing_support::call;
using testing_support::EngineProcess;
using testing_support::ScratchDir;

constexpr std::uint64_t MB = 1 << 20;
constexpr std::size_t piece = 64 << 10;
constexpr const char* nexus_uuid = "0c1b3b2e-4f52-4a58-9a3c-6d1f3a0c7e21";

std::string replica_uuid(int i) { return "aaaaaaaa-0000-4000-8000-00000000000" + std::to_string(i); }
std::string snapshot_uuid(int i) { return "bbbbbbbb-0000-4000-8000-00000000000" + std::to_string(i); }

class PoolProcesses : public testing::Test {
 protected:
  void TearDown() override {
    if (!HasFailure()) return;
    for (const auto& e : engines_) std::printf("%s\n", e->log().c_str());
  }
  EngineProcess& start_engine(std::vector<std::string> flags = {}) {
    const std::string name = "engine" + std::to_string(engines_.size());
    engines_.push_back(std::make_unique<EngineProcess>(scratch_, name, std::move(flags)));
    EXPECT_TRUE(engines_.back()->start());
    return *engines_.back();
  }
  std::string disk(const std::string& name, std::uint64_t bytes) {
    const std::string path = scratch_.path(name);
    const std::ofstream made(path);
    fs::resize_file(path, bytes);
    return path;
  }
  // `holdfast engine ...` of an engine: its standard output, and the test fails when it does.
  std::string holdfast(const EngineProcess& engine, std::vector<std::string> words) {
    const auto tool = fs::path(EngineProcess::program()).parent_path() / "holdfast";
    words.insert(words.begin(),
                 {tool, "engine", "-b", "http://127.0.0.1:" + std::to_string(engine.grpc_port())});
    auto done = testing_support::run(words);
    EXPECT_EQ(done.status, 0) << testing::PrintToString(words) << "\n" << done.output;
    while (done.output.ends_with('\n')) done.output.pop_back();
    return done.output;
  }
  // Writes `count` pieces from `first` on, each with this generation.
  static void write(RemoteDisk& disk, std::uint64_t first, int count, std::uint32_t generation) {
    for (int i = 0; i < count; ++i) {
      const std::uint64_t offset = first + static_cast<std::uint64_t>(i) * piece;
      const auto status = disk.write(offset, pattern(offset, generation, piece));
      ASSERT_TRUE(status.ok()) << "at " << offset << ": " << status.error().message();
    }
  }
  static void expect_content(const std::string& uri, std::uint64_t first, int count,
                             std::uint32_t generation) {
    RemoteDisk disk(uri);
    const auto opened = disk.opened();
    ASSERT_TRUE(opened.ok()) << uri << ": " << opened.error().message();
    for (int i = 0; i < count; ++i) {
      const std::uint64_t offset = first + static_cast<std::uint64_t>(i) * piece;
      auto got = disk.read(offset, piece);
      ASSERT_TRUE(got.ok()) << got.error().message();
      ASSERT_TRUE(got.value() == pattern(offset, generation, piece)) << uri << " at " << offset;
    }
  }
  v1::Nexus nexus(EngineProcess& engine) {
    v1::ListNexusResponse reply;
    EXPECT_TRUE(call(engine.nexus(), &v1::NexusRpc::Stub::ListNexus, v1::ListNexusOptions(), &reply).ok());
    return reply.nexus_list_size() == 1 ? reply.nexus_list(0) : v1::Nexus();
  }
  bool wait_for_state(EngineProcess& engine, v1::NexusState state) {
    for (int i = 0; i < 600; ++i) {
      if (nexus(engine).state() == state) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    std::printf("%s\n", nexus(engine).DebugString().c_str());
    return false;
  }
  std::uint64_t allocated(EngineProcess& engine, const std::string& uuid) {
    v1::ListReplicaOptions request;
    request.mutable_uuid()->set_value(uuid);
    v1::ListReplicasResponse reply;
    EXPECT_TRUE(call(engine.replica(), &v1::ReplicaRpc::Stub::ListReplicas, request, &reply).ok());
    return reply.replicas_size() == 1 ? reply.replicas(0).usage().allocated_bytes() : 0;
  }

  ScratchDir scratch_;
  std::vector<std::unique_ptr<EngineProcess>> engines_;
};

TEST_F(PoolProcesses, EverythingIsThereAfterSigkill) {
  EngineProcess& e = start_engine();
  const auto a = disk("a", 128 * MB);
  const auto b = disk("b", 128 * MB);
  holdfast(e, {"pool", "create", "p1", a, b});
  const auto uri =
      holdfast(e, {"replica", "create", "r1", replica_uuid(1), "p1", "-s", "64MiB", "-t", "-p", "nvmf"});
  {
    RemoteDisk disk(uri);
    ASSERT_TRUE(disk.opened().ok());
    write(disk, 0, 400, 1);
    holdfast(e, {"snapshot", "create_for_replica", replica_uuid(1), "s1", "volume", "txn", snapshot_uuid(1)});
    write(disk, 0, 100, 2);
    write(disk, 48 * MB, 50, 2);
    e.kill();
  }
  ASSERT_TRUE(e.start());
  EXPECT_THAT(holdfast(e, {"-q", "pool", "list"}), HasSubstr("online"));
  expect_content(uri, 0, 100, 2);
  expect_content(uri, 100 * piece, 300, 1);
  expect_content(uri, 48 * MB, 50, 2);
  holdfast(e, {"snapshot", "create_clone", snapshot_uuid(1), "c1", replica_uuid(2)});
  const auto clone = holdfast(e, {"replica", "share", replica_uuid(2)});
  expect_content(clone, 0, 400, 1);
  EXPECT_THAT(holdfast(e, {"-o", "json", "snapshot", "list"}), HasSubstr("\"txn_id\": \"txn\""));
  // And once more, in the middle of writing.
  {
    RemoteDisk disk(clone);
    ASSERT_TRUE(disk.opened().ok());
    write(disk, 0, 200, 3);
    e.kill();
  }
  ASSERT_TRUE(e.start());
  expect_content(clone, 0, 200, 3);
  expect_content(uri, 0, 100, 2);
  const auto tool = fs::path(EngineProcess::program()).parent_path() / "holdfast";
  const auto bench = testing_support::run(
      {tool, "bench", uri, "--verify", "--rw", "randwrite", "--bs", "4KiB", "--qd", "8", "--time", "1"});
  EXPECT_EQ(bench.status, 0) << bench.output;
}

TEST_F(PoolProcesses, APoolMovesToAnotherEngineByItsDisksAlone) {
  EngineProcess& first = start_engine();
  const auto a = disk("a", 96 * MB);
  const auto b = disk("b", 96 * MB);
  holdfast(first, {"pool", "create", "p1", a, b});
  const auto uri =
      holdfast(first, {"replica", "create", "r1", replica_uuid(1), "p1", "-s", "32MiB", "-t", "-p", "nvmf"});
  {
    RemoteDisk disk(uri);
    ASSERT_TRUE(disk.opened().ok());
    write(disk, 0, 100, 1);
  }
  first.signal(SIGTERM);
  ASSERT_EQ(first.wait_exit(std::chrono::seconds(15)), 0);
  EngineProcess& second = start_engine();
  holdfast(second, {"pool", "import", "p1", b, a});
  v1::ListReplicasResponse reply;
  ASSERT_TRUE(
      call(second.replica(), &v1::ReplicaRpc::Stub::ListReplicas, v1::ListReplicaOptions(), &reply).ok());
  ASSERT_EQ(reply.replicas_size(), 1);
  EXPECT_EQ(reply.replicas(0).share(), v1::NVMF);
  expect_content(reply.replicas(0).uri(), 0, 100, 1);
}

// nexus_thin, nexus_thin_rebuild: children of thin replicas; a new one takes no more room than the old.
TEST_F(PoolProcesses, NexusThinRebuildStaysThin) {
  EngineProcess& e = start_engine();
  EngineProcess& other = start_engine();
  holdfast(e, {"pool", "create", "p1", disk("a", 160 * MB)});
  holdfast(other, {"pool", "create", "p2", disk("b", 160 * MB)});
  const auto r1 = holdfast(e, {"replica", "create", "r1", replica_uuid(1), "p1", "-s", "80MiB", "-t"});
  const auto r2 =
      holdfast(other, {"replica", "create", "r2", replica_uuid(2), "p2", "-s", "80MiB", "-t", "-p", "nvmf"});
  const auto tool = fs::path(EngineProcess::program()).parent_path() / "holdfast";
  const auto too_large =
      testing_support::run({tool, "engine", "-b", "http://127.0.0.1:" + std::to_string(e.grpc_port()),
                            "nexus", "create", nexus_uuid, "200MiB", r1, r2});
  EXPECT_EQ(too_large.status, 1) << too_large.output;
  holdfast(e, {"nexus", "create", nexus_uuid, "64MiB", r1});
  const auto uri = holdfast(e, {"nexus", "publish", nexus_uuid});
  {
    RemoteDisk disk(uri);
    ASSERT_TRUE(disk.opened().ok());
    write(disk, 0, 64, 1);
    write(disk, 32 * MB, 64, 1);
  }
  const auto room = allocated(e, replica_uuid(1));
  EXPECT_LE(room, 16 * MB);
  holdfast(e, {"nexus", "add", nexus_uuid, r2});
  ASSERT_TRUE(wait_for_state(e, v1::NEXUS_ONLINE));
  EXPECT_LE(allocated(other, replica_uuid(2)), room + 2 * MB);
  holdfast(e, {"nexus", "remove", nexus_uuid, r1});
  expect_content(uri, 0, 64, 1);
  expect_content(uri, 32 * MB, 64, 1);
}

// nexus_thin_no_space: one replica's pool is full: the volume goes on with the other; with room again it comes
// back by a rebuild.
TEST_F(PoolProcesses, NexusThinNoSpaceGoesOnWithTheOtherReplica) {
  EngineProcess& e = start_engine();
  EngineProcess& other = start_engine();
  holdfast(e, {"pool", "create", "p1", disk("a", 256 * MB)});
  holdfast(other, {"pool", "create", "p2", disk("b", 96 * MB)});
  const auto r1 = holdfast(e, {"replica", "create", "r1", replica_uuid(1), "p1", "-s", "80MiB", "-t"});
  const auto r2 =
      holdfast(other, {"replica", "create", "r2", replica_uuid(2), "p2", "-s", "80MiB", "-t", "-p", "nvmf"});
  holdfast(other, {"replica", "create", "ballast", replica_uuid(3), "p2", "-s", "48MiB"});
  holdfast(e, {"nexus", "create", nexus_uuid, "64MiB", r1, r2});
  const auto uri = holdfast(e, {"nexus", "publish", nexus_uuid});
  {
    RemoteDisk disk(uri);
    ASSERT_TRUE(disk.opened().ok());
    write(disk, 0, 1000, 1);
    ASSERT_TRUE(disk.flush().ok());
  }
  ASSERT_TRUE(wait_for_state(e, v1::NEXUS_DEGRADED));
  EXPECT_EQ(nexus(e).children(1).state_reason(), v1::CHILD_STATE_REASON_NO_SPACE);
  holdfast(other, {"replica", "destroy", replica_uuid(3)});
  holdfast(e, {"nexus", "child", "online", nexus_uuid, r2});
  ASSERT_TRUE(wait_for_state(e, v1::NEXUS_ONLINE));
  holdfast(e, {"nexus", "remove", nexus_uuid, r1});
  expect_content(uri, 0, 1000, 1);
}

// nexus_replica_resize: the nexus grows after its replicas, while it is in use.
TEST_F(PoolProcesses, NexusReplicaResize) {
  EngineProcess& e = start_engine();
  holdfast(e, {"pool", "create", "p1", disk("a", 256 * MB)});
  const auto r1 = holdfast(e, {"replica", "create", "r1", replica_uuid(1), "p1", "-s", "40MiB", "-t"});
  const auto r2 = holdfast(e, {"replica", "create", "r2", replica_uuid(2), "p1", "-s", "40MiB", "-t"});
  holdfast(e, {"nexus", "create", nexus_uuid, "32MiB", r1, r2});
  const auto uri = holdfast(e, {"nexus", "publish", nexus_uuid});
  RemoteDisk disk(uri);
  ASSERT_TRUE(disk.opened().ok());
  write(disk, 0, 100, 1);
  v1::ResizeNexusRequest request;
  request.set_uuid(nexus_uuid);
  request.set_requested_size(64 * MB);
  v1::ResizeNexusResponse reply;
  EXPECT_FALSE(call(e.nexus(), &v1::NexusRpc::Stub::ResizeNexus, request, &reply).ok());
  holdfast(e, {"replica", "resize", replica_uuid(1), "72MiB"});
  EXPECT_FALSE(call(e.nexus(), &v1::NexusRpc::Stub::ResizeNexus, request, &reply).ok());
  holdfast(e, {"replica", "resize", replica_uuid(2), "72MiB"});
  const auto grown = call(e.nexus(), &v1::NexusRpc::Stub::ResizeNexus, request, &reply);
  ASSERT_TRUE(grown.ok()) << grown.error_message();
  for (int i = 0; i < 100 && disk.size_bytes() < 60 * MB; ++i) {
    ASSERT_TRUE(disk.read(0, piece).ok());  // it hears of nothing while it is asked nothing
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_GE(disk.size_bytes(), 60 * MB);
  RemoteDisk again(uri);
  ASSERT_TRUE(again.opened().ok());
  write(again, 60 * MB, 20, 1);
  write(disk, 0, 100, 2);
}

// lvs_limits: many replicas with snapshots end in nothing worse than an error.
TEST_F(PoolProcesses, LvsLimits) {
  EngineProcess& e = start_engine();
  holdfast(e, {"pool", "create", "p1", disk("a", 64 * MB)});
  int made = 0;
  grpc::Status last;
  for (int i = 0; i < 300 && last.ok(); ++i) {
    v1::CreateReplicaRequest request;
    request.set_name("r" + std::to_string(i));
    request.set_uuid("aaaaaaaa-0000-4000-8000-" + std::to_string(100000000000 + i));
    request.set_pooluuid("p1");
    request.set_size(4 * MB);
    request.set_thin(true);
    v1::Replica reply;
    last = call(e.replica(), &v1::ReplicaRpc::Stub::CreateReplica, request, &reply);
    if (!last.ok()) break;
    ++made;
    v1::CreateReplicaSnapshotRequest snapshot;
    snapshot.set_replica_uuid(request.uuid());
    snapshot.set_snapshot_name("s" + std::to_string(i));
    snapshot.set_snapshot_uuid("bbbbbbbb-0000-4000-8000-" + std::to_string(100000000000 + i));
    v1::CreateReplicaSnapshotResponse taken;
    last = call(e.snapshot(), &v1::SnapshotRpc::Stub::CreateReplicaSnapshot, snapshot, &taken);
  }
  if (!last.ok()) {
    EXPECT_EQ(last.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << last.error_message();
  }
  EXPECT_GE(made, 100);
  EXPECT_THAT(holdfast(e, {"-q", "pool", "list"}), HasSubstr("online"));
}

// resource_stats
TEST_F(PoolProcesses, ResourceStats) {
  EngineProcess& e = start_engine();
  holdfast(e, {"pool", "create", "p1", disk("a", 256 * MB)});
  const auto r1 = holdfast(e, {"replica", "create", "r1", replica_uuid(1), "p1", "-s", "40MiB", "-t"});
  const auto r2 = holdfast(e, {"replica", "create", "r2", replica_uuid(2), "p1", "-s", "40MiB", "-t"});
  holdfast(e, {"nexus", "create", nexus_uuid, "32MiB", r1, r2});
  const auto uri = holdfast(e, {"nexus", "publish", nexus_uuid});
  google::protobuf::Empty nothing;
  ASSERT_TRUE(call(e.stats(), &v1::StatsRpc::Stub::ResetIoStats, nothing, &nothing).ok());
  {
    RemoteDisk disk(uri);
    ASSERT_TRUE(disk.opened().ok());
    write(disk, 0, 100, 1);
  }
  expect_content(uri, 0, 100, 1);
  const v1::ListStatsOption all;
  v1::NexusIoStatsResponse n;
  v1::ReplicaIoStatsResponse r;
  v1::PoolIoStatsResponse p;
  ASSERT_TRUE(call(e.stats(), &v1::StatsRpc::Stub::GetNexusIoStats, all, &n).ok());
  ASSERT_TRUE(call(e.stats(), &v1::StatsRpc::Stub::GetReplicaIoStats, all, &r).ok());
  ASSERT_TRUE(call(e.stats(), &v1::StatsRpc::Stub::GetPoolIoStats, all, &p).ok());
  ASSERT_EQ(n.stats_size(), 1);
  ASSERT_EQ(r.stats_size(), 2);
  ASSERT_EQ(p.stats_size(), 1);
  EXPECT_EQ(n.stats(0).bytes_written(), 100 * piece);
  EXPECT_GE(n.stats(0).bytes_read(), 100 * piece);
  std::uint64_t reads = 0, read_bytes = 0;
  for (const auto& one : r.stats()) {
    EXPECT_EQ(one.stats().num_write_ops(), n.stats(0).num_write_ops());
    EXPECT_EQ(one.stats().bytes_written(), n.stats(0).bytes_written());
    reads += one.stats().num_read_ops();
    read_bytes += one.stats().bytes_read();
  }
  EXPECT_EQ(reads, n.stats(0).num_read_ops());
  EXPECT_EQ(read_bytes, n.stats(0).bytes_read());
  EXPECT_EQ(p.stats(0).num_write_ops(), 2 * n.stats(0).num_write_ops());
  EXPECT_EQ(p.stats(0).bytes_read(), read_bytes);
}

// replica_timeout: the target of the only replica stands still. Reads fail instead of hanging, and the nexus, which shows
// its child, can be let go of.
TEST_F(PoolProcesses, ReplicaTimeout) {
  EngineProcess& away = start_engine();
  EngineProcess& e = start_engine();
  holdfast(away, {"pool", "create", "p1", disk("a", 64 * MB)});
  auto replica =
      holdfast(away, {"replica", "create", "r1", replica_uuid(1), "p1", "-s", "40MiB", "-t", "-p", "nvmf"});
  replica += "&io_timeout_ms=1000&grace_ms=1000";
  holdfast(e, {"nexus", "create", nexus_uuid, "32MiB", replica});
  const auto uri = holdfast(e, {"nexus", "publish", nexus_uuid});
  RemoteDisk disk(uri);
  ASSERT_TRUE(disk.opened().ok());
  write(disk, 0, 4, 1);
  away.signal(SIGSTOP);
  const auto began = std::chrono::steady_clock::now();
  EXPECT_FALSE(disk.read(0, piece).ok());
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(60));
  EXPECT_TRUE(wait_for_state(e, v1::NEXUS_FAULTED));
  ASSERT_EQ(nexus(e).children_size(), 1);
  EXPECT_EQ(nexus(e).children(0).uri(), replica);
  holdfast(e, {"nexus", "unpublish", nexus_uuid});
  away.signal(SIGCONT);
  EXPECT_TRUE(wait_for_state(e, v1::NEXUS_ONLINE));
}

// replica_crd: what a replica answers when its disk fails comes at once, however long hosts of a nexus are to wait.
TEST_F(PoolProcesses, ReplicaCrd) {
  EngineProcess& e = start_engine({"--tgt-crdt", "100"});
  holdfast(e, {"bdev", "create", "inject://malloc%3A%2F%2F%2Fm0%3Fsize_mb%3D64"});
  holdfast(e, {"pool", "create", "p1", "bdev:///m0-inject"});
  const auto uri =
      holdfast(e, {"replica", "create", "r1", replica_uuid(1), "p1", "-s", "40MiB", "-t", "-p", "nvmf"});
  RemoteDisk disk(uri);
  ASSERT_TRUE(disk.opened().ok());
  write(disk, 0, 4, 1);
  ASSERT_TRUE(testing_support::inject(e, "inject://m0?op=r&method=status", true).ok());
  const auto began = std::chrono::steady_clock::now();
  const auto got = disk.read(0, piece);
  EXPECT_EQ(got.code(), Errc::io_error);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5)) << "a delay is 10 s";
}

}  // namespace
}  // namespace holdfast::e2e
