#include "nexus/membership.h"

#include <gtest/gtest.h>

#include "nexus/membership_keeper.h"
#include "nexus/membership_stores.h"
#include "nexus/testing/rig.h"
#include "sim/node.h"
#include "sim/reactor.h"

namespace holdfast::nexus {
namespace {

Record sample() {
  Record r;
  r.epoch = 7;
  r.owner = Uuid::from_name("run");
  r.children = {{"one", true, 7}, {"two", false, 3}};
  return r;
}

TEST(Record, JsonRoundTrip) { EXPECT_EQ(parse_record(to_json(sample())).value(), sample()); }

TEST(Record, JsonIsASupersetOfMayastors) {
  const auto r = parse_record(R"({"clean_shutdown":true,"children":[{"uuid":"u1","healthy":true}]})");
  ASSERT_TRUE(r.ok());
  EXPECT_TRUE(r.value().clean_shutdown);
  EXPECT_EQ(r.value().epoch, 0u);
  EXPECT_TRUE(r.value().find("u1")->healthy);
  EXPECT_NE(to_json(sample()).find(R"("clean_shutdown":false)"), std::string::npos);
}

TEST(Record, UnknownFieldsAreIgnored) {
  EXPECT_TRUE(parse_record(R"({"clean_shutdown":false,"children":[],"new":[{"deep":[1]}]})").ok());
}

TEST(Record, HostileInputIsBadFormat) {
  const std::string deep(100'000, '[');
  const char* bad[] = {
      "",
      "{",
      "null",
      "[]",
      "7",
      "{}",
      R"({"clean_shutdown":1,"children":[]})",
      R"({"clean_shutdown":true})",
      R"({"clean_shutdown":true,"children":{}})",
      R"({"clean_shutdown":true,"children":[7]})",
      R"({"clean_shutdown":true,"children":[{"uuid":"a"}]})",
      R"({"clean_shutdown":true,"children":[{"uuid":7,"healthy":true}]})",
      R"({"clean_shutdown":true,"children":[{"uuid":"","healthy":true}]})",
      R"({"clean_shutdown":true,"children":[{"uuid":"a b","healthy":true}]})",
      R"({"clean_shutdown":true,"children":[{"uuid":"a","healthy":"yes"}]})",
      R"({"clean_shutdown":true,"epoch":-1,"children":[]})",
      R"({"clean_shutdown":true,"epoch":1.5,"children":[]})",
      R"({"clean_shutdown":true,"owner":"me","children":[]})",
      R"({"clean_shutdown":true,"children":[{"uuid":"a","healthy":true},{"uuid":"a","healthy":true}]})"};
  for (const char* text : bad) EXPECT_EQ(parse_record(text).code(), Errc::bad_format) << text;
  EXPECT_EQ(parse_record(deep).code(), Errc::bad_format);
  EXPECT_EQ(parse_record(std::string(1000, '[')).code(), Errc::bad_format);
}

struct Stores : testing::Test {
  sim::World world{1};
  sim::Node& node = world.add_node("n");
  sim::Process& process = node.start();
  sim::SimReactor& core = process.core(0);
  template <class T>
  T run(Task<T> t) {
    return world.run(core, std::move(t));
  }
  void compare_and_swap(MembershipStore& store) {
    EXPECT_FALSE(run(store.load("k/1")).value().has_value());
    const std::uint64_t first = run(store.swap("k/1", 0, sample())).value();
    EXPECT_NE(first, 0u);
    EXPECT_EQ(run(store.swap("k/1", 0, sample())).code(), Errc::fenced);
    Record next = sample();
    next.clean_shutdown = true;
    const std::uint64_t second = run(store.swap("k/1", first, next)).value();
    EXPECT_NE(second, first);
    EXPECT_EQ(run(store.swap("k/1", first, sample())).code(), Errc::fenced);
    const auto loaded = run(store.load("k/1"));
    EXPECT_EQ(loaded.value()->record, next);
    EXPECT_EQ(loaded.value()->revision, second);
    EXPECT_FALSE(run(store.load("k/2")).value().has_value());
    EXPECT_TRUE(run(store.remove("k/1")).ok());
    EXPECT_TRUE(run(store.remove("k/1")).ok());
    EXPECT_FALSE(run(store.load("k/1")).value().has_value());
  }
};

TEST_F(Stores, MemoryComparesAndSwaps) {
  MemoryStore store;
  compare_and_swap(store);
}

TEST_F(Stores, FileComparesAndSwaps) {
  FileStore store(core, "/state");
  compare_and_swap(store);
}

TEST_F(Stores, FileOutlivesTheProcess) {
  {
    FileStore store(core, "/state");
    EXPECT_EQ(run(store.swap("a", 0, sample())).value(), 1u);
  }
  node.crash(sim::CrashKind::process);
  sim::SimReactor& again = node.start().core(0);
  FileStore store(again, "/state");
  const auto loaded = world.run(again, store.load("a"));
  EXPECT_EQ(loaded.value()->record, sample());
  EXPECT_EQ(world.run(again, store.swap("a", 1, sample())).value(), 2u);
}

TEST_F(Stores, FileThatIsNoRecordIsBadFormat) {
  FileStore store(core, "/state");
  const char* bad[] = {"", "garbage", "1\n{", "0\n{}", "x\n{}", "1"};
  for (const char* text : bad) {
    node.files()["/state/a.json"] = text;
    EXPECT_EQ(run(store.load("a")).code(), Errc::bad_format) << text;
    EXPECT_EQ(run(store.swap("a", 1, sample())).code(), Errc::bad_format) << text;
  }
}

TEST_F(Stores, FileNamesCannotLeaveTheDirectory) {
  EXPECT_EQ(FileStore::file_name("volume-1"), "volume-1.json");
  EXPECT_EQ(FileStore::file_name("/a/../b"), "%2Fa%2F..%2Fb.json");
  EXPECT_EQ(FileStore::file_name(".."), "%2E..json");
  EXPECT_NE(FileStore::file_name("a/b"), FileStore::file_name("a%2Fb"));
}

struct Keeper : Stores {
  fake::TestStore store;
  NexusOptions options;
  Record wanted = sample();
  MembershipKeeper keeper{core, store, "key", options, [this] { return wanted; }};
  Keeper() {
    store.reactor = &core;
    wanted.epoch = 0;
  }
  ~Keeper() override { run(keeper.stop()); }
};

TEST_F(Keeper, RaisesTheEpochWithEverySwap) {
  ASSERT_TRUE(run(keeper.load()).ok());
  EXPECT_TRUE(run(keeper.persist()).ok());
  EXPECT_TRUE(run(keeper.persist()).ok());
  ASSERT_EQ(store.written.size(), 2u);
  EXPECT_EQ(store.written[0].epoch, 1u);
  EXPECT_EQ(store.written[1].epoch, 2u);
  wanted.epoch = 40;  // the least that it may be
  for (const std::uint64_t expected : {40u, 41u}) {
    EXPECT_TRUE(run(keeper.persist()).ok());
    EXPECT_EQ(store.written.back().epoch, expected);
  }
}

TEST_F(Keeper, StoreAwayIsTriedAgainUntilItAnswers) {
  ASSERT_TRUE(run(keeper.load()).ok());
  store.error = Errc::not_connected;
  EXPECT_EQ(run(keeper.persist(world.now() + 10s)).code(), Errc::timed_out);
  EXPECT_TRUE(keeper.pending());
  EXPECT_GT(keeper.retries(), 5u);
  store.error = Errc::ok;
  EXPECT_TRUE(run(keeper.persist()).ok());
  EXPECT_FALSE(keeper.pending());
}

TEST_F(Keeper, SwapWhoseAnswerWasLostDoesNotFence) {
  ASSERT_TRUE(run(keeper.load()).ok());
  store.lose_next_answer = true;
  EXPECT_TRUE(run(keeper.persist()).ok());
  EXPECT_FALSE(keeper.fenced());
  EXPECT_EQ(run(store.load("key")).value()->record.epoch, 1u);
  EXPECT_TRUE(run(keeper.persist()).ok());
}

TEST_F(Keeper, LostAnswerAndNewWishEndsWithTheWish) {
  ASSERT_TRUE(run(keeper.load()).ok());
  store.lose_next_answer = true;
  store.hang = true;
  bool done = false;
  auto first = [&]() -> Task<void> {
    (co_await keeper.persist()).ignore("looked at below");
    done = true;
  };
  world.spawn(core, first());
  world.run_for(10ms);
  wanted.children[0].healthy = false;  // while the first swap is under way
  store.hang = false;
  EXPECT_TRUE(run(keeper.persist()).ok());
  EXPECT_TRUE(done);
  EXPECT_FALSE(run(store.load("key")).value()->record.children[0].healthy);
}

TEST_F(Keeper, AnotherOwnerFencesForGood) {
  ASSERT_TRUE(run(keeper.load()).ok());
  EXPECT_TRUE(run(keeper.persist()).ok());
  EXPECT_TRUE(run(store.steal("key")).ok());
  EXPECT_EQ(run(keeper.persist()).code(), Errc::fenced);
  EXPECT_TRUE(keeper.fenced());
  EXPECT_EQ(run(keeper.persist()).code(), Errc::fenced);
}

TEST_F(Keeper, RecordMadeByAnotherBetweenLoadAndFirstSwapFences) {
  ASSERT_TRUE(run(keeper.load()).ok());
  ASSERT_TRUE(run(store.swap("key", 0, sample())).ok());
  EXPECT_EQ(run(keeper.persist()).code(), Errc::fenced);
}

}  // namespace
}  // namespace holdfast::nexus
