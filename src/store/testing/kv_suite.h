// What every Kv does, as tests: include this in one file of a test program and instantiate KvSuite with the
// makers of the stores to be tried. Each test has keys of its own, so that the tests may share a store.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/uuid.h"
#include "rt/reactor.h"
#include "store/kv.h"
#include "store/testing/kv_rig.h"

namespace holdfast::store {

struct KvMaker {
  std::string name;
  std::function<std::unique_ptr<KvRig>()> make;  // nullptr: what it needs is not installed
};

inline std::string name_of(const testing::TestParamInfo<KvMaker>& info) { return info.param.name; }

class KvSuite : public testing::TestWithParam<KvMaker> {
 protected:
  void SetUp() override {
    rig_ = GetParam().make();
    if (rig_ == nullptr) GTEST_SKIP() << GetParam().name << " is not installed";
    // Stores may be shared, and outlive a run.
    const Uuid run = Uuid::random(rig_->home().random());
    prefix_ = "/test/" + run.to_string() + "/";
  }
  Kv& kv() { return rig_->kv(); }
  template <class T>
  T run(Task<T> task) {
    return rig_->run(std::move(task));
  }
  std::string key(const std::string& name) const { return prefix_ + name; }
  KeyRange all() const { return KeyRange::prefix(prefix_); }
  Revision put(const std::string& name, const std::string& value, LeaseId lease = no_lease) {
    auto done = run(kv().put(PutRequest(key(name), value, lease)));
    EXPECT_TRUE(done.ok()) << done.error().message();
    return done.ok() ? done.value().revision : 0;
  }
  std::optional<KeyValue> get(const std::string& name) {
    auto found = run(kv().range(RangeRequest(key(name))));
    EXPECT_TRUE(found.ok()) << found.error().message();
    if (!found.ok() || found.value().kvs.empty()) return std::nullopt;
    return found.value().kvs.front();
  }
  Revision now() { return run(kv().range(RangeRequest(key("none")))).value().revision; }
  std::vector<std::string> names(const RangeRequest& request) {
    std::vector<std::string> found;
    auto answer = run(kv().range(request));
    EXPECT_TRUE(answer.ok());
    for (const KeyValue& one : answer.value().kvs) found.push_back(one.key.substr(prefix_.size()));
    return found;
  }
  std::unique_ptr<Watch> watch(WatchRequest request) {
    auto made = run(kv().watch(std::move(request)));
    EXPECT_TRUE(made.ok()) << made.error().message();
    return std::move(made).value();
  }
  // Events until there are that many, as "put a=1" and "remove a".
  std::vector<std::string> events(Watch& from, std::size_t wanted) {
    std::vector<std::string> seen;
    while (seen.size() < wanted) {
      auto batch = run(from.next(rig_->home().now() + 10s, StopToken()));
      if (!batch.ok()) {
        seen.push_back("error " + std::string(name_of_error(batch.error())));
        return seen;
      }
      for (const KeyEvent& e : batch.value().events) seen.push_back(text_of(e));
    }
    return seen;
  }
  std::string text_of(const KeyEvent& e) const {
    const std::string name = e.kv.key.substr(prefix_.size());
    std::string text = e.type == KeyEvent::Type::put ? "put " + name + "=" + e.kv.value : "remove " + name;
    if (e.previous.has_value()) text += " was " + e.previous->value;
    return text;
  }
  static const char* name_of_error(const Error& e) { return holdfast::name(e.code()); }
  // Nothing happens until then.
  bool quiet(Watch& watch, Nanos patience = 300ms) {
    const Nanos deadline = rig_->home().now() + patience;
    for (;;) {
      auto batch = run(watch.next(deadline, StopToken()));
      if (!batch.ok()) return batch.code() == Errc::timed_out;
      if (!batch.value().events.empty()) return false;
    }
  }
  void sleep(Nanos time) {
    auto pause = [](Reactor& home, Nanos d) -> Task<void> { co_await home.sleep(d); };
    rig_->run(pause(rig_->home(), time));
  }
  void close(std::unique_ptr<Watch> watch) { rig_->run(watch->close()); }

