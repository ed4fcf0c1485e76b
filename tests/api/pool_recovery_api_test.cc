// Pools that are not whole: what the calls about them and their replicas answer, and what an engine does by itself,
// while disks are gone, slow or failing, and after it was killed in the middle of a call.
#include <csignal>
#include <functional>
#include <future>
#include <thread>

#include <httplib.h>

#include "api/pool_api_test.h"
#include "support/fault_injection.h"

namespace holdfast::api_test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

class PoolRecovery : public PoolApiTest {
 protected:
  void make_pool_on_inject(const std::string& name, const std::string& bdev, unsigned megabytes = 128) {
    create_bdev("malloc:///" + bdev + "?size_mb=" + std::to_string(megabytes));
    create_bdev("inject:///" + bdev);
    ASSERT_TRUE(create_pool(name, {bdev + "-inject"}).status.ok());
  }
  void erase_label(const std::string& path) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    const std::string zeroes(8 * MB, '\0');
    file.write(zeroes.data(), static_cast<std::streamsize>(zeroes.size()));
    ASSERT_TRUE(file.good());
  }
  // Replaces a text in what the engine, which does not run, remembers of a pool.
  void edit_remembered(const std::string& uuid_of_pool, const std::string& from, const std::string& to) {
    const std::string file = engine_.data_dir() + "/pools/" + uuid_of_pool + ".json";
    std::ifstream in(file);
    std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    const auto at = text.find(from);
    ASSERT_NE(at, std::string::npos) << text;
    text.replace(at, from.size(), to);
    std::ofstream(file) << text;
  }
  // As part of a URI.
  static std::string escaped(std::string text) {
    for (std::size_t at = 0; (at = text.find_first_of(":/", at)) != std::string::npos; at += 3)
      text.replace(at, 1, text[at] == ':' ? "%3A" : "%2F");
    return text;
  }
  std::string reason(const std::string& name) {
    own::ListPoolDetailsRequest one;
    one.set_pool(name);
    const auto details = ask(engine_.pool_extras(), &own::PoolRpc::Stub::ListPoolDetails, one);
    return details->pools_size() == 1 ? details->pools(0).state_reason() : "";
  }
  static bool within(std::chrono::milliseconds patience, const std::function<bool()>& happened) {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (!happened()) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::sleep_for(50ms);
    }
    return true;
  }
};

TEST_F(PoolRecovery, LimitsOfDisksCountFromTheFirstDayOfAPool) {
  testing_support::EngineProcess strict(scratch_, "strict",
                                        {"--disk-stall-time", "100ms", "--disk-stall-limit", "1"});
  ASSERT_TRUE(strict.start());
  for (const char* uri : {"malloc:///m0?size_mb=128", "inject:///m0"}) {
    v1::CreateBdevRequest bdev;
    bdev.set_uri(uri);
    ASSERT_TRUE(ask(strict.bdev(), &v1::BdevRpc::Stub::Create, bdev).status.ok());
  }
  v1::CreatePoolRequest make;
  make.set_name("p1");
  make.add_disks("m0-inject");
  v1::DestroyPoolRequest unmake;
  unmake.set_name("p1");
  v1::ExportPoolRequest away;
  away.set_name("p1");
  v1::ImportPoolRequest back;
  back.set_name("p1");
  back.add_disks("m0-inject");
  const std::string slow = "inject://m0?op=w&delay=300";
  for (const bool imported : {false, true}) {
    SCOPED_TRACE(imported ? "imported" : "created");
    if (imported) {
      ASSERT_TRUE(ask(strict.pool(), &v1::PoolRpc::Stub::ExportPool, away).status.ok());
      ASSERT_TRUE(ask(strict.pool(), &v1::PoolRpc::Stub::ImportPool, back).status.ok());
    } else {
      ASSERT_TRUE(ask(strict.pool(), &v1::PoolRpc::Stub::CreatePool, make).status.ok());
    }
    ASSERT_TRUE(testing_support::inject(strict, slow, true).ok());
    const auto request = replica_request(imported ? "r2" : "r1", imported ? replica_uuid2 : replica_uuid);
    EXPECT_OK(ask(strict.replica(), &v1::ReplicaRpc::Stub::CreateReplica, request).status);
    ASSERT_TRUE(testing_support::inject(strict, slow, false).ok());
    const auto listed = ask(strict.pool(), &v1::PoolRpc::Stub::ListPools, v1::ListPoolOptions());
    ASSERT_EQ(listed->pools_size(), 1);
    EXPECT_EQ(listed->pools(0).state(), v1::POOL_DEGRADED);
  }
}

