// What no caller can bring about from outside: a replica whose device was taken away, and attributes that come with a
// host's own command.
#include "engine/replica_operations.h"

#include <cstring>
#include <filesystem>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "block/leaf_device.h"
#include "engine/data_dir.h"
#include "engine/fault_injections.h"
#include "engine/nexus_operations.h"
#include "engine/pool_messages.h"
#include "engine/snapshot_operations.h"
#include "engine/snapshot_rebuild_operations.h"
#include "pool/check.h"
#include "pool/format.h"
#include "rt/scope.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::engine {
namespace {

namespace v1 = mayastor::v1;

constexpr const char* replica_uuid = "aaaaaaaa-0000-4000-8000-000000000001";

// An engine with a pool, and in it a replica.
struct ReplicaOperations : testing::Test {
  ReplicaOperations() {
    log::configure(log::Level::off, log::Format::text);
    sim::DiskOptions disk;
    disk.size_bytes = 64 << 20;
    node.add_disk("/dev/d0", disk);
    const Status started = run(engine.start());
    EXPECT_TRUE(started.ok()) << started.error().message();
    v1::CreatePoolRequest pool;
    pool.set_name("p1");
    pool.add_disks("/dev/d0");
    const auto made = run(pool_operations::create(engine, pool));
    EXPECT_TRUE(made.ok()) << made.error().message();
    v1::CreateReplicaRequest replica;
    replica.set_name("r1");
    replica.set_uuid(replica_uuid);
    replica.set_pooluuid("p1");
    replica.set_size(8 << 20);
    replica.set_thin(true);
    const auto created = run(replica_operations::create(engine, replica));
    EXPECT_TRUE(created.ok()) << created.error().message();
  }
  ~ReplicaOperations() override {
    run(engine.stop());
    data.reset();
    std::filesystem::remove_all(directory());
  }
  template <class T>
  T run(Task<T> t) {
    return world.run(process.core(0), std::move(t));
  }
  static std::string directory() {
    return testing::TempDir() + "holdfast-replica-operations-" + std::to_string(::getpid());
  }
  static Options options() {
    Options o;
    o.node_name = "a";
    o.nvmf = {Endpoint{"0.0.0.0", default_nvmf_port}};
    return o;
  }
  static v1::ShareReplicaRequest share_request(const std::string& uuid) {
    v1::ShareReplicaRequest share;
    share.set_uuid(uuid);
    share.set_share(v1::NVMF);
    return share;
  }

