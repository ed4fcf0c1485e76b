// PoolRpc of mayastor.v1 and of holdfast.v1: each call with good input, each kind of bad input, and repeated;
// and what an engine does about its pools when it starts again.
#include "api/pool_api_test.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <thread>

#include <httplib.h>

#include "support/fault_injection.h"

namespace holdfast::api_test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::UnorderedElementsAre;

class PoolApi : public PoolApiTest {};

TEST_F(PoolApi, CreateShowsThePool) {
  const auto made = create_pool("p1", {disk("a"), disk("b")}, pool_uuid);
  ASSERT_TRUE(made.status.ok()) << made.status.error_message();
  EXPECT_EQ(made->name(), "p1");
  EXPECT_EQ(made->uuid(), pool_uuid);
  EXPECT_THAT(made->disks(),
              UnorderedElementsAre(HasSubstr(scratch_.path("a")), HasSubstr(scratch_.path("b"))));
  EXPECT_EQ(made->state(), v1::POOL_ONLINE);
  EXPECT_EQ(made->pooltype(), v1::Lvs);
  EXPECT_EQ(made->cluster_size(), MB);
  EXPECT_GT(made->capacity(), 200 * MB);
  EXPECT_LE(made->capacity(), made->disk_capacity());
  EXPECT_EQ(made->disk_capacity(), 256 * MB);
  EXPECT_LT(made->used(), 32 * MB);
  EXPECT_EQ(made->committed(), 0u);
  EXPECT_EQ(pools().size(), 1u);
}

TEST_F(PoolApi, CreateAgainSaysThatItExistsAndOnOtherDisksThatItDoesNotFit) {
  const auto a = disk("a");
  ASSERT_TRUE(create_pool("p1", {a}, pool_uuid).status.ok());
  EXPECT_CODE(create_pool("p1", {a}).status, ALREADY_EXISTS, "pool 'p1' exists already");
  EXPECT_CODE(create_pool("p1", {disk("b")}).status, INVALID_ARGUMENT, "on other disks");
  EXPECT_CODE(create_pool("p2", {disk("b")}, pool_uuid).status, ALREADY_EXISTS, pool_uuid);
  EXPECT_CODE(create_pool("p2", {a}).status, INVALID_ARGUMENT, "belongs to pool 'p1'");
  EXPECT_EQ(pools().size(), 1u);
}

TEST_F(PoolApi, CreateRefusesWhatIsWrong) {
  const auto a = disk("a");
  const std::string no_uuid = "1-2-3";
  EXPECT_CODE(create_pool("", {a}).status, INVALID_ARGUMENT, "pool name is empty");
  EXPECT_CODE(create_pool("a/b", {a}).status, INVALID_ARGUMENT, "pool name");
  EXPECT_CODE(create_pool(std::string(300, 'x'), {a}).status, INVALID_ARGUMENT, "pool name");
  EXPECT_CODE(create_pool("p1", {}).status, INVALID_ARGUMENT, "disks: none given");
  EXPECT_CODE(create_pool("p1", {a, a}).status, INVALID_ARGUMENT, "given twice");
  EXPECT_CODE(create_pool("p1", std::vector<std::string>(65, a)).status, INVALID_ARGUMENT, "at most 64");
  EXPECT_CODE(create_pool("p1", {a}, no_uuid).status, INVALID_ARGUMENT, "is not a UUID");
  EXPECT_CODE(create_pool("p1", {scratch_.path("missing")}).status, NOT_FOUND, "missing");
  EXPECT_CODE(create_pool("p1", {"ftl:///x"}).status, INVALID_ARGUMENT, "ftl");
  EXPECT_CODE(create_pool("p1", {disk("tiny", MB)}).status, INVALID_ARGUMENT, "tiny");
  v1::CreatePoolRequest request;
  request.set_name("p1");
  request.add_disks(a);
  for (const std::uint32_t size : {1u, 3u << 20, 1u << 30, 4096u}) {
    request.set_cluster_size(size);
    EXPECT_CODE(ask(engine_.pool(), &v1::PoolRpc::Stub::CreatePool, request).status, INVALID_ARGUMENT,
                "cluster");
  }
  request.set_cluster_size(4 << 20);
  request.set_pooltype(v1::Lvm);
  EXPECT_CODE(ask(engine_.pool(), &v1::PoolRpc::Stub::CreatePool, request).status, FAILED_PRECONDITION,
              "LVM");
  request.set_pooltype(static_cast<v1::PoolType>(9));
  EXPECT_CODE(ask(engine_.pool(), &v1::PoolRpc::Stub::CreatePool, request).status, INVALID_ARGUMENT, "9");
  EXPECT_TRUE(pools().empty());
  request.set_pooltype(v1::Lvs);
  const auto made = ask(engine_.pool(), &v1::PoolRpc::Stub::CreatePool, request);
  EXPECT_OK(made.status);
  EXPECT_EQ(made->cluster_size(), 4u << 20);
}

