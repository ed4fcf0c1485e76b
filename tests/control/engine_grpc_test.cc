// What the control plane asks of engines, each call against real ones: good, repeated, refused.
#include "control/grpc/engine_grpc.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/engine_process.h"
#include "uring/runtime.h"

namespace holdfast::control {
namespace {

using testing::HasSubstr;
using testing_support::EngineProcess;
using testing_support::ScratchDir;

constexpr std::uint64_t MiB = std::uint64_t{1} << 20;
Uuid id(const char* name) { return Uuid::from_name(name); }

// Two engines: the first has a pool with a replica, the second reaches it.
class EngineGrpc : public testing::Test {
 protected:
  EngineGrpc() : runtime_(uring::Runtime::create({}).value()), directory_(runtime_->home()) {}

  void SetUp() override {
    ASSERT_TRUE(first_.start());
    ASSERT_TRUE(second_.start());
    engine_ = connect(first_, "engine-a");
    other_ = connect(second_, "engine-b");
    NewPool pool;
    pool.pool = "p1";
    pool.disks = {disk("d1")};
    ASSERT_OK(ask(engine_->create_pool(pool)));
  }
  void TearDown() override {
    runtime_->run(engine_->close());
    runtime_->run(other_->close());
    if (HasFailure()) std::printf("%s\n%s", first_.log().c_str(), second_.log().c_str());
  }
  std::unique_ptr<Engine> connect(const EngineProcess& process, const char* node) {
    return directory_.connect(node, "127.0.0.1:" + std::to_string(process.grpc_port()));
  }
  std::string disk(const std::string& name) {
    const std::string path = scratch_.path(name);
    const std::ofstream made(path, std::ios::app);
    std::filesystem::resize_file(path, 256 * MiB);
    return path;
  }
  template <class T>
  Result<T> ask(Task<Result<T>> task) {
    return runtime_->run(std::move(task));
  }
  NewReplica replica(const char* name) {
    NewReplica r;
    r.replica = id(name);
    r.pool = "p1";
    r.size_bytes = 32 * MiB;
    r.thin = true;
    r.share = Protocol::nvmf;
    r.entity_id = "volume-1";
    return r;
  }
  EngineReport report(Engine& engine) {
    auto seen = ask(engine.observe(Tell::all));
    EXPECT_TRUE(seen.ok()) << seen.error().message();
    return seen.ok() ? std::move(*seen.value()) : EngineReport();
  }
  template <class T>
  static void ASSERT_OK(const Result<T>& r) {
    ASSERT_TRUE(r.ok()) << r.error().message();
  }
  template <class T>
  static void expect_kind(const Result<T>& r, Kind kind, const char* text) {
    ASSERT_FALSE(r.ok());
    EXPECT_EQ(kind_of(r.error()), kind) << r.error().message();
    EXPECT_THAT(r.error().message(), HasSubstr(text));
  }

