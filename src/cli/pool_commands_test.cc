// The commands about pools, replicas and snapshots, against an engine that records what it is asked.
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "base/uuid.h"
#include "cli/testing/fake_engine.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* uuid = "6d5a5b0c-3d3f-4d5c-8d0a-0f6f7d3c9a11";
constexpr const char* uuid2 = "6d5a5b0c-3d3f-4d5c-8d0a-0f6f7d3c9a12";

// A handler that keeps the request and answers OK with nothing.
template <class Request, class Answer>
Handler<Request, Answer> keep(Request& request) {
  return [&request](const Request& r, Answer&) {
    request = r;
    return grpc::Status::OK;
  };
}

class PoolCommandsTest : public EngineCommandsTest {};

TEST_F(PoolCommandsTest, CreateSaysWhatItIsGiven) {
  api::CreatePoolRequest request;
  pools.on_CreatePool = [&request](const auto& r, auto& answer) {
    request = r;
    answer.set_name("p1");
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"pool", "create", "p1", "/dev/sdb", "/dev/sdc", "--uuid", uuid, "--cluster-size", "4MiB"}),
            0);
  EXPECT_EQ(out, "p1\n");
  EXPECT_EQ(request.name(), "p1");
  EXPECT_EQ(request.uuid().value(), uuid);
  EXPECT_THAT(request.disks(), ElementsAre("/dev/sdb", "/dev/sdc"));
  EXPECT_EQ(request.cluster_size(), 4u << 20);
  v1::CreatePoolRequest forced;
  pool_extras.on_CreatePool = keep<v1::CreatePoolRequest, v1::PoolDetail>(forced);
  EXPECT_EQ(run({"pool", "create", "p1", "/dev/sdb", "--force"}), 0);
  EXPECT_TRUE(forced.force());
  EXPECT_EQ(run({"pool", "create", "p1"}), exit_usage);
  request.Clear();
  EXPECT_EQ(run({"pool", "create", "p1", "/dev/sdb", "--cluster-size", "4GiB"}), exit_usage);
  EXPECT_EQ(run({"pool", "create", "p1", "/dev/sdb", "--cluster-size", "4100MiB"}), exit_usage);
  EXPECT_EQ(request.name(), "") << "nothing was asked for";
}

TEST_F(PoolCommandsTest, ListShowsTheColumnsInOrder) {
  pools.on_ListPools = [](const auto&, auto& answer) {
    auto* p = answer.add_pools();
    p->set_name("p1");
    p->set_uuid(uuid);
    p->add_disks("aio:///dev/sdb");
    p->add_disks("aio:///dev/sdc");
    p->set_state(api::POOL_DEGRADED);
    p->set_capacity(1 << 30);
    p->set_used(1 << 20);
    p->set_committed(2 << 20);
    p->set_cluster_size(1 << 20);
    p->set_disk_capacity(1 << 30);
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"pool", "list"}), 0);
  EXPECT_THAT(
      out, HasSubstr("NAME  UUID                                  STATE       CAPACITY     USED  COMMITTED  "
                     "CLUSTER_SIZE  PAGE_SIZE  MD_PAGE_SIZE  MD_PAGES  MD_USED_PAGES  DISKS                "
                     "          DISK_CAPACITY\n"));
  EXPECT_THAT(out,
              HasSubstr("degraded  1073741824  1048576    2097152       1048576          -             -"));
  EXPECT_THAT(out, HasSubstr("aio:///dev/sdb,aio:///dev/sdc"));
}

