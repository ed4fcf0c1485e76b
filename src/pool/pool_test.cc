// Creating, opening and closing pools, and every disk that does not fit.
#include "pool/pool.h"

#include <functional>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "pool/check.h"
#include "pool/superblock.h"
#include "pool/testing/pool_bench.h"

namespace holdfast::pool {
namespace {

using testing_support::BenchParams;
using testing_support::PoolBench;
using testing_support::Tracked;

std::string message_of(const Status& s) { return s.ok() ? "ok" : s.error().message(); }

struct PoolTest : testing::Test {
  PoolTest() : bench(params(2)) {}
  static BenchParams params(unsigned disks) {
    BenchParams p;
    p.disks = disks;
    p.disk_bytes = 8 * MiB;
    return p;
  }
  struct Outcome {
    Errc code = Errc::ok;
    std::string text;
  };
  Outcome open(std::vector<std::string> disks, const std::string& name = "p") {
    auto opened = bench.machine.run(
        Pool::open(bench.machine.registry, std::move(disks), name, {}, bench.options, nullptr));
    if (!opened.ok()) return {opened.code(), opened.error().message()};
    bench.pool = std::move(opened).value();
    return {};
  }
  Outcome create(const std::string& name, std::vector<std::string> disks, bool force = false,
                 std::uint32_t cluster_bytes = 64 * KiB) {
    PoolParams p;
    p.name = name;
    p.disks = std::move(disks);
    p.force = force;
    p.cluster_bytes = cluster_bytes;
    auto made = bench.machine.run(Pool::create(bench.machine.registry, p, bench.options, nullptr));
    if (!made.ok()) return {made.code(), made.error().message()};
    bench.pool = std::move(made).value();
    return {};
  }
  // Changes the newest label of a disk of the closed pool.
  void relabel(const std::string& path, const std::function<void(wire::Superblock&)>& change) {
    for (unsigned copy : {0u, 1u}) {
      std::vector<std::byte> bytes(wire::superblock_bytes);
      bench.machine.node.disk(path).peek(wire::superblock_offsets[copy], bytes);
      auto w = load<wire::Superblock>(bytes);
      change(w);
      w.crc32c = 0;
      w.crc32c = crc32c(bytes_of(w));
      bench.machine.node.disk(path).poke(wire::superblock_offsets[copy], bytes_of(w));
    }
  }
  void expect(const Outcome& got, Errc code, std::vector<std::string> words) {
    EXPECT_EQ(got.code, code) << got.text;
    for (const std::string& word : words) EXPECT_NE(got.text.find(word), std::string::npos) << got.text;
  }

