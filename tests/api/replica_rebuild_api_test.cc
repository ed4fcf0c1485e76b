// ReplicaRebuildRpc: a new replica on another engine gets the snapshots of a replica, and a nexus only what came
// later. Bytes of every snapshot are compared, and what was copied is counted.
#include <thread>

#include "api/pool_api_test.h"
#include "support/fault_injection.h"
#include "support/silent_server.h"

namespace holdfast::api_test {
namespace {

using testing_support::EngineProcess;

constexpr const char* new_uuid = "aaaaaaaa-0000-4000-8000-0000000000bb";

std::string snapshot_id(int n) { return "bbbbbbbb-0000-4000-8000-00000000000" + std::to_string(n); }

class ReplicaRebuildApi : public PoolApiTest {
 protected:
  void SetUp() override {
    PoolApiTest::SetUp();
    ASSERT_TRUE(create_pool("p1", {disk("a")}, pool_uuid).status.ok());
    ASSERT_TRUE(create(replica_request("r1", replica_uuid, 16 * MB)).status.ok());
  }
  void TearDown() override {
    PoolApiTest::TearDown();
    if (HasFailure()) std::printf("%s", other_.log().c_str());
  }
  void start_other(const std::string& its_disk) {
    ASSERT_TRUE(other_.start());
    v1::CreatePoolRequest pool;
    pool.set_name("p2");
    pool.add_disks(its_disk);
    EXPECT_OK(ask(other_.pool(), &v1::PoolRpc::Stub::CreatePool, pool).status);
    auto request = replica_request("r2", new_uuid, 16 * MB);
    request.set_pooluuid("p2");
    EXPECT_OK(ask(other_.replica(), &v1::ReplicaRpc::Stub::CreateReplica, request).status);
  }

  // The device has `megabytes` of a pattern, and zeroes behind them. Only what differs is written.
  void put_prefix(const std::string& device, unsigned megabytes, std::uint64_t device_bytes) {
    const std::string from = "eeeeeeee-0000-4000-8000-000000000001";
    ASSERT_TRUE(create(replica_request("from", from, megabytes * MB)).status.ok());
    fill(from, 0x5eed);
    v1::ResizeReplicaRequest resize;
    resize.set_uuid(from);
    resize.set_requested_size(device_bytes);
    EXPECT_OK(ask(engine_.replica(), &v1::ReplicaRpc::Stub::ResizeReplica, resize).status);
    v1::CreateSnapshotRebuildRequest job;
    job.set_uuid(from);
    job.set_snapshot_uuid(from);
    job.set_replica_uri("bdev:///" + device);
    EXPECT_OK(
        ask(engine_.snapshot_rebuild(), &v1::SnapshotRebuildRpc::Stub::CreateSnapshotRebuild, job).status);
    v1::ListSnapshotRebuildRequest list;
    EXPECT_TRUE(eventually([&] {
      const auto seen =
          ask(engine_.snapshot_rebuild(), &v1::SnapshotRebuildRpc::Stub::ListSnapshotRebuild, list);
      return seen->rebuilds_size() == 1 && seen->rebuilds(0).status() == v1::SnapshotRebuild::Successful;
    }));
    v1::DestroySnapshotRebuildRequest end;
    end.set_uuid(from);
    EXPECT_OK(
        ask(engine_.snapshot_rebuild(), &v1::SnapshotRebuildRpc::Stub::DestroySnapshotRebuild, end).status);
    EXPECT_OK(destroy_replica(from));
  }
  // Three snapshots: 2 MiB, 4 MiB, and 3 MiB of the same.
  void make_history() {
    int n = 0;
    for (const unsigned megabytes : {2U, 4U, 3U}) {
      put_prefix("r1", megabytes, 16 * MB);
      ++n;
      ASSERT_TRUE(snap(replica_uuid, "s" + std::to_string(n), snapshot_id(n)).status.ok());
    }
    put_prefix("r1", 6, 16 * MB);
  }