// The first disk takes its time, so that the second one is labelled and the first one is not, or is half of it.
TEST_F(PoolRecovery, MakingAPoolCanBeRepeatedAfterACrash) {
  const std::string a = disk("a"), b = disk("b");
  const std::string slow = "inject://" + escaped("aio://" + a) + "?op=w&delay=500";
  for (const auto after : {300ms, 700ms, 1200ms, 1700ms}) {
    SCOPED_TRACE(after.count());
    std::thread making([&] { EXPECT_FALSE(create_pool("p1", {slow, b}).status.ok()); });
    std::this_thread::sleep_for(after);
    engine_.kill();
    making.join();
    ASSERT_TRUE(engine_.start());
    EXPECT_OK(create_pool("p1", {a, b}).status);
    EXPECT_EQ(pool("p1").state(), v1::POOL_ONLINE);
    ASSERT_TRUE(create(replica_request()).status.ok());
    EXPECT_OK(destroy_pool("p1"));
  }
}

// The engine was killed when the disks were erased and the pool was not yet forgotten.
TEST_F(PoolRecovery, DestroyingAPoolCanBeRepeatedAfterACrash) {
  const std::string a = disk("a"), b = disk("b");
  ASSERT_TRUE(create_pool("p1", {a, b}, pool_uuid).status.ok());
  ASSERT_TRUE(create(replica_request()).status.ok());
  engine_.kill();
  erase_label(a);
  ASSERT_TRUE(engine_.start());
  EXPECT_EQ(pool("p1").state(), v1::POOL_FAULTED);
  EXPECT_OK(destroy_pool("p1"));
  EXPECT_TRUE(pools().empty());
  EXPECT_CODE(destroy_pool("p1"), NOT_FOUND, "p1");
  restart(true);
  EXPECT_TRUE(pools().empty());
}

TEST_F(PoolRecovery, APoolThatIsStillOnItsDisksIsNotDestroyedUnseen) {
  const std::string a = disk("a"), b = disk("b");
  ASSERT_TRUE(create_pool("p1", {a, b}, pool_uuid).status.ok());
  engine_.kill();
  std::filesystem::rename(b, b + ".away");
  ASSERT_TRUE(engine_.start());
  EXPECT_CODE(destroy_pool("p1"), FAILED_PRECONDITION, "not open");
  std::filesystem::rename(b + ".away", b);
  EXPECT_TRUE(within(15s, [this] { return pool("p1").state() == v1::POOL_ONLINE; }));
}