  PoolBench bench;
};

TEST_F(PoolTest, WhatWasWrittenIsThereWhenItIsOpenedAgain) {
  bench.volume("v", MiB);
  bench.volume("w", 3 * MiB, true);
  {
    Tracked v(bench, bench.device("v"));
    ASSERT_EQ(v.write(4096, 8192), Errc::ok);
    ASSERT_EQ(bench.snapshot("v", "s"), Errc::ok);
    ASSERT_EQ(v.write(0, 4096), Errc::ok);
  }
  const PoolView before = bench.pool->view();
  std::swap(bench.paths[0], bench.paths[1]);  // the order does not matter
  bench.reopen();
  const PoolView after = bench.pool->view();
  EXPECT_EQ(after.uuid, before.uuid);
  EXPECT_EQ(after.status, PoolStatus::online) << after.status_reason;
  EXPECT_EQ(after.capacity_bytes, before.capacity_bytes);
  EXPECT_EQ(after.committed_bytes, before.committed_bytes);
  EXPECT_EQ(bench.pool->volumes().size(), 3u);
  EXPECT_EQ(bench.pool->find("w").value().spec.size_bytes, 3 * MiB);
  EXPECT_TRUE(bench.pool->find("w").value().spec.thick);
}

// The newest commit gets its witness half a second later, which may be while the pool is being closed: nothing follows
// the last checkpoint.
TEST_F(PoolTest, ACheckpointAtTheEndIsTheEnd) {
  for (int i = 0; i < 40; ++i) {
    bench.volume("v" + std::to_string(i), 64 * KiB);
    bench.machine.world.run_for(Journal::witness_pause - std::chrono::microseconds(100) * i);
    bench.close();
    const auto checked = bench.machine.run(check_pool(bench.machine.registry, bench.paths, false));
    ASSERT_TRUE(checked.ok());
    EXPECT_TRUE(checked.value().findings.empty()) << i << ": " << checked.value().findings.front();
    EXPECT_EQ(checked.value().scan.commits, 0u);
    bench.open();
  }
}

TEST_F(PoolTest, ManyOpeningsLoseNoSpace) {
  bench.volume("v", MiB);
  bench.reopen();
  const std::uint64_t used = bench.used();
  for (int i = 0; i < 20; ++i) bench.reopen();
  EXPECT_EQ(bench.used(), used);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(bench.machine.run(bench.pool->checkpoint()).ok());
  EXPECT_EQ(bench.used(), used);
}

TEST_F(PoolTest, DisksThatDoNotFit) {
  const auto paths = bench.paths;
  bench.close();
  expect(open({paths[0]}), Errc::failed_precondition, {"pool 'p'", "missing"});
  expect(open({paths[1]}), Errc::failed_precondition, {"pool 'p'", "disk 0", "missing"});
  expect(open({paths[0], paths[0]}), Errc::invalid_argument, {paths[0], "twice"});
  expect(open(paths, "q"), Errc::failed_precondition, {"pool 'p'", "pool 'q'"});
  expect(open({}), Errc::invalid_argument, {"no disks"});
  expect(open({"/dev/none"}), Errc::not_found, {"/dev/none"});
  bench.add_disk(8 * MiB);
  expect(open({paths[0], paths[1], "/dev/d2"}), Errc::failed_precondition, {"/dev/d2", "not of a pool"});
  ASSERT_EQ(create("q", {"/dev/d2"}).code, Errc::ok);
  bench.close();
  expect(open({paths[0], "/dev/d2", paths[1]}), Errc::failed_precondition, {"/dev/d2", "'q'", "'p'"});
  // Two pools of one name on the disks given.
  bench.add_disk(8 * MiB);
  ASSERT_EQ(create("p", {"/dev/d3"}).code, Errc::ok);
  bench.close();
  expect(open({paths[0], paths[1], "/dev/d3"}), Errc::failed_precondition, {"/dev/d3", "pool 'p'"});
  EXPECT_EQ(open(paths).code, Errc::ok);
}

TEST_F(PoolTest, ADiskIsNotTakenFromAPool) {
  const auto paths = bench.paths;
  bench.add_disk(8 * MiB);
  expect(create("q", {paths[0]}), Errc::busy, {paths[0], "pool 'p'"});
  EXPECT_EQ(bench.machine.run(bench.pool->add_disk(paths[0], true)).code(), Errc::busy);
  auto first = std::move(bench.pool);
  ASSERT_EQ(create("q", {"/dev/d2"}).code, Errc::ok);
  std::swap(first, bench.pool);
  ASSERT_TRUE(bench.machine.run(first->close()).ok());
  const Status refused = bench.machine.run(bench.pool->add_disk("/dev/d2", false));
  EXPECT_EQ(refused.code(), Errc::failed_precondition) << message_of(refused);
  EXPECT_NE(message_of(refused).find("pool 'q'"), std::string::npos) << message_of(refused);
  ASSERT_TRUE(bench.machine.run(bench.pool->add_disk("/dev/d2", true)).ok());
  bench.close();
  expect(create("r", {paths[1]}), Errc::failed_precondition, {paths[1], "pool 'p'"});
  bench.paths.push_back("/dev/d2");
  bench.paths.erase(bench.paths.begin() + 2, bench.paths.end() - 1);
  EXPECT_EQ(open(bench.paths).code, Errc::ok);
}

TEST_F(PoolTest, ForcedAnOldPoolIsGone) {
  const auto paths = bench.paths;
  bench.volume("v", MiB);
  bench.close();
  ASSERT_EQ(create("q", {paths[0]}, true).code, Errc::ok);
  EXPECT_TRUE(bench.pool->volumes().empty());
  bench.close();
  expect(open(paths), Errc::failed_precondition, {"pool 'q'"});
  EXPECT_EQ(open({paths[0]}, "").code, Errc::ok);
}

TEST_F(PoolTest, ReleasesOfOtherTimes) {
  const auto paths = bench.paths;
  bench.volume("v", MiB);
  bench.close();
  relabel(paths[1], [](auto& w) { w.version = 2; });
  expect(open(paths), Errc::not_supported, {paths[1], "version 2"});
  relabel(paths[1], [](auto& w) { w.version = 1; });
  relabel(paths[0], [](auto& w) { w.incompatible = 2; });
  expect(open(paths), Errc::not_supported, {paths[0], "newer release"});
  relabel(paths[0], [](auto& w) {
    w.incompatible = 0;
    w.compatible = 1;
  });
  ASSERT_EQ(open(paths).code, Errc::ok);
  EXPECT_EQ(bench.pool->view().status, PoolStatus::online);
  bench.close();
  relabel(paths[0], [](auto& w) { w.read_only_compatible = 1; });
  ASSERT_EQ(open(paths).code, Errc::ok);
  EXPECT_EQ(bench.pool->view().status, PoolStatus::degraded);
  VolumeParams more;
  more.name = "w";
  more.uuid = Uuid::from_name("w");
  more.size_bytes = MiB;
  EXPECT_EQ(bench.machine.run(bench.pool->create_volume(more)).code(), Errc::read_only);
  EXPECT_EQ(bench.pool->volumes().size(), 1u);
}

TEST_F(PoolTest, ADiskThatLostItsEndIsRefused) {
  const auto paths = bench.paths;
  bench.close();
  bench.machine.node.disk(paths[1]).resize(4 * MiB);
  expect(open(paths), Errc::failed_precondition, {paths[1], "smaller"});
}

TEST_F(PoolTest, WhatCannotBeAPoolIsRefused) {
  bench.close();
  bench.add_disk(8 * MiB);
  bench.add_disk(MiB);
  expect(create("q", {"/dev/d2"}, false, 96 * KiB), Errc::invalid_argument, {"96 KiB"});
  expect(create("q", {"/dev/d2"}, false, 32 * MiB), Errc::invalid_argument, {"32 MiB"});
  expect(create("q", {"/dev/d2"}, false, 4 * MiB), Errc::invalid_argument, {"/dev/d2", "too small"});
  expect(create("q", {"/dev/d3"}), Errc::invalid_argument, {"/dev/d3", "too small"});
  expect(create("", {"/dev/d2"}), Errc::invalid_argument, {"name"});
  expect(create("a b", {"/dev/d2"}), Errc::invalid_argument, {"name"});
  expect(create(std::string(256, 'x'), {"/dev/d2"}), Errc::invalid_argument, {"name"});
  expect(create("q", {}), Errc::invalid_argument, {"disks"});
  expect(create("q", {"/dev/d2", "/dev/d2"}), Errc::invalid_argument, {"twice"});
  ASSERT_EQ(create("q", {"/dev/d2"}).code, Errc::ok);
}

TEST_F(PoolTest, DestroyedItIsNoPool) {
  const auto paths = bench.paths;
  ASSERT_TRUE(bench.machine.run(bench.pool->destroy()).ok());
  bench.pool.reset();
  expect(open(paths), Errc::failed_precondition, {"not of a pool"});
  EXPECT_EQ(create("q", paths).code, Errc::ok);
}

TEST_F(PoolTest, ProbeSaysWhatADiskIs) {
  const auto paths = bench.paths;
  const Uuid uuid = bench.pool->uuid();
  bench.close();
  bench.add_disk(8 * MiB);
  auto none = bench.machine.run(Pool::probe(bench.machine.registry, "/dev/d2"));
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none.value());
  auto found = bench.machine.run(Pool::probe(bench.machine.registry, paths[1]));
  ASSERT_TRUE(found.ok() && found.value());
  EXPECT_EQ(found.value()->pool, "p");
  EXPECT_EQ(found.value()->pool_uuid, uuid);
  EXPECT_EQ(found.value()->disk_index, 1u);
}

TEST_F(PoolTest, GrowsWithItsDisksAndByMore) {
  const std::uint64_t before = bench.pool->view().capacity_bytes;
  ASSERT_TRUE(bench.machine.run(bench.pool->grow()).ok());
  EXPECT_EQ(bench.pool->view().capacity_bytes, before);
  bench.disk(1).resize(16 * MiB);
  ASSERT_TRUE(bench.machine.run(bench.pool->grow()).ok());
  EXPECT_EQ(bench.pool->view().capacity_bytes, before + 8 * MiB);
  bench.add_disk(8 * MiB);
  ASSERT_TRUE(bench.machine.run(bench.pool->add_disk(bench.paths.back(), false)).ok());
  EXPECT_EQ(bench.pool->view().capacity_bytes, before + 15 * MiB);
  bench.volume("v", 20 * MiB);  // larger than any disk
  {
    Tracked v(bench, bench.device("v"));
    ASSERT_EQ(v.write(0, 12 * MiB), Errc::ok);
    EXPECT_EQ(v.difference(), "");
  }
  EXPECT_GE(bench.used(), 12 * MiB);
  bench.reopen();
  EXPECT_EQ(bench.pool->view().disks.size(), 3u);
}

TEST_F(PoolTest, ALostDiskFaultsThePoolAndTheProcessGoesOn) {
  bench.volume("v", MiB);
  bench.disk(0).faults().failed = true;
  VolumeParams more;
  more.name = "w";
  more.uuid = Uuid::from_name("w");
  more.size_bytes = MiB;
  EXPECT_EQ(bench.machine.run(bench.pool->create_volume(more)).code(), Errc::io_error);
  const PoolView view = bench.pool->view();
  EXPECT_EQ(view.status, PoolStatus::faulted);
  EXPECT_NE(view.status_reason.find("/dev/d0"), std::string::npos) << view.status_reason;
  EXPECT_EQ(bench.events, std::vector<PoolEvent>{PoolEvent::status_changed});
  bench.disk(0).faults().failed = false;
  bench.reopen();
  EXPECT_EQ(bench.pool->view().status, PoolStatus::online);
  EXPECT_TRUE(bench.pool->find("v").ok());
}

TEST_F(PoolTest, ASlowDiskIsCounted) {
  bench.options.disk_health.stall_time = std::chrono::milliseconds(50);
  bench.reopen();
  bench.disk(1).faults().slowdown = 5000;
  bench.volume("v", MiB);
  {
    Tracked v(bench, bench.device("v"));
    ASSERT_EQ(v.write(0, 512 * KiB), Errc::ok);
  }
  EXPECT_GT(bench.pool->view().disks[1].stalls, 0u);
  EXPECT_EQ(bench.pool->view().disks[0].stalls, 0u);
}

TEST_F(PoolTest, NothingIsWrittenInAPoolThatIsReadOnly) {
  const auto paths = bench.paths;
  {
    Tracked v(bench, bench.volume("v", MiB));
    ASSERT_EQ(v.write(0, MiB), Errc::ok);
  }
  bench.close();
  relabel(paths[0], [](auto& w) { w.read_only_compatible = 1; });
  ASSERT_EQ(open(paths).code, Errc::ok);
  EXPECT_TRUE(bench.device("v").capabilities().read_only);
  const auto writes = [this] { return bench.disk(0).stats().writes + bench.disk(1).stats().writes; };
  const std::uint64_t before = writes();
  {
    Tracked v(bench, bench.device("v"));
    EXPECT_EQ(v.write(0, 4 * KiB), Errc::read_only);
    EXPECT_EQ(v.write_zeroes(0, 4 * KiB, Unmap::no), Errc::read_only);
    EXPECT_EQ(v.deallocate(0, 64 * KiB), Errc::read_only);
  }
  EXPECT_EQ(writes(), before);
}

TEST_F(PoolTest, ADiskOfThePoolIsNotAddedByAnotherPath) {
  bench.add_disk(8 * MiB);
  std::vector<std::byte> label(MiB);  // what another path shows
  bench.disk(1).peek(0, label);
  bench.disk(2).poke(0, label);
  for (const bool force : {false, true}) {
    const Status refused = bench.machine.run(bench.pool->add_disk(bench.paths[2], force));
    EXPECT_EQ(refused.code(), Errc::already_exists) << message_of(refused);
    EXPECT_NE(message_of(refused).find("disk 1"), std::string::npos) << message_of(refused);
  }
  EXPECT_EQ(bench.pool->view().disks.size(), 2u);
}

}  // namespace
}  // namespace holdfast::pool