TEST_F(PoolApi, ADiskWithAFileSystemIsRefusedUnlessForced) {
  const auto a = disk("a");
  ASSERT_EQ(std::system(("mkfs.ext4 -q " + a).c_str()), 0);
  EXPECT_CODE(create_pool("p1", {a}).status, FAILED_PRECONDITION, "'ext4' data");
  own::CreatePoolRequest request;
  request.set_name("p1");
  request.add_disks(a);
  EXPECT_CODE(ask(engine_.pool_extras(), &own::PoolRpc::Stub::CreatePool, request).status,
              FAILED_PRECONDITION, "'holdfast engine pool create --force'");
  request.set_force(true);
  EXPECT_OK(ask(engine_.pool_extras(), &own::PoolRpc::Stub::CreatePool, request).status);
  EXPECT_EQ(pool("p1").state(), v1::POOL_ONLINE);
  own::AddDiskRequest more;
  more.set_pool("p1");
  more.set_disk(disk("b"));
  ASSERT_EQ(std::system(("mkfs.ext4 -q " + more.disk()).c_str()), 0);
  EXPECT_CODE(ask(engine_.pool_extras(), &own::PoolRpc::Stub::AddDisk, more).status, FAILED_PRECONDITION,
              "'holdfast engine pool add-disk --force'");
  more.set_force(true);
  EXPECT_OK(ask(engine_.pool_extras(), &own::PoolRpc::Stub::AddDisk, more).status);
}

TEST_F(PoolApi, ADiskOfAnotherPoolIsRefusedUnlessForced) {
  const auto a = disk("a");
  ASSERT_TRUE(create_pool("p1", {a}).status.ok());
  ASSERT_TRUE(export_pool("p1").ok());
  EXPECT_CODE(create_pool("p2", {a}).status, INVALID_ARGUMENT, "holds the pool 'p1'");
  own::CreatePoolRequest request;
  request.set_name("p2");
  request.add_disks(a);
  request.set_force(true);
  EXPECT_OK(ask(engine_.pool_extras(), &own::PoolRpc::Stub::CreatePool, request).status);
  ASSERT_TRUE(export_pool("p2").ok());
  EXPECT_CODE(import_pool("p1", {a}).status, INVALID_ARGUMENT, "p2");
}

// lvs_pool: create, export, import, destroy; share state and allowed hosts come back.
TEST_F(PoolApi, ExportAndImportBringEverythingBack) {
  const auto a = disk("a");
  const auto b = disk("b");
  ASSERT_TRUE(create_pool("p1", {a, b}, pool_uuid).status.ok());
  ASSERT_TRUE(create(replica_request()).status.ok());
  fill(replica_uuid, 0x11223344);
  const auto sum = checksum(replica_uuid);
  const auto shared = share(replica_uuid, {"nqn.2014-08.org.nvmexpress:host"});
  ASSERT_TRUE(shared.status.ok()) << shared.status.error_message();
  ASSERT_TRUE(create(replica_request("r2", replica_uuid2)).status.ok());
  EXPECT_OK(export_pool("p1"));
  EXPECT_TRUE(pools().empty());
  EXPECT_TRUE(replicas().empty());
  EXPECT_CODE(export_pool("p1"), NOT_FOUND, "p1");

  EXPECT_CODE(import_pool("p2", {a, b}).status, INVALID_ARGUMENT, "p1");
  EXPECT_CODE(import_pool("p1", {a, b}, other_uuid).status, INVALID_ARGUMENT, pool_uuid);
  EXPECT_FALSE(import_pool("p1", {a}).status.ok()) << "a disk is missing";
  EXPECT_CODE(import_pool("p1", {disk("c")}).status, INVALID_ARGUMENT, "");
  EXPECT_CODE(import_pool("p1", {scratch_.path("missing")}).status, NOT_FOUND, "missing");
  const auto again = import_pool("p1", {b, a}, pool_uuid);
  ASSERT_TRUE(again.status.ok()) << again.status.error_message();
  EXPECT_EQ(again->uuid(), pool_uuid);
  EXPECT_CODE(import_pool("p1", {a, b}).status, ALREADY_EXISTS, "p1");
  const auto r = replica(replica_uuid);
  EXPECT_EQ(r.uri(), shared->uri());
  EXPECT_EQ(r.share(), v1::NVMF);
  EXPECT_THAT(r.allowed_hosts(), ElementsAre("nqn.2014-08.org.nvmexpress:host"));
  EXPECT_EQ(replica(replica_uuid2).share(), v1::NONE);
  EXPECT_EQ(checksum(replica_uuid), sum);
}