TEST_F(PoolCommandsTest, TheOthersNameThePool) {
  api::DestroyPoolRequest destroyed;
  pools.on_DestroyPool = keep<api::DestroyPoolRequest, google::protobuf::Empty>(destroyed);
  EXPECT_EQ(run({"pool", "destroy", "p1", "--uuid", uuid}), 0);
  EXPECT_EQ(destroyed.name(), "p1");
  EXPECT_EQ(destroyed.uuid().value(), uuid);
  api::ExportPoolRequest exported;
  pools.on_ExportPool = keep<api::ExportPoolRequest, google::protobuf::Empty>(exported);
  EXPECT_EQ(run({"pool", "export", "p1"}), 0);
  EXPECT_EQ(exported.name(), "p1");
  api::ImportPoolRequest imported;
  pools.on_ImportPool = keep<api::ImportPoolRequest, api::Pool>(imported);
  EXPECT_EQ(run({"pool", "import", "p1", "/dev/sdb"}), 0);
  EXPECT_THAT(imported.disks(), ElementsAre("/dev/sdb"));
  pools.on_GrowPool = [](const auto& r, auto& answer) {
    answer.mutable_previous_pool()->set_capacity(1);
    answer.mutable_current_pool()->set_capacity(2);
    answer.mutable_current_pool()->set_name(r.name());
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"pool", "grow", "p1", "-q"}), 0);
  EXPECT_EQ(out, "p1  1  2\n");
  v1::AddDiskRequest added;
  pool_extras.on_AddDisk = keep<v1::AddDiskRequest, v1::PoolDetail>(added);
  EXPECT_EQ(run({"pool", "add-disk", "p1", "/dev/sdd"}), 0);
  EXPECT_EQ(added.pool(), "p1");
  EXPECT_EQ(added.disk(), "/dev/sdd");
  EXPECT_FALSE(added.force());
  v1::SetPoolThresholdsRequest limits;
  pool_extras.on_SetPoolThresholds = keep<v1::SetPoolThresholdsRequest, v1::PoolDetail>(limits);
  EXPECT_EQ(run({"pool", "thresholds", "p1", "70", "85"}), 0);
  EXPECT_EQ(limits.thresholds().critical(), 85u);
  v1::ResetDiskHealthRequest reset;
  pool_extras.on_ResetDiskHealth = keep<v1::ResetDiskHealthRequest, v1::PoolDetail>(reset);
  EXPECT_EQ(run({"pool", "reset-health", "p1"}), 0);
  EXPECT_EQ(reset.pool(), "p1");
  EXPECT_FALSE(reset.has_disk());
  EXPECT_EQ(run({"pool", "reset-health", "p1", "/dev/sdd"}), 0);
  EXPECT_EQ(reset.disk(), "/dev/sdd");
}

TEST_F(PoolCommandsTest, ShowTellsWhyAPoolIsNotOnline) {
  pool_extras.on_ListPoolDetails = [](const auto& r, auto& answer) {
    EXPECT_EQ(r.pool(), "p1");
    auto* d = answer.add_pools();
    d->mutable_pool()->set_name("p1");
    d->mutable_pool()->set_state(api::POOL_FAULTED);
    d->set_state_reason("disk b is missing");
    auto* disk = d->add_disks();
    disk->set_uri("aio:///a");
    disk->set_state(api::POOL_ONLINE);
    disk->set_stalls(3);
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"pool", "show", "p1"}), 0);
  EXPECT_THAT(out, HasSubstr("faulted: disk b is missing"));
  EXPECT_THAT(out, HasSubstr("aio:///a  online"));
}

TEST_F(PoolCommandsTest, Replicas) {
  api::CreateReplicaRequest created;
  replicas.on_CreateReplica = [&created](const auto& r, auto& answer) {
    created = r;
    answer.set_uri("bdev:///r1");
    return grpc::Status::OK;
  };
  EXPECT_EQ(
      run({"replica", "create", "r1", "", "p1", "-s", "1GiB", "-t", "-p", "nvmf", "--allowed-host", "nqn.a"}),
      0);
  EXPECT_EQ(out, "bdev:///r1\n");
  EXPECT_TRUE(Uuid::parse(created.uuid()).ok());
  EXPECT_EQ(created.pooluuid(), "p1");
  EXPECT_EQ(created.size(), 1u << 30);
  EXPECT_TRUE(created.thin());
  EXPECT_EQ(created.share(), api::NVMF);
  EXPECT_THAT(created.allowed_hosts(), ElementsAre("nqn.a"));
  EXPECT_EQ(run({"replica", "create", "r1", uuid, "p1", "-s", "1GiB"}), 0);
  EXPECT_EQ(created.uuid(), uuid);
  EXPECT_FALSE(created.thin());
  EXPECT_EQ(created.share(), api::NONE);
  EXPECT_EQ(run({"replica", "create", "r1", uuid, "p1"}), exit_usage);
  api::DestroyReplicaRequest destroyed;
  replicas.on_DestroyReplica = keep<api::DestroyReplicaRequest, google::protobuf::Empty>(destroyed);
  EXPECT_EQ(run({"replica", "destroy", uuid, "--pool-name", "p1"}), 0);
  EXPECT_EQ(destroyed.pool_name(), "p1");
  EXPECT_EQ(run({"replica", "destroy", uuid, "--pool-name", "p1", "--pool-uuid", uuid}), exit_usage);
  api::ResizeReplicaRequest resized;
  replicas.on_ResizeReplica = keep<api::ResizeReplicaRequest, api::Replica>(resized);
  EXPECT_EQ(run({"replica", "resize", uuid, "2GiB"}), 0);
  EXPECT_EQ(resized.requested_size(), 2ull << 30);
  v1::RevertReplicaRequest reverted;
  pool_extras.on_RevertReplica = keep<v1::RevertReplicaRequest, api::Replica>(reverted);
  EXPECT_EQ(run({"replica", "revert", uuid, uuid2}), 0);
  EXPECT_EQ(reverted.snapshot_uuid(), uuid2);
  EXPECT_EQ(run({"replica", "share", uuid, "iscsi"}), exit_usage);
}