  sim::World world{1};
  sim::Node& node = world.add_node("a");
  sim::Process& process = node.start(2);
  std::unique_ptr<DataDir> data = DataDir::open(directory()).value();
  Engine engine{process.cores(), options(), "test", *data, nullptr};
};

struct LostDevice : ReplicaOperations {
  LostDevice() { EXPECT_TRUE(run(engine.devices().destroy("r1")).ok()); }
  template <class T>
  static void expect_refused(const Result<T>& outcome) {
    ASSERT_EQ(outcome.code(), Errc::failed_precondition);
    EXPECT_NE(outcome.error().message().find("'r1' has no device"), std::string::npos)
        << outcome.error().message();
  }
};

TEST_F(LostDevice, IsNotShared) {
  expect_refused(run(replica_operations::share(engine, share_request(replica_uuid))));
}

TEST_F(LostDevice, TellsNoEpochs) {
  holdfast::v1::GetReplicaEpochsRequest request;
  request.set_uuid(replica_uuid);
  expect_refused(run(replica_operations::epochs(engine, request)));
}

// A change of its pool goes on to export it as before.
TEST_F(LostDevice, IsNotSharedAgain) {
  const auto found = engine.pools().find_volume(Uuid::parse(replica_uuid).value());
  ASSERT_TRUE(found);
  const Status shared = run(engine.pools().share_again(*found->known, found->volume.spec));
  EXPECT_EQ(shared.code(), Errc::failed_precondition);
}

// It is there again when its pool is opened.
TEST_F(LostDevice, ComesBackWithItsPool) {
  auto* known = engine.pools().find("p1");
  ASSERT_NE(known, nullptr);
  ASSERT_TRUE(run(engine.pools().reopen(*known)).ok());
  EXPECT_TRUE(run(replica_operations::share(engine, share_request(replica_uuid))).ok());
}

// A host with write access takes snapshots by a command of its own, and says what attributes they have.
TEST_F(ReplicaOperations, AHostGivesItsSnapshotsNoAttributesOfTheEngine) {
  BlockDevice* device = engine.devices().find("r1");
  ASSERT_NE(device, nullptr);
  SnapshotRequest wanted;
  wanted.name = "s1";
  wanted.uuid = Uuid::from_name("s1");
  for (const char* key : {attribute::shared, attribute::allowed_hosts, attribute::record, "unheard-of"}) {
    SnapshotRequest bad = wanted;
    bad.attributes[attribute::txn_id] = "t";
    bad.attributes[key] = "nvmf";
    const Status refused = run(device->snapshots()->create(std::move(bad)));
    EXPECT_EQ(refused.code(), Errc::invalid_argument) << key;
  }
  EXPECT_FALSE(engine.pools().find("p1")->pool->find("s1").ok());
  for (const char* key : {attribute::entity_id, attribute::txn_id, attribute::created})
    wanted.attributes[key] = "1";
  EXPECT_TRUE(run(device->snapshots()->create(std::move(wanted))).ok());
  EXPECT_TRUE(engine.pools().find("p1")->pool->find("s1").ok());
}

TEST_F(ReplicaOperations, AHostGivesItsSnapshotsNoTextThatNobodyCanRead) {
  BlockDevice* device = engine.devices().find("r1");
  ASSERT_NE(device, nullptr);
  SnapshotRequest name;
  name.name = "s\xff";
  name.uuid = Uuid::from_name("s1");
  EXPECT_EQ(run(device->snapshots()->create(std::move(name))).code(), Errc::invalid_argument);
  SnapshotRequest value;
  value.name = "s2";
  value.uuid = Uuid::from_name("s2");
  value.attributes[attribute::entity_id] = "\xff";
  EXPECT_EQ(run(device->snapshots()->create(std::move(value))).code(), Errc::invalid_argument);
  EXPECT_FALSE(engine.pools().find("p1")->pool->find("s2").ok());
}

Task<Status> fill(BlockDevice& device, Reactor& home, std::uint64_t bytes) {
  HF_CO_TRY(const auto channel, co_await device.open_channel(home));
  ScratchBuffer data(home, 1 << 20);
  std::memset(data.data(), 7, data.size());
  const IoVec from = data.vec();
  Status done;
  for (std::uint64_t at = 0; at < bytes && done.ok(); at += data.size())
    done = co_await channel->write(Lba{at / device.geometry().block_bytes}, IoVecs(&from, 1), Durable::no);
  co_await channel->close();
  co_return done;
}

Task<SnapshotRebuildView> ended(Engine& engine) {
  for (;;) {
    const auto all = engine.snapshot_rebuilds().list();
    if (all.front().state != SnapshotRebuildState::running) co_return all.front();
    co_await engine.cores().home().sleep(1ms);
  }
}

TEST_F(ReplicaOperations, ASnapshotRebuildOutlivesASourceThatShrinks) {
  const std::string base = "aaaaaaaa-0000-4000-8000-00000000000";
  for (const char* n : {"2", "3"}) {
    v1::CreateReplicaRequest replica;
    replica.set_name(std::string("r") + n);
    replica.set_uuid(base + n);
    replica.set_pooluuid("p1");
    replica.set_size(20 << 20);
    replica.set_thin(true);
    ASSERT_TRUE(run(replica_operations::create(engine, replica)).ok());
  }
  ASSERT_TRUE(run(fill(*engine.devices().find("r2"), process.core(0), 20 << 20)).ok());
  v1::CreateSnapshotRebuildRequest job;
  job.set_uuid(base + "9");
  job.set_snapshot_uri("bdev:///r2");
  job.set_replica_uri("bdev:///r3");
  ASSERT_TRUE(run(snapshot_rebuild_operations::create(engine, job)).ok());
  auto& shrinking = *engine.pools().find("p1")->pool;
  ASSERT_TRUE(run(shrinking.resize_volume(Uuid::parse(base + "2").value(), 1 << 20)).ok());
  ASSERT_EQ(engine.snapshot_rebuilds().list().front().state, SnapshotRebuildState::running);
  const auto view = run(ended(engine));
  EXPECT_EQ(view.state, SnapshotRebuildState::failed);
  EXPECT_NE(view.error.find("smaller"), std::string::npos) << view.error;
}

TEST_F(ReplicaOperations, WhatWasMadeOfAReplicaEndsBeforeItsPool) {
  ASSERT_TRUE(run(engine.devices().create("inject://r1")).ok());
  ASSERT_TRUE(run(engine.devices().create("inject://r1-inject")).ok());
  run(engine.stop());
  EXPECT_TRUE(engine.devices().entries().empty());
  EXPECT_TRUE(engine.pools().list().empty());
}

TEST_F(ReplicaOperations, AnInjectDeviceStaysWhileItsFaultsAreListed) {
  ASSERT_TRUE(run(engine.devices().create("malloc:///m0?size_mb=1")).ok());
  ASSERT_TRUE(run(engine.devices().create("inject://m0")).ok());
  bool listed = false;
  const v1::ListFaultInjectionsRequest request;
  auto list = [&]() -> Task<void> {
    const auto reply = co_await fault_injections::list(engine, request);
    EXPECT_TRUE(reply.ok());
    listed = true;
  };
  auto both = [&]() -> Task<void> {
    TaskScope scope(process.core(0));
    scope.spawn(list());  // waits for the other core
    EXPECT_FALSE(listed);
    // As a nexus does with a child of its own.
    const Status gone = co_await engine.devices().destroy("m0-inject");
    EXPECT_TRUE(gone.ok());
    EXPECT_TRUE(listed);
    co_await scope.join();
  };
  run(both());
}

v1::CreateNexusRequest nexus_of(const std::string& child) {
  v1::CreateNexusRequest nexus;
  nexus.set_name("n1");
  nexus.set_uuid("aaaaaaaa-0000-4000-8000-0000000000a1");
  nexus.set_size(32 << 20);
  nexus.add_children(child);
  return nexus;
}

TEST_F(ReplicaOperations, APoolOnANexusEndsBeforeTheNexus) {
  sim::DiskOptions disk;
  disk.size_bytes = 64 << 20;
  node.add_disk("/dev/d1", disk);
  ASSERT_TRUE(run(nexus_operations::create(engine, nexus_of("aio:///dev/d1"))).ok());
  v1::CreatePoolRequest pool;
  pool.set_name("p2");
  pool.add_disks("bdev:///n1");
  ASSERT_TRUE(run(pool_operations::create(engine, pool)).ok());
  run(engine.stop());
  Engine again{process.cores(), options(), "test", *data, nullptr};
  ASSERT_TRUE(run(nexus_operations::create(again, nexus_of("aio:///dev/d1"))).ok());
  const auto checked = run(pool::check_pool(again.devices(), {"bdev:///n1"}, false));
  ASSERT_TRUE(checked.ok()) << checked.error().message();
  EXPECT_TRUE(checked.value().superblock.clean);
  run(again.stop());
}

TEST_F(ReplicaOperations, ANexusOnItsWayOutIsGivenToNobody) {
  ASSERT_TRUE(run(engine.devices().create("malloc:///m0?size_mb=64")).ok());
  ASSERT_TRUE(run(nexus_operations::create(engine, nexus_of("bdev:///m0"))).ok());
  v1::DestroyNexusRequest request;
  request.set_uuid(nexus_of("").uuid());
  auto destroy = [&]() -> Task<void> {
    const auto gone = co_await nexus_operations::destroy(engine, request);
    EXPECT_TRUE(gone.ok());
  };
  auto both = [&]() -> Task<void> {
    TaskScope scope(process.core(0));
    scope.spawn(destroy());  // waits until its reservations are forgotten
    BlockDevice* device = engine.devices().find("n1");
    EXPECT_TRUE(device == nullptr || !engine.devices().claim(*device, "a pool").ok());
    co_await scope.join();
  };
  run(both());
}

TEST_F(ReplicaOperations, HostsKeepANexusThatCannotGo) {
  ASSERT_TRUE(run(engine.devices().create("malloc:///m0?size_mb=64")).ok());
  ASSERT_TRUE(run(nexus_operations::create(engine, nexus_of("bdev:///m0"))).ok());
  BlockDevice* device = engine.devices().find("n1");
  ASSERT_NE(device, nullptr);
  Exports::Request how;
  ASSERT_TRUE(run(engine.exports().share(*device, std::move(how))).ok());
  auto used = engine.devices().claim(*device, "a rebuild", DeviceUse::guarded);
  ASSERT_TRUE(used.ok()) << used.error().message();
  v1::DestroyNexusRequest request;
  request.set_uuid(nexus_of("").uuid());
  EXPECT_EQ(run(nexus_operations::destroy(engine, request)).code(), Errc::failed_precondition);
  EXPECT_NE(engine.exports().find("n1"), nullptr);
  used.value().release();
  EXPECT_TRUE(run(nexus_operations::destroy(engine, request)).ok());
}

TEST_F(ReplicaOperations, NothingIsExportedOnceTheExportsHaveEnded) {
  BlockDevice* device = engine.devices().find("r1");
  ASSERT_NE(device, nullptr);
  auto share = [&]() -> Task<void> {
    Exports::Request how;
    const Status shared = co_await engine.exports().share(*device, std::move(how));
    shared.ignore("either is right");
  };
  auto both = [&]() -> Task<void> {
    TaskScope scope(process.core(0));
    scope.spawn(share());  // waits for the reservations on record
    co_await engine.exports().close();
    co_await scope.join();
    EXPECT_EQ(engine.exports().size(), 0u);
  };
  run(both());
}

TEST_F(ReplicaOperations, NobodyIsGivenAReplicaThatIsBeingReverted) {
  v1::CreateReplicaSnapshotRequest snapshot;
  snapshot.set_replica_uuid(replica_uuid);
  snapshot.set_snapshot_uuid("aaaaaaaa-0000-4000-8000-0000000000b1");
  snapshot.set_snapshot_name("s1");
  ASSERT_TRUE(run(snapshot_operations::create(engine, snapshot)).ok());
  holdfast::v1::RevertReplicaRequest request;
  request.set_uuid(replica_uuid);
  request.set_snapshot_uuid(snapshot.snapshot_uuid());
  bool reverted = false;
  auto revert = [&]() -> Task<void> {
    const auto done = co_await replica_operations::revert(engine, request);
    EXPECT_TRUE(done.ok());
    reverted = true;
  };
  auto both = [&]() -> Task<void> {
    TaskScope scope(process.core(0));
    scope.spawn(revert());  // waits for the other core
    EXPECT_FALSE(reverted);
    BlockDevice* device = engine.devices().find("r1");
    const auto taken = engine.devices().claim(*device, "a nexus", DeviceUse::guarded);
    EXPECT_EQ(taken.code(), Errc::busy);
    co_await scope.join();
  };
  run(both());
}

TEST_F(ReplicaOperations, WhatWasMadeOfANexusEndsBeforeIt) {
  ASSERT_TRUE(run(engine.devices().create("malloc:///m0?size_mb=64")).ok());
  ASSERT_TRUE(run(nexus_operations::create(engine, nexus_of("bdev:///m0"))).ok());
  ASSERT_TRUE(run(engine.devices().create("inject://n1")).ok());
  run(engine.stop());
  EXPECT_TRUE(engine.devices().entries().empty());
  EXPECT_TRUE(engine.nexuses().list().empty());
}

// Whether a peer takes what is told.
template <class Message>
bool can_be_read(const Message& told) {
  Message read;
  return read.ParseFromString(told.SerializeAsString());
}

TEST_F(ReplicaOperations, WhateverADiskSaysTheAnswersCanBeRead) {
  const Uuid uuid = Uuid::parse(replica_uuid).value();
  auto found = engine.pools().find_volume(uuid);
  ASSERT_TRUE(found);
  found->volume.spec.name = "r\xff";
  EXPECT_TRUE(can_be_read(replica_message(engine.exports(), *found->known, 1 << 20, found->volume)));

  Pools::Known& known = *engine.pools().find("p1");
  pool::Attributes hosts{{attribute::shared, "nvmf"}, {attribute::allowed_hosts, "nqn.\xff"}};
  ASSERT_TRUE(run(known.pool->set_attributes(uuid, std::move(hosts))).ok());
  ASSERT_TRUE(run(engine.pools().reopen(known)).ok());
  found = engine.pools().find_volume(uuid);
  ASSERT_NE(engine.exports().find("r1"), nullptr);
  EXPECT_TRUE(can_be_read(replica_message(engine.exports(), known, 1 << 20, found->volume)));

  run(engine.exports().unshare("r1")).ignore("the pool is closed below it");
  ASSERT_TRUE(run(known.pool->close()).ok());
  known.pool.reset();
  for (const std::uint64_t offset : pool::wire::superblock_offsets) {
    std::vector<std::byte> bytes(pool::wire::superblock_bytes);
    node.disk("/dev/d0").peek(offset, bytes);
    auto w = load<pool::wire::Superblock>(bytes);
    w.name[0] = 0xff;
    w.crc32c = 0;
    w.crc32c = crc32c(bytes_of(w));
    node.disk("/dev/d0").poke(offset, bytes_of(w));
  }
  EXPECT_FALSE(run(engine.pools().reopen(known)).ok());
  EXPECT_TRUE(can_be_read(pool_detail(known)));
}

}  // namespace
}  // namespace holdfast::engine
