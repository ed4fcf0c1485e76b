// What goes wrong under a volume: no space, errors of a disk in data and in the journal, a lost and a slow disk.
#include <gtest/gtest.h>

#include "block/leaf_device.h"
#include "pool/testing/pool_bench.h"
#include "rt/scope.h"

namespace holdfast::pool {
namespace {

using namespace testing_support;  // NOLINT: tests only

constexpr std::uint64_t cluster = 64 * KiB;

BenchParams small() {
  BenchParams p;
  p.disk_bytes = 4 * MiB;
  return p;
}

// Writes cluster after cluster until one is refused; how many were taken.
std::uint64_t fill(Tracked& v, Errc& last) {
  std::uint64_t n = 0;
  for (; (n + 1) * cluster <= v.bytes.size(); ++n) {
    last = v.write(n * cluster, cluster);
    if (last != Errc::ok) break;
  }
  return n;
}

TEST(VolumeFaults, AFullPoolRefusesNewClustersAndNothingElse) {
  PoolBench b(small());
  Tracked v(b, b.volume("v", 16 * MiB));
  Errc last = Errc::ok;
  const std::uint64_t n = fill(v, last);
  EXPECT_EQ(last, Errc::out_of_space);
  ASSERT_GT(n, 20u);
  EXPECT_EQ(v.write(0, cluster), Errc::ok) << "an overwrite needs no space";
  EXPECT_EQ(b.snapshot("v", "s"), Errc::ok) << "nor does a snapshot";
  EXPECT_EQ(v.write(0, 4 * KiB), Errc::out_of_space) << "but the first write after it does";
  EXPECT_EQ(v.difference(), "");
  EXPECT_EQ(b.destroy("s"), Errc::ok);
  EXPECT_EQ(v.write(0, 4 * KiB), Errc::ok);
  EXPECT_EQ(v.deallocate(0, 3 * cluster), Errc::ok);
  EXPECT_EQ(v.write((n + 1) * cluster, 3 * cluster), Errc::ok) << "what is freed is there at once";
  EXPECT_EQ(v.write((n + 5) * cluster, 512), Errc::out_of_space);
  EXPECT_EQ(v.difference(), "");
  EXPECT_EQ(b.pool->view().status, PoolStatus::online);
}

TEST(VolumeFaults, SpaceEventsComeBeforeItIsFull) {
  PoolBench b(small());
  Tracked v(b, b.volume("v", 16 * MiB));
  Errc last = Errc::ok;
  fill(v, last);
  const std::vector<PoolEvent> expected{PoolEvent::space_warning, PoolEvent::space_critical};
  EXPECT_EQ(b.events, expected);
  ASSERT_EQ(v.deallocate(0, 16 * MiB), Errc::ok);
  b.settle();
  ASSERT_FALSE(b.events.empty());
  EXPECT_EQ(b.events.back(), PoolEvent::space_ok);
}

TEST(VolumeFaults, AThickVolumeHasItsSpaceAlsoAfterASnapshot) {
  PoolBench b(small());
  const std::uint64_t size = 16 * cluster;
  Tracked thick(b, b.volume("thick", size, true));
  Tracked thin(b, b.volume("thin", 16 * MiB));
  EXPECT_EQ(b.usage("thick").reserved, size);
  ASSERT_EQ(thick.write(0, size / 2), Errc::ok);
  EXPECT_EQ(b.usage("thick").reserved, size / 2);
  ASSERT_EQ(b.snapshot("thick", "s"), Errc::ok);
  EXPECT_EQ(b.usage("thick").reserved, size);
  Errc last = Errc::ok;
  fill(thin, last);
  EXPECT_EQ(last, Errc::out_of_space);
  EXPECT_EQ(b.snapshot("thick", "s2"), Errc::ok) << "nothing was written since: nothing more to reserve";
  ASSERT_EQ(thick.write(0, size), Errc::ok);
  EXPECT_EQ(thick.difference(), "");
  EXPECT_EQ(b.snapshot("thick", "s3"), Errc::out_of_space);
  ASSERT_EQ(thick.deallocate(0, size), Errc::ok);
  EXPECT_EQ(thin.write(15 * MiB, 512), Errc::out_of_space) << "what a thick volume frees stays its own";
  ASSERT_EQ(thick.write(0, size), Errc::ok);
}

TEST(VolumeFaults, AThickVolumeThatDoesNotFitLeavesNothingBehind) {
  PoolBench b(small());
  VolumeParams p;
  p.name = "big";
  p.uuid = uuid_of("big");
  p.size_bytes = 64 * MiB;
  p.thick = true;
  const auto refused = b.machine.run(b.pool->create_volume(p));
  EXPECT_EQ(refused.code(), Errc::out_of_space);
  EXPECT_NE(refused.error().message().find("'big'"), std::string::npos) << refused.error().message();
  EXPECT_TRUE(b.pool->volumes().empty());
  EXPECT_EQ(b.pool->device(p.uuid), nullptr);
  p.thick = false;
  EXPECT_TRUE(b.machine.run(b.pool->create_volume(p)).ok());
}

TEST(VolumeFaults, AnErrorOfTheDiskInDataIsThatWritesAlone) {
  PoolBench b;
  Tracked v(b, b.volume("v", 16 * cluster));
  ASSERT_EQ(v.write(0, cluster), Errc::ok);
  const std::uint64_t behind_the_journal = MiB + 256 * KiB;
  b.disk(0).faults().bad.push_back({behind_the_journal, 64 * MiB - behind_the_journal, false, true});
  Bytes data = filled(4 * KiB, 1);
  EXPECT_EQ(v.channel.write(0, data), Errc::io_error);
  EXPECT_EQ(v.channel.write(4 * cluster / 512, data), Errc::io_error);  // its cluster is not mapped
  b.disk(0).faults().bad.clear();
  EXPECT_EQ(b.usage("v").allocated, cluster);
  ASSERT_EQ(v.write(0, 4 * KiB), Errc::ok);
  ASSERT_EQ(v.write(4 * cluster, 4 * KiB), Errc::ok);
  EXPECT_EQ(v.difference(), "");
  const PoolView view = b.pool->view();
  EXPECT_EQ(view.disks[0].write_errors, 2u);
  EXPECT_EQ(view.status, PoolStatus::degraded);
}

TEST(VolumeFaults, AJournalThatCannotBeWrittenFreezesTheMapButNotWhatIsThere) {
  PoolBench b;
  Tracked v(b, b.volume("v", 16 * cluster));
  ASSERT_EQ(v.write(0, cluster), Errc::ok);
  b.disk(0).faults().bad.push_back({.offset = MiB, .length = 256 * KiB, .reads = false, .writes = true});
  Bytes data = filled(4 * KiB, 1);
  EXPECT_EQ(v.channel.write(4 * cluster / 512, data), Errc::io_error);
  EXPECT_EQ(b.pool->view().status, PoolStatus::faulted);
  EXPECT_EQ(v.write(8 * KiB, 4 * KiB), Errc::ok) << "in place";
  EXPECT_NE(v.channel.write(5 * cluster / 512, data), Errc::ok);
  EXPECT_NE(b.snapshot("v", "s"), Errc::ok);
  const BlockRange some{Lba{0}, cluster / 512};
  EXPECT_NE(b.machine.run(v.channel.channel->deallocate(some)).code(), Errc::ok);
  EXPECT_EQ(v.difference(), "");
}

// A pool whose journal fails in one commit, which may be on the disk all the same, wholly or in part.
struct UncertainCommit {
  explicit UncertainCommit(std::uint64_t seed) : b(params(seed)) {}
  static BenchParams params(std::uint64_t seed) {
    BenchParams p = small();
    p.seed = seed;
    return p;
  }
  void break_journal() {
    b.disk(0).faults().bad.push_back({.offset = MiB, .length = 256 * KiB, .reads = false, .writes = true});
  }
  void reopen() {
    b.disk(0).faults().bad.clear();
    b.reopen();
    const auto journal = b.pool->view();
    EXPECT_EQ(journal.status, PoolStatus::online) << journal.status_reason;
  }
  PoolBench b;
};

// What was acknowledged after it is there, whatever became of the commit.
TEST(VolumeFaults, NothingIsWrittenWhereAnUncertainCommitMayHaveLetGo) {
  unsigned happened = 0, did_not = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    for (const bool shrink : {false, true}) {
      UncertainCommit u(seed);
      const Bytes data = filled(4 * KiB, 7);
      Errc written = Errc::ok;
      {
        Tracked v(u.b, u.b.volume("v", 4 * cluster));
        ASSERT_EQ(v.write(0, 4 * cluster), Errc::ok);
        u.b.settle();
        u.break_journal();
        const BlockRange last{Lba{3 * cluster / 512}, cluster / 512};
        const Errc gone = shrink ? u.b.machine.run(u.b.pool->resize_volume(uuid_of("v"), 3 * cluster)).code()
                                 : u.b.machine.run(v.channel.channel->deallocate(last)).code();
        EXPECT_NE(gone, Errc::ok);
        written = v.channel.write(3 * cluster / 512, data, Durable::yes);
      }
      u.reopen();
      OpenChannel v(u.b.machine, u.b.device("v"));
      Bytes got = filled(4 * KiB, 0);
      const bool there = v.read(3 * cluster / 512, got) == Errc::ok && got != Bytes(4 * KiB);
      EXPECT_TRUE(written != Errc::ok || got == data) << seed << " was acknowledged, and is lost";
      ++(there ? did_not : happened);
    }
  }
  EXPECT_GT(happened, 0u);
  EXPECT_GT(did_not, 0u);
}

// What it may have mapped is given to nobody: neither to another volume nor to a checkpoint.
TEST(VolumeFaults, NobodyIsGivenWhatAnUncertainCommitMayHaveMapped) {
  unsigned happened = 0, did_not = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    UncertainCommit u(seed);
    const Bytes mine = filled(cluster, 1), theirs = filled(cluster, 2);
    {
      OpenChannel v(u.b.machine, u.b.volume("v", 64 * cluster));
      OpenChannel w(u.b.machine, u.b.volume("w", 64 * cluster));
      u.b.settle();
      u.break_journal();
      EXPECT_NE(v.write(0, mine), Errc::ok);
      for (std::uint64_t i = 0; i < 64; ++i) EXPECT_NE(w.write(i * cluster / 512, theirs), Errc::ok);
      for (unsigned i = 0; i < 64; ++i) u.b.machine.run(u.b.pool->checkpoint()).ignore("it may work");
    }
    u.reopen();
    OpenChannel v(u.b.machine, u.b.device("v"));
    const Bytes got = v.content(0, cluster);
    EXPECT_TRUE(got == mine || got == Bytes(cluster)) << seed << ": byte " << static_cast<int>(got[0]);
    ++(got == mine ? happened : did_not);
  }
  EXPECT_GT(happened, 0u);
  EXPECT_GT(did_not, 0u);
}