TEST_F(PoolApi, CreateImportsWhatTheDiskHolds) {
  const auto a = disk("a");
  ASSERT_TRUE(create_pool("p1", {a}, pool_uuid).status.ok());
  ASSERT_TRUE(create(replica_request()).status.ok());
  ASSERT_TRUE(export_pool("p1").ok());
  EXPECT_CODE(create_pool("p1", {a}, other_uuid).status, INVALID_ARGUMENT, "holds the pool 'p1'");
  const auto again = create_pool("p1", {a});
  ASSERT_TRUE(again.status.ok()) << again.status.error_message();
  EXPECT_EQ(again->uuid(), pool_uuid);
  EXPECT_EQ(replica(replica_uuid).name(), "r1");
}

TEST_F(PoolApi, DestroyIsForGood) {
  const auto a = disk("a");
  ASSERT_TRUE(create_pool("p1", {a}).status.ok());
  ASSERT_TRUE(create(replica_request()).status.ok());
  ASSERT_TRUE(share(replica_uuid).status.ok());
  EXPECT_OK(destroy_pool("p1"));
  EXPECT_CODE(destroy_pool("p1"), NOT_FOUND, "there is no pool 'p1'");
  EXPECT_TRUE(replicas().empty());
  EXPECT_FALSE(import_pool("p1", {a}).status.ok());
  EXPECT_OK(create_pool("p2", {a}).status);
  v1::DestroyPoolRequest request;
  request.set_name("p2");
  request.mutable_uuid()->set_value(other_uuid);
  EXPECT_CODE(ask(engine_.pool(), &v1::PoolRpc::Stub::DestroyPool, request).status, NOT_FOUND, "p2");
  EXPECT_EQ(pools().size(), 1u);
}

TEST_F(PoolApi, APoolIsNotTakenAwayUnderANexus) {
  ASSERT_TRUE(create_pool("p1", {disk("a")}).status.ok());
  const auto r = create(replica_request());
  ASSERT_TRUE(r.status.ok());
  ASSERT_EQ(create_nexus({r->uri()}).state(), v1::NEXUS_ONLINE);
  EXPECT_CODE(export_pool("p1"), FAILED_PRECONDITION, "replica 'r1' is in use");
  EXPECT_CODE(destroy_pool("p1"), FAILED_PRECONDITION, "replica 'r1' is in use");
  EXPECT_CODE(destroy_replica(replica_uuid), FAILED_PRECONDITION, "replica 'r1' is in use");
  EXPECT_EQ(find_nexus().state(), v1::NEXUS_ONLINE);
}

TEST_F(PoolApi, ListFilters) {
  ASSERT_TRUE(create_pool("p1", {disk("a")}, pool_uuid).status.ok());
  ASSERT_TRUE(create_pool("p2", {disk("b")}).status.ok());
  v1::ListPoolOptions request;
  const auto listed = [&] { return ask(engine_.pool(), &v1::PoolRpc::Stub::ListPools, request); };
  EXPECT_EQ(listed()->pools_size(), 2);
  request.mutable_name()->set_value("p2");
  ASSERT_EQ(listed()->pools_size(), 1);
  EXPECT_EQ(listed()->pools(0).name(), "p2");
  request.mutable_name()->set_value("p3");
  EXPECT_EQ(listed()->pools_size(), 0);
  request.clear_name();
  request.mutable_uuid()->set_value(pool_uuid);
  ASSERT_EQ(listed()->pools_size(), 1);
  EXPECT_EQ(listed()->pools(0).name(), "p1");
  request.mutable_uuid()->set_value("x");
  EXPECT_CODE(listed().status, INVALID_ARGUMENT, "is not a UUID");
  request.clear_uuid();
  request.mutable_pooltype()->set_value(v1::Lvm);
  EXPECT_EQ(listed()->pools_size(), 0);
}

