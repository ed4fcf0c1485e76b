// Pools that meet in one engine, with volumes of one name: all are there, each under its own URI with its own content.
#include <httplib.h>

#include "api/pool_api_test.h"

namespace holdfast::api_test {
namespace {

using testing::UnorderedElementsAre;
using testing_support::EngineProcess;

class PoolNamesApi : public PoolApiTest {
 protected:
  void SetUp() override {
    PoolApiTest::SetUp();
    ASSERT_TRUE(create_pool("p1", {disk("a")}, pool_uuid).status.ok());
    ASSERT_TRUE(create(replica_request("r1", replica_uuid, 16 * MB)).status.ok());
    fill(replica_uuid, 1);
  }

  v1::NexusCreateSnapshotRequest snapshot_of_nexus() const {
    v1::NexusCreateSnapshotRequest request;
    request.set_nexus_uuid(uuid);
    request.set_snapshot_name("s1");
    const auto add = [&request](const char* replica, const char* snapshot) {
      auto* part = request.add_replicas();
      part->set_replica_uuid(replica);
      part->set_snapshot_uuid(snapshot);
    };
    add(replica_uuid, snapshot_uuid);
    add(replica_uuid2, snapshot_uuid2);
    return request;
  }
  // Of a nexus of both replicas, which is there for no longer than this takes.
  void take_snapshot(const std::string& second_uri) {
    auto nexus = nexus_request({replica(replica_uuid).uri(), second_uri});
    nexus.set_size(8 * MB);
    EXPECT_OK(ask(engine_.nexus(), &v1::NexusRpc::Stub::CreateNexus, nexus).status);
    const auto done =
        ask(engine_.snapshot(), &v1::SnapshotRpc::Stub::CreateNexusSnapshot, snapshot_of_nexus());
    EXPECT_OK(done.status);
    for (const auto& r : done->replicas_done()) EXPECT_EQ(r.status_code(), 0u) << r.replica_uuid();
    v1::DestroyNexusRequest gone;
    gone.set_uuid(uuid);
    EXPECT_OK(ask(engine_.nexus(), &v1::NexusRpc::Stub::DestroyNexus, gone).status);
  }
  // Another engine makes pool p2 on disk b, with a replica that it exports; its URI.
  std::string start_other(EngineProcess& other, const std::string& replica_name) {
    EXPECT_TRUE(other.start());
    v1::CreatePoolRequest pool;
    pool.set_name("p2");
    pool.add_disks(disk("b"));
    EXPECT_OK(ask(other.pool(), &v1::PoolRpc::Stub::CreatePool, pool).status);
    auto request = replica_request(replica_name, replica_uuid2, 16 * MB);
    request.set_pooluuid("p2");
    request.set_share(v1::NVMF);
    const auto made = ask(other.replica(), &v1::ReplicaRpc::Stub::CreateReplica, request);
    EXPECT_OK(made.status);
    return made->uri();
  }
  void bring_pool_from(EngineProcess& other) {
    v1::ExportPoolRequest request;
    request.set_name("p2");
    EXPECT_OK(ask(other.pool(), &v1::PoolRpc::Stub::ExportPool, request).status);
    EXPECT_OK(import_pool("p2", {disk("b")}).status);
  }
  // The UUID of the device that a URI opens.
  std::string opened_by(const std::string& uri) { return create_bdev(uri).uuid(); }
  static std::string bdev(const std::string& name, const std::string& its_uuid) {
    return "bdev:///" + name + "?uuid=" + its_uuid;
  }
};

TEST_F(PoolNamesApi, PartsOfOneSnapshotMeetInAnEngine) {
  EngineProcess other(scratch_, "other");
  const std::string remote = start_other(other, "r2");
  take_snapshot(remote);
  fill(replica_uuid, 3);
  bring_pool_from(other);
  const std::string parts[] = {snapshot_uuid, snapshot_uuid2};
  std::vector<std::string> listed;
  for (const auto& s : snapshots()) {
    EXPECT_EQ(s.snapshot_name(), "s1");
    listed.push_back(s.snapshot_uuid() + " in " + s.pool_name());
  }
  EXPECT_THAT(listed, UnorderedElementsAre(parts[0] + " in p1", parts[1] + " in p2"));
  EXPECT_EQ(replica(parts[0]).uri(), bdev("s1", parts[0]));
  EXPECT_EQ(replica(parts[1]).uri(), bdev("s1@" + parts[1], parts[1]));
  EXPECT_EQ(replica(parts[1]).name(), "s1");
  const std::uint32_t sums[] = {checksum(parts[0]), checksum(parts[1])};
  EXPECT_NE(sums[0], sums[1]);
  EXPECT_NE(sums[0], checksum(replica_uuid));

  const auto shared = share(parts[0]);
  const auto shared2 = share(parts[1]);
  EXPECT_OK(shared.status);
  EXPECT_OK(shared2.status);
  EXPECT_NE(shared->uri(), shared2->uri());

  restart(false);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(checksum(parts[i]), sums[i]);
    EXPECT_EQ(replica(parts[i]).share(), v1::NVMF);
    // Also by the name that it may have had before.
    EXPECT_EQ(opened_by(bdev("s1", parts[i])), parts[i]);
    EXPECT_EQ(opened_by(bdev("s1@" + parts[i], parts[i])), parts[i]);
  }
  EXPECT_OK(destroy_snapshot(parts[0]));
  EXPECT_EQ(checksum(parts[1]), sums[1]);
  EXPECT_EQ(replica(parts[1]).share(), v1::NVMF);
  EXPECT_OK(destroy_snapshot(parts[1]));
  EXPECT_OK(export_pool("p1"));
  EXPECT_OK(export_pool("p2"));
}

TEST_F(PoolNamesApi, ASnapshotOfANexusHasPartsInTwoPoolsOfAnEngine) {
  ASSERT_TRUE(create_pool("p2", {disk("b")}).status.ok());
  auto second = replica_request("r2", replica_uuid2, 16 * MB);
  second.set_pooluuid("p2");
  ASSERT_TRUE(create(second).status.ok());
  take_snapshot(replica(replica_uuid2).uri());
  EXPECT_EQ(snapshots().size(), 2u);
  EXPECT_EQ(opened_by(replica(snapshot_uuid2).uri()), snapshot_uuid2);
  EXPECT_NE(checksum(snapshot_uuid), checksum(snapshot_uuid2));

  const std::string third = "bbbbbbbb-0000-4000-8000-000000000003";
  const std::string fourth = "bbbbbbbb-0000-4000-8000-000000000004";
  EXPECT_OK(snap(replica_uuid, "s2", third).status);
  EXPECT_OK(snap(replica_uuid2, "s2", fourth).status);
  EXPECT_CODE(snap(replica_uuid2, "s2", clone_uuid).status, ALREADY_EXISTS, "in pool 'p2'");
  EXPECT_CODE(snap(replica_uuid2, "r1", clone_uuid).status, ALREADY_EXISTS, "in pool 'p1'");
  EXPECT_CODE(clone(snapshot_uuid, "s2").status, ALREADY_EXISTS, "'s2'");
  for (const std::string& s : {std::string(snapshot_uuid), std::string(snapshot_uuid2), third, fourth})
    EXPECT_OK(destroy_snapshot(s));
}

// Nobody keeps users from giving replicas of two engines one name.
TEST_F(PoolNamesApi, WhatIsDoneWithAReplicaIsDoneWithNoOtherOfItsName) {
  ASSERT_TRUE(share(replica_uuid).status.ok());
  const std::string first_uri = replica(replica_uuid).uri();
  EngineProcess other(scratch_, "other");
  start_other(other, "r1");
  bring_pool_from(other);
  EXPECT_EQ(replica(replica_uuid).uri(), first_uri);
  const v1::Replica r = replica(replica_uuid2);
  EXPECT_EQ(r.name(), "r1");
  EXPECT_EQ(r.share(), v1::NVMF);
  EXPECT_THAT(r.uri(), HasSubstr(":r1@" + std::string(replica_uuid2) + "?uuid="));
  EXPECT_EQ(opened_by(bdev("r1", replica_uuid2)), replica_uuid2);

  v1::ListStatsOption all;
  EXPECT_OK(ask(engine_.stats(), &v1::StatsRpc::Stub::ResetIoStats, Empty()).status);
  v1::UnshareReplicaRequest unshare;
  unshare.set_uuid(replica_uuid2);
  EXPECT_OK(ask(engine_.replica(), &v1::ReplicaRpc::Stub::UnshareReplica, unshare).status);
  EXPECT_EQ(replica(replica_uuid2).share(), v1::NONE);
  EXPECT_EQ(replica(replica_uuid).share(), v1::NVMF);
  checksum(replica_uuid2);
  const auto counted = ask(engine_.stats(), &v1::StatsRpc::Stub::GetReplicaIoStats, all);
  ASSERT_EQ(counted->stats_size(), 2);
  for (const auto& s : counted->stats())
    EXPECT_EQ(s.stats().bytes_read(), s.stats().uuid() == replica_uuid2 ? 16 * MB : 0u);
  httplib::Client client("127.0.0.1", engine_.metrics_port());
  const auto metrics = client.Get("/metrics");
  ASSERT_TRUE(metrics);
  EXPECT_THAT(metrics->body, HasSubstr("replica_bytes_read{node=\"engine\",name=\"r1\",pv_name=\"\"} 0"));
  EXPECT_THAT(metrics->body,
              HasSubstr("name=\"r1@" + std::string(replica_uuid2) + "\",pv_name=\"\"} 16777216"));

  EXPECT_OK(destroy_replica(replica_uuid2));
  EXPECT_EQ(replica(replica_uuid).uri(), first_uri);
  EXPECT_OK(export_pool("p1"));
}

}  // namespace
}  // namespace holdfast::api_test