TEST_F(PoolCommandsTest, ReplicaListShowsTheColumnsInOrder) {
  replicas.on_ListReplicas = [](const auto&, auto& answer) {
    auto* r = answer.add_replicas();
    r->set_name("r1");
    r->set_uuid(uuid);
    r->set_poolname("p1");
    r->set_thin(true);
    r->set_size(10);
    r->set_uri("bdev:///r1");
    r->mutable_usage()->set_capacity_bytes(10);
    r->mutable_usage()->set_allocated_bytes(5);
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"replica", "list"}), 0);
  EXPECT_EQ(out,
            "POOL  NAME  UUID                                  THIN  SHARE  SIZE  CAP  ALLOC  URI         "
            "IS_SNAPSHOT  "
            "IS_CLONE  SNAP_ANCESTOR_SIZE  CLONE_SNAP_ANCESTOR_SIZE\n"
            "p1    r1    6d5a5b0c-3d3f-4d5c-8d0a-0f6f7d3c9a11  true  none     10   10      5  bdev:///r1  "
            "false        "
            "false                      0                         -\n");
}

TEST_F(PoolCommandsTest, Snapshots) {
  api::CreateReplicaSnapshotRequest one;
  snapshots.on_CreateReplicaSnapshot =
      keep<api::CreateReplicaSnapshotRequest, api::CreateReplicaSnapshotResponse>(one);
  EXPECT_EQ(run({"snapshot", "create_for_replica", uuid, "s1", "entity", "txn", uuid2}), 0);
  EXPECT_EQ(one.replica_uuid(), uuid);
  EXPECT_EQ(one.snapshot_name(), "s1");
  EXPECT_EQ(one.entity_id(), "entity");
  EXPECT_EQ(one.txn_id(), "txn");
  EXPECT_EQ(one.snapshot_uuid(), uuid2);
  api::NexusCreateSnapshotRequest all;
  snapshots.on_CreateNexusSnapshot = [&all](const auto& r, auto& answer) {
    all = r;
    for (const auto& replica : r.replicas())
      answer.add_replicas_done()->set_replica_uuid(replica.replica_uuid());
    answer.mutable_replicas_done(1)->set_status_code(28);
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"snapshot", "create_for_nexus", uuid, "entity", "txn", "s1", "a,b", "c,d", "--skip", "e"}),
            exit_failed)
      << "one of them failed";
  EXPECT_THAT(out, HasSubstr("No space left on device"));
  ASSERT_EQ(all.replicas_size(), 3);
  EXPECT_EQ(all.replicas(1).replica_uuid(), "b");
  EXPECT_EQ(all.replicas(1).snapshot_uuid(), "d");
  EXPECT_TRUE(all.replicas(2).skip());
  EXPECT_EQ(run({"snapshot", "create_for_nexus", uuid, "entity", "txn", "s1", "a,b", "c"}), exit_failed);
  EXPECT_THAT(err, HasSubstr("2 replicas and 1 snapshot UUIDs"));
  api::ListSnapshotsRequest listed;
  snapshots.on_ListSnapshot = keep<api::ListSnapshotsRequest, api::ListSnapshotsResponse>(listed);
  EXPECT_EQ(run({"snapshot", "list", uuid, uuid2}), 0);
  EXPECT_EQ(listed.source_uuid(), uuid);
  EXPECT_EQ(listed.snapshot_uuid(), uuid2);
  api::CreateSnapshotCloneRequest cloned;
  snapshots.on_CreateSnapshotClone = keep<api::CreateSnapshotCloneRequest, api::Replica>(cloned);
  EXPECT_EQ(run({"snapshot", "create_clone", uuid, "c1", uuid2}), 0);
  EXPECT_EQ(cloned.clone_uuid(), uuid2);
}

TEST_F(PoolCommandsTest, DiffAsksUntilThereIsNoMore) {
  pool_extras.on_DiffSnapshots = [](const auto& r, auto& answer) {
    EXPECT_EQ(r.earlier(), uuid);
    auto* range = answer.add_ranges();
    range->set_offset(r.offset());
    range->set_length(10);
    if (r.offset() < 20) answer.set_next_offset(r.offset() + 10);
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"snapshot", "diff", uuid2, "--since", uuid, "-o", "json"}), 0);
  EXPECT_EQ(json::parse(out)["ranges"].size(), 3u);
}