// A request that names the pool of what it destroys has nothing to do with other pools.
TEST_F(PoolRecovery, WhatIsGoneFromAnOpenPoolIsSaidToBeGoneWhileAnotherIsClosed) {
  const auto a = disk("a");
  ASSERT_TRUE(create_pool("p1", {disk("b")}).status.ok());
  ASSERT_TRUE(create_pool("p2", {a}).status.ok());
  ASSERT_TRUE(create(replica_request()).status.ok());
  ASSERT_TRUE(snap().status.ok());
  auto elsewhere = replica_request("r2", replica_uuid2);
  elsewhere.set_pooluuid("p2");
  ASSERT_TRUE(create(elsewhere).status.ok());
  engine_.kill();
  std::filesystem::rename(a, a + ".away");
  ASSERT_TRUE(engine_.start());
  ASSERT_EQ(pool("p2").state(), v1::POOL_FAULTED);
  v1::DestroySnapshotRequest snapshot;
  snapshot.set_snapshot_uuid(snapshot_uuid);
  snapshot.set_pool_name("p1");
  v1::DestroyReplicaRequest request;
  request.set_uuid(replica_uuid);
  request.set_pool_name("p1");
  EXPECT_OK(ask(engine_.snapshot(), &v1::SnapshotRpc::Stub::DestroySnapshot, snapshot).status);
  EXPECT_OK(ask(engine_.replica(), &v1::ReplicaRpc::Stub::DestroyReplica, request).status);
  Empty reply;
  grpc::ClientContext first, second;
  EXPECT_CODE(engine_.snapshot().DestroySnapshot(&first, snapshot, &reply), NOT_FOUND, snapshot_uuid);
  EXPECT_EQ(first.GetServerTrailingMetadata().count("gtm-602"), 1u);
  EXPECT_CODE(engine_.replica().DestroyReplica(&second, request, &reply), NOT_FOUND, replica_uuid);
  EXPECT_EQ(second.GetServerTrailingMetadata().count("gtm-602"), 1u);
  // What may be in the closed one is not said to be gone.
  request.set_uuid(replica_uuid2);
  request.set_pool_name("p2");
  EXPECT_CODE(ask(engine_.replica(), &v1::ReplicaRpc::Stub::DestroyReplica, request).status,
              FAILED_PRECONDITION, "not open");
  request.clear_pool();
  EXPECT_CODE(ask(engine_.replica(), &v1::ReplicaRpc::Stub::DestroyReplica, request).status,
              FAILED_PRECONDITION, "'p2' is not open");
}

TEST_F(PoolRecovery, HostsThatCouldNotBeWrittenDownAreNotAllowed) {
  make_pool_on_inject("p1", "m0");
  ASSERT_TRUE(create(replica_request()).status.ok());
  const std::string first = "nqn.2014-08.org.nvmexpress:a", second = "nqn.2014-08.org.nvmexpress:b";
  ASSERT_TRUE(share(replica_uuid, {first}).status.ok());
  ASSERT_TRUE(testing_support::inject(engine_, "inject://m0?op=w&method=status&retries=1", true).ok());
  EXPECT_FALSE(share(replica_uuid, {second}).status.ok());
  // The pool comes back by itself, and may be away for a moment.
  EXPECT_TRUE(within(10s, [this] { return replicas().size() == 1; }));
  EXPECT_THAT(replica(replica_uuid).allowed_hosts(), ElementsAre(first));
}

TEST_F(PoolRecovery, ADiskThatIsRememberedTwiceDoesNotKeepThePoolClosed) {
  const std::string a = disk("a");
  ASSERT_TRUE(create_pool("p1", {a}, pool_uuid).status.ok());
  engine_.kill();
  const std::string known = "\"aio://" + a + "\"";
  edit_remembered(pool_uuid, known, known + ", \"uring://" + a + "\"");
  ASSERT_TRUE(engine_.start());
  EXPECT_EQ(pool("p1").state(), v1::POOL_ONLINE) << reason("p1");
  EXPECT_EQ(pool("p1").disks_size(), 1);
  restart(true);
  EXPECT_EQ(pool("p1").state(), v1::POOL_ONLINE) << reason("p1");
}

TEST_F(PoolRecovery, ADiskOfAPoolThatIsClosedIsNotTakenByAnother) {
  const std::string b = disk("b"), c = disk("c");
  ASSERT_TRUE(create_pool("p1", {disk("a")}).status.ok());
  ASSERT_TRUE(create_pool("p2", {b, c}).status.ok());
  engine_.kill();
  std::filesystem::rename(c, c + ".away");
  ASSERT_TRUE(engine_.start());
  own::AddDiskRequest add;
  add.set_pool("p1");
  add.set_disk(b);
  add.set_force(true);
  EXPECT_CODE(ask(engine_.pool_extras(), &own::PoolRpc::Stub::AddDisk, add).status, INVALID_ARGUMENT,
              "belongs to pool 'p2'");
  std::filesystem::rename(c + ".away", c);
  EXPECT_TRUE(within(15s, [this] { return pool("p2").state() == v1::POOL_ONLINE; })) << reason("p2");
}

