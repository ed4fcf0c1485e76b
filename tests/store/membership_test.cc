// Membership records of engines in a store that is a process: real etcd and the embedded one.
#include <gtest/gtest.h>

#include "engine/kv_membership_store.h"
#include "store/etcd_rig.h"
#include "store/store_process.h"

namespace holdfast::store {
namespace {

using testing_support::StoreProcesses;

nexus::Record sample(std::uint64_t epoch) {
  nexus::Record r;
  r.epoch = epoch;
  r.children = {{"one", true, epoch}, {"two", false, 3}};
  return r;
}

// Tries again as a nexus does, until the store answers.
Result<std::uint64_t> swap_at_last(EtcdRig& rig, nexus::MembershipStore& records, std::uint64_t expected,
                                   const nexus::Record& next) {
  for (int i = 0; i < 100; ++i) {
    auto swapped = rig.run(records.swap("vol", expected, next));
    if (swapped.ok() || swapped.code() == Errc::fenced) return swapped;
    EXPECT_TRUE(swapped.code() == Errc::not_connected || swapped.code() == Errc::timed_out)
        << swapped.error().message();
  }
  return Error(Errc::timed_out);
}

void keeps_records(StoreProcesses& processes) {
  EtcdOptions options(processes.endpoints());
  options.call_timeout = 1s;
  EtcdRig rig(std::move(options));
  engine::KvMembershipStore records(rig.kv(), Keys::of_cluster("test").value());
  EXPECT_FALSE(rig.run(records.load("vol")).value().has_value());
  const std::uint64_t first = rig.run(records.swap("vol", 0, sample(7))).value();
  EXPECT_EQ(rig.run(records.swap("vol", 0, sample(8))).code(), Errc::fenced);
  EXPECT_EQ(rig.run(records.load("vol")).value()->record, sample(7));

  processes.kill(0);
  EXPECT_FALSE(rig.run(records.load("vol")).ok());
  const Errc away = rig.run(records.swap("vol", first, sample(8))).code();
  EXPECT_TRUE(away == Errc::not_connected || away == Errc::timed_out) << holdfast::name(away);
  processes.start(0);
  const auto second = swap_at_last(rig, records, first, sample(8));
  ASSERT_TRUE(second.ok()) << second.error().message();
  EXPECT_GT(second.value(), first);
  EXPECT_EQ(rig.run(records.load("vol")).value()->record, sample(8));
  EXPECT_TRUE(rig.run(records.remove("vol")).ok());
  EXPECT_FALSE(rig.run(records.load("vol")).value().has_value());
}

TEST(Membership, InTheEmbeddedStore) {
  const auto store = testing_support::start_embedded();
  ASSERT_NE(store, nullptr);
  keeps_records(*store);
}

TEST(Membership, InEtcd) {
  const auto store = testing_support::start_etcd(1);
  if (store == nullptr) GTEST_SKIP() << "etcd is not installed";
  keeps_records(*store);
}

// Goal: an engine with --store keeps the record of a nexus there, under the volume's key, and
// closes it as clean.
void engine_uses(StoreProcesses& processes) {
  using namespace testing_support;
  const ScratchDir scratch;
  EngineProcess engine(scratch, "one", {"--store", processes.endpoints().front(), "--cluster", "test"});
  ASSERT_TRUE(engine.start());
  const std::string volume = "0b1c2d3e-0000-4000-8000-00000000a001";
  mayastor::v1::CreateNexusRequest request;
  request.set_name("n1");
  request.set_uuid("0b1c2d3e-0000-4000-8000-00000000b001");
  request.set_size(32 << 20);
  request.set_nexusinfokey(volume);
  request.set_mincntlid(1);
  request.set_maxcntlid(100);
  // Its own: what it reaches over its own target is gone before the nexus can be stopped cleanly.
  request.add_children("malloc:///a?size_mb=64");
  mayastor::v1::CreateNexusResponse created;
  const auto status = call(engine.nexus(), &mayastor::v1::NexusRpc::Stub::CreateNexus, request, &created);
  ASSERT_TRUE(status.ok()) << status.error_message();

  EtcdRig rig(processes.endpoints());
  const auto found =
      rig.run(rig.kv().range(RangeRequest(Keys::of_cluster("test").value().membership(volume))));
  ASSERT_EQ(found.value().kvs.size(), 1u);
  const auto record = nexus::parse_record(found.value().kvs[0].value);
  ASSERT_TRUE(record.ok()) << found.value().kvs[0].value;
  EXPECT_EQ(record.value().children.size(), 1u);
  EXPECT_TRUE(record.value().children[0].healthy);
  EXPECT_FALSE(record.value().clean_shutdown);

  engine.signal(SIGTERM);
  EXPECT_EQ(engine.wait_exit(std::chrono::seconds(20)), 0) << engine.log();
  const auto after = rig.run(rig.kv().range(RangeRequest(found.value().kvs[0].key)));
  EXPECT_TRUE(nexus::parse_record(after.value().kvs.at(0).value).value().clean_shutdown);
}

TEST(Membership, OfAnEngineWithAnEtcd) {
  const auto store = testing_support::start_etcd(1);
  if (store == nullptr) GTEST_SKIP() << "etcd is not installed";
  engine_uses(*store);
}

TEST(Membership, OfAnEngineWithAnEmbeddedStore) {
  const auto store = testing_support::start_embedded();
  ASSERT_NE(store, nullptr);
  engine_uses(*store);
}

TEST(Membership, AStoreThatIsAwayIsNoFaultOfTheRequest) {
  using namespace testing_support;
  const auto store = start_embedded();
  ASSERT_NE(store, nullptr);
  const ScratchDir scratch;
  EngineProcess engine(scratch, "one",
                       {"--store", store->endpoints().front(), "--cluster", "test", "--hold-timeout", "2s"});
  ASSERT_TRUE(engine.start());
  mayastor::v1::CreateNexusRequest request;
  request.set_name("n1");
  request.set_uuid("0b1c2d3e-0000-4000-8000-00000000b001");
  request.set_size(32 << 20);
  request.add_children("malloc:///a?size_mb=64");
  request.add_children("malloc:///b?size_mb=64");
  mayastor::v1::CreateNexusResponse created;
  ASSERT_TRUE(call(engine.nexus(), &mayastor::v1::NexusRpc::Stub::CreateNexus, request, &created).ok());
  store->kill(0);
  mayastor::v1::RemoveChildNexusRequest remove;
  remove.set_uuid(request.uuid());
  remove.set_uri(request.children(1));
  mayastor::v1::RemoveChildNexusResponse removed;
  const auto status = call(engine.nexus(), &mayastor::v1::NexusRpc::Stub::RemoveChildNexus, remove, &removed);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
  mayastor::v1::CreateNexusRequest another;
  another.set_name("n2");
  another.set_uuid("0b1c2d3e-0000-4000-8000-00000000b002");
  another.set_size(32 << 20);
  another.add_children("malloc:///c?size_mb=64");
  const auto late = call(engine.nexus(), &mayastor::v1::NexusRpc::Stub::CreateNexus, another, &created);
  EXPECT_EQ(late.error_code(), grpc::StatusCode::UNAVAILABLE) << late.error_message();
  another.set_children(0, "nvmf://127.0.0.1:1/nqn.2019-05.io.openebs:none?grace_ms=100");
  const auto wrong = call(engine.nexus(), &mayastor::v1::NexusRpc::Stub::CreateNexus, another, &created);
  EXPECT_EQ(wrong.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << wrong.error_message();
}

}  // namespace
}  // namespace holdfast::store