// The image is there, and which label counts is not known: it is kept, once, until a label says so.
TEST(VolumeFaults, LabelsThatCannotBeWrittenTakeNoSpace) {
  PoolBench b(small());
  Tracked v(b, b.volume("v", 16 * cluster));
  const std::uint64_t used = b.used();
  b.disk(0).faults().bad.push_back({.offset = 0, .length = MiB, .reads = false, .writes = true});
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(b.machine.run(b.pool->checkpoint()).code(), Errc::io_error);
    ASSERT_EQ(v.write(0, 4 * KiB), Errc::ok);
    b.settle();
  }
  EXPECT_LE(b.used(), used + 2 * cluster);
  b.disk(0).faults().bad.clear();
  EXPECT_TRUE(b.machine.run(b.pool->checkpoint()).ok());
  EXPECT_EQ(b.used(), used + cluster) << "its first cluster";
  EXPECT_EQ(v.difference(), "");
  EXPECT_EQ(b.pool->view().journal_used_bytes, 0u);
}

TEST(VolumeFaults, ALostDiskTakesItsClustersAndNobodyElses) {
  BenchParams p;
  p.disks = 2;
  PoolBench b(p);
  Tracked v(b, b.volume("v", 64 * cluster));
  // Backwards: one behind the other they would lie on one disk.
  for (std::uint64_t i = 64; i > 0; --i) ASSERT_EQ(v.write((i - 1) * cluster, cluster), Errc::ok);
  b.disk(1).faults().failed = true;
  unsigned good = 0;
  unsigned bad = 0;
  for (std::uint64_t at = 0; at < v.bytes.size(); at += cluster) {
    Bytes got(4 * KiB);
    (v.channel.read(at / 512, got) == Errc::ok ? good : bad) += 1;
  }
  EXPECT_EQ(good + bad, 64u);
  EXPECT_GT(good, 0u);
  EXPECT_GT(bad, 0u);
  EXPECT_NE(b.pool->view().status, PoolStatus::online);
  EXPECT_NE(b.pool->view().status_reason.find("/dev/d1"), std::string::npos) << b.pool->view().status_reason;
  b.disk(1).faults().failed = false;
  EXPECT_EQ(v.difference(), "") << "the disk is back";
}