// The commit that makes it one is on the disk, and the engine was told that it is not.
TEST_F(PoolRecovery, ADiskOfWhichItIsNotKnownWhetherItWasAddedStaysWithItsPool) {
  make_pool_on_inject("p1", "m0");
  ASSERT_TRUE(
      testing_support::inject(engine_, "inject://m0?op=w&stage=compl&method=status&retries=1", true).ok());
  own::AddDiskRequest add;
  add.set_pool("p1");
  add.set_disk(disk("b"));
  EXPECT_FALSE(ask(engine_.pool_extras(), &own::PoolRpc::Stub::AddDisk, add).status.ok());
  EXPECT_TRUE(within(15s, [this] { return pool("p1").state() == v1::POOL_ONLINE; })) << reason("p1");
  EXPECT_TRUE(create(replica_request()).status.ok());
}

TEST_F(PoolRecovery, AddingADiskCanBeRepeatedAfterACrash) {
  const std::string a = disk("a");
  const std::string slow = create_bdev("aio://" + a).name() + "-inject";
  create_bdev("inject:///" + a);
  ASSERT_TRUE(create_pool("p1", {slow}, pool_uuid).status.ok());
  ASSERT_TRUE(testing_support::inject(engine_, "inject:///" + a + "?op=w&delay=20000", true).ok());
  own::AddDiskRequest add;
  add.set_pool("p1");
  add.set_disk(disk("b"));
  std::thread adding(
      [&] { EXPECT_FALSE(ask(engine_.pool_extras(), &own::PoolRpc::Stub::AddDisk, add).status.ok()); });
  std::this_thread::sleep_for(1500ms);  // it has its label
  engine_.kill();
  adding.join();
  edit_remembered(pool_uuid, slow, a);
  ASSERT_TRUE(engine_.start());
  ASSERT_EQ(pool("p1").state(), v1::POOL_ONLINE) << reason("p1");
  EXPECT_EQ(pool("p1").disks_size(), 1);
  EXPECT_OK(ask(engine_.pool_extras(), &own::PoolRpc::Stub::AddDisk, add).status);
  EXPECT_EQ(pool("p1").disks_size(), 2);
}

TEST_F(PoolRecovery, TwoPoolsThatAreMadeAtOnceDoNotShareAUuid) {
  const std::string a = disk("a"), b = disk("b");
  const std::string slow = "inject://" + escaped("aio://" + a) + "?op=w&delay=400";
  std::thread making([&] { EXPECT_CODE(create_pool("p1", {slow}, pool_uuid).status, ALREADY_EXISTS, "p2"); });
  std::this_thread::sleep_for(300ms);
  EXPECT_OK(create_pool("p2", {b}, pool_uuid).status);
  making.join();
  EXPECT_EQ(pools().size(), 1u);
  EXPECT_OK(create_pool("p3", {a}).status);  // its disk is free again
  restart(true);
  EXPECT_EQ(pools().size(), 2u);
  EXPECT_EQ(pool("p2").state(), v1::POOL_ONLINE) << reason("p2");
}

// A disk that takes its time to fail keeps its own pool closed, and no other.
TEST_F(PoolRecovery, PoolsAreTriedAgainIndependentlyOfEachOther) {
  const std::string a = disk("a"), b = disk("b");
  ASSERT_TRUE(create_pool("slow", {a}, pool_uuid).status.ok());
  ASSERT_TRUE(create_pool("good", {b}).status.ok());
  engine_.kill();
  const std::string plain = "aio://" + a;
  edit_remembered(pool_uuid, plain, "inject://" + escaped(plain) + "?op=r&method=status&delay=8000");
  std::filesystem::rename(b, b + ".away");
  ASSERT_TRUE(engine_.start());
  ASSERT_TRUE(within(40s, [this] { return reason("slow") != "it is being opened"; }));
  std::this_thread::sleep_for(2500ms);  // it is tried again by now
  std::filesystem::rename(b + ".away", b);
  EXPECT_TRUE(within(4s, [this] { return pool("good").state() == v1::POOL_ONLINE; }));
  EXPECT_EQ(pool("slow").state(), v1::POOL_FAULTED);
}

