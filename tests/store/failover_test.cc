// Stores that are killed: nothing that was acknowledged is lost, watches miss and repeat nothing, a client of
// several members goes on with the others.
#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "rt/scope.h"
#include "store/etcd_rig.h"
#include "store/store_process.h"

namespace holdfast::store {
namespace {

using testing_support::StoreProcesses;

// Writers that write as fast as they can, each key once.
class Load {
 public:
  Load(EtcdRig& rig, std::string prefix) : rig_(rig), prefix_(std::move(prefix)) {}

  Task<void> write_for(Nanos time, int writers) {
    stop_at_ = rig_.home().now() + time;
    TaskScope scope(rig_.home());
    for (int i = 0; i < writers; ++i) scope.spawn(writer());
    co_await scope.join();
  }
  Task<void> writer() {
    while (rig_.home().now() < stop_at_) {
      const std::string key = prefix_ + std::to_string(next_++);
      auto put = co_await rig_.kv().put(PutRequest(key, "v" + key));
      if (put.ok()) {
        acknowledged_.emplace(key, put.value().revision);
      } else {
        ++failed_;
        co_await rig_.home().sleep(20ms);
      }
    }
  }
  // Every acknowledged key is there as it was written; how many are there that were not acknowledged.
  std::size_t check() {
    std::set<std::string> there;
    RangeRequest request(KeyRange::prefix(prefix_));
    const auto all = rig_.run(rig_.kv().range(request));
    EXPECT_TRUE(all.ok()) << all.error().message();
    for (const KeyValue& kv : all.value().kvs) {
      EXPECT_EQ(kv.value, "v" + kv.key);
      there.insert(kv.key);
      const auto known = acknowledged_.find(kv.key);
      if (known == acknowledged_.end()) continue;
      EXPECT_EQ(known->second, kv.mod_revision) << kv.key;
    }
    for (const auto& [key, revision] : acknowledged_) EXPECT_TRUE(there.contains(key)) << key << " is lost";
    return there.size() - acknowledged_.size();
  }
  std::size_t acknowledged() const { return acknowledged_.size(); }
  std::size_t failed() const { return failed_; }