TEST(VolumeFaults, ASlowDiskIsCounted) {
  PoolBench b;
  Tracked v(b, b.volume("v", 16 * cluster));
  ASSERT_EQ(v.write(0, cluster), Errc::ok);
  EXPECT_EQ(b.pool->view().disks[0].stalls, 0u);
  b.disk(0).faults().stalled_until = b.machine.world.now() + std::chrono::seconds(3);
  ASSERT_EQ(v.write(0, 4 * KiB), Errc::ok);
  EXPECT_GE(b.pool->view().disks[0].stalls, 1u);
}

// While it is under way: one that never ends is seen all the same, and once.
TEST(VolumeFaults, AnOperationThatDoesNotEndIsCountedAsAStall) {
  struct Stalled {
    static Task<void> write(Channel& channel, Bytes& data) {
      const IoVec from = vec(data);
      const Status done = co_await channel.write(Lba{0}, IoVecs(&from, 1), Durable::no);
      EXPECT_TRUE(done.ok());
    }
    static Task<void> run(PoolBench& b, Channel& channel, Bytes& data) {
      TaskScope scope(b.machine.home());
      scope.spawn(write(channel, data));
      co_await b.machine.home().sleep(std::chrono::seconds(3));
      EXPECT_EQ(b.pool->view().disks[0].stalls, 1u);
      co_await scope.join();
    }
  };
  PoolBench b;
  Tracked v(b, b.volume("v", 16 * cluster));
  ASSERT_EQ(v.write(0, cluster), Errc::ok);
  b.settle();
  b.disk(0).faults().stalled_until = b.machine.world.now() + std::chrono::seconds(20);
  Bytes data = filled(4 * KiB, 1);
  b.machine.run(Stalled::run(b, *v.channel.channel, data));
  EXPECT_EQ(b.pool->view().disks[0].stalls, 1u);
}