  std::unique_ptr<uring::Runtime> runtime_;
  GrpcDirectory directory_;
  ScratchDir scratch_;
  EngineProcess first_{scratch_, "engine-a"};
  EngineProcess second_{scratch_, "engine-b"};
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Engine> other_;
};

TEST_F(EngineGrpc, TellsWhatItIsAndHas) {
  ASSERT_OK(ask(engine_->create_replica(replica("r1"))));
  const EngineReport seen = report(*engine_);
  EXPECT_FALSE(seen.engine.instance.empty());
  EXPECT_TRUE(seen.engine.features.ana);
  ASSERT_EQ(seen.pools.size(), 1U);
  EXPECT_EQ(seen.pools[0].id, "p1");
  EXPECT_EQ(seen.pools[0].node, "engine-a");
  EXPECT_EQ(seen.pools[0].status, PoolStatus::online);
  EXPECT_GT(seen.pools[0].capacity_bytes, 200 * MiB);
  ASSERT_EQ(seen.replicas.size(), 1U);
  EXPECT_EQ(seen.replicas[0].uuid, id("r1"));
  EXPECT_EQ(seen.replicas[0].entity_id, "volume-1");
  EXPECT_EQ(seen.replicas[0].share, Protocol::nvmf);
  EXPECT_THAT(seen.replicas[0].uri, HasSubstr("nvmf://"));
  EXPECT_TRUE(ask(engine_->block_devices(true)).ok());
}

TEST_F(EngineGrpc, PoolsCanBeAskedForAgain) {
  NewPool pool;
  pool.pool = "p1";
  pool.disks = {disk("d1")};
  ASSERT_OK(ask(engine_->create_pool(pool)));
  ASSERT_OK(ask(engine_->import_pool(pool)));
  NewPool elsewhere = pool;
  elsewhere.disks = {disk("d2")};
  expect_kind(ask(engine_->create_pool(elsewhere)), Kind::invalid_argument, "engine-a");
  ASSERT_OK(ask(engine_->create_replica(replica("r1"))));
  ASSERT_OK(ask(engine_->export_pool("p1")));
  ASSERT_OK(ask(engine_->export_pool("p1")));
  expect_kind(ask(engine_->destroy_pool("p1", std::nullopt)), Kind::not_found, "p1");
  expect_kind(ask(engine_->destroy_replica(id("r1"), "p1")), Kind::failed_precondition, "p1");
  ASSERT_OK(ask(engine_->import_pool(pool)));
  EXPECT_EQ(report(*engine_).replicas.size(), 1U);
  ASSERT_OK(ask(engine_->add_disk("p1", disk("d3"))));
  ASSERT_OK(ask(engine_->add_disk("p1", disk("d3"))));
  ASSERT_OK(ask(engine_->grow_pool("p1")));
  EXPECT_EQ(report(*engine_).pools[0].disks.size(), 2U);
  const Uuid uuid = report(*engine_).pools[0].uuid;
  expect_kind(ask(engine_->destroy_pool("p1", id("another"))), Kind::not_found, uuid.to_string().c_str());
  ASSERT_OK(ask(engine_->destroy_pool("p1", uuid)));
  expect_kind(ask(engine_->import_pool(pool)), Kind::invalid_argument, "engine-a");
}

TEST_F(EngineGrpc, ReplicasCanBeAskedForAgain) {
  ASSERT_OK(ask(engine_->create_replica(replica("r1"))));
  NewReplica again = replica("r1");
  again.share = Protocol::none;
  const auto there = ask(engine_->create_replica(again));
  ASSERT_OK(there);
  EXPECT_EQ(there.value().share, Protocol::none);
  again.size_bytes = 64 * MiB;
  expect_kind(ask(engine_->create_replica(again)), Kind::already_exists, "engine-a");
  NewReplica nowhere = replica("r2");
  nowhere.pool = "p9";
  expect_kind(ask(engine_->create_replica(nowhere)), Kind::failed_precondition, "p9");
  NewReplica large = replica("r3");
  large.thin = false;
  large.size_bytes = 1024 * MiB;
  expect_kind(ask(engine_->create_replica(large)), Kind::resource_exhausted, "p1");

  const auto shared =
      ask(engine_->share_replica(id("r1"), {"nqn.2014-08.org.example:b", "nqn.2014-08.org.example:a"}));
  ASSERT_OK(shared);
  EXPECT_THAT(shared.value().allowed_hosts,
              testing::ElementsAre("nqn.2014-08.org.example:a", "nqn.2014-08.org.example:b"));
  ASSERT_OK(ask(engine_->unshare_replica(id("r1"))));
  ASSERT_OK(ask(engine_->unshare_replica(id("r1"))));
  const auto grown = ask(engine_->resize_replica(id("r1"), 48 * MiB));
  ASSERT_OK(grown);
  EXPECT_EQ(grown.value().size_bytes, 48 * MiB);
  ASSERT_OK(ask(engine_->set_replica_entity(id("r1"), "volume-2")));
  EXPECT_EQ(report(*engine_).replicas[0].entity_id, "volume-2");
  ASSERT_OK(ask(engine_->replica_epochs(id("r1"))));
  ASSERT_OK(ask(engine_->destroy_replica(id("r1"), "p1")));
  ASSERT_OK(ask(engine_->destroy_replica(id("r1"), "p1")));
}

TEST_F(EngineGrpc, ANexusFromItsCreationToItsEnd) {
  const auto local = ask(engine_->create_replica(replica("r1")));
  ASSERT_OK(local);
  NewNexus n;
  n.nexus = id("n1");
  n.name = id("volume").to_string();
  n.size_bytes = 24 * MiB;
  n.children = {local.value().uri};
  n.membership_key = "volume/v/membership";
  n.reservation_key = 77;
  const auto made = ask(other_->create_nexus(n));
  ASSERT_OK(made);
  EXPECT_EQ(made.value().status, NexusStatus::online);
  ASSERT_EQ(made.value().children.size(), 1U);
  EXPECT_EQ(made.value().children[0].replica, id("r1"));
  ASSERT_OK(ask(other_->create_nexus(n)));
  NewNexus twin = n;
  twin.nexus = id("n2");
  expect_kind(ask(other_->create_nexus(twin)), Kind::already_exists, "engine-b");

  const auto shared = ask(other_->share_nexus(id("n1"), {"nqn.2014-08.org.example:h"}));
  ASSERT_OK(shared);
  EXPECT_EQ(shared.value().protocol, Protocol::nvmf);
  ASSERT_OK(ask(other_->share_nexus(id("n1"), {})));
  ASSERT_OK(ask(other_->set_ana_state(id("n1"), AnaState::inaccessible)));
  EXPECT_EQ(ask(other_->ana_state(id("n1"))).value(), AnaState::inaccessible);

  const std::string child = ask(engine_->create_replica(replica("r2"))).value().uri;
  ASSERT_OK(ask(other_->add_child(id("n1"), child, true, 0)));
  ASSERT_OK(ask(other_->add_child(id("n1"), child, true, 0)));
  const auto is_online = [&] {
    const auto seen = report(*other_);
    return !seen.nexuses.empty() && seen.nexuses[0].status == NexusStatus::online;
  };
  for (int i = 0; i < 200 && !is_online(); ++i)
    runtime_->run([&]() -> Task<void> { co_await runtime_->home().sleep(20ms); }());
  EXPECT_TRUE(is_online());
  EXPECT_EQ(ask(other_->rebuild_history(id("n1"))).value().size(), 1U);
  expect_kind(ask(other_->rebuild(id("n1"), child)), Kind::not_found, "engine-b");

  ASSERT_OK(ask(other_->fault_child(id("n1"), child, false)));
  expect_kind(ask(other_->fault_child(id("n1"), local.value().uri, false)), Kind::failed_precondition,
              "last healthy");
  ASSERT_OK(ask(other_->online_child(id("n1"), child)));
  ASSERT_OK(ask(other_->remove_child(id("n1"), child)));
  ASSERT_OK(ask(other_->remove_child(id("n1"), child)));
  expect_kind(ask(other_->remove_child(id("n9"), child)), Kind::not_found, "engine-b");

  ASSERT_OK(ask(other_->unshare_nexus(id("n1"))));
  ASSERT_OK(ask(other_->shutdown_nexus(id("n1"))));
  EXPECT_EQ(report(*other_).nexuses[0].status, NexusStatus::shutdown);
  ASSERT_OK(ask(other_->destroy_nexus(id("n1"))));
  ASSERT_OK(ask(other_->destroy_nexus(id("n1"))));
}

TEST_F(EngineGrpc, SnapshotsAndClones) {
  ASSERT_OK(ask(engine_->create_replica(replica("r1"))));
  NewReplicaSnapshot s;
  s.replica = id("r1");
  s.snapshot = id("s1");
  s.name = "snap-1";
  s.entity_id = "volume-1";
  s.transaction = "1";
  ASSERT_OK(ask(engine_->create_snapshot(s)));
  ASSERT_OK(ask(engine_->create_snapshot(s)));
  NewReplicaSnapshot other = s;
  other.snapshot = id("s2");
  expect_kind(ask(engine_->create_snapshot(other)), Kind::already_exists, "snap-1");
  const EngineReport seen = report(*engine_);
  ASSERT_EQ(seen.snapshots.size(), 1U);
  EXPECT_EQ(seen.replicas.size(), 1U);
  EXPECT_EQ(seen.snapshots[0].uuid, id("s1"));
  EXPECT_EQ(seen.snapshots[0].replica, id("r1"));
  EXPECT_EQ(seen.snapshots[0].transaction, "1");
  EXPECT_GT(seen.snapshots[0].taken, 0);

  const auto clone = ask(engine_->clone_snapshot(id("s1"), id("c1")));
  ASSERT_OK(clone);
  EXPECT_EQ(clone.value().kind, ReplicaKind::snapshot_clone);
  EXPECT_EQ(clone.value().clone_of, id("s1"));
  EXPECT_TRUE(clone.value().thin);
  ASSERT_OK(ask(engine_->clone_snapshot(id("s1"), id("c1"))));
  expect_kind(ask(engine_->clone_snapshot(id("s9"), id("c2"))), Kind::not_found, "engine-a");
  EXPECT_TRUE(ask(engine_->diff_snapshots(std::nullopt, id("r1"), 0)).ok());
  expect_kind(ask(engine_->revert_replica(id("r1"), id("s1"))), Kind::failed_precondition, "in use");
  ASSERT_OK(ask(engine_->unshare_replica(id("r1"))));
  ASSERT_OK(ask(engine_->revert_replica(id("r1"), id("s1"))));
  ASSERT_OK(ask(engine_->destroy_snapshot(id("s1"), "p1")));
  ASSERT_OK(ask(engine_->destroy_snapshot(id("s1"), "p1")));
  EXPECT_EQ(report(*engine_).replicas.size(), 2U);
}

TEST_F(EngineGrpc, ANexusSnapshotIsOfAllItsChildren) {
  NewNexus n;
  n.nexus = id("n1");
  n.name = id("volume").to_string();
  n.size_bytes = 24 * MiB;
  n.membership_key = "m";
  n.children = {ask(engine_->create_replica(replica("r1"))).value().uri,
                ask(engine_->create_replica(replica("r2"))).value().uri};
  ASSERT_OK(ask(other_->create_nexus(n)));
  NewNexusSnapshot s;
  s.nexus = id("n1");
  s.name = "snap-1";
  s.entity_id = n.name;
  s.transaction = "1";
  s.parts.push_back({id("r1"), id("s1")});
  expect_kind(ask(other_->create_nexus_snapshot(s)), Kind::failed_precondition, "engine-b");
  s.parts.push_back({id("r2"), id("s2")});
  const auto taken = ask(other_->create_nexus_snapshot(s));
  ASSERT_OK(taken);
  EXPECT_EQ(taken.value().parts.size(), 2U);
  // Both are in one engine, where a name is given once: one of the two is left without.
  EXPECT_FALSE(taken.value().complete());
  EXPECT_EQ(report(*engine_).snapshots.size(), 1U);
}

TEST_F(EngineGrpc, TellsAgainOnlyWhatIsOther) {
  ASSERT_OK(ask(engine_->create_replica(replica("r1"))));
  const EngineReport all = report(*engine_);
  EXPECT_EQ(all.replicas.size(), 1U);
  const auto news = [&] {
    auto told = ask(engine_->observe(Tell::news));
    EXPECT_TRUE(told.ok()) << told.error().message();
    return told.ok() ? std::move(told).value() : std::nullopt;
  };
  EXPECT_EQ(news(), std::nullopt);
  EXPECT_EQ(news(), std::nullopt);
  // Other clients know other things.
  auto client = connect(first_, "engine-a");
  const auto first_time = ask(client->observe(Tell::news));
  ASSERT_OK(first_time);
  EXPECT_EQ(first_time.value(), all);
  runtime_->run(client->close());

  ASSERT_OK(ask(engine_->set_replica_record(id("r1"), "text", 7)));
  const auto with_record = news();
  ASSERT_TRUE(with_record.has_value());
  EXPECT_EQ(with_record->replicas.at(0).record, 7U);
  EXPECT_EQ(news(), std::nullopt);
  ASSERT_OK(ask(engine_->destroy_replica(id("r1"), "p1")));
  const auto without = news();
  ASSERT_TRUE(without.has_value());
  EXPECT_THAT(without->replicas, testing::IsEmpty());
  EXPECT_EQ(report(*engine_), *without);
}

TEST_F(EngineGrpc, WipesAndSums) {
  NewReplica unshared = replica("r1");
  unshared.share = Protocol::none;
  ASSERT_OK(ask(engine_->create_replica(unshared)));
  const auto wiped = ask(engine_->wipe_replica(id("r1"), "p1", WipeMethod::write_zeroes));
  ASSERT_OK(wiped);
  EXPECT_EQ(wiped.value().bytes, 32 * MiB);
  const auto summed = ask(engine_->wipe_replica(id("r1"), "p1", WipeMethod::checksum));
  ASSERT_OK(summed);
  EXPECT_TRUE(summed.value().crc32c.has_value());
  expect_kind(ask(engine_->wipe_replica(id("r9"), "p1", WipeMethod::checksum)), Kind::not_found, "engine-a");
}

TEST_F(EngineGrpc, AnEngineThatIsGoneIsUnavailable) {
  const std::string before = report(*engine_).engine.instance;
  first_.kill();
  const auto seen = ask(engine_->observe(Tell::news));
  ASSERT_FALSE(seen.ok());
  EXPECT_EQ(kind_of(seen.error()), Kind::unavailable);
  EXPECT_TRUE(may_have_happened(seen.error()));
  // Each failure makes gRPC wait longer before it connects again.
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(ask(engine_->observe(Tell::news)).ok());
  ASSERT_TRUE(first_.start());
  engine_->restarted();
  const auto again = ask(engine_->observe(Tell::news));
  ASSERT_OK(again);
  EXPECT_NE(again.value()->engine.instance, before);
}

}  // namespace
}  // namespace holdfast::control