// lvs_grow
TEST_F(PoolApi, GrowTakesInWhatADiskHasGrownBy) {
  const auto a = disk("a");
  ASSERT_TRUE(create_pool("p1", {a}).status.ok());
  const auto before = pool("p1");
  v1::GrowPoolRequest request;
  request.set_name("p1");
  const auto same = ask(engine_.pool(), &v1::PoolRpc::Stub::GrowPool, request);
  EXPECT_OK(same.status);
  EXPECT_EQ(same->current_pool().capacity(), before.capacity());
  disk("a", 512 * MB);
  v1::CreateBdevRequest rescan;
  rescan.set_uri("aio://" + a + "?rescan");
  v1::CreateBdevResponse rescanned;
  EXPECT_OK(call(engine_.bdev(), &v1::BdevRpc::Stub::Create, rescan, &rescanned));
  EXPECT_EQ(pool("p1").capacity(), before.capacity());
  EXPECT_EQ(pool("p1").disk_capacity(), 512 * MB);
  const auto grown = ask(engine_.pool(), &v1::PoolRpc::Stub::GrowPool, request);
  EXPECT_OK(grown.status);
  EXPECT_EQ(grown->previous_pool().capacity(), before.capacity());
  EXPECT_GT(grown->current_pool().capacity(), 490 * MB);
  request.set_name("p9");
  EXPECT_CODE(ask(engine_.pool(), &v1::PoolRpc::Stub::GrowPool, request).status, NOT_FOUND, "p9");
}

TEST_F(PoolApi, AddDiskGrowsThePoolAndIsRemembered) {
  ASSERT_TRUE(create_pool("p1", {disk("a")}).status.ok());
  const auto before = pool("p1").capacity();
  own::AddDiskRequest request;
  request.set_pool("p1");
  request.set_disk(disk("b"));
  const auto added = ask(engine_.pool_extras(), &own::PoolRpc::Stub::AddDisk, request);
  ASSERT_TRUE(added.status.ok()) << added.status.error_message();
  EXPECT_EQ(added->disks_size(), 2);
  EXPECT_GT(added->pool().capacity(), before + 100 * MB);
  EXPECT_CODE(ask(engine_.pool_extras(), &own::PoolRpc::Stub::AddDisk, request).status, ALREADY_EXISTS, "p1");
  request.set_disk(scratch_.path("missing"));
  EXPECT_CODE(ask(engine_.pool_extras(), &own::PoolRpc::Stub::AddDisk, request).status, NOT_FOUND, "missing");
  request.set_pool("p9");
  EXPECT_CODE(ask(engine_.pool_extras(), &own::PoolRpc::Stub::AddDisk, request).status, NOT_FOUND, "p9");
  restart(true);
  EXPECT_EQ(pool("p1").disks_size(), 2);
  EXPECT_EQ(pool("p1").state(), v1::POOL_ONLINE);
}

TEST_F(PoolApi, ThresholdsAreCheckedAndKept) {
  ASSERT_TRUE(create_pool("p1", {disk("a")}).status.ok());
  own::SetPoolThresholdsRequest request;
  request.set_pool("p1");
  for (const auto& [warning, critical] : std::map<unsigned, unsigned>{{0, 50}, {60, 50}, {50, 101}}) {
    request.mutable_thresholds()->set_warning(warning);
    request.mutable_thresholds()->set_critical(critical);
    EXPECT_CODE(ask(engine_.pool_extras(), &own::PoolRpc::Stub::SetPoolThresholds, request).status,
                INVALID_ARGUMENT, "thresholds");
  }
  request.mutable_thresholds()->set_warning(50);
  request.mutable_thresholds()->set_critical(70);
  EXPECT_OK(ask(engine_.pool_extras(), &own::PoolRpc::Stub::SetPoolThresholds, request).status);
  restart(false);
  own::ListPoolDetailsRequest one;
  one.set_pool("p1");
  const auto details = ask(engine_.pool_extras(), &own::PoolRpc::Stub::ListPoolDetails, one);
  ASSERT_EQ(details->pools_size(), 1);
  EXPECT_EQ(details->pools(0).thresholds().warning(), 50u);
  EXPECT_EQ(details->pools(0).thresholds().critical(), 70u);
  EXPECT_EQ(details->pools(0).disks_size(), 1);
  one.set_pool("p9");
  EXPECT_CODE(ask(engine_.pool_extras(), &own::PoolRpc::Stub::ListPoolDetails, one).status, NOT_FOUND, "p9");
}