TEST(VolumeFaults, ASnapshotOfAThickVolumeNeedsTheRoomThatIsNotReservedAnyMore) {
  PoolBench b(small());
  const std::uint64_t size = 16 * cluster;
  Tracked thick(b, b.volume("thick", size, true));
  Tracked thin(b, b.volume("thin", 16 * MiB));
  ASSERT_EQ(thick.write(0, size), Errc::ok);
  ASSERT_EQ(b.snapshot("thick", "s1"), Errc::ok);
  ASSERT_EQ(thick.write(0, size / 2), Errc::ok);
  ASSERT_EQ(b.destroy("s1"), Errc::ok);  // all is its own again; 8 clusters count as reserved still
  b.settle();
  const auto free = [&b] { return (b.pool->view().capacity_bytes - b.used()) / cluster; };
  for (std::uint64_t i = 0; free() > 14; ++i) ASSERT_EQ(thin.write(i * cluster, cluster), Errc::ok);
  EXPECT_EQ(b.snapshot("thick", "s2"), Errc::out_of_space) << "16 may be wanted once more, 14 are free";
}

TEST(VolumeFaults, WhatAnotherVolumeLetGoOfIsNotWrittenInPlaceBeforeThatIsDurable) {
  PoolBench b;
  b.volume("v", 16 * cluster);
  {
    OpenChannel v(b.machine, b.device("v"));
    ASSERT_EQ(v.write(0, filled(32 * KiB, 1)), Errc::ok);
    b.settle();
    ASSERT_EQ(v.write(32 * KiB / 512, filled(4 * KiB, 2)), Errc::ok);  // the journal carries it
  }
  ASSERT_EQ(b.snapshot("v", "s"), Errc::ok);
  ASSERT_EQ(b.clone("s", "k"), Errc::ok);
  ASSERT_EQ(b.destroy("s"), Errc::ok);
  OpenChannel v(b.machine, b.device("v"));
  OpenChannel k(b.machine, b.device("k"));
  b.disk(0).faults().sync_error_per_mille = 1000;  // nothing becomes durable
  const BlockRange all{Lba{0}, 16 * cluster / 512};
  ASSERT_EQ(b.machine.run(v.channel->deallocate(all)).code(), Errc::ok);
  ASSERT_EQ(k.write(0, filled(4 * KiB, 3)), Errc::ok);
  EXPECT_EQ(b.usage("k").allocated, 2 * cluster) << "a new cluster, before the one that v may still have";
  b.disk(0).faults().sync_error_per_mille = 0;
}