  Outcome<own::ReplicaRebuild> rebuild(const EngineProcess& on, const std::string& replica,
                                       const std::string& source, const std::string& endpoint) {
    own::RebuildReplicaRequest request;
    request.set_replica_uuid(replica);
    request.set_source_uuid(source);
    request.set_source_endpoint(endpoint);
    return ask(on.replica_rebuild(), &own::ReplicaRebuildRpc::Stub::RebuildReplica, request);
  }
  Outcome<own::ReplicaRebuild> rebuild() { return rebuild(other_, new_uuid, replica_uuid, endpoint()); }
  std::string endpoint() const { return "127.0.0.1:" + std::to_string(engine_.grpc_port()); }
  own::ReplicaRebuild ended(const EngineProcess& on, const std::string& replica) {
    own::ListReplicaRebuildsRequest request;
    request.set_replica_uuid(replica);
    own::ReplicaRebuild last;
    EXPECT_TRUE(eventually([&] {
      const auto seen =
          ask(on.replica_rebuild(), &own::ReplicaRebuildRpc::Stub::ListReplicaRebuilds, request);
      if (seen->rebuilds_size() != 1) return false;
      last = seen->rebuilds(0);
      return last.status() != own::ReplicaRebuild::RUNNING;
    })) << "the job does not end";
    return last;
  }
  own::ReplicaRebuild rebuilt() {
    const auto begun = rebuild();
    EXPECT_OK(begun.status);
    const own::ReplicaRebuild job = ended(other_, new_uuid);
    EXPECT_EQ(job.status(), own::ReplicaRebuild::SUCCESSFUL) << job.error();
    return job;
  }