TEST_F(PoolRecovery, AWipeDoesNotHoldUpTheEndOfTheEngine) {
  make_pool_on_inject("p1", "m0", 1024);
  ASSERT_TRUE(create(replica_request("r1", replica_uuid, 800 * MB)).status.ok());
  ASSERT_TRUE(testing_support::inject(engine_, "inject://m0?op=w&delay=50", true).ok());
  std::thread wiping(
      [this] { EXPECT_FALSE(wipe(replica_uuid, v1::WipeOptions::WRITE_PATTERN, 0, 7).status.ok()); });
  std::this_thread::sleep_for(500ms);
  engine_.signal(SIGTERM);
  EXPECT_EQ(engine_.wait_exit(15s), 0);
  if (HasFailure()) engine_.kill();
  wiping.join();
}

TEST_F(PoolRecovery, AReplicaThatTakesItsTimeToGoDoesNotHoldUpTheMetrics) {
  make_pool_on_inject("p1", "m0");
  ASSERT_TRUE(create(replica_request()).status.ok());
  ASSERT_TRUE(testing_support::inject(engine_, "inject://m0?op=w&delay=9000&retries=1", true).ok());
  std::thread going([this] { EXPECT_OK(destroy_replica(replica_uuid)); });
  std::this_thread::sleep_for(300ms);
  httplib::Client client("127.0.0.1", engine_.metrics_port());
  client.set_read_timeout(10);
  const auto began = std::chrono::steady_clock::now();
  const auto got = client.Get("/metrics");
  EXPECT_LT(std::chrono::steady_clock::now() - began, 4s);
  going.join();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->status, 200);
  EXPECT_THAT(got->body, HasSubstr("diskpool_status"));
}

TEST_F(PoolRecovery, OnlyThePoolOfThatUuidIsOpenedAgain) {
  const auto a = disk("a");
  ASSERT_TRUE(create_pool("p1", {a}, pool_uuid).status.ok());
  engine_.kill();
  std::filesystem::rename(a, a + ".away");
  ASSERT_TRUE(engine_.start());
  EXPECT_CODE(import_pool("p1", {a}, other_uuid).status, INVALID_ARGUMENT, pool_uuid);
}

TEST_F(PoolRecovery, APoolOnAMirrorOutlivesEitherDisk) {
  create_bdev("malloc:///m0?size_mb=160");
  create_bdev("malloc:///m1?size_mb=160");
  create_bdev("inject:///m1");
  auto mirror = nexus_request({"bdev:///m0", "bdev:///m1-inject"});
  mirror.set_size(128 * MB);
  v1::CreateNexusResponse made;
  ASSERT_TRUE(call(engine_.nexus(), &v1::NexusRpc::Stub::CreateNexus, mirror, &made).ok());
  ASSERT_TRUE(create_pool("p1", {"bdev:///volume-1"}).status.ok());
  ASSERT_TRUE(create(replica_request()).status.ok());
  const std::string fault = "inject://m1?op=w&method=status";
  ASSERT_TRUE(testing_support::inject(engine_, fault, true).ok());
  fill(replica_uuid, 2);
  wait_for_state(v1::NEXUS_DEGRADED);
  EXPECT_EQ(pool("p1").state(), v1::POOL_ONLINE);
  const auto sum = checksum(replica_uuid);
  ASSERT_TRUE(testing_support::inject(engine_, fault, false).ok());
  v1::ChildOperationRequest online;
  online.set_nexus_uuid(uuid);
  online.set_uri("bdev:///m1-inject");
  online.set_action(v1::ChildAction::Online);
  v1::ChildOperationResponse done;
  EXPECT_OK(call(engine_.nexus(), &v1::NexusRpc::Stub::ChildOperation, online, &done));
  wait_for_state(v1::NEXUS_ONLINE);
  v1::RemoveChildNexusRequest remove;
  remove.set_uuid(uuid);
  remove.set_uri("bdev:///m0");
  v1::RemoveChildNexusResponse removed;
  EXPECT_OK(call(engine_.nexus(), &v1::NexusRpc::Stub::RemoveChildNexus, remove, &removed));
  EXPECT_EQ(checksum(replica_uuid), sum);
  EXPECT_OK(create(replica_request("r2", replica_uuid2)).status);
}

}  // namespace
}  // namespace holdfast::api_test
