#include "sim/cluster/history.h"

#include <array>
#include <vector>

#include <gtest/gtest.h>

namespace holdfast::sim {
namespace {

struct OneBlock : BlockHistory {
  OneBlock() : BlockHistory(1) {}
  bool reads(Value v) {
    const Op r = begin_read(0, 1);
    return end_read(r, std::array{v}).empty();
  }
  void writes(Value v) { end_write(begin_write(0, 1, v), true); }
};

TEST(Stamp, IsRecognisedAndNothingElseIs) {
  std::vector<std::byte> block(512);
  stamp_block(block, 77, 5);
  EXPECT_EQ(read_stamp(block, 5), 77u);
  EXPECT_NE(read_stamp(block, 6) & value_garbage, 0u) << "a block in the wrong place";
  block[300] ^= std::byte{1};
  EXPECT_NE(read_stamp(block, 5) & value_garbage, 0u);
  stamp_block(block, value_zeroes, 5);
  EXPECT_EQ(read_stamp(block, 9), value_zeroes);
}

TEST(BlockHistory, AReadReturnsTheLastAcknowledgedWrite) {
  OneBlock h;
  EXPECT_TRUE(h.reads(value_zeroes));
  h.writes(1);
  h.writes(2);
  EXPECT_TRUE(h.reads(2));
  EXPECT_FALSE(h.reads(1));
  EXPECT_FALSE(h.reads(value_garbage | 3));
}

TEST(BlockHistory, OverlappingWritesLeaveEitherButThenItStays) {
  for (const Value first : {Value{1}, Value{2}}) {
    OneBlock h;
    const auto a = h.begin_write(0, 1, 1);
    const auto b = h.begin_write(0, 1, 2);
    h.end_write(a, true);
    h.end_write(b, true);
    EXPECT_FALSE(h.may_hold(0, value_zeroes));
    EXPECT_TRUE(h.reads(first));
    EXPECT_FALSE(h.reads(3 - first)) << "later reads must agree";
  }
}

TEST(BlockHistory, AWriteInFlightMayOrMayNotBeSeen) {
  OneBlock h;
  h.writes(1);
  const auto w = h.begin_write(0, 1, 2);
  EXPECT_TRUE(h.reads(2));
  EXPECT_TRUE(h.reads(1));
  h.end_write(w, true);
  EXPECT_FALSE(h.reads(1));
}

TEST(BlockHistory, AReadThatOverlapsAWriteSeesOldOrNew) {
  for (const Value seen : {Value{1}, Value{2}}) {
    OneBlock h;
    h.writes(1);
    const auto r = h.begin_read(0, 1);
    h.writes(2);
    EXPECT_TRUE(h.end_read(r, std::array{seen}).empty());
    EXPECT_FALSE(h.reads(1));
  }
}

TEST(BlockHistory, AFailedWriteIsThereOrNotOnceALaterReadSaidSo) {
  OneBlock h;
  h.writes(1);
  h.end_write(h.begin_write(0, 1, 2), false);
  EXPECT_TRUE(h.may_hold(0, 1));
  EXPECT_TRUE(h.may_hold(0, 2));
  EXPECT_TRUE(h.reads(1));
  EXPECT_FALSE(h.reads(2));
}

TEST(BlockHistory, AFailedWriteDoesNotComeBackAfterALaterWrite) {
  OneBlock h;
  h.end_write(h.begin_write(0, 1, 1), false);
  h.writes(2);
  EXPECT_FALSE(h.reads(1));
  EXPECT_TRUE(h.reads(2));
}

TEST(BlockHistory, AFailedWriteMayWinOverAConcurrentOne) {
  OneBlock h;
  const auto other = h.begin_write(0, 1, 2);
  h.end_write(h.begin_write(0, 1, 1), false);
  h.end_write(other, true);
  EXPECT_TRUE(h.reads(1));
}

TEST(BlockHistory, LostCachesBringBackOnlyWhatNoFlushCovered) {
  OneBlock h;
  h.writes(1);
  h.end_flush(h.begin_flush(), true);
  h.lose_unflushed();
  EXPECT_FALSE(h.may_hold(0, value_zeroes));
  h.writes(2);
  h.lose_unflushed();
  EXPECT_TRUE(h.may_hold(0, 1));
  EXPECT_TRUE(h.reads(1));
  EXPECT_FALSE(h.reads(2)) << "whatever it is, it stays";
}

TEST(BlockHistory, LostCachesDoNotUndoADurableWrite) {
  OneBlock h;
  h.writes(1);
  h.end_write(h.begin_write(0, 1, 2), true, true);
  h.lose_unflushed();
  EXPECT_FALSE(h.may_hold(0, 1));
  EXPECT_TRUE(h.may_hold(0, 2));
  h.writes(3);
  h.lose_unflushed();
  EXPECT_TRUE(h.may_hold(0, 2));
}

TEST(BlockHistory, NoFlushMakesGoodWhatAFailedOneDropped) {
  OneBlock h;
  h.writes(1);
  h.end_flush(h.begin_flush(), true);
  h.lose_flush(h.begin_flush());
  h.lose_unflushed();
  EXPECT_FALSE(h.may_hold(0, value_zeroes)) << "there was nothing to drop";
  const auto beside = h.begin_write(0, 1, 2);
  h.lose_flush(h.begin_flush());
  h.end_write(beside, true);
  h.end_flush(h.begin_flush(), true);
  h.lose_unflushed();
  EXPECT_TRUE(h.may_hold(0, 1));
  h.writes(3);
  h.end_flush(h.begin_flush(), true);
  h.lose_unflushed();
  EXPECT_FALSE(h.may_hold(0, 1)) << "written again";
  EXPECT_TRUE(h.reads(3));
}

}  // namespace
}  // namespace holdfast::sim