  template <class Condition>
  static bool eventually(const Condition& holds) {
    for (int i = 0; i < 2000; ++i) {
      if (holds()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }
  std::vector<v1::SnapshotInfo> snapshots_on(const EngineProcess& on) {
    const auto listed = ask(on.snapshot(), &v1::SnapshotRpc::Stub::ListSnapshot, v1::ListSnapshotsRequest());
    EXPECT_OK(listed.status);
    return {listed->snapshots().begin(), listed->snapshots().end()};
  }
  std::uint32_t sum_on(const EngineProcess& on, const std::string& which) {
    v1::WipeReplicaRequest request;
    request.set_uuid(which);
    request.mutable_wipe_options()->mutable_options()->set_wipe_method(v1::WipeOptions::CHECKSUM);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    const auto reader = on.test().WipeReplica(&context, request);
    std::uint32_t sum = 0;
    for (v1::WipeReplicaResponse m; reader->Read(&m);) sum = m.crc32();
    EXPECT_OK(reader->Finish());
    return sum;
  }
  v1::Replica replica_on(const EngineProcess& on, const std::string& which) {
    v1::ListReplicaOptions request;
    request.mutable_uuid()->set_value(which);
    const auto listed = ask(on.replica(), &v1::ReplicaRpc::Stub::ListReplicas, request);
    EXPECT_EQ(listed->replicas_size(), 1);
    return listed->replicas_size() == 1 ? listed->replicas(0) : v1::Replica();
  }
  // Every snapshot of the source is there: what it is called, when it was made, what it holds and what it costs.
  void expect_same_history() {
    const auto theirs = snapshots_on(engine_);
    const auto ours = snapshots_on(other_);
    ASSERT_EQ(ours.size(), theirs.size());
    for (std::size_t i = 0; i < ours.size(); ++i) {
      SCOPED_TRACE(theirs[i].snapshot_name());
      EXPECT_EQ(ours[i].snapshot_uuid(), theirs[i].snapshot_uuid());
      EXPECT_EQ(ours[i].snapshot_name(), theirs[i].snapshot_name());
      EXPECT_EQ(ours[i].txn_id(), theirs[i].txn_id());
      EXPECT_EQ(ours[i].entity_id(), theirs[i].entity_id());
      EXPECT_EQ(ours[i].timestamp().seconds(), theirs[i].timestamp().seconds());
      EXPECT_EQ(ours[i].timestamp().nanos(), theirs[i].timestamp().nanos());
      EXPECT_EQ(ours[i].source_uuid(), new_uuid);
      EXPECT_EQ(ours[i].source_size(), theirs[i].source_size());
      EXPECT_EQ(sum_on(other_, ours[i].snapshot_uuid()), sum_on(engine_, theirs[i].snapshot_uuid()));
      EXPECT_EQ(replica_on(engine_, theirs[i].snapshot_uuid()).share(), v1::NONE) << "it is still shared";
    }
  }

  EngineProcess other_{scratch_, "other"};
};

TEST_F(ReplicaRebuildApi, ANewReplicaGetsEverySnapshotOldestFirst) {
  make_history();
  start_other(disk("c"));
  const auto job = rebuilt();
  EXPECT_EQ(job.snapshots(), 3u);
  ASSERT_EQ(job.copied_size(), 3);
  EXPECT_EQ(job.copied(0).snapshot_name(), "s1");
  EXPECT_EQ(job.copied(0).copied(), 2 * MB);
  EXPECT_EQ(job.copied(1).copied(), 2 * MB) << "the difference, not the whole";
  EXPECT_EQ(job.copied(2).copied(), 1 * MB);
  EXPECT_EQ(job.in_sync_through(), 0u) << "no mirror has told r1 of epochs";
  expect_same_history();
  EXPECT_EQ(replica_on(other_, new_uuid).usage().allocated_bytes(), 0u) << "all of it is the snapshots'";
  EXPECT_EQ(replica_on(other_, new_uuid).usage().allocated_bytes_snapshots(), 4 * MB);

  const auto again = rebuilt();
  EXPECT_EQ(again.copied_size(), 0);
  ASSERT_TRUE(snap(replica_uuid, "s4", snapshot_id(4)).status.ok());
  const auto one_more = rebuilt();
  ASSERT_EQ(one_more.copied_size(), 1);
  EXPECT_EQ(one_more.copied(0).copied(), 3 * MB);
  expect_same_history();
}

TEST_F(ReplicaRebuildApi, ACopyIsCalledAsTheCallerWantsAndTheOthersAreLeftOut) {
  make_history();
  start_other(disk("c"));
  own::RebuildReplicaRequest request;
  request.set_replica_uuid(new_uuid);
  request.set_source_uuid(replica_uuid);
  request.set_source_endpoint(endpoint());
  const auto want = [&](const std::string& source, const std::string& copy, const std::string& name) {
    auto* one = request.add_snapshots();
    one->set_source_uuid(source);
    one->set_uuid(copy);
    one->set_name(name);
  };
  const auto ask_it = [&] {
    return ask(other_.replica_rebuild(), &own::ReplicaRebuildRpc::Stub::RebuildReplica, request).status;
  };
  const std::string copy_of_3 = "bbbbbbbb-0000-4000-8000-0000000000c3";
  const std::string copy_of_1 = "bbbbbbbb-0000-4000-8000-0000000000c1";
  want(snapshot_id(3), copy_of_3, "third");
  want(snapshot_id(1), copy_of_1, "");
  want(other_uuid, "bbbbbbbb-0000-4000-8000-0000000000c9", "of-nothing");
  EXPECT_OK(ask_it());
  const auto job = ended(other_, new_uuid);
  ASSERT_EQ(job.status(), own::ReplicaRebuild::SUCCESSFUL) << job.error();
  EXPECT_EQ(job.snapshots(), 2u);
  ASSERT_EQ(job.copied_size(), 2);
  EXPECT_EQ(job.copied(0).snapshot_uuid(), copy_of_1) << "the oldest first, however they are listed";
  EXPECT_EQ(job.copied(0).snapshot_name(), "s1");
  EXPECT_EQ(job.copied(1).snapshot_uuid(), copy_of_3);
  EXPECT_EQ(job.copied(1).snapshot_name(), "third");
  EXPECT_EQ(job.copied(1).copied(), 1 * MB) << "the difference to the one before that is copied";
  EXPECT_EQ(snapshots_on(other_).size(), 2u);
  EXPECT_EQ(sum_on(other_, copy_of_1), sum_on(engine_, snapshot_id(1)));
  EXPECT_EQ(sum_on(other_, copy_of_3), sum_on(engine_, snapshot_id(3)));
  // Goes on behind what is there, by the names of the copies.
  EXPECT_OK(ask_it());
  EXPECT_EQ(ended(other_, new_uuid).copied_size(), 0);

  want(snapshot_id(1), snapshot_id(1), "");
  EXPECT_CODE(ask_it(), INVALID_ARGUMENT, "given twice");
  request.mutable_snapshots(3)->set_source_uuid("x");
  EXPECT_CODE(ask_it(), INVALID_ARGUMENT, "snapshots.source_uuid");
  request.mutable_snapshots(3)->set_source_uuid(snapshot_id(2));
  request.mutable_snapshots(3)->set_uuid("");
  EXPECT_CODE(ask_it(), INVALID_ARGUMENT, "snapshots.uuid");
}

TEST_F(ReplicaRebuildApi, AnEngineThatDiesInTheMiddleGoesOnWhereItWas) {
  make_history();
  const std::string path = disk("c");
  start_other("inject:///aio%3A%2F%2F" + path + "?op=w&delay=40");
  EXPECT_OK(rebuild().status);
  EXPECT_TRUE(eventually([&] { return !snapshots_on(other_).empty(); }));
  EXPECT_LT(snapshots_on(other_).size(), 3u);
  other_.kill();
  ASSERT_TRUE(other_.start());
  ASSERT_TRUE(eventually([&] {
    return ask(other_.replica(), &v1::ReplicaRpc::Stub::ListReplicas, v1::ListReplicaOptions())
               ->replicas_size() > 0;
  }));
  const auto job = rebuilt();
  EXPECT_LT(job.copied_size(), 3);
  expect_same_history();
}

TEST_F(ReplicaRebuildApi, ANexusCopiesOnlyWhatCameAfterTheNewestSnapshot) {
  auto nexus = nexus_request({replica(replica_uuid).uri()});
  nexus.set_size(8 * MB);
  v1::CreateNexusResponse made;
  ASSERT_TRUE(call(engine_.nexus(), &v1::NexusRpc::Stub::CreateNexus, nexus, &made).ok());
  const std::string device = made.nexus().name();
  put_prefix(device, 4, 8 * MB);
  own::GetEpochsRequest of;
  of.set_uuid(replica_uuid);
  ASSERT_TRUE(eventually([&] {
    return ask(engine_.replica_rebuild(), &own::ReplicaRebuildRpc::Stub::GetEpochs, of)->sealed() > 0;
  })) << "the volume does not settle";
  ASSERT_TRUE(snap(replica_uuid, "s1", snapshot_id(1)).status.ok());
  start_other(disk("c"));
  const auto job = rebuilt();
  ASSERT_EQ(job.copied_size(), 1);
  EXPECT_EQ(job.copied(0).copied(), 4 * MB);
  EXPECT_GT(job.in_sync_through(), 0u);

  put_prefix(device, 5, 8 * MB);
  v1::ShareReplicaRequest share;
  share.set_uuid(new_uuid);
  share.set_share(v1::NVMF);
  const auto shared = ask(other_.replica(), &v1::ReplicaRpc::Stub::ShareReplica, share);
  ASSERT_TRUE(shared.status.ok()) << shared.status.error_message();
  own::AddChildNexusRequest add;
  add.set_uuid(uuid);
  add.set_uri(shared->uri());
  add.set_in_sync_through(job.in_sync_through());
  EXPECT_OK(ask(engine_.replica_rebuild(), &own::ReplicaRebuildRpc::Stub::AddChildNexus, add).status);
  wait_for_state(v1::NEXUS_ONLINE);
  v1::RebuildHistoryRequest history;
  history.set_uuid(uuid);
  const auto past = ask(engine_.nexus(), &v1::NexusRpc::Stub::GetRebuildHistory, history);
  ASSERT_EQ(past->records_size(), 1);
  EXPECT_TRUE(past->records(0).is_partial());
  EXPECT_EQ(past->records(0).blocks_transferred() * past->records(0).block_size(), 1 * MB);
  v1::DestroyNexusRequest destroy;
  destroy.set_uuid(uuid);
  EXPECT_OK(ask(engine_.nexus(), &v1::NexusRpc::Stub::DestroyNexus, destroy).status);
  EXPECT_EQ(sum_on(other_, new_uuid), sum_on(engine_, replica_uuid));
  EXPECT_EQ(sum_on(other_, snapshot_id(1)), sum_on(engine_, snapshot_id(1)));
  EXPECT_EQ(replica_on(other_, new_uuid).usage().allocated_bytes(), 1 * MB) << "the rest is the snapshot's";

  // A member of a mirror is not written behind its back.
  EXPECT_CODE(rebuild().status, FAILED_PRECONDITION, "in use");
  v1::UnshareReplicaRequest unshare;
  unshare.set_uuid(new_uuid);
  EXPECT_OK(ask(other_.replica(), &v1::ReplicaRpc::Stub::UnshareReplica, unshare).status);
  EXPECT_OK(rebuild().status);
  EXPECT_THAT(ended(other_, new_uuid).error(), HasSubstr("part of a mirror"));
}

TEST_F(ReplicaRebuildApi, RefusesWhatIsWrong) {
  make_history();
  start_other(disk("c"));
  EXPECT_CODE(rebuild(other_, other_uuid, replica_uuid, endpoint()).status, NOT_FOUND, other_uuid);
  EXPECT_CODE(rebuild(other_, "x", replica_uuid, endpoint()).status, INVALID_ARGUMENT, "replica_uuid");
  EXPECT_CODE(rebuild(other_, new_uuid, "x", endpoint()).status, INVALID_ARGUMENT, "source_uuid");
  EXPECT_CODE(rebuild(other_, new_uuid, replica_uuid, "").status, INVALID_ARGUMENT, "source_endpoint");
  EXPECT_CODE(rebuild(engine_, snapshot_id(1), replica_uuid, endpoint()).status, INVALID_ARGUMENT,
              "snapshot");
  const auto why = [this](const std::string& source, const std::string& at) {
    EXPECT_OK(rebuild(other_, new_uuid, source, at).status);
    const auto job = ended(other_, new_uuid);
    EXPECT_EQ(job.status(), own::ReplicaRebuild::FAILED);
    return job.error();
  };
  EXPECT_THAT(why(other_uuid, endpoint()), HasSubstr("there is no replica"));
  EXPECT_THAT(why(replica_uuid, "127.0.0.1:1"), HasSubstr("127.0.0.1:1"));
  own::DestroyReplicaRebuildRequest end;
  end.set_replica_uuid(new_uuid);
  EXPECT_OK(ask(other_.replica_rebuild(), &own::ReplicaRebuildRpc::Stub::DestroyReplicaRebuild, end).status);
  EXPECT_CODE(ask(other_.replica_rebuild(), &own::ReplicaRebuildRpc::Stub::DestroyReplicaRebuild, end).status,
              NOT_FOUND, new_uuid);
  EXPECT_TRUE(snapshots_on(other_).empty());
}

// What else an engine has to do goes on: files of new devices are opened, records are written.
TEST_F(ReplicaRebuildApi, EnginesThatDoNotAnswerHoldUpNothingElse) {
  const testing_support::SilentServer silent;
  const std::string nobody = "127.0.0.1:" + std::to_string(silent.port());
  for (int i = 10; i < 34; ++i) {
    const std::string id = "aaaaaaaa-0000-4000-8000-0000000001" + std::to_string(i);
    ASSERT_TRUE(create(replica_request("n" + std::to_string(i), id, MB)).status.ok());
    ASSERT_TRUE(rebuild(engine_, id, replica_uuid, nobody).status.ok());
  }
  const auto began = std::chrono::steady_clock::now();
  create_bdev("aio://" + disk("other"));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(2));
}

// A disk of the source that does not answer holds up neither the end of the job nor that of the engine.
TEST_F(ReplicaRebuildApi, ARebuildFromADiskThatDoesNotAnswerCanBeGivenUp) {
  create_bdev("malloc:///m0?size_mb=128");
  create_bdev("inject:///m0");
  ASSERT_TRUE(create_pool("slow", {"m0-inject"}).status.ok());
  auto request = replica_request("r9", replica_uuid2, 16 * MB);
  request.set_pooluuid("slow");
  ASSERT_TRUE(create(request).status.ok());
  fill(replica_uuid2, 7);
  ASSERT_TRUE(snap(replica_uuid2, "s9", snapshot_id(9)).status.ok());
  start_other(disk("b"));
  ASSERT_TRUE(testing_support::inject(engine_, "inject://m0?op=r&delay=40000", true).ok());
  own::DestroyReplicaRebuildRequest end;
  end.set_replica_uuid(new_uuid);
  for (const bool stops : {false, true}) {
    SCOPED_TRACE(stops ? "the engine stops" : "the job is destroyed");
    EXPECT_OK(rebuild(other_, new_uuid, replica_uuid2, endpoint()).status);
    ASSERT_TRUE(eventually([&] { return replica_on(engine_, snapshot_id(9)).share() == v1::NVMF; }));
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    const auto began = std::chrono::steady_clock::now();
    if (stops) {
      other_.signal(SIGTERM);
      EXPECT_EQ(other_.wait_exit(std::chrono::seconds(30)), 0);
    } else {
      EXPECT_OK(
          ask(other_.replica_rebuild(), &own::ReplicaRebuildRpc::Stub::DestroyReplicaRebuild, end).status);
    }
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(8));
  }
  ASSERT_TRUE(testing_support::inject(engine_, "inject://m0?op=r&delay=40000", false).ok());
}

// An engine whose peer stands still ends all the same, and so does a job that is destroyed.
TEST_F(ReplicaRebuildApi, ASnapshotRebuildIntoAnEngineThatStandsStillCanBeGivenUp) {
  start_other(disk("b"));
  v1::ShareReplicaRequest out;
  out.set_uuid(new_uuid);
  out.set_share(v1::NVMF);
  const auto shared = ask(other_.replica(), &v1::ReplicaRpc::Stub::ShareReplica, out);
  ASSERT_TRUE(shared.status.ok()) << shared.status.error_message();
  create_bdev("malloc:///m0?size_mb=16");
  create_bdev("inject://m0?op=r&delay=100");
  fill(replica_uuid, 7);
  v1::CreateSnapshotRebuildRequest job;
  job.set_snapshot_uri("bdev:///m0-inject");
  job.set_replica_uri(shared->uri());
  v1::DestroySnapshotRebuildRequest end;
  for (const bool stops : {false, true}) {
    SCOPED_TRACE(stops ? "the engine stops" : "the job is destroyed");
    job.set_uuid(stops ? other_uuid : uuid);
    end.set_uuid(job.uuid());
    EXPECT_OK(
        ask(engine_.snapshot_rebuild(), &v1::SnapshotRebuildRpc::Stub::CreateSnapshotRebuild, job).status);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    other_.signal(SIGSTOP);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    const auto began = std::chrono::steady_clock::now();
    if (stops) {
      engine_.signal(SIGTERM);
      EXPECT_EQ(engine_.wait_exit(std::chrono::seconds(30)), 0);
    } else {
      EXPECT_OK(
          ask(engine_.snapshot_rebuild(), &v1::SnapshotRebuildRpc::Stub::DestroySnapshotRebuild, end).status);
    }
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(8));
    other_.signal(SIGCONT);
  }
}

}  // namespace
}  // namespace holdfast::api_test