 private:
  EtcdRig& rig_;
  const std::string prefix_;
  Nanos stop_at_{0};
  int next_ = 0;
  std::size_t failed_ = 0;
  std::map<std::string, Revision> acknowledged_;
};

void kill_under_load(StoreProcesses& store) {
  EtcdRig rig(store.endpoints());
  std::size_t failed = 0;
  for (int round = 0; round < 4; ++round) {
    SCOPED_TRACE(testing::Message() << "round " << round);
    Load load(rig, "/kill/" + std::to_string(round) + "/");
    auto both = [&]() -> Task<void> {
      TaskScope scope(rig.home());
      auto kill = [&]() -> Task<void> {
        co_await rig.home().sleep(400ms);
        store.kill(0);
        co_await rig.home().sleep(100ms);
        store.start(0);
      };
      scope.spawn(kill());
      co_await load.write_for(2s, 8);
      co_await scope.join();
    };
    rig.drive(both());
    const std::size_t unsure = load.check();
    EXPECT_LE(unsure, load.failed());
    EXPECT_GT(load.acknowledged(), 20u);
    failed += load.failed();
  }
  EXPECT_GT(failed, 0u) << "nothing was under way when it was killed";
}

TEST(Kill, TheEmbeddedStoreLosesNothing) {
  const auto store = testing_support::start_embedded();
  ASSERT_NE(store, nullptr);
  kill_under_load(*store);
}

TEST(Kill, EtcdLosesNothing) {
  const auto store = testing_support::start_etcd(1);
  if (store == nullptr) GTEST_SKIP() << "etcd is not installed";
  kill_under_load(*store);
}

// Reads a watch until `wanted` events, or for ten seconds.
Task<std::vector<Revision>> follow(Reactor& home, Watch& watch, const std::size_t& wanted) {
  std::vector<Revision> seen;
  const Nanos deadline = home.now() + 20s;
  while (seen.size() < wanted) {
    auto batch = co_await watch.next(deadline, StopToken());
    if (!batch.ok()) {
      ADD_FAILURE() << batch.error().message();
      break;
    }
    for (const KeyEvent& event : batch.value().events) seen.push_back(event.kv.mod_revision);
  }
  co_return seen;
}

TEST(Failover, OneOfThreeMembersIsKilled) {
  const auto store = testing_support::start_etcd(3);
  if (store == nullptr) GTEST_SKIP() << "etcd is not installed";
  EtcdRig rig(store->endpoints());
  auto watch = rig.run(rig.kv().watch(WatchRequest(KeyRange::prefix("/over/")))).value();
  Load load(rig, "/over/");
  // Whichever leads is among those that are killed.
  for (std::size_t member = 0; member < store->size(); ++member) {
    auto both = [&]() -> Task<void> {
      TaskScope scope(rig.home());
      auto kill = [&]() -> Task<void> {
        co_await rig.home().sleep(300ms);
        store->kill(member);
      };
      scope.spawn(kill());
      co_await load.write_for(4s, 2);
      co_await scope.join();
    };
    const std::size_t before = load.acknowledged();
    rig.drive(both());
    EXPECT_GT(load.acknowledged(), before + 20);
    const auto read = rig.run(rig.kv().range(RangeRequest("/over/0")));
    EXPECT_TRUE(read.ok()) << read.error().message();
    store->start(member);
    rig.drive([](Reactor& home) -> Task<void> { co_await home.sleep(2s); }(rig.home()));
  }
  const std::size_t events = load.acknowledged() + load.check();
  const auto seen = rig.run(follow(rig.home(), *watch, events));
  EXPECT_EQ(seen.size(), events);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(std::set<Revision>(seen.begin(), seen.end()).size(), seen.size());
  rig.drive(watch->close());
}

TEST(Failover, NobodyThereIsNotConnected) {
  EtcdOptions options({"http://127.0.0.1:1", "http://127.0.0.1:2"});
  options.call_timeout = 500ms;
  EtcdRig rig(std::move(options));
  EXPECT_EQ(rig.run(rig.kv().range(RangeRequest("a"))).code(), Errc::not_connected);
  EXPECT_EQ(rig.run(rig.kv().put(PutRequest("a", "b"))).code(), Errc::not_connected);
  EXPECT_EQ(rig.run(rig.kv().lease_keep_alive(7)).code(), Errc::not_connected);
  EXPECT_EQ(rig.run(rig.kv().watch(WatchRequest("a"))).code(), Errc::not_connected);
}

TEST(Failover, AStoreThatComesBackGoesOn) {
  const auto store = testing_support::start_embedded();
  ASSERT_NE(store, nullptr);
  EtcdRig rig(store->endpoints());
  auto watch = rig.run(rig.kv().watch(WatchRequest(KeyRange::prefix("/back/")))).value();
  const auto lease = rig.run(rig.kv().lease_grant(600)).value();
  ASSERT_TRUE(rig.run(rig.kv().put(PutRequest("/back/1", "a", lease.id))).ok());
  store->kill(0);
  store->start(0);
  Errc code = Errc::not_connected;
  for (int i = 0; i < 20 && code != Errc::ok; ++i) {
    code = rig.run(rig.kv().put(PutRequest("/back/2", "b"))).code();
  }
  EXPECT_EQ(code, Errc::ok);
  const std::size_t wanted = 2;
  EXPECT_EQ(rig.run(follow(rig.home(), *watch, wanted)).size(), 2u);
  EXPECT_EQ(rig.run(rig.kv().lease_keep_alive(lease.id)).value(), 600);
  rig.drive(watch->close());
}

TEST(Endpoints, AreParsed) {
  struct Case {
    const char* text;
    const char* target;  // nullptr: refused
    bool tls;
  };
  const Case cases[] = {{"http://10.0.0.1:2379", "10.0.0.1:2379", false},
                        {"https://etcd.example:1234/", "etcd.example:1234", true},
                        {"etcd", "etcd:2379", false},
                        {"[::1]:99", "[::1]:99", false},
                        {"", nullptr, false},
                        {"http://", nullptr, false},
                        {"ftp://a:1", nullptr, false},
                        {"http://a:1/path", nullptr, false},
                        {"a:0", nullptr, false},
                        {"a:99999", nullptr, false}};
  for (const Case& c : cases) {
    const auto parsed = parse_etcd_endpoint(c.text);
    ASSERT_EQ(parsed.ok(), c.target != nullptr) << c.text;
    if (!parsed.ok()) continue;
    EXPECT_EQ(parsed.value().target, c.target);
    EXPECT_EQ(parsed.value().tls, c.tls);
  }
}

}  // namespace
}  // namespace holdfast::store
