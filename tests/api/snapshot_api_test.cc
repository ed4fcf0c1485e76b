// SnapshotRpc, SnapshotRebuildRpc, and what holdfast.v1 adds to snapshots: each call with good input, each kind
// of bad input, and repeated.
#include <thread>

#include "api/pool_api_test.h"

namespace holdfast::api_test {
namespace {

using testing::ElementsAre;

class SnapshotApi : public PoolApiTest {
 protected:
  void SetUp() override {
    PoolApiTest::SetUp();
    ASSERT_TRUE(create_pool("p1", {disk("a"), disk("b")}, pool_uuid).status.ok());
    ASSERT_TRUE(create(replica_request("r1", replica_uuid, 16 * MB)).status.ok());
  }
  Outcome<own::DiffSnapshotsResponse> diff(const std::string& earlier, const std::string& later,
                                           std::uint64_t offset = 0, std::uint32_t count = 0) {
    own::DiffSnapshotsRequest request;
    if (!earlier.empty()) request.set_earlier(earlier);
    request.set_later(later);
    request.set_offset(offset);
    request.set_count(count);
    return ask(engine_.pool_extras(), &own::PoolRpc::Stub::DiffSnapshots, request);
  }
  Outcome<v1::Replica> revert(const std::string& which, const std::string& to) {
    own::RevertReplicaRequest request;
    request.set_uuid(which);
    request.set_snapshot_uuid(to);
    return ask(engine_.pool_extras(), &own::PoolRpc::Stub::RevertReplica, request);
  }
  Outcome<v1::SnapshotRebuild> rebuild(const std::string& into, const std::string& uri) {
    v1::CreateSnapshotRebuildRequest request;
    request.set_uuid(into);
    request.set_replica_uuid(into);
    request.set_snapshot_uri(uri);
    return ask(engine_.snapshot_rebuild(), &v1::SnapshotRebuildRpc::Stub::CreateSnapshotRebuild, request);
  }
  v1::SnapshotRebuild wait_rebuilt(const std::string& job) {
    v1::ListSnapshotRebuildRequest request;
    request.set_uuid(job);
    for (int i = 0; i < 500; ++i) {
      const auto listed =
          ask(engine_.snapshot_rebuild(), &v1::SnapshotRebuildRpc::Stub::ListSnapshotRebuild, request);
      if (listed->rebuilds_size() == 1 && listed->rebuilds(0).status() != v1::SnapshotRebuild::Running)
        return listed->rebuilds(0);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ADD_FAILURE() << "the job does not end";
    return {};
  }
  grpc::Status destroy_rebuild(const std::string& job) {
    v1::DestroySnapshotRebuildRequest request;
    request.set_uuid(job);
    return ask(engine_.snapshot_rebuild(), &v1::SnapshotRebuildRpc::Stub::DestroySnapshotRebuild, request)
        .status;
  }
};

// snapshot_lvol, replica_snapshot
TEST_F(SnapshotApi, CreateShowsTheSnapshotWithItsAttributes) {
  fill(replica_uuid, 1);
  const auto made = snap();
  ASSERT_TRUE(made.status.ok()) << made.status.error_message();
  EXPECT_EQ(made->replica_uuid(), replica_uuid);
  const auto& s = made->snapshot();
  EXPECT_EQ(s.snapshot_uuid(), snapshot_uuid);
  EXPECT_EQ(s.snapshot_name(), "s1");
  EXPECT_EQ(s.source_uuid(), replica_uuid);
  EXPECT_EQ(s.source_size(), 16 * MB);
  EXPECT_EQ(s.pool_uuid(), pool_uuid);
  EXPECT_EQ(s.pool_name(), "p1");
  EXPECT_EQ(s.entity_id(), "volume-7");
  EXPECT_EQ(s.txn_id(), "txn-3");
  EXPECT_TRUE(s.valid_snapshot());
  EXPECT_FALSE(s.ready_as_source());
  EXPECT_FALSE(s.discarded_snapshot());
  EXPECT_EQ(s.num_clones(), 0u);
  EXPECT_GT(s.timestamp().seconds(), 1'700'000'000);
  EXPECT_EQ(replica(replica_uuid).usage().allocated_bytes(), 0u) << "all of it is the snapshot's now";
  EXPECT_EQ(replica(replica_uuid).usage().allocated_bytes_snapshots(), 16 * MB);
  fill(replica_uuid, 2);
  EXPECT_EQ(replica(replica_uuid).usage().allocated_bytes(), 16 * MB);
  EXPECT_EQ(snapshots()[0].snapshot_size(), 16 * MB);
  const auto listed = replica(snapshot_uuid);
  EXPECT_TRUE(listed.is_snapshot());
  EXPECT_FALSE(listed.is_clone());
  restart(true);
  ASSERT_EQ(snapshots().size(), 1u);
  EXPECT_EQ(snapshots()[0].txn_id(), "txn-3");
  EXPECT_EQ(snapshots()[0].timestamp().seconds(), s.timestamp().seconds());
}

TEST_F(SnapshotApi, CreateRefusesWhatIsWrong) {
  ASSERT_TRUE(snap().status.ok());
  EXPECT_CODE(snap().status, ALREADY_EXISTS, snapshot_uuid);
  EXPECT_CODE(snap(replica_uuid, "s1", snapshot_uuid2).status, ALREADY_EXISTS, "'s1'");
  EXPECT_CODE(snap(replica_uuid, "s2", snapshot_uuid).status, ALREADY_EXISTS, snapshot_uuid);
  EXPECT_CODE(snap(replica_uuid, "r1", snapshot_uuid2).status, ALREADY_EXISTS, "'r1'");
  EXPECT_CODE(snap(other_uuid, "s2", snapshot_uuid2).status, NOT_FOUND, other_uuid);
  EXPECT_CODE(snap("x", "s2", snapshot_uuid2).status, INVALID_ARGUMENT, "replica_uuid");
  EXPECT_CODE(snap(replica_uuid, "s2", "x").status, INVALID_ARGUMENT, "snapshot_uuid");
  EXPECT_CODE(snap(replica_uuid, "", snapshot_uuid2).status, INVALID_ARGUMENT, "name");
  EXPECT_FALSE(snap(snapshot_uuid, "s2", snapshot_uuid2).status.ok()) << "a snapshot of a snapshot";
  EXPECT_EQ(snapshots().size(), 1u);
}

TEST_F(SnapshotApi, ListFilters) {
  ASSERT_TRUE(create(replica_request("r2", replica_uuid2, 16 * MB)).status.ok());
  ASSERT_TRUE(snap().status.ok());
  ASSERT_TRUE(snap(replica_uuid2, "s2", snapshot_uuid2).status.ok());
  const auto names = [this](void (*change)(v1::ListSnapshotsRequest&)) {
    v1::ListSnapshotsRequest request;
    change(request);
    std::vector<std::string> found;
    for (const auto& s : snapshots(request)) found.push_back(s.snapshot_name());
    return found;
  };
  EXPECT_THAT(names([](auto&) {}), ElementsAre("s1", "s2"));
  EXPECT_THAT(names([](auto& r) { r.set_source_uuid(replica_uuid2); }), ElementsAre("s2"));
  EXPECT_THAT(names([](auto& r) { r.set_snapshot_uuid(snapshot_uuid); }), ElementsAre("s1"));
  EXPECT_THAT(names([](auto& r) { r.mutable_query()->set_invalid(true); }), ElementsAre());
  EXPECT_THAT(names([](auto& r) { r.mutable_query()->set_invalid(false); }), ElementsAre("s1", "s2"));
  EXPECT_THAT(names([](auto& r) { r.mutable_query()->set_discarded(true); }), ElementsAre());
}

TEST_F(SnapshotApi, ACloneHasTheOldContentAndALifeOfItsOwn) {
  fill(replica_uuid, 1);
  const auto old_sum = checksum(replica_uuid);
  ASSERT_TRUE(snap().status.ok());
  fill(replica_uuid, 2);
  const auto new_sum = checksum(replica_uuid);
  const auto made = clone();
  ASSERT_TRUE(made.status.ok()) << made.status.error_message();
  EXPECT_TRUE(made->is_clone());
  EXPECT_EQ(made->snapshot_uuid(), snapshot_uuid);
  EXPECT_TRUE(made->thin());
  EXPECT_EQ(made->usage().allocated_bytes(), 0u);
  EXPECT_EQ(checksum(clone_uuid), old_sum);
  EXPECT_EQ(checksum(snapshot_uuid), old_sum);
  EXPECT_EQ(snapshots()[0].num_clones(), 1u);
  fill(clone_uuid, 3);
  EXPECT_EQ(checksum(snapshot_uuid), old_sum);
  EXPECT_EQ(checksum(replica_uuid), new_sum);
  EXPECT_CODE(clone().status, ALREADY_EXISTS, clone_uuid);
  EXPECT_CODE(clone(snapshot_uuid, "c1", other_uuid).status, ALREADY_EXISTS, "'c1'");
  EXPECT_CODE(clone(other_uuid, "c2", other_uuid).status, NOT_FOUND, other_uuid);
  EXPECT_CODE(clone(replica_uuid, "c2", other_uuid).status, NOT_FOUND, "not a snapshot");
  EXPECT_CODE(clone(snapshot_uuid, "", other_uuid).status, INVALID_ARGUMENT, "clone name");
  v1::ListSnapshotCloneRequest request;
  EXPECT_EQ(ask(engine_.snapshot(), &v1::SnapshotRpc::Stub::ListSnapshotClone, request)->replicas_size(), 1);
  request.set_snapshot_uuid(snapshot_uuid2);
  EXPECT_EQ(ask(engine_.snapshot(), &v1::SnapshotRpc::Stub::ListSnapshotClone, request)->replicas_size(), 0);
}

TEST_F(SnapshotApi, WhatACloneWasBornWithIsNotItsSnapshots) {
  fill(replica_uuid, 1);
  ASSERT_TRUE(snap().status.ok());
  ASSERT_TRUE(clone().status.ok());
  EXPECT_EQ(replica(clone_uuid).usage().allocated_bytes_snapshots(), 16 * MB);
  EXPECT_EQ(replica(clone_uuid).usage().allocated_bytes_snapshot_from_clone(), 0u);
  EXPECT_FALSE(replica(replica_uuid).usage().has_allocated_bytes_snapshot_from_clone());
  fill(clone_uuid, 2);
  EXPECT_EQ(replica(clone_uuid).usage().allocated_bytes_snapshots(), 0u);
  ASSERT_TRUE(snap(clone_uuid, "s2", snapshot_uuid2).status.ok());
  EXPECT_EQ(replica(clone_uuid).usage().allocated_bytes_snapshots(), 16 * MB);
  EXPECT_EQ(replica(clone_uuid).usage().allocated_bytes_snapshot_from_clone(), 16 * MB);
}

TEST_F(SnapshotApi, ASnapshotGoesInAnyOrderAndItsClonesStay) {
  fill(replica_uuid, 1);
  const auto sum = checksum(replica_uuid);
  ASSERT_TRUE(snap().status.ok());
  fill(replica_uuid, 2);
  ASSERT_TRUE(snap(replica_uuid, "s2", snapshot_uuid2).status.ok());
  ASSERT_TRUE(clone().status.ok());
  EXPECT_OK(destroy_snapshot());
  EXPECT_EQ(checksum(clone_uuid), sum);
  EXPECT_CODE(clone(snapshot_uuid, "c2", other_uuid).status, NOT_FOUND, snapshot_uuid);
  grpc::ClientContext context;
  v1::DestroySnapshotRequest request;
  Empty reply;
  request.set_snapshot_uuid(snapshot_uuid);
  EXPECT_CODE(engine_.snapshot().DestroySnapshot(&context, request, &reply), NOT_FOUND, snapshot_uuid);
  EXPECT_EQ(context.GetServerTrailingMetadata().count("gtm-602"), 1u);
  request.set_snapshot_uuid(snapshot_uuid2);
  request.set_pool_name("p9");
  EXPECT_CODE(ask(engine_.snapshot(), &v1::SnapshotRpc::Stub::DestroySnapshot, request).status,
              FAILED_PRECONDITION, "p9");
  EXPECT_CODE(destroy_replica(snapshot_uuid2), INVALID_ARGUMENT, "is the snapshot 's2'");
  EXPECT_CODE(destroy_snapshot(clone_uuid), NOT_FOUND, "not a snapshot");
  EXPECT_OK(destroy_replica(replica_uuid));
  EXPECT_OK(destroy_snapshot(snapshot_uuid2));
  EXPECT_EQ(checksum(clone_uuid), sum);
}

TEST_F(SnapshotApi, RevertBringsTheOldContentBack) {
  fill(replica_uuid, 1);
  const auto sum = checksum(replica_uuid);
  ASSERT_TRUE(snap().status.ok());
  fill(replica_uuid, 2);
  ASSERT_TRUE(share(replica_uuid).status.ok());
  EXPECT_CODE(revert(replica_uuid, snapshot_uuid).status, FAILED_PRECONDITION, "r1");
  v1::UnshareReplicaRequest off;
  off.set_uuid(replica_uuid);
  EXPECT_OK(ask(engine_.replica(), &v1::ReplicaRpc::Stub::UnshareReplica, off).status);
  EXPECT_OK(revert(replica_uuid, snapshot_uuid).status);
  EXPECT_EQ(checksum(replica_uuid), sum);
  EXPECT_CODE(revert(replica_uuid, other_uuid).status, NOT_FOUND, other_uuid);
  EXPECT_CODE(revert(other_uuid, snapshot_uuid).status, NOT_FOUND, other_uuid);
}

TEST_F(SnapshotApi, DiffSaysWhereTheyDiffer) {
  ASSERT_TRUE(snap().status.ok());
  EXPECT_EQ(diff(snapshot_uuid, replica_uuid)->ranges_size(), 0);
  fill(replica_uuid, 1);
  const auto all = diff(snapshot_uuid, replica_uuid);
  ASSERT_TRUE(all.status.ok()) << all.status.error_message();
  std::uint64_t bytes = 0;
  for (const auto& r : all->ranges()) bytes += r.length();
  EXPECT_EQ(bytes, 16 * MB);
  EXPECT_FALSE(all->has_next_offset());
  EXPECT_EQ(diff("", snapshot_uuid)->ranges_size(), 0);
  EXPECT_CODE(diff(other_uuid, replica_uuid).status, NOT_FOUND, other_uuid);
  EXPECT_CODE(diff("", other_uuid).status, NOT_FOUND, other_uuid);
  EXPECT_CODE(diff("x", replica_uuid).status, INVALID_ARGUMENT, "earlier");
}

TEST_F(SnapshotApi, EpochsOfAReplica) {
  own::GetReplicaEpochsRequest request;
  request.set_uuid(replica_uuid);
  const auto epochs = ask(engine_.pool_extras(), &own::PoolRpc::Stub::GetReplicaEpochs, request);
  ASSERT_TRUE(epochs.status.ok()) << epochs.status.error_message();
  EXPECT_EQ(epochs->region_size(), MB);
  EXPECT_EQ(epochs->regions(), 16u);
  EXPECT_EQ(epochs->regions_since_sealed(), 0u);
  request.set_uuid(other_uuid);
  EXPECT_CODE(ask(engine_.pool_extras(), &own::PoolRpc::Stub::GetReplicaEpochs, request).status, NOT_FOUND,
              "");
}

// snapshot_rebuild: a new replica gets a snapshot's content, and only what is allocated.
TEST_F(SnapshotApi, RebuildGivesAReplicaTheSnapshot) {
  fill(replica_uuid, 1);
  const auto sum = checksum(replica_uuid);
  ASSERT_TRUE(snap().status.ok());
  fill(replica_uuid, 2);
  ASSERT_TRUE(create(replica_request("r2", replica_uuid2, 16 * MB)).status.ok());
  const auto local = rebuild(replica_uuid2, "bdev:///s1");
  ASSERT_TRUE(local.status.ok()) << local.status.error_message();
  EXPECT_EQ(local->total(), 16 * MB);
  EXPECT_CODE(rebuild(replica_uuid2, "bdev:///s1").status, ALREADY_EXISTS, replica_uuid2);
  const auto done = wait_rebuilt(replica_uuid2);
  EXPECT_EQ(done.status(), v1::SnapshotRebuild::Successful);
  EXPECT_EQ(done.rebuilt(), 16 * MB);
  EXPECT_EQ(done.remaining(), 0u);
  EXPECT_FALSE(done.target_remote());
  EXPECT_EQ(checksum(replica_uuid2), sum);
  EXPECT_OK(destroy_rebuild(replica_uuid2));
  EXPECT_CODE(destroy_rebuild(replica_uuid2), NOT_FOUND, replica_uuid2);
}

TEST_F(SnapshotApi, RebuildFromAnotherEngineStaysThin) {
  ASSERT_TRUE(snap().status.ok());
  const auto shared = share(snapshot_uuid);
  ASSERT_TRUE(shared.status.ok()) << shared.status.error_message();
  testing_support::EngineProcess other(scratch_, "other");
  ASSERT_TRUE(other.start());
  v1::CreatePoolRequest pool;
  pool.set_name("p2");
  pool.add_disks(disk("c"));
  EXPECT_OK(ask(other.pool(), &v1::PoolRpc::Stub::CreatePool, pool).status);
  auto request = replica_request("r2", replica_uuid2, 16 * MB);
  request.set_pooluuid("p2");
  EXPECT_OK(ask(other.replica(), &v1::ReplicaRpc::Stub::CreateReplica, request).status);
  v1::CreateSnapshotRebuildRequest job;
  job.set_uuid(other_uuid);
  job.set_replica_uuid(replica_uuid2);
  job.set_snapshot_uuid(snapshot_uuid);
  job.set_snapshot_uri(shared->uri());
  EXPECT_OK(ask(other.snapshot_rebuild(), &v1::SnapshotRebuildRpc::Stub::CreateSnapshotRebuild, job).status);
  v1::ListSnapshotRebuildRequest list;
  list.set_replica_uuid(replica_uuid2);
  Outcome<v1::ListSnapshotRebuildResponse> seen;
  for (int i = 0; i < 500; ++i) {
    seen = ask(other.snapshot_rebuild(), &v1::SnapshotRebuildRpc::Stub::ListSnapshotRebuild, list);
    if (seen->rebuilds_size() == 1 && seen->rebuilds(0).status() != v1::SnapshotRebuild::Running) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ASSERT_EQ(seen->rebuilds_size(), 1);
  EXPECT_EQ(seen->rebuilds(0).status(), v1::SnapshotRebuild::Successful);
  v1::ListReplicaOptions listed;
  const auto replicas = ask(other.replica(), &v1::ReplicaRpc::Stub::ListReplicas, listed);
  ASSERT_EQ(replicas->replicas_size(), 1);
  EXPECT_EQ(replicas->replicas(0).usage().allocated_bytes(), 0u);
}

TEST_F(SnapshotApi, RebuildRefusesWhatIsWrong) {
  ASSERT_TRUE(snap().status.ok());
  ASSERT_TRUE(create(replica_request("small", replica_uuid2, 8 * MB)).status.ok());
  EXPECT_CODE(rebuild(replica_uuid2, "bdev:///s1").status, INVALID_ARGUMENT, "cannot hold");
  EXPECT_CODE(rebuild(replica_uuid2, "bdev:///nothing").status, NOT_FOUND, "nothing");
  EXPECT_CODE(rebuild(other_uuid, "bdev:///s1").status, NOT_FOUND, other_uuid);
  EXPECT_CODE(rebuild("x", "bdev:///s1").status, INVALID_ARGUMENT, "uuid");
  v1::CreateSnapshotRebuildRequest request;
  request.set_uuid(other_uuid);
  request.set_use_bitmap(true);
  EXPECT_CODE(
      ask(engine_.snapshot_rebuild(), &v1::SnapshotRebuildRpc::Stub::CreateSnapshotRebuild, request).status,
      INVALID_ARGUMENT, "bitmap");
}

// snapshot_nexus
TEST_F(SnapshotApi, OneSnapshotOfAllReplicasOfANexus) {
  ASSERT_TRUE(create(replica_request("r2", replica_uuid2, 16 * MB)).status.ok());
  const std::string uri1 = replica(replica_uuid).uri();
  const std::string uri2 = replica(replica_uuid2).uri();
  auto nexus = nexus_request({uri1, uri2});
  nexus.set_size(8 * MB);
  v1::CreateNexusResponse made;
  ASSERT_TRUE(call(engine_.nexus(), &v1::NexusRpc::Stub::CreateNexus, nexus, &made).ok());
  v1::NexusCreateSnapshotRequest request;
  request.set_nexus_uuid(uuid);
  request.set_entity_id("volume-7");
  request.set_txn_id("txn-9");
  request.set_snapshot_name("n1");
  auto* first = request.add_replicas();
  first->set_replica_uuid(replica_uuid);
  first->set_snapshot_uuid(snapshot_uuid);
  const auto create_snapshot = [&] {
    return ask(engine_.snapshot(), &v1::SnapshotRpc::Stub::CreateNexusSnapshot, request);
  };
  EXPECT_CODE(create_snapshot().status, FAILED_PRECONDITION, "is healthy and not named");
  auto* second = request.add_replicas();
  second->set_replica_uuid(replica_uuid2);
  EXPECT_CODE(create_snapshot().status, INVALID_ARGUMENT, "snapshot_uuid");
  second->set_snapshot_uuid(snapshot_uuid);
  EXPECT_CODE(create_snapshot().status, INVALID_ARGUMENT, "given twice");
  second->set_snapshot_uuid(snapshot_uuid2);
  second->set_replica_uuid(other_uuid);
  EXPECT_CODE(create_snapshot().status, NOT_FOUND, other_uuid);
  second->set_replica_uuid(replica_uuid2);
  request.set_nexus_uuid(other_uuid);
  EXPECT_CODE(create_snapshot().status, NOT_FOUND, other_uuid);
  request.set_nexus_uuid(uuid);
  EXPECT_TRUE(snapshots().empty());
  // One pool has one name for one thing: the second of the same name is refused, the first stays.
  const auto half = create_snapshot();
  ASSERT_TRUE(half.status.ok()) << half.status.error_message();
  ASSERT_EQ(half->replicas_done_size(), 2);
  EXPECT_EQ(half->replicas_done(0).status_code(), 0u);
  EXPECT_EQ(half->replicas_done(1).status_code(), static_cast<unsigned>(EEXIST));
  ASSERT_EQ(snapshots().size(), 1u);
  EXPECT_EQ(snapshots()[0].txn_id(), "txn-9");
  EXPECT_EQ(snapshots()[0].entity_id(), "volume-7");
  EXPECT_EQ(snapshots()[0].timestamp().seconds(), half->snapshot_timestamp().seconds());
}

TEST_F(SnapshotApi, ANexusSnapshotReachesRemoteReplicas) {
  testing_support::EngineProcess other(scratch_, "other");
  ASSERT_TRUE(other.start());
  v1::CreatePoolRequest pool;
  pool.set_name("p2");
  pool.add_disks(disk("c"));
  EXPECT_OK(ask(other.pool(), &v1::PoolRpc::Stub::CreatePool, pool).status);
  auto remote = replica_request("r2", replica_uuid2, 16 * MB);
  remote.set_pooluuid("p2");
  remote.set_share(v1::NVMF);
  const auto there = ask(other.replica(), &v1::ReplicaRpc::Stub::CreateReplica, remote);
  ASSERT_TRUE(there.status.ok()) << there.status.error_message();
  auto nexus = nexus_request({replica(replica_uuid).uri(), there->uri()});
  nexus.set_size(8 * MB);
  v1::CreateNexusResponse made;
  ASSERT_TRUE(call(engine_.nexus(), &v1::NexusRpc::Stub::CreateNexus, nexus, &made).ok());
  v1::NexusCreateSnapshotRequest request;
  request.set_nexus_uuid(uuid);
  request.set_txn_id("txn-9");
  request.set_snapshot_name("n1");
  auto* first = request.add_replicas();
  first->set_replica_uuid(replica_uuid);
  first->set_snapshot_uuid(snapshot_uuid);
  auto* second = request.add_replicas();
  second->set_replica_uuid(replica_uuid2);
  second->set_snapshot_uuid(snapshot_uuid2);
  const auto done = ask(engine_.snapshot(), &v1::SnapshotRpc::Stub::CreateNexusSnapshot, request);
  ASSERT_TRUE(done.status.ok()) << done.status.error_message();
  for (const auto& r : done->replicas_done()) EXPECT_EQ(r.status_code(), 0u) << r.replica_uuid();
  const auto listed = ask(other.snapshot(), &v1::SnapshotRpc::Stub::ListSnapshot, v1::ListSnapshotsRequest());
  ASSERT_EQ(listed->snapshots_size(), 1);
  EXPECT_EQ(listed->snapshots(0).txn_id(), "txn-9");
  EXPECT_EQ(listed->snapshots(0).snapshot_uuid(), snapshot_uuid2);
  EXPECT_EQ(listed->snapshots(0).timestamp().nanos(), snapshots()[0].timestamp().nanos());
}

// lvs_import: 100 replicas with 10 snapshots each re-appear after export and import.
TEST_F(SnapshotApi, ManySnapshotsComeBack) {
  int n = 0;
  for (int i = 0; i < 100; ++i) {
    const std::string name = "m" + std::to_string(i);
    const auto id = [&n] { return "eeeeeeee-0000-4000-8000-" + std::to_string(100000000000 + n++); };
    const std::string volume = id();
    ASSERT_TRUE(create(replica_request(name, volume, 4 * MB)).status.ok());
    for (int k = 0; k < 10; ++k) ASSERT_TRUE(snap(volume, name + "-" + std::to_string(k), id()).status.ok());
  }
  ASSERT_TRUE(export_pool("p1").ok());
  ASSERT_TRUE(import_pool("p1", {disk("a"), disk("b")}).status.ok());
  EXPECT_EQ(snapshots().size(), 1000u);
  EXPECT_EQ(replicas().size(), 1101u);
}

TEST_F(SnapshotApi, AReplicaThatIsOfflineCanBeSkipped) {
  ASSERT_TRUE(create(replica_request("r2", replica_uuid2, 16 * MB)).status.ok());
  const std::string uri2 = replica(replica_uuid2).uri();
  auto nexus = nexus_request({replica(replica_uuid).uri(), uri2});
  nexus.set_size(8 * MB);
  v1::CreateNexusResponse made;
  ASSERT_TRUE(call(engine_.nexus(), &v1::NexusRpc::Stub::CreateNexus, nexus, &made).ok());
  v1::ChildOperationRequest away;
  away.set_nexus_uuid(uuid);
  away.set_uri(uri2);
  away.set_action(v1::ChildAction::Offline);
  v1::ChildOperationResponse gone;
  EXPECT_OK(call(engine_.nexus(), &v1::NexusRpc::Stub::ChildOperation, away, &gone));
  v1::NexusCreateSnapshotRequest request;
  request.set_nexus_uuid(uuid);
  request.set_snapshot_name("n1");
  auto* first = request.add_replicas();
  first->set_replica_uuid(replica_uuid);
  first->set_snapshot_uuid(snapshot_uuid);
  auto* second = request.add_replicas();
  second->set_replica_uuid(replica_uuid2);
  second->set_skip(true);
  const auto done = ask(engine_.snapshot(), &v1::SnapshotRpc::Stub::CreateNexusSnapshot, request);
  ASSERT_TRUE(done.status.ok()) << done.status.error_message();
  EXPECT_EQ(done->replicas_done_size(), 1);
  EXPECT_THAT(done->replicas_skipped(), ElementsAre(replica_uuid2));
}

TEST_F(SnapshotApi, ALoopbackIsNotRemote) {
  ASSERT_TRUE(snap().status.ok());
  ASSERT_TRUE(create(replica_request("r2", replica_uuid2, 16 * MB)).status.ok());
  v1::CreateSnapshotRebuildRequest job;
  job.set_uuid(other_uuid);
  job.set_replica_uri("loopback:///r2");
  job.set_snapshot_uri("bdev:///s1");
  const auto made =
      ask(engine_.snapshot_rebuild(), &v1::SnapshotRebuildRpc::Stub::CreateSnapshotRebuild, job);
  ASSERT_TRUE(made.status.ok()) << made.status.error_message();
  EXPECT_FALSE(made->target_remote());
}

}  // namespace
}  // namespace holdfast::api_test