  std::unique_ptr<KvRig> rig_;
  std::string prefix_;
};

using Texts = std::vector<std::string>;

TEST_P(KvSuite, AKeyHasItsRevisions) {
  EXPECT_FALSE(get("a").has_value());
  const Revision first = put("a", "1");
  const Revision second = put("a", "2");
  EXPECT_GT(second, first);
  const auto found = get("a").value();
  EXPECT_EQ(found.value, "2");
  EXPECT_EQ(found.version, 2);
  EXPECT_EQ(found.create_revision, first);
  EXPECT_EQ(found.mod_revision, second);
  const auto removed = run(kv().delete_range(DeleteRequest(key("a"))));
  EXPECT_EQ(removed.value().deleted, 1);
  EXPECT_FALSE(get("a").has_value());
  const Revision third = put("a", "3");
  EXPECT_EQ(get("a")->create_revision, third);
  EXPECT_EQ(get("a")->version, 1);
}

TEST_P(KvSuite, ValuesAreBytes) {
  const std::string bytes("\0\xff\n\0", 4);
  put("bytes", bytes);
  EXPECT_EQ(get("bytes")->value, bytes);
  put("empty", "");
  EXPECT_EQ(get("empty")->value, "");
}

TEST_P(KvSuite, ReadsThePast) {
  const Revision first = put("a", "1");
  put("a", "2");
  run(kv().delete_range(DeleteRequest(key("a")))).ignore("seen below");
  RangeRequest past(key("a"));
  past.revision = first;
  EXPECT_EQ(run(kv().range(past)).value().kvs.at(0).value, "1");
  past.revision = first - 1;
  EXPECT_TRUE(run(kv().range(past)).value().kvs.empty());
  past.revision = now() + 1000;
  EXPECT_EQ(run(kv().range(past)).code(), Errc::out_of_range);
}

TEST_P(KvSuite, RangesAreOrderedLimitedAndCounted) {
  for (const char* name : {"b", "a", "c", "d"}) put(name, std::string("v") + name);
  RangeRequest request(all());
  EXPECT_EQ(names(request), (Texts{"a", "b", "c", "d"}));
  request.limit = 2;
  auto page = run(kv().range(request));
  EXPECT_TRUE(page.value().more);
  EXPECT_EQ(page.value().count, 4);
  EXPECT_EQ(page.value().kvs.size(), 2u);
  request.limit = 4;
  EXPECT_FALSE(run(kv().range(request)).value().more);
  request.limit = 0;
  request.keys_only = true;
  EXPECT_EQ(run(kv().range(request)).value().kvs.at(3).value, "");
  EXPECT_NE(run(kv().range(request)).value().kvs.at(3).mod_revision, 0);
  request.count_only = true;
  EXPECT_EQ(run(kv().range(request)).value().count, 4);
  EXPECT_TRUE(run(kv().range(request)).value().kvs.empty());
  EXPECT_EQ(names(RangeRequest(KeyRange(key("b"), key("d")))), (Texts{"b", "c"}));
  EXPECT_EQ(names(RangeRequest(KeyRange(key("d"), key("b")))), Texts());
}

TEST_P(KvSuite, RangesAreSortedAndFiltered) {
  const Revision first = put("a", "3");
  put("b", "1");
  const Revision third = put("c", "2");
  put("a", "3");
  RangeRequest request(all());
  request.sort_order = SortOrder::descend;
  EXPECT_EQ(names(request), (Texts{"c", "b", "a"}));
  request.sort_target = SortTarget::value;
  request.sort_order = SortOrder::ascend;
  EXPECT_EQ(names(request), (Texts{"b", "c", "a"}));
  request.sort_target = SortTarget::mod;
  request.limit = 2;
  EXPECT_EQ(names(request), (Texts{"b", "c"}));
  request = RangeRequest(all());
  request.max_mod_revision = third;
  EXPECT_EQ(names(request), (Texts{"b", "c"}));
  request = RangeRequest(all());
  request.max_create_revision = first;
  EXPECT_EQ(names(request), (Texts{"a"}));
}

TEST_P(KvSuite, PutGivesAndKeepsWhatWasThere) {
  PutRequest request(key("a"), "1");
  request.want_previous = true;
  EXPECT_FALSE(run(kv().put(request)).value().previous.has_value());
  request.value = "2";
  EXPECT_EQ(run(kv().put(request)).value().previous->value, "1");
  PutRequest keep(key("a"), "");
  keep.keep_value = true;
  EXPECT_TRUE(run(kv().put(keep)).ok());
  EXPECT_EQ(get("a")->value, "2");
  EXPECT_EQ(get("a")->version, 3);
  keep.value = "x";
  EXPECT_EQ(run(kv().put(keep)).code(), Errc::invalid_argument);
  PutRequest absent(key("none"), "");
  absent.keep_value = true;
  EXPECT_EQ(run(kv().put(absent)).code(), Errc::invalid_argument);
  EXPECT_EQ(run(kv().put(PutRequest("", "x"))).code(), Errc::invalid_argument);
}

TEST_P(KvSuite, DeletesARange) {
  for (const char* name : {"a", "b", "c"}) put(name, name);
  const Revision before = now();
  DeleteRequest request(KeyRange(key("a"), key("c")));
  request.want_previous = true;
  const auto done = run(kv().delete_range(request));
  EXPECT_EQ(done.value().deleted, 2);
  EXPECT_EQ(done.value().previous.at(1).value, "b");
  EXPECT_EQ(done.value().revision, before + 1);
  const auto again = run(kv().delete_range(request));
  EXPECT_EQ(again.value().deleted, 0);
  EXPECT_EQ(again.value().revision, before + 1);
  EXPECT_EQ(names(RangeRequest(all())), (Texts{"c"}));
}

TEST_P(KvSuite, CompareAndSwap) {
  Txn create;
  create.when(Compare::absent(key("a"))).then(PutRequest(key("a"), "1"));
  create.otherwise(RangeRequest(key("a")));
  const auto made = run(kv().txn(create));
  ASSERT_TRUE(made.ok()) << made.error().message();
  EXPECT_TRUE(made.value().succeeded);
  const auto refused = run(kv().txn(create));
  EXPECT_FALSE(refused.value().succeeded);
  EXPECT_EQ(refused.value().revision, made.value().revision);
  const auto& seen = std::get<RangeResult>(refused.value().results.at(0).what);
  EXPECT_EQ(seen.kvs.at(0).mod_revision, made.value().revision);
  Txn swap;
  swap.when(Compare::mod_revision_is(key("a"), made.value().revision)).then(PutRequest(key("a"), "2"));
  EXPECT_TRUE(run(kv().txn(swap)).value().succeeded);
  EXPECT_FALSE(run(kv().txn(swap)).value().succeeded);
  EXPECT_EQ(get("a")->value, "2");
}

TEST_P(KvSuite, ComparesOfEveryKind) {
  const Revision created = put("a", "m");
  const Revision changed = put("a", "m");
  using Target = Compare::Target;
  using Relation = Compare::Relation;
  struct Case {
    Compare compare;
    bool met;
  };
  std::vector<Case> cases;
  const auto number = [&](const char* name, Target t, Relation r, std::int64_t n, bool met) {
    cases.push_back({Compare(KeyRange(key(name)), t, r, n), met});
  };
  number("a", Target::version, Relation::equal, 2, true);
  number("a", Target::version, Relation::greater, 2, false);
  number("a", Target::version, Relation::less, 3, true);
  number("a", Target::version, Relation::not_equal, 2, false);
  number("a", Target::create, Relation::equal, created, true);
  number("a", Target::mod, Relation::equal, changed, true);
  number("a", Target::lease, Relation::equal, 0, true);
  number("none", Target::version, Relation::equal, 0, true);
  number("none", Target::mod, Relation::less, 1, true);
  cases.push_back({Compare::value_is(key("a"), "m"), true});
  cases.push_back({Compare::value_is(key("a"), "n"), false});
  cases.push_back({Compare::value_is(key("none"), ""), false});
  Compare greater = Compare::value_is(key("a"), "l");
  greater.relation = Relation::greater;
  cases.push_back({greater, true});
  put("b", "m");
  Compare both = Compare::value_is("", "m");
  both.range = all();
  cases.push_back({both, true});
  put("c", "other");
  for (std::size_t i = 0; i < cases.size(); ++i) {
    Txn txn;
    txn.when(cases[i].compare);
    const bool met = cases[i].met && i + 1 < cases.size();  // the last: c is in the range now
    EXPECT_EQ(run(kv().txn(txn)).value().succeeded, met) << i;
  }
}

TEST_P(KvSuite, ATransactionIsOneRevisionAndSeesItself) {
  put("a", "1");
  const Revision before = now();
  Txn txn;
  txn.then(RangeRequest(key("a"))).then(PutRequest(key("a"), "2")).then(RangeRequest(key("a")));
  txn.then(PutRequest(key("b"), "1")).then(DeleteRequest(key("none")));
  const auto done = run(kv().txn(txn));
  ASSERT_TRUE(done.ok()) << done.error().message();
  EXPECT_EQ(done.value().revision, before + 1);
  EXPECT_EQ(std::get<RangeResult>(done.value().results.at(0).what).kvs.at(0).value, "1");
  EXPECT_EQ(std::get<RangeResult>(done.value().results.at(2).what).kvs.at(0).value, "2");
  EXPECT_EQ(std::get<DeleteResult>(done.value().results.at(4).what).deleted, 0);
  EXPECT_EQ(get("a")->mod_revision, get("b")->mod_revision);
  Txn reads;
  reads.then(RangeRequest(all()));
  EXPECT_EQ(run(kv().txn(reads)).value().revision, before + 1);
}

TEST_P(KvSuite, NestedTransactions) {
  put("a", "1");
  Txn inner;
  inner.when(Compare::value_is(key("a"), "1")).then(PutRequest(key("in"), "yes"));
  inner.otherwise(PutRequest(key("in"), "no"));
  Txn outer;
  outer.then(inner).then(PutRequest(key("a"), "2"));
  const auto done = run(kv().txn(outer));
  ASSERT_TRUE(done.ok()) << done.error().message();
  EXPECT_TRUE(std::get<TxnResult>(done.value().results.at(0).what).succeeded);
  EXPECT_EQ(get("in")->value, "yes");
  EXPECT_EQ(get("a")->mod_revision, get("in")->mod_revision);
}

TEST_P(KvSuite, TransactionsThatAreRefused) {
  const Revision before = now();
  Txn twice;
  twice.then(PutRequest(key("a"), "1")).then(PutRequest(key("a"), "2"));
  EXPECT_EQ(run(kv().txn(twice)).code(), Errc::invalid_argument);
  Txn put_and_removed;
  put_and_removed.then(PutRequest(key("a"), "1")).then(DeleteRequest(all()));
  EXPECT_EQ(run(kv().txn(put_and_removed)).code(), Errc::invalid_argument);
  Txn nested;
  Txn inner;
  inner.then(PutRequest(key("a"), "1"));
  nested.then(inner).then(PutRequest(key("a"), "2"));
  EXPECT_EQ(run(kv().txn(nested)).code(), Errc::invalid_argument);
  Txn long_one;
  for (std::size_t i = 0; i <= txn_ops_max; ++i) long_one.then(PutRequest(key(std::to_string(i)), "1"));
  EXPECT_EQ(run(kv().txn(long_one)).code(), Errc::invalid_argument);
  Txn no_lease_there;
  no_lease_there.then(PutRequest(key("b"), "1")).then(PutRequest(key("a"), "1", 12345));
  EXPECT_EQ(run(kv().txn(no_lease_there)).code(), Errc::not_found);
  Txn future;
  RangeRequest later(key("a"));
  later.revision = before + 1000;
  future.then(PutRequest(key("a"), "1")).then(later);
  EXPECT_EQ(run(kv().txn(future)).code(), Errc::invalid_argument);
  EXPECT_EQ(names(RangeRequest(all())), Texts());
  EXPECT_EQ(now(), before);
}

TEST_P(KvSuite, AsManyOperationsAsAllowed) {
  Txn txn;
  for (std::size_t i = 0; i < txn_ops_max; ++i) txn.then(PutRequest(key(std::to_string(i)), "1"));
  ASSERT_TRUE(run(kv().txn(txn)).ok());
  EXPECT_EQ(names(RangeRequest(all())).size(), txn_ops_max);
}

TEST_P(KvSuite, RequestsThatAreTooLarge) {
  const std::string almost(request_bytes_max - 4096, 'x');
  EXPECT_TRUE(run(kv().put(PutRequest(key("a"), almost))).ok());
  EXPECT_EQ(get("a")->value.size(), almost.size());
  const std::string more(request_bytes_max + 1, 'x');
  EXPECT_EQ(run(kv().put(PutRequest(key("b"), more))).code(), Errc::invalid_argument);
  const std::string much_more(8 << 20, 'x');
  const Errc code = run(kv().put(PutRequest(key("b"), much_more))).code();
  EXPECT_TRUE(code == Errc::invalid_argument || code == Errc::resource_exhausted) << holdfast::name(code);
  EXPECT_FALSE(get("b").has_value());
}

TEST_P(KvSuite, WatchesWhatHappens) {
  put("a", "0");
  auto w = watch(WatchRequest(all()));
  EXPECT_TRUE(quiet(*w));
  put("a", "1");
  put("b", "2");
  run(kv().delete_range(DeleteRequest(key("a")))).ignore("seen below");
  EXPECT_EQ(events(*w, 3), (Texts{"put a=1", "put b=2", "remove a"}));
  EXPECT_TRUE(quiet(*w));
  close(std::move(w));
}

TEST_P(KvSuite, WatchesFromThePast) {
  const Revision first = put("a", "1");
  put("a", "2");
  put("b", "1");
  auto w = watch(WatchRequest(all(), first));
  EXPECT_EQ(events(*w, 3), (Texts{"put a=1", "put a=2", "put b=1"}));
  put("a", "3");
  EXPECT_EQ(events(*w, 1), (Texts{"put a=3"}));
  close(std::move(w));
}

TEST_P(KvSuite, WatchesOneKeyOfTheFuture) {
  const Revision here = now();
  auto w = watch(WatchRequest(key("a"), here + 2));
  put("a", "1");
  put("a", "2");
  put("ab", "2");
  EXPECT_EQ(events(*w, 1), (Texts{"put a=2"}));
  EXPECT_TRUE(quiet(*w));
  close(std::move(w));
}

TEST_P(KvSuite, WatchGivesPreviousValuesAndFilters) {
  WatchRequest with(all());
  with.want_previous = true;
  auto w = watch(with);
  WatchRequest only(all());
  only.without_puts = true;
  auto removals = watch(only);
  put("a", "1");
  put("a", "2");
  run(kv().delete_range(DeleteRequest(key("a")))).ignore("seen below");
  EXPECT_EQ(events(*w, 3), (Texts{"put a=1", "put a=2 was 1", "remove a was 2"}));
  EXPECT_EQ(events(*removals, 1), (Texts{"remove a"}));
  close(std::move(w));
  close(std::move(removals));
}

TEST_P(KvSuite, OneRevisionIsOneBatch) {
  auto w = watch(WatchRequest(all()));
  Txn txn;
  for (int i = 0; i < 100; ++i) txn.then(PutRequest(key(std::to_string(100 + i)), "1"));
  ASSERT_TRUE(run(kv().txn(txn)).ok());
  for (;;) {
    auto batch = run(w->next(rig_->home().now() + 10s, StopToken()));
    ASSERT_TRUE(batch.ok());
    if (batch.value().events.empty()) continue;
    EXPECT_EQ(batch.value().events.size(), 100u);
    EXPECT_GE(batch.value().revision, batch.value().events.front().kv.mod_revision);
    break;
  }
  close(std::move(w));
}

TEST_P(KvSuite, WatchesMoreThanOneBatch) {
  constexpr int puts = 600;
  const Revision start = now() + 1;
  for (int i = 0; i < puts; ++i) put("k", std::to_string(i));
  auto w = watch(WatchRequest(all(), start));
  const auto seen = events(*w, puts);
  ASSERT_EQ(seen.size(), static_cast<std::size_t>(puts));
  for (int i = 0; i < puts; ++i) {
    ASSERT_EQ(seen[static_cast<std::size_t>(i)], "put k=" + std::to_string(i));
  }
  close(std::move(w));
}

TEST_P(KvSuite, WatchOfAnEmptyRangeIsRefused) {
  auto made = run(kv().watch(WatchRequest(KeyRange(key("b"), key("a")))));
  EXPECT_EQ(made.code(), Errc::invalid_argument);
}

TEST_P(KvSuite, AClosedWatchIsOver) {
  auto w = watch(WatchRequest(all()));
  rig_->run(w->close());
  EXPECT_EQ(run(w->next()).code(), Errc::cancelled);
  rig_->run(w->close());
}

TEST_P(KvSuite, CompactionForgetsThePast) {
  const Revision first = put("a", "1");
  put("a", "2");
  put("b", "1");
  run(kv().delete_range(DeleteRequest(key("b")))).ignore("seen below");
  const Revision last = put("a", "3");
  ASSERT_TRUE(run(kv().compact(last)).ok());
  RangeRequest past(key("a"));
  past.revision = first;
  EXPECT_EQ(run(kv().range(past)).code(), Errc::out_of_range);
  past.revision = last;
  EXPECT_EQ(run(kv().range(past)).value().kvs.at(0).value, "3");
  EXPECT_EQ(names(RangeRequest(all())), (Texts{"a"}));
  EXPECT_EQ(run(kv().compact(last)).code(), Errc::out_of_range);
  EXPECT_EQ(run(kv().compact(now() + 1000)).code(), Errc::out_of_range);
  auto w = watch(WatchRequest(all(), first));
  EXPECT_EQ(events(*w, 1), (Texts{"error out_of_range"}));
  EXPECT_FALSE(run(w->next()).ok());
  close(std::move(w));
  auto after = watch(WatchRequest(all(), last));
  EXPECT_EQ(events(*after, 1), (Texts{"put a=3"}));
  close(std::move(after));
}

TEST_P(KvSuite, ALeaseTakesItsKeysAlong) {
  const auto lease = run(kv().lease_grant(60));
  ASSERT_TRUE(lease.ok()) << lease.error().message();
  EXPECT_GE(lease.value().ttl_s, 60);
  const LeaseId id = lease.value().id;
  EXPECT_GT(id, 0);
  put("a", "1", id);
  put("b", "1", id);
  put("c", "1");
  EXPECT_EQ(get("a")->lease, id);
  // The leader of several members answers for leases, and may carry out a put after the member that took it.
  auto status = run(kv().lease_status(id, true));
  for (int i = 0; i < 100 && status.ok() && status.value().keys.size() < 2; ++i) {
    sleep(100ms);
    status = run(kv().lease_status(id, true));
  }
  Texts keys = status.value().keys;
  std::sort(keys.begin(), keys.end());  // etcd gives them in any order
  EXPECT_EQ(keys, (Texts{key("a"), key("b")}));
  EXPECT_GT(status.value().left_s, 50);
  EXPECT_GE(run(kv().lease_keep_alive(id)).value(), 60);
  put("b", "2");  // is in no lease any more
  auto w = watch(WatchRequest(all()));
  const Revision before = now();
  ASSERT_TRUE(run(kv().lease_revoke(id)).ok());
  EXPECT_EQ(events(*w, 1), (Texts{"remove a"}));
  EXPECT_EQ(now(), before + 1);
  EXPECT_EQ(names(RangeRequest(all())), (Texts{"b", "c"}));
  EXPECT_EQ(run(kv().lease_revoke(id)).code(), Errc::not_found);
  EXPECT_EQ(run(kv().lease_keep_alive(id)).code(), Errc::not_found);
  EXPECT_EQ(run(kv().lease_status(id, false)).value().left_s, -1);
  EXPECT_EQ(run(kv().put(PutRequest(key("a"), "1", id))).code(), Errc::not_found);
  close(std::move(w));
}

TEST_P(KvSuite, ALeaseMayBeNamed) {
  const auto id = static_cast<LeaseId>(rig_->home().random().next() >> 2);
  const auto lease = run(kv().lease_grant(60, id));
  EXPECT_EQ(lease.value().id, id);
  EXPECT_EQ(run(kv().lease_grant(60, id)).code(), Errc::already_exists);
  EXPECT_EQ(run(kv().lease_grant(9'000'000'001)).code(), Errc::out_of_range);
  EXPECT_TRUE(run(kv().lease_revoke(id)).ok());
}

TEST_P(KvSuite, ALeaseThatNobodyKeepsEnds) {
  const auto lease = run(kv().lease_grant(3)).value();
  put("a", "1", lease.id);
  auto w = watch(WatchRequest(all()));
  for (int i = 0; i < 4; ++i) {
    sleep(1s);
    EXPECT_TRUE(run(kv().lease_keep_alive(lease.id)).ok());
  }
  EXPECT_TRUE(get("a").has_value());
  EXPECT_EQ(events(*w, 1), (Texts{"remove a"}));
  EXPECT_FALSE(get("a").has_value());
  EXPECT_EQ(run(kv().lease_keep_alive(lease.id)).code(), Errc::not_found);
  close(std::move(w));
}

}  // namespace holdfast::store