TEST(VolumeFaults, WhatFreesSpaceIsTakenWhereNoCheckpointFits) {
  PoolBench b(small());
  Errc last = Errc::ok;
  {
    Tracked v(b, b.volume("v", 16 * MiB));
    fill(v, last);
    ASSERT_EQ(last, Errc::out_of_space);
  }
  last = Errc::ok;  // the image becomes longer than what is kept for it
  for (int i = 0; i < 20 && last == Errc::ok; ++i) {
    VolumeParams p;
    p.name = "a" + std::to_string(i);
    p.uuid = uuid_of(p.name);
    p.size_bytes = cluster;
    p.attributes["x"] = std::string(28 * KiB, 'x');
    p.attributes["y"] = std::string(28 * KiB, 'y');
    last = b.machine.run(b.pool->create_volume(p)).code();
  }
  ASSERT_EQ(last, Errc::out_of_space);
  last = Errc::ok;
  for (int i = 0; i < 200 && last == Errc::ok; ++i) {
    const Attributes change{{"z", std::to_string(i)}};
    last = b.machine.run(b.pool->set_attributes(uuid_of("a0"), change)).code();
  }
  ASSERT_EQ(last, Errc::out_of_space) << "the journal is full";
  EXPECT_EQ(b.destroy("v"), Errc::ok) << "freeing space heals it";
  b.settle();
  const Status written = b.machine.run(b.pool->checkpoint());
  EXPECT_TRUE(written.ok()) << written.error().message();
}

TEST(VolumeFaults, AThickVolumeThatHasAllOfThePoolLeavesRoomForItsImage) {
  BenchParams with;
  with.disk_bytes = 512 * MiB;
  PoolBench b(with);
  VolumeParams p;
  p.name = "v";
  p.uuid = uuid_of("v");
  p.thick = true;
  Errc made = Errc::out_of_space;
  for (std::uint64_t n = b.pool->view().capacity_bytes / cluster; made == Errc::out_of_space; --n) {
    p.size_bytes = n * cluster;
    made = b.machine.run(b.pool->create_volume(p)).code();
  }
  ASSERT_EQ(made, Errc::ok);
  {
    OpenChannel v(b.machine, b.device("v"));
    for (std::uint64_t at = 0; at < p.size_bytes; at += cluster)
      ASSERT_EQ(v.write(at / 512, filled(4 * KiB, 1)), Errc::ok) << at / cluster;
  }
  b.settle();
  const Status written = b.machine.run(b.pool->checkpoint());
  EXPECT_TRUE(written.ok()) << written.error().message();
}