TEST_F(PoolCommandsTest, WipeShowsTheEnd) {
  tests.messages.resize(2);
  tests.messages[1].set_wiped_bytes(100);
  tests.messages[1].set_crc32(0xab);
  EXPECT_EQ(run({"test", "wipe", "replica", uuid, "-m", "checksum", "-c", "4KiB"}), 0);
  EXPECT_THAT(out, HasSubstr("0x000000ab"));
  EXPECT_EQ(tests.asked.wipe_options().chunk_size(), 4096u);
  EXPECT_EQ(tests.asked.wipe_options().options().wipe_method(), api::WipeOptions::CHECKSUM);
  EXPECT_EQ(run({"test", "wipe", "replica", uuid, "-m", "WRITE_PATTERN"}), 0);
  EXPECT_EQ(tests.asked.wipe_options().options().wipe_method(), api::WipeOptions::WRITE_PATTERN);
  EXPECT_EQ(run({"test", "wipe", "replica", uuid, "-m", "shred"}), exit_usage);
  EXPECT_THAT(err, HasSubstr("'shred' is none of checksum, none, unmap, writepattern, writezeroes"));
  tests.end = grpc::Status(grpc::StatusCode::NOT_FOUND, "there is no replica");
  EXPECT_EQ(run({"test", "wipe", "replica", uuid}), exit_failed);
  EXPECT_THAT(err, HasSubstr("NOT_FOUND: there is no replica"));
}

TEST_F(PoolCommandsTest, SnapshotRebuildsAndStats) {
  api::CreateSnapshotRebuildRequest request;
  snapshot_rebuilds.on_CreateSnapshotRebuild =
      keep<api::CreateSnapshotRebuildRequest, api::SnapshotRebuild>(request);
  EXPECT_EQ(run({"snapshot-rebuild", "create", uuid, "bdev:///s1"}), 0);
  EXPECT_EQ(request.uuid(), uuid);
  EXPECT_EQ(request.replica_uuid(), uuid);
  EXPECT_EQ(request.snapshot_uri(), "bdev:///s1");
  stats.on_GetPoolIoStats = [](const auto& r, auto& answer) {
    EXPECT_EQ(r.name(), "p1");
    answer.add_stats()->set_num_read_ops(42);
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"stats", "pool", "p1"}), 0);
  EXPECT_THAT(out, HasSubstr("42"));
}

TEST_F(PoolCommandsTest, RebuildsOfReplicasWithTheirSnapshots) {
  v1::RebuildReplicaRequest request;
  replica_rebuilds.on_RebuildReplica = keep<v1::RebuildReplicaRequest, v1::ReplicaRebuild>(request);
  EXPECT_EQ(run({"replica", "rebuild", "start", uuid, "source", "10.0.0.2:10124"}), 0);
  EXPECT_EQ(request.replica_uuid(), uuid);
  EXPECT_EQ(request.source_uuid(), "source");
  EXPECT_EQ(request.source_endpoint(), "10.0.0.2:10124");
  replica_rebuilds.on_ListReplicaRebuilds = [](const auto&, auto& answer) {
    auto* job = answer.add_rebuilds();
    job->set_status(v1::ReplicaRebuild::FAILED);
    job->set_error("the source is gone");
    job->set_snapshots(3);
    job->add_copied()->set_copied(1 << 20);
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"replica", "rebuild", "list"}), 0);
  EXPECT_THAT(out, HasSubstr("failed"));
  EXPECT_THAT(out, HasSubstr("the source is gone"));
  v1::AddChildNexusRequest added;
  replica_rebuilds.on_AddChildNexus = keep<v1::AddChildNexusRequest, api::Nexus>(added);
  EXPECT_EQ(run({"replica", "rebuild", "add-to-nexus", uuid, "bdev:///r", "7"}), 0);
  EXPECT_EQ(added.in_sync_through(), 7U);
  EXPECT_EQ(run({"replica", "rebuild", "start", uuid}), 2);
}

TEST_F(PoolCommandsTest, FaultsAreAddedRemovedAndListed) {
  api::AddFaultInjectionRequest added;
  tests.on_AddFaultInjection = keep<api::AddFaultInjectionRequest, google::protobuf::Empty>(added);
  api::RemoveFaultInjectionRequest removed;
  tests.on_RemoveFaultInjection = keep<api::RemoveFaultInjectionRequest, google::protobuf::Empty>(removed);
  tests.on_ListFaultInjections = [](const auto&, auto& answer) {
    answer.add_injections()->set_device_name("m0-inject");
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"test", "inject", "-a", "inject://m0?op=w", "-r", "inject://m0?op=r"}), 0);
  EXPECT_EQ(added.uri(), "inject://m0?op=w");
  EXPECT_EQ(removed.uri(), "inject://m0?op=r");
  EXPECT_EQ(run({"test", "inject"}), 0);
  EXPECT_THAT(out, HasSubstr("m0-inject"));
}

}  // namespace
}  // namespace holdfast::cli
