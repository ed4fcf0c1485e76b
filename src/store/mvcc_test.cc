#include "store/mvcc.h"

#include <gtest/gtest.h>

#include "store/request_check.h"

namespace holdfast::store {
namespace {

struct State : testing::Test {
  MemoryTable table;
  Mvcc mvcc = open(MvccLimits());
  Mvcc open(MvccLimits limits) { return Mvcc::open(table, limits, Nanos{0}).value(); }
  Revision put(const std::string& key, const std::string& value, LeaseId lease = no_lease) {
    return mvcc.put(PutRequest(key, value, lease)).value().revision;
  }
  std::size_t changes(Revision from) {
    return mvcc.history(WatchRequest(KeyRange::all()), from, 1000).value().events.size();
  }
};

TEST(KeyRange, Prefixes) {
  struct Case {
    std::string prefix, first, end;
  };
  const std::string zero(1, '\0');
  const Case cases[] = {{"a", "a", "b"},
                        {"a/", "a/", "a0"},
                        {"a\xff", "a\xff", "b"},
                        {"\xff\xff", "\xff\xff", zero},
                        {"", zero, zero}};
  for (const Case& c : cases) {
    const KeyRange range = KeyRange::prefix(c.prefix);
    EXPECT_EQ(range.key, c.first);
    EXPECT_EQ(range.end, c.end);
  }
  EXPECT_TRUE(KeyRange::prefix("a\xff").contains("a\xff\xff"));
  EXPECT_FALSE(KeyRange::prefix("a").contains("b"));
  EXPECT_TRUE(KeyRange::all().contains("\xff\xff"));
}

TEST_F(State, AnEmptyStoreIsAtRevisionOne) {
  EXPECT_EQ(mvcc.revision(), 1);
  EXPECT_EQ(put("a", "1"), 2);
}

TEST_F(State, HistoryEndsWithWholeRevisions) {
  Txn txn;
  for (int i = 0; i < 10; ++i) txn.then(PutRequest(std::to_string(i), "x"));
  const Revision first = mvcc.txn(txn).value().revision;
  put("next", "x");
  const auto some = mvcc.history(WatchRequest(KeyRange::all()), first, 3).value();
  EXPECT_EQ(some.events.size(), 10u);
  EXPECT_EQ(some.through, first);
  const auto rest = mvcc.history(WatchRequest(KeyRange::all()), first + 1, 3).value();
  EXPECT_EQ(rest.events.size(), 1u);
  EXPECT_EQ(rest.through, mvcc.revision());
  EXPECT_EQ(mvcc.history(WatchRequest(KeyRange::all()), first + 7, 3).value().through, first + 6);
}

TEST_F(State, CompactionKeepsWhatIsNeeded) {
  put("a", "1");
  put("a", "2");
  put("gone", "1");
  const Revision removed = mvcc.delete_range(DeleteRequest("gone")).value().revision;
  const std::uint64_t before = table.bytes().value();
  ASSERT_TRUE(mvcc.compact(removed).ok());
  EXPECT_LT(table.bytes().value(), before);
  // A removal at the compacted revision itself is still news to a watch from there.
  EXPECT_EQ(changes(removed), 1u);
  put("b", "1");
  ASSERT_TRUE(mvcc.compact(removed + 1).ok());
  EXPECT_EQ(changes(removed + 1), 1u);
  EXPECT_EQ(mvcc.range(RangeRequest(KeyRange::all())).value().kvs.size(), 2u);
  EXPECT_EQ(mvcc.history(WatchRequest("a"), removed, 10).code(), Errc::out_of_range);
}

TEST_F(State, PreviousValuesBeforeACompactionAreNotGuessed) {
  put("a", "1");
  const Revision second = put("a", "2");
  ASSERT_TRUE(mvcc.compact(second).ok());
  WatchRequest watch("a");
  watch.want_previous = true;
  EXPECT_FALSE(mvcc.history(watch, second, 10).value().events.at(0).previous.has_value());
  const Revision third = put("a", "3");
  EXPECT_EQ(mvcc.history(watch, third, 10).value().events.at(0).previous->value, "2");
}

TEST_F(State, AFullStoreTakesNoMoreButGivesRoom) {
  MvccLimits limits;
  limits.table_bytes = 4096;
  mvcc = open(limits);
  Errc code = Errc::ok;
  for (int i = 0; i < 100 && code == Errc::ok; ++i) {
    code = mvcc.put(PutRequest("a", std::string(1000, 'x'))).code();
  }
  EXPECT_EQ(code, Errc::resource_exhausted);
  EXPECT_EQ(mvcc.lease_grant(1, 10, Nanos{0}).code(), Errc::resource_exhausted);
  Txn txn;
  Txn inner;
  inner.then(PutRequest("b", "x"));
  txn.then(inner);
  EXPECT_EQ(mvcc.txn(txn).code(), Errc::resource_exhausted);
  EXPECT_TRUE(mvcc.delete_range(DeleteRequest("a")).ok());
  EXPECT_TRUE(mvcc.compact(mvcc.revision()).ok());
  EXPECT_TRUE(mvcc.put(PutRequest("a", "x")).ok());
}

TEST_F(State, LeasesOutliveARestartWithTheirWholeTime) {
  ASSERT_TRUE(mvcc.lease_grant(7, 10, Nanos{0}).ok());
  put("a", "1", 7);
  put("b", "1", 7);
  put("b", "2");
  EXPECT_EQ(mvcc.next_expiry(), 10s);
  mvcc = Mvcc::open(table, MvccLimits(), 100s).value();
  EXPECT_EQ(mvcc.next_expiry(), 110s);
  EXPECT_TRUE(mvcc.expired(109s).empty());
  EXPECT_EQ(mvcc.lease_status(7, true, 101s).keys, std::vector<std::string>{"a"});
  EXPECT_EQ(mvcc.expired(110s), std::vector<LeaseId>{7});
  EXPECT_EQ(mvcc.lease_keep_alive(7, 110s).code(), Errc::not_found);
  ASSERT_TRUE(mvcc.lease_revoke(7).ok());
  EXPECT_EQ(mvcc.range(RangeRequest(KeyRange::all())).value().count, 1);
  EXPECT_EQ(mvcc.next_expiry(), no_deadline);
}

TEST_F(State, LeaseTimesHaveBounds) {
  EXPECT_EQ(mvcc.lease_grant(1, 0, Nanos{0}).value().ttl_s, 2);
  EXPECT_EQ(mvcc.lease_grant(2, -5, Nanos{0}).value().ttl_s, 2);
  EXPECT_TRUE(mvcc.lease_grant(3, 9'000'000'000, Nanos::max() - 10s).ok());
  EXPECT_TRUE(mvcc.expired(Nanos::max() - 5s).size() == 2);
}

Txn nest(int depth) {
  Txn txn;
  if (depth > 0) txn.then(nest(depth - 1));
  return txn;
}

TEST(RequestCheck, NestingUsesUpTheLimit) {
  EXPECT_TRUE(check_request(nest(128), 128).ok());
  EXPECT_EQ(check_request(nest(129), 128).code(), Errc::invalid_argument);
}

TEST(RequestCheck, EitherListOfANestedTransactionMayPutTheSameKey) {
  Txn inner;
  inner.then(PutRequest("a", "1")).otherwise(PutRequest("a", "2"));
  Txn outer;
  outer.then(inner);
  EXPECT_TRUE(check_request(outer, 128).ok());
  outer.then(inner);
  EXPECT_EQ(check_request(outer, 128).code(), Errc::invalid_argument);
  Txn removal;
  removal.then(inner).then(DeleteRequest("a"));
  EXPECT_EQ(check_request(removal, 128).code(), Errc::invalid_argument);
  Txn apart;
  apart.then(PutRequest("a", "1")).otherwise(PutRequest("a", "1"));
  EXPECT_TRUE(check_request(apart, 128).ok());
}

TEST(RequestCheck, SizeCountsEveryByteThatIsGiven) {
  Txn inner;
  inner.then(PutRequest("kkkk", std::string(1000, 'v')));
  Txn outer;
  outer.when(Compare::value_is("kkkk", std::string(500, 'v'))).otherwise(inner);
  EXPECT_GE(wire_bytes(outer), 1508u);
  EXPECT_LE(wire_bytes(outer), 1700u);
}

TEST(RequestCheck, ANestedTransactionDoesNotRemoveWhatAnotherPuts) {
  Txn put;
  put.then(PutRequest("a", "1"));
  Txn removal;
  removal.then(DeleteRequest("a"));
  Txn outer;
  outer.then(put).then(removal);
  EXPECT_EQ(check_request(outer, 128).code(), Errc::invalid_argument);
  Txn either;
  either.then(PutRequest("a", "1")).otherwise(DeleteRequest("a"));
  Txn whole;
  whole.then(either);
  EXPECT_TRUE(check_request(whole, 128).ok());
}

}  // namespace
}  // namespace holdfast::store