// A write that waited until fresh data was in its place may have to write all of the cluster: then it has all of it
// locked.
TEST(VolumeFaults, AClusterThatIsWrittenAnewAsAWholeIsLockedAsAWhole) {
  struct Race {
    static Task<void> write(Channel& to, std::uint64_t offset, Bytes& data) {
      const IoVec from = vec(data);
      const Status done = co_await to.write(Lba{offset / 512}, IoVecs(&from, 1), Durable::no);
      EXPECT_TRUE(done.ok());
    }
    static Task<void> read(Channel& of, std::uint64_t offset, Bytes& data) {
      const IoVec into = vec(data);
      const Status done = co_await of.read(Lba{offset / 512}, IoVecs(&into, 1));
      EXPECT_TRUE(done.ok());
    }
    static Task<void> run(PoolBench& b, Channel& v, Channel& w, std::uint64_t slow) {
      Reactor& home = b.machine.home();
      TaskScope scope(home);
      Bytes got(512);
      Bytes large = filled(32 * KiB, 3), first = filled(4 * KiB, 2);
      Bytes again = filled(4 * KiB, 4), beside = filled(4 * KiB, 5);
      b.disk(1).faults().stalled_until = b.machine.world.now() + std::chrono::milliseconds(500);
      scope.spawn(read(w, slow, got));  // until it ends nothing that is let go of is settled
      const Status gone = co_await b.pool->destroy_volume(uuid_of("new"));
      EXPECT_TRUE(gone.ok());
      scope.spawn(write(v, 32 * KiB, large));  // its record waits for a flush
      co_await write(v, 4 * KiB, first);       // the journal carries it
      const std::uint64_t reads = b.disk(0).stats().reads;
      scope.spawn(
          write(v, 4 * KiB, again));  // waits until that is in its place; the large one ends meanwhile
      for (int i = 0; i < 2000 && b.disk(0).stats().reads == reads; ++i)
        co_await home.sleep(std::chrono::microseconds(10));
      co_await write(v, 16 * KiB, beside);
      co_await scope.join();
    }
  };
  PoolBench b(small());
  Tracked v(b, b.volume("v", 4 * cluster));
  ASSERT_EQ(v.write(0, 2 * cluster), Errc::ok);
  ASSERT_EQ(b.snapshot("v", "old"), Errc::ok);
  ASSERT_EQ(v.write(cluster, cluster), Errc::ok);  // a leaf of its own: cluster 0 is in two
  ASSERT_EQ(b.snapshot("v", "new"), Errc::ok);
  b.add_disk(MiB + cluster);  // one cluster
  ASSERT_TRUE(b.machine.run(b.pool->add_disk(b.paths[1], false)).ok());
  Tracked w(b, b.volume("w", 64 * cluster));
  std::uint64_t slow = 64 * cluster;
  do {  // backwards: one behind the other they would lie on one disk
    slow -= cluster;
    ASSERT_EQ(w.write(slow, cluster), Errc::ok);
  } while (slow > 0 && b.pool->view().disks[1].used_bytes == 0);
  b.settle();
  const std::uint64_t reads = b.disk(1).stats().reads;
  w.channel.content(slow / 512, 512);
  ASSERT_GT(b.disk(1).stats().reads, reads) << "it lies on the other disk";
  b.machine.run(Race::run(b, *v.channel.channel, *w.channel.channel, slow));
  const auto put = [&v](std::uint64_t at, std::uint64_t length, int value) {
    std::fill_n(v.bytes.begin() + static_cast<std::ptrdiff_t>(at), length, static_cast<std::byte>(value));
  };
  put(4 * KiB, 4 * KiB, 4);
  put(16 * KiB, 4 * KiB, 5);
  put(32 * KiB, 32 * KiB, 3);
  EXPECT_EQ(v.difference(), "");
}

// As one over a network says of itself while it is formatted, or one without a cache where a write fails.
class NotReadyDisk final : public LeafDevice {
 public:
  static constexpr std::uint64_t size_bytes = 8 * MiB, data_begin = MiB + 256 * KiB;
  NotReadyDisk(const Cores& cores, Capabilities can)
      : LeafDevice(Identity{"odd", uuid_of("odd"), "bdev:///odd", "Test disk"}, cores, shape(), can) {}
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override {
    std::unique_ptr<Channel> made = std::make_unique<Port>(*this, core);
    co_return made;
  }
  Task<void> close() override { co_return; }

