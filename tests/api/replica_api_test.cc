// ReplicaRpc, StatsRpc and TestRpc: each call with good input, each kind of bad input, and repeated.
#include <set>

#include "api/pool_api_test.h"

namespace holdfast::api_test {
namespace {

using testing::ElementsAre;

class ReplicaApi : public PoolApiTest {
 protected:
  void SetUp() override {
    PoolApiTest::SetUp();
    ASSERT_TRUE(create_pool("p1", {disk("a"), disk("b")}, pool_uuid).status.ok());
  }
};

TEST_F(ReplicaApi, CreateShowsTheReplica) {
  auto request = replica_request();
  request.set_size(32 * MB - 5);
  request.set_entity_id("volume-7");
  const auto made = create(request);
  ASSERT_TRUE(made.status.ok()) << made.status.error_message();
  EXPECT_EQ(made->name(), "r1");
  EXPECT_EQ(made->uuid(), replica_uuid);
  EXPECT_EQ(made->pooluuid(), pool_uuid);
  EXPECT_EQ(made->poolname(), "p1");
  EXPECT_EQ(made->size(), 32 * MB) << "rounded up to clusters";
  EXPECT_TRUE(made->thin());
  EXPECT_EQ(made->share(), v1::NONE);
  EXPECT_EQ(made->uri(), "bdev:///r1?uuid=" + std::string(replica_uuid));
  EXPECT_EQ(made->entity_id(), "volume-7");
  EXPECT_FALSE(made->is_snapshot());
  EXPECT_FALSE(made->is_clone());
  EXPECT_FALSE(made->has_snapshot_uuid());
  EXPECT_EQ(made->usage().capacity_bytes(), 32 * MB);
  EXPECT_EQ(made->usage().cluster_size(), MB);
  EXPECT_EQ(made->usage().num_clusters(), 32u);
  EXPECT_EQ(made->usage().allocated_bytes(), 0u);
}

// replica_thin: thin takes what is written, thick all of it at once; the pool's numbers follow.
TEST_F(ReplicaApi, ThinAndThick) {
  const auto before = pool("p1");
  ASSERT_TRUE(create(replica_request("thin", replica_uuid, 32 * MB, true)).status.ok());
  EXPECT_EQ(pool("p1").committed(), 32 * MB);
  const auto unused = pool("p1").used();
  const auto thick = create(replica_request("thick", replica_uuid2, 64 * MB, false));
  ASSERT_TRUE(thick.status.ok());
  EXPECT_EQ(thick->usage().allocated_bytes(), 64 * MB);
  EXPECT_EQ(thick->usage().num_allocated_clusters(), 64u);
  EXPECT_EQ(pool("p1").committed(), 96 * MB);
  EXPECT_GE(pool("p1").used(), unused + 64 * MB) << "nobody else can have it";
  const auto used = pool("p1").used();
  fill(replica_uuid, 7);
  EXPECT_EQ(replica(replica_uuid).usage().allocated_bytes(), 32 * MB);
  EXPECT_GE(pool("p1").used(), used + 32 * MB);
  EXPECT_OK(destroy_replica(replica_uuid));
  EXPECT_OK(destroy_replica(replica_uuid2));
  EXPECT_EQ(pool("p1").committed(), before.committed());
}

TEST_F(ReplicaApi, CreateRefusesWhatIsWrong) {
  ASSERT_TRUE(create(replica_request()).status.ok());
  struct Case {
    const char* what;
    void (*change)(v1::CreateReplicaRequest&);
    StatusCode code;
    const char* text;
  };
  const std::vector<Case> cases = {
      {"the same again", [](auto&) {}, StatusCode::ALREADY_EXISTS, replica_uuid},
      {"its name", [](auto& r) { r.set_uuid(replica_uuid2); }, StatusCode::ALREADY_EXISTS,
       "'r1' exists already"},
      {"its uuid", [](auto& r) { r.set_name("r2"); }, StatusCode::ALREADY_EXISTS, replica_uuid},
      {"no such pool", [](auto& r) { r.set_pooluuid("p9"); }, StatusCode::FAILED_PRECONDITION,
       "no pool 'p9'"},
      {"no name", [](auto& r) { r.set_name(""); }, StatusCode::INVALID_ARGUMENT, "name is empty"},
      {"a bad name", [](auto& r) { r.set_name("a/b"); }, StatusCode::INVALID_ARGUMENT, "name"},
      {"a bad uuid", [](auto& r) { r.set_uuid("1-2"); }, StatusCode::INVALID_ARGUMENT, "is not a UUID"},
      {"the nil uuid", [](auto& r) { r.set_uuid("00000000-0000-0000-0000-000000000000"); },
       StatusCode::INVALID_ARGUMENT, "nil"},
      {"no size", [](auto& r) { r.set_size(0); }, StatusCode::INVALID_ARGUMENT, "size"},
      {"thin and too large", [](auto& r) { r.set_size(1ull << 40); }, StatusCode::INVALID_ARGUMENT, "size"},
      {"the largest size", [](auto& r) { r.set_size(~0ull); }, StatusCode::INVALID_ARGUMENT, "size"},
      {"thick and too large",
       [](auto& r) {
         r.set_size(1 << 30);
         r.set_thin(false);
       },
       StatusCode::RESOURCE_EXHAUSTED, "p1"},
      {"iSCSI", [](auto& r) { r.set_share(v1::ISCSI); }, StatusCode::INVALID_ARGUMENT, "iSCSI"},
      {"a protocol", [](auto& r) { r.set_share(static_cast<v1::ShareProtocol>(9)); },
       StatusCode::INVALID_ARGUMENT, "9"},
      {"a host", [](auto& r) { r.add_allowed_hosts("me"); }, StatusCode::INVALID_ARGUMENT,
       "'me' is not an NQN"},
      {"an entity", [](auto& r) { r.set_entity_id(std::string(5000, 'x')); }, StatusCode::INVALID_ARGUMENT,
       "entity_id"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    auto request = replica_request();
    if (c.code != StatusCode::ALREADY_EXISTS) request = replica_request("r2", replica_uuid2);
    c.change(request);
    const auto status = create(request).status;
    EXPECT_EQ(status.error_code(), c.code) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(c.text));
  }
  EXPECT_EQ(replicas().size(), 1u);
}

TEST_F(ReplicaApi, ShareIsKeptAndRepeated) {
  auto request = replica_request();
  request.set_share(v1::NVMF);
  request.add_allowed_hosts("nqn.2014-08.org.nvmexpress:a");
  const auto made = create(request);
  ASSERT_TRUE(made.status.ok()) << made.status.error_message();
  EXPECT_EQ(made->share(), v1::NVMF);
  EXPECT_EQ(made->uri(), "nvmf://127.0.0.1:" + std::to_string(engine_.nvmf_port()) +
                             "/nqn.2019-05.io.openebs:r1?uuid=" + replica_uuid);
  EXPECT_THAT(made->allowed_hosts(), ElementsAre("nqn.2014-08.org.nvmexpress:a"));
  const auto again = share(replica_uuid, {"nqn.2014-08.org.nvmexpress:b"});
  EXPECT_OK(again.status);
  EXPECT_EQ(again->uri(), made->uri());
  EXPECT_THAT(again->allowed_hosts(), ElementsAre("nqn.2014-08.org.nvmexpress:b"));
  EXPECT_CODE(share(replica_uuid, {}, v1::ISCSI).status, INVALID_ARGUMENT, "iSCSI");
  EXPECT_CODE(share(replica_uuid, {}, v1::NONE).status, INVALID_ARGUMENT, "NONE");
  EXPECT_CODE(share(replica_uuid, {"x"}).status, INVALID_ARGUMENT, "NQN");
  EXPECT_CODE(share(replica_uuid2).status, NOT_FOUND, replica_uuid2);
  restart(true);
  EXPECT_THAT(replica(replica_uuid).allowed_hosts(), ElementsAre("nqn.2014-08.org.nvmexpress:b"));
  v1::UnshareReplicaRequest unshare;
  unshare.set_uuid(replica_uuid);
  for (int i = 0; i < 2; ++i) {
    const auto off = ask(engine_.replica(), &v1::ReplicaRpc::Stub::UnshareReplica, unshare);
    EXPECT_OK(off.status);
    EXPECT_EQ(off->share(), v1::NONE);
    EXPECT_THAT(off->uri(), HasSubstr("bdev:///r1"));
  }
  restart(true);
  EXPECT_EQ(replica(replica_uuid).share(), v1::NONE);
  unshare.set_uuid(replica_uuid2);
  EXPECT_CODE(ask(engine_.replica(), &v1::ReplicaRpc::Stub::UnshareReplica, unshare).status, NOT_FOUND, "");
}

TEST_F(ReplicaApi, DestroyTellsWhatIsCertainlyGone) {
  ASSERT_TRUE(create(replica_request()).status.ok());
  ASSERT_TRUE(share(replica_uuid).status.ok());
  ASSERT_TRUE(create_pool("p2", {disk("c")}).status.ok());
  v1::DestroyReplicaRequest request;
  request.set_uuid(replica_uuid);
  request.set_pool_name("p2");
  EXPECT_CODE(ask(engine_.replica(), &v1::ReplicaRpc::Stub::DestroyReplica, request).status, ABORTED,
              "is in pool 'p1', not in 'p2'");
  request.set_pool_name("p9");
  EXPECT_CODE(ask(engine_.replica(), &v1::ReplicaRpc::Stub::DestroyReplica, request).status,
              FAILED_PRECONDITION, "no pool 'p9'");
  request.set_pool_uuid(pool_uuid);
  EXPECT_OK(ask(engine_.replica(), &v1::ReplicaRpc::Stub::DestroyReplica, request).status);
  grpc::ClientContext context;
  Empty reply;
  const auto gone = engine_.replica().DestroyReplica(&context, request, &reply);
  EXPECT_CODE(gone, NOT_FOUND, replica_uuid);
  EXPECT_EQ(context.GetServerTrailingMetadata().count("gtm-602"), 1u);
  request.set_uuid("x");
  EXPECT_CODE(ask(engine_.replica(), &v1::ReplicaRpc::Stub::DestroyReplica, request).status, INVALID_ARGUMENT,
              "is not a UUID");
  EXPECT_TRUE(replicas().empty());
}

TEST_F(ReplicaApi, ResizeBothWays) {
  ASSERT_TRUE(create(replica_request()).status.ok());
  v1::ResizeReplicaRequest request;
  request.set_uuid(replica_uuid);
  const auto resize = [&](std::uint64_t bytes) {
    request.set_requested_size(bytes);
    return ask(engine_.replica(), &v1::ReplicaRpc::Stub::ResizeReplica, request);
  };
  EXPECT_EQ(resize(48 * MB)->size(), 48 * MB);
  EXPECT_EQ(resize(48 * MB)->size(), 48 * MB);
  EXPECT_EQ(resize(16 * MB)->size(), 16 * MB);
  EXPECT_EQ(replica(replica_uuid).size(), 16 * MB);
  EXPECT_CODE(resize(0).status, INVALID_ARGUMENT, "requested_size");
  EXPECT_FALSE(resize(~0ull).status.ok());
  ASSERT_TRUE(create(replica_request("thick", replica_uuid2, 16 * MB, false)).status.ok());
  request.set_uuid(replica_uuid2);
  EXPECT_CODE(resize(1 << 30).status, RESOURCE_EXHAUSTED, "p1");
  EXPECT_EQ(replica(replica_uuid2).size(), 16 * MB);
  request.set_uuid(other_uuid);
  EXPECT_CODE(resize(16 * MB).status, NOT_FOUND, other_uuid);
}

TEST_F(ReplicaApi, EntityIdIsKept) {
  ASSERT_TRUE(create(replica_request()).status.ok());
  v1::SetReplicaEntityIdRequest request;
  request.set_uuid(replica_uuid);
  request.set_entity_id("volume-9");
  const auto set = ask(engine_.replica(), &v1::ReplicaRpc::Stub::SetReplicaEntityId, request);
  EXPECT_OK(set.status);
  EXPECT_EQ(set->entity_id(), "volume-9");
  restart(true);
  EXPECT_EQ(replica(replica_uuid).entity_id(), "volume-9");
  request.set_uuid(other_uuid);
  EXPECT_CODE(ask(engine_.replica(), &v1::ReplicaRpc::Stub::SetReplicaEntityId, request).status, NOT_FOUND,
              "");
}

TEST_F(ReplicaApi, ListFilters) {
  ASSERT_TRUE(create_pool("p2", {disk("c")}).status.ok());
  ASSERT_TRUE(create(replica_request()).status.ok());
  auto other = replica_request("r2", replica_uuid2);
  other.set_pooluuid("p2");
  ASSERT_TRUE(create(other).status.ok());
  ASSERT_TRUE(snap().status.ok());
  ASSERT_TRUE(clone().status.ok());
  const auto names = [this](void (*change)(v1::ListReplicaOptions&)) {
    v1::ListReplicaOptions request;
    change(request);
    std::set<std::string> found;
    for (const auto& r : replicas(request)) found.insert(r.name());
    return found;
  };
  EXPECT_THAT(names([](auto&) {}), ElementsAre("c1", "r1", "r2", "s1"));
  EXPECT_THAT(names([](auto& r) { r.mutable_name()->set_value("r2"); }), ElementsAre("r2"));
  EXPECT_THAT(names([](auto& r) { r.mutable_poolname()->set_value("p2"); }), ElementsAre("r2"));
  EXPECT_THAT(names([](auto& r) { r.mutable_pooluuid()->set_value(pool_uuid); }),
              ElementsAre("c1", "r1", "s1"));
  EXPECT_THAT(names([](auto& r) { r.mutable_uuid()->set_value(replica_uuid); }), ElementsAre("r1"));
  EXPECT_THAT(names([](auto& r) { r.mutable_query()->set_replica(true); }), ElementsAre("r1", "r2"));
  EXPECT_THAT(names([](auto& r) { r.mutable_query()->set_snapshot(true); }), ElementsAre("s1"));
  EXPECT_THAT(names([](auto& r) { r.mutable_query()->set_clone(true); }), ElementsAre("c1"));
  EXPECT_THAT(names([](auto& r) { r.add_pooltypes(v1::Lvm); }), ElementsAre());
  EXPECT_THAT(names([](auto& r) { r.add_pooltypes(v1::Lvs); }), ElementsAre("c1", "r1", "r2", "s1"));
}

// replica_uri: the UUID of a replica is that of its device, shared or not; not that of a volume.
TEST_F(ReplicaApi, UrisCarryTheReplicasOwnUuid) {
  ASSERT_TRUE(create(replica_request()).status.ok());
  const auto r = share(replica_uuid);
  EXPECT_THAT(r->uri(), HasSubstr("?uuid=" + std::string(replica_uuid)));
  v1::ListBdevOptions request;
  request.mutable_name()->set_value("r1");
  const auto listed = ask(engine_.bdev(), &v1::BdevRpc::Stub::List, request);
  ASSERT_EQ(listed->bdevs_size(), 1);
  EXPECT_EQ(listed->bdevs(0).uuid(), replica_uuid);
}

// resource_stats: what a nexus writes, each replica writes; a pool's numbers are those of its replicas.
TEST_F(ReplicaApi, StatsAddUpAndAreSetBack) {
  ASSERT_TRUE(create(replica_request()).status.ok());
  ASSERT_TRUE(create(replica_request("r2", replica_uuid2)).status.ok());
  fill(replica_uuid, 1);
  checksum(replica_uuid2);
  v1::ListStatsOption all;
  const auto of_replicas = ask(engine_.stats(), &v1::StatsRpc::Stub::GetReplicaIoStats, all);
  ASSERT_EQ(of_replicas->stats_size(), 2);
  EXPECT_EQ(of_replicas->stats(0).stats().bytes_written(), 32 * MB);
  EXPECT_EQ(of_replicas->stats(1).stats().bytes_read(), 32 * MB);
  const auto& writer = of_replicas->stats(0).stats();
  EXPECT_GT(writer.min_write_latency_ticks(), 0u);
  EXPECT_GE(writer.max_write_latency_ticks(), writer.min_write_latency_ticks());
  EXPECT_GE(writer.write_latency_ticks(), writer.num_write_ops() * writer.min_write_latency_ticks());
  EXPECT_LE(writer.write_latency_ticks(), writer.num_write_ops() * writer.max_write_latency_ticks());
  EXPECT_EQ(writer.read_latency_ticks() + writer.max_unmap_latency_ticks(), 0u);
  EXPECT_GT(of_replicas->stats(1).stats().read_latency_ticks(), 0u);
  EXPECT_EQ(writer.tick_rate(), 1'000'000'000u);
  const auto of_pools = ask(engine_.stats(), &v1::StatsRpc::Stub::GetPoolIoStats, all);
  ASSERT_EQ(of_pools->stats_size(), 1);
  EXPECT_EQ(of_pools->stats(0).write_latency_ticks(), writer.write_latency_ticks());
  EXPECT_EQ(of_pools->stats(0).bytes_written(), 32 * MB);
  EXPECT_EQ(of_pools->stats(0).bytes_read(), 32 * MB);
  EXPECT_EQ(of_pools->stats(0).num_write_ops(), of_replicas->stats(0).stats().num_write_ops());
  all.set_name("r1");
  EXPECT_EQ(ask(engine_.stats(), &v1::StatsRpc::Stub::GetReplicaIoStats, all)->stats_size(), 1);
  all.set_name("nothing");
  EXPECT_CODE(ask(engine_.stats(), &v1::StatsRpc::Stub::GetReplicaIoStats, all).status, NOT_FOUND, "nothing");
  EXPECT_CODE(ask(engine_.stats(), &v1::StatsRpc::Stub::GetPoolIoStats, all).status, NOT_FOUND, "nothing");
  EXPECT_CODE(ask(engine_.stats(), &v1::StatsRpc::Stub::GetNexusIoStats, all).status, NOT_FOUND, "nothing");
  EXPECT_OK(ask(engine_.stats(), &v1::StatsRpc::Stub::ResetIoStats, Empty()).status);
  all.clear_name();
  const auto after = ask(engine_.stats(), &v1::StatsRpc::Stub::GetReplicaIoStats, all);
  for (const auto& s : after->stats()) {
    EXPECT_EQ(s.stats().num_write_ops() + s.stats().num_read_ops(), 0u);
    EXPECT_EQ(s.stats().write_latency_ticks() + s.stats().max_read_latency_ticks(), 0u);
  }
  EXPECT_EQ(ask(engine_.stats(), &v1::StatsRpc::Stub::GetPoolIoStats, all)->stats(0).bytes_written(), 0u);
}

// wipe: checksums of zeroed and other replicas, chunks and their sums, bad arguments.
TEST_F(ReplicaApi, WipeInChunks) {
  ASSERT_TRUE(create(replica_request("r1", replica_uuid, 10 * MB)).status.ok());
  const auto blank = checksum(replica_uuid);
  fill(replica_uuid, 0xdeadbeef);
  EXPECT_NE(checksum(replica_uuid), blank);
  const auto wiped = wipe(replica_uuid, v1::WipeOptions::WRITE_ZEROES, 4 * MB);
  EXPECT_OK(wiped.status);
  ASSERT_EQ(wiped.messages.size(), 4u) << "one at the start, one for each chunk";
  std::uint64_t chunk = 0;
  for (const auto& m : wiped.messages) {
    EXPECT_EQ(m.uuid(), replica_uuid);
    EXPECT_EQ(m.total_bytes(), 10 * MB);
    EXPECT_EQ(m.chunk_size(), 4 * MB);
    EXPECT_EQ(m.last_chunk_size(), 2 * MB);
    EXPECT_EQ(m.total_chunks(), 3u);
    EXPECT_EQ(m.wiped_chunks(), chunk);
    EXPECT_EQ(m.wiped_bytes(), std::min<std::uint64_t>(chunk * 4 * MB, 10 * MB));
    EXPECT_EQ(m.remaining_bytes(), m.total_bytes() - m.wiped_bytes());
    EXPECT_FALSE(m.has_crc32());
    ++chunk;
  }
  EXPECT_EQ(checksum(replica_uuid), blank);
  fill(replica_uuid, 3);
  EXPECT_OK(wipe(replica_uuid, v1::WipeOptions::UNMAP).status);
  EXPECT_EQ(checksum(replica_uuid), blank);
  EXPECT_EQ(replica(replica_uuid).usage().allocated_bytes(), 0u);
  EXPECT_EQ(wipe(replica_uuid, v1::WipeOptions::NONE).messages.size(), 2u);
}

TEST_F(ReplicaApi, WipeRefusesWhatIsWrong) {
  ASSERT_TRUE(create(replica_request("r1", replica_uuid, 16 * MB)).status.ok());
  using Options = v1::WipeOptions;
  EXPECT_CODE(wipe(replica_uuid, static_cast<Options::WipeMethod>(77)).status, INVALID_ARGUMENT, "77");
  EXPECT_CODE(wipe(replica_uuid, Options::NONE, 100).status, INVALID_ARGUMENT, "chunk_size");
  EXPECT_CODE(wipe(replica_uuid, Options::NONE, 17 * MB).status, INVALID_ARGUMENT, "chunk_size");
  EXPECT_CODE(wipe(replica_uuid, Options::NONE, 4096).status, INVALID_ARGUMENT, "at most 1024");
  EXPECT_CODE(wipe(other_uuid, Options::NONE).status, NOT_FOUND, other_uuid);
  EXPECT_CODE(wipe("x", Options::NONE).status, INVALID_ARGUMENT, "is not a UUID");
  ASSERT_TRUE(share(replica_uuid).status.ok());
  EXPECT_CODE(wipe(replica_uuid, Options::WRITE_ZEROES).status, FAILED_PRECONDITION, "in use");
  EXPECT_OK(wipe(replica_uuid, Options::CHECKSUM).status);
  v1::TestFeatures features;
  EXPECT_OK(call(engine_.test(), &v1::TestRpc::Stub::GetFeatures, Empty(), &features));
  EXPECT_EQ(features.wipe_methods_size(), 5);
}

// replica_thin_no_space: what does not fit fails, and the rest goes on.
TEST_F(ReplicaApi, AFullPoolFailsTheWriteAndNothingElse) {
  ASSERT_TRUE(create(replica_request("r1", replica_uuid, 200 * MB)).status.ok());
  ASSERT_TRUE(create(replica_request("r2", replica_uuid2, 200 * MB)).status.ok());
  fill(replica_uuid, 1);
  const auto sum = checksum(replica_uuid);
  EXPECT_CODE(wipe(replica_uuid2, v1::WipeOptions::WRITE_PATTERN, 0, 2).status, RESOURCE_EXHAUSTED, "");
  EXPECT_EQ(checksum(replica_uuid), sum);
  EXPECT_OK(destroy_replica(replica_uuid));
  EXPECT_OK(wipe(replica_uuid2, v1::WipeOptions::WRITE_PATTERN, 0, 2).status);
}

TEST_F(ReplicaApi, ShrinksOnlyWhileNobodyUsesIt) {
  const auto r = create(replica_request());
  ASSERT_TRUE(r.status.ok());
  v1::ResizeReplicaRequest request;
  request.set_uuid(replica_uuid);
  const auto resize = [&](std::uint64_t bytes) {
    request.set_requested_size(bytes);
    return ask(engine_.replica(), &v1::ReplicaRpc::Stub::ResizeReplica, request).status;
  };
  auto nexus = nexus_request({r->uri()});
  nexus.set_size(8 * MB);
  v1::CreateNexusResponse made;
  ASSERT_TRUE(call(engine_.nexus(), &v1::NexusRpc::Stub::CreateNexus, nexus, &made).ok());
  EXPECT_CODE(resize(12 * MB), FAILED_PRECONDITION, "volume-1");
  EXPECT_OK(resize(32 * MB - 5));  // as it is
  EXPECT_OK(resize(48 * MB));
  EXPECT_EQ(replica(replica_uuid).size(), 48 * MB);
  v1::DestroyNexusRequest gone;
  gone.set_uuid(uuid);
  Empty nothing;
  EXPECT_OK(call(engine_.nexus(), &v1::NexusRpc::Stub::DestroyNexus, gone, &nothing));
  ASSERT_TRUE(share(replica_uuid).status.ok());
  EXPECT_CODE(resize(16 * MB), FAILED_PRECONDITION, "unshare");
  v1::UnshareReplicaRequest off;
  off.set_uuid(replica_uuid);
  EXPECT_OK(ask(engine_.replica(), &v1::ReplicaRpc::Stub::UnshareReplica, off).status);
  EXPECT_OK(resize(16 * MB));
  EXPECT_EQ(replica(replica_uuid).size(), 16 * MB);
}

TEST_F(ReplicaApi, CountersOfAReplicaThatWasOpenedAgainAreItsOwn) {
  ASSERT_TRUE(create(replica_request()).status.ok());
  fill(replica_uuid, 1);
  EXPECT_OK(ask(engine_.stats(), &v1::StatsRpc::Stub::ResetIoStats, Empty()).status);
  EXPECT_OK(export_pool("p1"));
  EXPECT_OK(import_pool("p1", {disk("a"), disk("b")}).status);
  const v1::ListStatsOption all;
  const auto written = [&] {
    const auto got = ask(engine_.stats(), &v1::StatsRpc::Stub::GetReplicaIoStats, all);
    return got->stats_size() == 1 ? got->stats(0).stats().bytes_written() : ~std::uint64_t{0};
  };
  EXPECT_EQ(written(), 0u);
  fill(replica_uuid, 2);
  fill(replica_uuid, 3);
  EXPECT_EQ(written(), 64 * MB);
}

}  // namespace
}  // namespace holdfast::api_test