TEST_F(PoolApi, ARestartedEngineOpensItsPools) {
  for (const bool kill : {false, true}) {
    SCOPED_TRACE(kill ? "killed" : "stopped");
    const std::string name = kill ? "pk" : "ps";
    ASSERT_TRUE(create_pool(name, {disk(name)}).status.ok());
    auto request = replica_request("r-" + name, kill ? replica_uuid : replica_uuid2);
    request.set_pooluuid(name);
    request.set_share(v1::NVMF);
    ASSERT_TRUE(create(request).status.ok());
    const auto uri = replica(request.uuid()).uri();
    restart(kill);
    EXPECT_EQ(pool(name).state(), v1::POOL_ONLINE);
    EXPECT_EQ(replica(request.uuid()).uri(), uri);
  }
}

TEST_F(PoolApi, APoolWhoseDiskIsGoneIsFaultedUntilItReturns) {
  const auto a = disk("a");
  ASSERT_TRUE(create_pool("p1", {a}).status.ok());
  ASSERT_TRUE(create_pool("p2", {disk("b")}).status.ok());
  ASSERT_TRUE(create(replica_request()).status.ok());
  engine_.kill();
  std::filesystem::rename(a, a + ".away");
  ASSERT_TRUE(engine_.start());
  EXPECT_EQ(pool("p2").state(), v1::POOL_ONLINE);
  EXPECT_EQ(pool("p1").state(), v1::POOL_FAULTED);
  const auto details =
      ask(engine_.pool_extras(), &own::PoolRpc::Stub::ListPoolDetails, own::ListPoolDetailsRequest());
  EXPECT_THAT(details->pools(0).state_reason(), HasSubstr(a));
  // What may be there is not said to be gone.
  EXPECT_CODE(destroy_replica(replica_uuid), FAILED_PRECONDITION, "pool 'p1' is not open");
  EXPECT_CODE(create(replica_request("r2", replica_uuid2)).status, FAILED_PRECONDITION, "not open");
  EXPECT_CODE(destroy_pool("p1"), FAILED_PRECONDITION, "not open");
  std::filesystem::rename(a + ".away", a);
  for (int i = 0; i < 100 && pool("p1").state() != v1::POOL_ONLINE; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(pool("p1").state(), v1::POOL_ONLINE);
  EXPECT_EQ(replica(replica_uuid).name(), "r1");
}

TEST_F(PoolApi, InjectedFaultsComeAndGo) {
  create_bdev("malloc:///m0?size_mb=64");
  const std::string write = "inject://m0?op=w&method=status";
  EXPECT_CODE(inject(engine_, write, true), FAILED_PRECONDITION, "no inject device stands before 'm0'");
  create_bdev("inject:///m0");
  EXPECT_CODE(inject(engine_, "inject://m9?op=w", true), NOT_FOUND, "m9");
  EXPECT_CODE(inject(engine_, "inject://m0?op=q", true), INVALID_ARGUMENT, "op");
  EXPECT_CODE(inject(engine_, "malloc:///m0", true), INVALID_ARGUMENT, "inject://");
  EXPECT_CODE(inject(engine_, write, false), NOT_FOUND, "not being injected");
  EXPECT_OK(inject(engine_, write, true));
  EXPECT_CODE(inject(engine_, write, true), ALREADY_EXISTS, "already");
  EXPECT_OK(inject(engine_, "inject://m0-inject?op=r&begin_at=60000", true));
  const auto list = [this] {
    return ask(engine_.test(), &v1::TestRpc::Stub::ListFaultInjections, v1::ListFaultInjectionsRequest());
  };
  ASSERT_EQ(list()->injections_size(), 2);
  EXPECT_EQ(list()->injections(0).uri(), write);
  EXPECT_EQ(list()->injections(0).device_name(), "m0-inject");
  EXPECT_TRUE(list()->injections(0).is_active());
  EXPECT_FALSE(list()->injections(1).is_active()) << "its time has not come";
  EXPECT_FALSE(create_pool("p1", {"m0-inject"}).status.ok());
  EXPECT_OK(inject(engine_, write, false));
  EXPECT_EQ(list()->injections_size(), 1);
  EXPECT_OK(create_pool("p1", {"m0-inject"}).status);
}

TEST_F(PoolApi, ADiskThatStallsDegradesItsPoolUntilItsHealthIsReset) {
  create_bdev("malloc:///m0?size_mb=128");
  create_bdev("inject:///m0");
  ASSERT_TRUE(create_pool("p1", {"m0-inject"}).status.ok());
  const std::string slow = "inject://m0?op=w&delay=6000";
  ASSERT_TRUE(inject(engine_, slow, true).ok());
  ASSERT_TRUE(create(replica_request()).status.ok());
  ASSERT_TRUE(inject(engine_, slow, false).ok());
  EXPECT_EQ(pool("p1").state(), v1::POOL_DEGRADED);
  own::ListPoolDetailsRequest one;
  one.set_pool("p1");
  const auto details = ask(engine_.pool_extras(), &own::PoolRpc::Stub::ListPoolDetails, one);
  ASSERT_EQ(details->pools_size(), 1);
  EXPECT_THAT(details->pools(0).state_reason(), AllOf(HasSubstr("m0-inject"), HasSubstr("stalled")));
  EXPECT_EQ(details->pools(0).disks(0).state_reason(), details->pools(0).state_reason());
  EXPECT_GT(details->pools(0).disks(0).stalls(), 0u);

  own::ResetDiskHealthRequest request;
  const auto reset = [&] {
    return ask(engine_.pool_extras(), &own::PoolRpc::Stub::ResetDiskHealth, request);
  };
  request.set_pool("p9");
  EXPECT_CODE(reset().status, NOT_FOUND, "p9");
  request.set_pool("p1");
  request.set_disk("m9");
  EXPECT_CODE(reset().status, NOT_FOUND, "m9");
  EXPECT_EQ(pool("p1").state(), v1::POOL_DEGRADED);
  request.set_disk("m0-inject");
  const auto after = reset();
  EXPECT_OK(after.status);
  EXPECT_EQ(after->state_reason(), "");
  EXPECT_EQ(after->disks(0).stalls(), 0u);
  EXPECT_EQ(pool("p1").state(), v1::POOL_ONLINE);
  request.clear_disk();
  EXPECT_OK(reset().status);
}

TEST_F(PoolApi, APoolWhoseJournalFailedComesBackByItself) {
  create_bdev("malloc:///m0?size_mb=128");
  create_bdev("inject:///m0");
  ASSERT_TRUE(create_pool("p1", {"m0-inject"}).status.ok());
  auto request = replica_request();
  request.set_share(v1::NVMF);
  ASSERT_TRUE(create(request).status.ok());
  const auto uri = replica(replica_uuid).uri();
  const std::string fault = "inject://m0?op=w&method=status";
  EXPECT_OK(inject(engine_, fault, true));
  EXPECT_FALSE(create(replica_request("r2", replica_uuid2)).status.ok());
  EXPECT_EQ(pool("p1").state(), v1::POOL_FAULTED);
  EXPECT_OK(inject(engine_, fault, false));
  for (int i = 0; i < 200 && pool("p1").state() == v1::POOL_FAULTED; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(pool("p1").state(), v1::POOL_ONLINE);
  EXPECT_EQ(replica(replica_uuid).uri(), uri) << "it is exported again";
  EXPECT_OK(create(replica_request("r2", replica_uuid2)).status);
}

TEST_F(PoolApi, ImportOpensAFaultedPoolAtOnce) {
  create_bdev("malloc:///m0?size_mb=128");
  create_bdev("inject:///m0");
  ASSERT_TRUE(create_pool("p1", {"m0-inject"}).status.ok());
  const std::string fault = "inject://m0?op=w&method=status";
  EXPECT_OK(inject(engine_, fault, true));
  EXPECT_FALSE(create(replica_request()).status.ok());
  EXPECT_OK(inject(engine_, fault, false));
  const auto imported = import_pool("p1", {"m0-inject"});
  // It may have come back by itself by now.
  if (!imported.status.ok()) EXPECT_CODE(imported.status, ALREADY_EXISTS, "p1");
  EXPECT_EQ(pool("p1").state(), v1::POOL_ONLINE);
  EXPECT_OK(create(replica_request()).status);
}

// The engine ended between writing down that a disk is to be added and adding it.
TEST_F(PoolApi, ADiskThatWasAboutToBeAddedDoesNotKeepThePoolClosed) {
  const std::string a = disk("a"), b = disk("b");
  ASSERT_TRUE(create_pool("p1", {a}, pool_uuid).status.ok());
  ASSERT_TRUE(create(replica_request()).status.ok());
  engine_.kill();
  const std::string file = engine_.data_dir() + "/pools/" + pool_uuid + ".json";
  std::ifstream in(file);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const std::string first = "\"aio://" + a + "\"";
  const auto at = text.find(first);
  ASSERT_NE(at, std::string::npos) << text;
  text.insert(at + first.size(), ", \"aio://" + b + "\"");
  std::ofstream(file) << text;
  ASSERT_TRUE(engine_.start());
  EXPECT_EQ(pool("p1").state(), v1::POOL_ONLINE);
  EXPECT_EQ(replica(replica_uuid).name(), "r1");
  own::AddDiskRequest add;
  add.set_pool("p1");
  add.set_disk(b);
  EXPECT_OK(ask(engine_.pool_extras(), &own::PoolRpc::Stub::AddDisk, add).status);
  restart(true);
  EXPECT_EQ(pool("p1").disks_size(), 2);
  EXPECT_EQ(pool("p1").state(), v1::POOL_ONLINE);
}

TEST_F(PoolApi, BdevCallsLeaveReplicasAlone) {
  ASSERT_TRUE(create_pool("p1", {disk("a")}).status.ok());
  ASSERT_TRUE(create(replica_request()).status.ok());
  v1::DestroyBdevRequest destroy;
  destroy.set_uri("r1");
  EXPECT_CODE(ask(engine_.bdev(), &v1::BdevRpc::Stub::Destroy, destroy).status, FAILED_PRECONDITION,
              "ReplicaRpc.DestroyReplica");
  destroy.set_uri(scratch_.path("a"));
  EXPECT_CODE(ask(engine_.bdev(), &v1::BdevRpc::Stub::Destroy, destroy).status, FAILED_PRECONDITION, "p1");
  v1::BdevShareRequest shared;
  shared.set_name("r1");
  shared.set_protocol(v1::NVMF);
  EXPECT_CODE(ask(engine_.bdev(), &v1::BdevRpc::Stub::Share, shared).status, FAILED_PRECONDITION,
              "ReplicaRpc.ShareReplica");
}

// Who lists pools and replicas meets none that is half gone.
TEST_F(PoolApi, PoolsGoWhileTheyAreListed) {
  std::atomic<bool> over = false;
  std::thread reader([&] {
    while (!over) {
      EXPECT_OK(ask(engine_.replica(), &v1::ReplicaRpc::Stub::ListReplicas, v1::ListReplicaOptions()).status);
      EXPECT_OK(ask(engine_.pool(), &v1::PoolRpc::Stub::ListPools, v1::ListPoolOptions()).status);
      EXPECT_OK(
          ask(engine_.snapshot(), &v1::SnapshotRpc::Stub::ListSnapshot, v1::ListSnapshotsRequest()).status);
    }
  });
  for (int i = 0; i < 40; ++i) {
    EXPECT_OK(create_pool("p1", {disk("a")}).status);
    EXPECT_OK(create(replica_request()).status);
    EXPECT_OK(i % 2 == 0 ? destroy_pool("p1") : export_pool("p1"));
    if (i % 2 != 0) {
      EXPECT_OK(import_pool("p1", {disk("a")}).status);
      EXPECT_OK(destroy_pool("p1"));
    }
  }
  over = true;
  reader.join();
  EXPECT_TRUE(pools().empty());
}

// Slow work on one pool delays no other: a disk that answers late belongs to one of them only.
TEST_F(PoolApi, PoolsDoNotWaitForEachOther) {
  create_bdev("malloc:///slow?size_mb=128");
  const auto p = create_pool("fast", {disk("a")});
  ASSERT_TRUE(p.status.ok());
  std::thread slow([&] { EXPECT_OK(create_pool("slow", {"inject://slow?op=w&delay=1000"}).status); });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const auto began = std::chrono::steady_clock::now();
  auto request = replica_request();
  request.set_pooluuid("fast");
  EXPECT_OK(create(request).status);
  EXPECT_OK(destroy_replica(replica_uuid));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(900));
  slow.join();
}

TEST_F(PoolApi, MetricsAreThoseOfThePoolAndItsDisks) {
  create_bdev("malloc:///m0?size_mb=256");
  create_bdev("inject:///m0");
  ASSERT_TRUE(create_pool("p1", {"m0-inject"}).status.ok());
  ASSERT_TRUE(create(replica_request("thin", replica_uuid, 32 * MB)).status.ok());
  ASSERT_TRUE(create(replica_request("thick", replica_uuid2, 64 * MB, false)).status.ok());
  fill(replica_uuid, 1);
  ASSERT_TRUE(testing_support::inject(engine_, "inject://m0?op=r&method=status&retries=1", true).ok());
  EXPECT_FALSE(wipe(replica_uuid, v1::WipeOptions::CHECKSUM).status.ok());
  httplib::Client client("127.0.0.1", engine_.metrics_port());
  const auto got = client.Get("/metrics");
  ASSERT_TRUE(got);
  const auto value = [&](const std::string& series) {
    const auto at = got->body.find("\n" + series + " ");
    EXPECT_NE(at, std::string::npos) << series;
    return at == std::string::npos ? -1.0 : std::strtod(got->body.c_str() + at + series.size() + 2, nullptr);
  };
  const auto p = pool("p1");
  const std::string of = R"({node="engine",name="p1"})", own = R"({pool="p1"})",
                    of_disk = R"({pool="p1",disk="m0-inject"})";
  EXPECT_EQ(value("diskpool_total_size_bytes" + of), static_cast<double>(p.capacity()));
  EXPECT_EQ(value("diskpool_committed_size_bytes" + of), 96.0 * MB);
  EXPECT_NEAR(value("diskpool_used_size_bytes" + of), static_cast<double>(p.used()), 4.0 * MB);
  EXPECT_EQ(value("holdfast_pool_reserved_bytes" + own), 64.0 * MB);
  EXPECT_EQ(value("holdfast_pool_partial_clusters" + own), 0);
  EXPECT_GT(value("holdfast_pool_journal_commits_total" + own), 0);
  EXPECT_GT(value("holdfast_pool_journal_commit_seconds_total" + own), 0);
  EXPECT_GE(value("holdfast_pool_checkpoint_seconds" + own), 0);
  EXPECT_EQ(value("holdfast_pool_disk_read_errors_total" + of_disk), 1);
  EXPECT_EQ(value("holdfast_pool_disk_write_errors_total" + of_disk), 0);
  EXPECT_EQ(value("holdfast_pool_disk_stalls_total" + of_disk), 0);
}

TEST_F(PoolApi, APoolIsNoDiskOfItself) {
  ASSERT_TRUE(create_pool("p1", {disk("a")}).status.ok());
  ASSERT_TRUE(create(replica_request("r1", replica_uuid, 64 * MB)).status.ok());
  own::AddDiskRequest request;
  request.set_pool("p1");
  request.set_disk("bdev:///r1");
  const auto add = [&] { return ask(engine_.pool_extras(), &own::PoolRpc::Stub::AddDisk, request).status; };
  EXPECT_CODE(add(), INVALID_ARGUMENT, "lies on pool 'p1'");
  const std::string nexus = "nexus:///n1?size=32MiB&children=bdev:///r1";
  for (const auto& would_be_made : {std::string("inject:///r1"), nexus}) {
    request.set_disk(would_be_made);
    EXPECT_CODE(add(), INVALID_ARGUMENT, "lies on pool 'p1'");
  }
  create_bdev(nexus);  // one that ListNexus does not show
  request.set_disk("bdev:///n1");
  EXPECT_CODE(add(), INVALID_ARGUMENT, "lies on pool 'p1'");
  v1::DestroyBdevRequest by_uri;
  by_uri.set_uri(nexus);
  EXPECT_OK(ask(engine_.bdev(), &v1::BdevRpc::Stub::Destroy, by_uri).status);
  // By way of a nexus of which it is a child that may come back.
  create_bdev("malloc:///m0?size_mb=64");
  auto mirror = nexus_request({"bdev:///m0", "bdev:///r1"});
  mirror.set_size(32 * MB);
  v1::CreateNexusResponse made;
  ASSERT_TRUE(call(engine_.nexus(), &v1::NexusRpc::Stub::CreateNexus, mirror, &made).ok());
  v1::ChildOperationRequest away;
  away.set_nexus_uuid(uuid);
  away.set_uri("bdev:///r1");
  away.set_action(v1::ChildAction::Offline);
  v1::ChildOperationResponse gone;
  EXPECT_OK(call(engine_.nexus(), &v1::NexusRpc::Stub::ChildOperation, away, &gone));
  request.set_disk("bdev:///volume-1");
  EXPECT_CODE(add(), INVALID_ARGUMENT, "lies on pool 'p1'");
  v1::DestroyNexusRequest destroy;
  destroy.set_uuid(uuid);
  Empty nothing;
  EXPECT_OK(call(engine_.nexus(), &v1::NexusRpc::Stub::DestroyNexus, destroy, &nothing));
  ASSERT_TRUE(create_pool("p2", {"bdev:///r1"}).status.ok());
  auto second = replica_request("r2", replica_uuid2, 16 * MB);
  second.set_pooluuid("p2");
  ASSERT_TRUE(create(second).status.ok());
  request.set_disk("bdev:///r2");  // by way of another pool
  EXPECT_CODE(add(), INVALID_ARGUMENT, "lies on pool 'p1'");
  restart(true);
  EXPECT_EQ(pool("p1").state(), v1::POOL_ONLINE);
}

}  // namespace
}  // namespace holdfast::api_test