  Bytes content = Bytes(size_bytes);
  unsigned refusals = 0;
  Errc refusal = Errc::busy;

 private:
  struct Port final : LeafChannel {
    Port(NotReadyDisk& d, Reactor& core) : LeafChannel(d, core), disk(d) {}
    Task<Status> read(Lba first, IoVecs into) override {
      copy_to_vectors(disk.content.data() + offset_of(first), total_bytes(into), into);
      co_return Status();
    }
    Task<Status> write(Lba first, IoVecs from, Durable) override {
      if (disk.refusals > 0 && offset_of(first) >= data_begin) {
        --disk.refusals;
        co_return Error(disk.refusal);
      }
      copy_from_vectors(from, 0, disk.content.data() + offset_of(first), total_bytes(from));
      co_return Status();
    }
    Task<Status> write_zeroes(BlockRange, Unmap, Durable) override { co_return Error(Errc::not_supported); }
    Task<Status> deallocate(BlockRange) override { co_return Error(Errc::not_supported); }
    Task<Status> flush() override { co_return Status(); }
    NotReadyDisk& disk;
  };
  static Geometry shape() {
    Geometry g;
    g.block_count = size_bytes / g.block_bytes;
    return g;
  }
};

// A pool on such a disk, with a volume.
struct OnOddDisk {
  explicit OnOddDisk(Capabilities can) {
    auto made = std::make_unique<NotReadyDisk>(machine.process.cores(), can);
    disk = made.get();
    std::unique_ptr<BlockDevice> device = std::move(made);
    EXPECT_TRUE(machine.registry.adopt(std::move(device)).ok());
    PoolParams params;
    params.name = "p";
    params.disks = {"odd"};
    params.cluster_bytes = 64 * KiB;
    PoolOptions options;
    options.journal_bytes = 256 * KiB;
    auto created = machine.run(Pool::create(machine.registry, params, options, nullptr));
    EXPECT_TRUE(created.ok());
    if (!created.ok()) return;
    pool = std::move(created).value();
    VolumeParams volume;
    volume.name = "v";
    volume.uuid = uuid_of("v");
    volume.size_bytes = MiB;
    EXPECT_TRUE(machine.run(pool->create_volume(volume)).ok());
  }
  ~OnOddDisk() {
    if (pool == nullptr) return;
    EXPECT_TRUE(machine.run(pool->close()).ok());
  }
  Machine machine;
  NotReadyDisk* disk = nullptr;
  std::unique_ptr<Pool> pool;
};

TEST(VolumeFaults, ADiskThatIsNotReadyFailsAWriteOnce) {
  OnOddDisk odd{Capabilities()};
  OpenChannel v(odd.machine, *odd.pool->device(uuid_of("v")));
  odd.disk->refusals = 100;
  EXPECT_NE(v.write(0, filled(4 * KiB, 1)), Errc::ok);
  EXPECT_EQ(odd.disk->refusals, 99u);
  odd.disk->refusals = 0;
}

TEST(VolumeFaults, WithoutACacheADurableWriteThatFailsIsThatWriteAlone) {
  Capabilities can;
  can.volatile_cache = false;
  OnOddDisk odd(can);
  OpenChannel v(odd.machine, *odd.pool->device(uuid_of("v")));
  ASSERT_EQ(v.write(0, filled(64 * KiB, 1)), Errc::ok);
  odd.machine.world.run_for(1s);
  odd.disk->refusal = Errc::io_error;
  odd.disk->refusals = 1;
  EXPECT_EQ(v.write(0, filled(4 * KiB, 2), Durable::yes), Errc::io_error);
  odd.machine.world.run_for(1s);
  EXPECT_NE(odd.pool->view().status, PoolStatus::faulted);
  EXPECT_EQ(v.write(64 * KiB / 512, filled(4 * KiB, 3)), Errc::ok);
}

}  // namespace
}  // namespace holdfast::pool
