// Errors of disks while a pool is made and while it gets a disk: it can be asked for again, and no disk stays in use.
#include <gtest/gtest.h>

#include "pool/check.h"
#include "pool/disk.h"
#include "pool/superblock.h"
#include "pool/testing/pool_bench.h"
#include "rt/when_all.h"

namespace holdfast::pool {
namespace {

using namespace testing_support;  // NOLINT: tests only

constexpr std::uint64_t disk_bytes = 4 * MiB;
constexpr std::uint64_t journal_bytes = 256 * KiB;
constexpr std::uint64_t data_offset = MiB + journal_bytes;
constexpr std::uint64_t label_copies[] = {0, 512 * KiB};

// Two disks of which none has a pool.
struct CreateErrors : testing::Test {
  CreateErrors() {
    for (const char* path : {"/dev/d0", "/dev/d1"}) {
      sim::DiskOptions o;
      o.size_bytes = disk_bytes;
      machine.node.add_disk(path, o);
      params.disks.emplace_back(path);
    }
    params.name = "p";
    params.cluster_bytes = 64 * KiB;
    options.journal_bytes = journal_bytes;
  }
  sim::SimDisk& disk(std::size_t i) { return machine.node.disk(params.disks[i]); }
  void refuse(std::size_t i, std::uint64_t offset, std::uint64_t length, bool reads = false) {
    disk(i).faults().bad.push_back({.offset = offset, .length = length, .reads = reads, .writes = !reads});
  }
  void mend() {
    for (std::size_t i = 0; i < params.disks.size(); ++i) disk(i).faults() = sim::DiskFaults();
  }
  Status create() { return keep(Pool::create(machine.registry, params, options, nullptr)); }
  Status open() {
    return keep(Pool::open(machine.registry, params.disks, "p", std::nullopt, options, nullptr));
  }
  Status keep(Task<Result<std::unique_ptr<Pool>>> task) {
    auto done = machine.run(std::move(task));
    if (!done.ok()) return done.error();
    pool = std::move(done).value();
    return Status();
  }
  void close() {
    EXPECT_TRUE(machine.run(pool->close()).ok());
    pool.reset();
  }
  Task<Status> reached(const std::uint64_t& count, std::uint64_t wanted) {
    for (int tries = 0; count < wanted && tries < 100'000; ++tries)
      co_await machine.home().sleep(std::chrono::microseconds(1));
    co_return Status();
  }
  // Runs it; the first write to the range after the disk's labels were erased fails.
  Status fail_first_label(std::size_t i, std::uint64_t offset, Task<Status> task) {
    const sim::DiskStats before = disk(i).stats();
    const auto fault = [&]() -> Task<Status> {
      HF_CO_CHECK(co_await reached(disk(i).stats().zeroes, before.zeroes + 2));
      refuse(i, offset, 4096);
      HF_CO_CHECK(co_await reached(disk(i).stats().errors, before.errors + 1));
      disk(i).faults().bad.clear();
      co_return Status();
    };
    std::vector<Task<Status>> both;
    both.push_back(std::move(task));
    both.push_back(fault());
    return machine.run(when_all_ok(std::move(both)));
  }
  void expect_unused(std::size_t i) {
    EXPECT_EQ(machine.registry.find(disk_uri(params.disks[i])), nullptr) << "its device is still there";
    auto opened =
        machine.run(Disk::open(machine.registry, params.disks[i], "somebody else", DiskHealthLimits()));
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    machine.run(opened.value()->close());
  }
  void expect_works() {
    VolumeParams v;
    v.name = "v";
    v.uuid = uuid_of("v");
    v.size_bytes = MiB;
    EXPECT_TRUE(machine.run(pool->create_volume(v)).ok());
    close();
    EXPECT_TRUE(open().ok());
    EXPECT_EQ(pool->volumes().size(), 1u);
    close();
  }

  Machine machine;
  PoolParams params;
  PoolOptions options;
  std::unique_ptr<Pool> pool;
};

// Whatever could not be written, no disk says that it is of a pool, which would keep it from being one's.
TEST_F(CreateErrors, APoolThatCouldNotBeMadeCanBeAskedForAgain) {
  struct {
    const char* what;
    std::size_t disk;
    std::uint64_t offset, length;
  } const places[] = {
      {"the first copy of disk 0's label", 0, label_copies[0], 4096},
      {"the second copy of disk 0's label", 0, label_copies[1], 4096},
      {"the first copy of disk 1's label", 1, label_copies[0], 4096},
      {"the second copy of disk 1's label", 1, label_copies[1], 4096},
      {"the checkpoint", 0, data_offset, disk_bytes - data_offset},
  };
  for (const auto& place : places) {
    SCOPED_TRACE(place.what);
    refuse(place.disk, place.offset, place.length);
    if (place.disk == 0 && place.offset == data_offset) refuse(1, MiB, disk_bytes - MiB);
    EXPECT_EQ(create().code(), Errc::io_error);
    mend();
    for (const std::size_t i : {0u, 1u}) expect_unused(i);
    EXPECT_EQ(open().code(), Errc::failed_precondition) << "there is none";
    const Status again = create();
    ASSERT_TRUE(again.ok()) << again.error().message();
    expect_works();
    ASSERT_TRUE(open().ok());
    ASSERT_TRUE(machine.run(pool->destroy()).ok());
    pool.reset();
  }
}

TEST_F(CreateErrors, HalfALabelIsErasedAgain) {
  for (int round = 0; round < 8; ++round) {
    for (const std::uint64_t copy : label_copies) {
      const auto make = [&]() -> Task<Status> {
        const auto made = co_await Pool::create(machine.registry, params, options, nullptr);
        if (!made.ok()) co_return made.error();
        co_return Status();
      };
      EXPECT_EQ(fail_first_label(1, copy, make()).code(), Errc::io_error) << round;
    }
  }
  ASSERT_TRUE(create().ok());
  expect_works();
}

TEST_F(CreateErrors, AFlushThatFailsIsAnErrorToo) {
  disk(0).faults().sync_error_per_mille = 1000;
  EXPECT_EQ(create().code(), Errc::io_error);
  mend();
  const Status again = create();
  ASSERT_TRUE(again.ok()) << again.error().message();
  expect_works();
}

// What is not wanted is refused before anything is written.
TEST_F(CreateErrors, WhatCannotBeMadeChangesNoDisk) {
  ASSERT_TRUE(create().ok());
  close();
  PoolParams other = params;
  other.force = true;
  other.name = "q";
  other.cluster_bytes = 16 << 20;
  EXPECT_EQ(keep(Pool::create(machine.registry, other, options, nullptr)).code(), Errc::invalid_argument);
  ASSERT_TRUE(open().ok());
  expect_works();
}

TEST_F(CreateErrors, ADiskThatIsGivenByTwoPathsIsRefused) {
  machine.node.add_path("/dev/d0-again", "/dev/d0");
  params.disks.emplace_back("/dev/d0-again");
  for (const bool force : {false, true}) {
    params.force = force;
    const Status made = create();
    ASSERT_EQ(made.code(), Errc::invalid_argument);
    const std::string why = made.error().message();
    EXPECT_NE(why.find("'/dev/d0' is disk '/dev/d0-again' by another path"), std::string::npos) << why;
  }
  params.disks.pop_back();
  params.force = false;
  const Status again = create();
  ASSERT_TRUE(again.ok()) << again.error().message();
  expect_works();
}

// The first disk has lost its label: nothing says that the others are free. What to do is in the error.
TEST_F(CreateErrors, ALabelOfAPoolThatWasNeverMadeIsRefusedWithTheRemedy) {
  ASSERT_TRUE(create().ok());
  close();
  const Bytes nothing(4096);
  for (const std::uint64_t copy : label_copies) disk(0).poke(copy, nothing);
  const Status opened = open();
  EXPECT_EQ(opened.code(), Errc::failed_precondition);
  const Status refused = create();
  EXPECT_EQ(refused.code(), Errc::failed_precondition);
  EXPECT_NE(refused.error().message().find("--force"), std::string::npos) << refused.error().message();
  for (const std::size_t i : {0u, 1u}) expect_unused(i);
  params.force = true;
  ASSERT_TRUE(create().ok());
  expect_works();
}

// A pool of two disks, with labels as a crash leaves them while it is made or erased.
struct CutOff : CreateErrors {
  CutOff() {
    EXPECT_TRUE(create().ok());
    close();
  }
  Superblock label(std::size_t i, unsigned copy) {
    Bytes bytes(wire::superblock_bytes);
    disk(i).peek(label_copies[copy], bytes);
    auto parsed = parse_superblock(bytes, copy);
    EXPECT_TRUE(parsed.ok());
    return parsed.ok() ? parsed.value() : Superblock();
  }
  void make_unfinished(std::size_t i) {
    for (const unsigned copy : {0u, 1u}) {
      Superblock s = label(i, copy);
      s.incompatible |= incompatible_unfinished;
      s.root = Root();
      s.members.clear();
      Bytes bytes(wire::superblock_bytes);
      encode(s, copy, bytes);
      disk(i).poke(label_copies[copy], bytes);
    }
  }
  Status create_on(std::size_t i) {
    PoolParams other = params;
    other.name = "q";
    other.disks = {params.disks[i]};
    return keep(Pool::create(machine.registry, other, options, nullptr));
  }
};

TEST_F(CutOff, ThereIsNoPoolAndItsDisksAreFree) {
  for (const std::size_t i : {0u, 1u}) make_unfinished(i);
  const Status opened = open();
  EXPECT_EQ(opened.code(), Errc::failed_precondition);
  EXPECT_NE(opened.error().message().find("cut off"), std::string::npos) << opened.error().message();
  const auto probed = machine.run(Pool::probe(machine.registry, params.disks[1]));
  ASSERT_TRUE(probed.ok() && probed.value());
  EXPECT_TRUE(probed.value()->unfinished);
  EXPECT_TRUE(create_on(1).ok()) << "any pool may have them";
  ASSERT_TRUE(machine.run(pool->destroy()).ok());
  make_unfinished(0);
  ASSERT_TRUE(create().ok());
  expect_works();
}

TEST_F(CutOff, WhoOpensThePoolFinishesItsLabels) {
  make_unfinished(1);
  const auto checked = machine.run(check_pool(machine.registry, params.disks, false));
  ASSERT_TRUE(checked.ok());
  EXPECT_TRUE(checked.value().findings.empty()) << checked.value().findings.front();
  ASSERT_TRUE(open().ok());
  for (const unsigned copy : {0u, 1u}) EXPECT_FALSE(label(1, copy).unfinished());
  expect_works();
  EXPECT_EQ(create_on(1).code(), Errc::failed_precondition);
  EXPECT_EQ(create().code(), Errc::failed_precondition) << "both are of it";
}

TEST_F(CutOff, TheFirstDiskSpeaksForTheOthers) {
  make_unfinished(0);
  EXPECT_EQ(open().code(), Errc::failed_precondition);
  const auto checked = machine.run(check_pool(machine.registry, params.disks, false));
  ASSERT_TRUE(checked.ok());
  ASSERT_EQ(checked.value().findings.size(), 1u);
  EXPECT_NE(checked.value().findings.front().find("cut off"), std::string::npos);
  EXPECT_EQ(create_on(1).code(), Errc::failed_precondition) << "without it nothing says so";
  const Status again = create();
  ASSERT_TRUE(again.ok()) << again.error().message();
  expect_works();
}

TEST_F(CutOff, APoolWhoseFirstDiskKeepsItsLabelIsNotDestroyed) {
  ASSERT_TRUE(open().ok());
  refuse(0, 0, MiB);
  EXPECT_EQ(machine.run(pool->destroy()).code(), Errc::io_error);
  pool.reset();
  mend();
  const Status there = open();
  ASSERT_TRUE(there.ok()) << there.error().message();
  expect_works();
}

// As long as one of the others keeps its label.
TEST_F(CutOff, ErasingADiskThatFailsLeavesItFreeForThePool) {
  ASSERT_TRUE(open().ok());
  refuse(1, 0, MiB);
  ASSERT_TRUE(machine.run(pool->destroy()).ok());
  pool.reset();
  mend();
  EXPECT_EQ(open().code(), Errc::failed_precondition);
  const Status again = create();
  ASSERT_TRUE(again.ok()) << again.error().message();
  expect_works();
}

struct AddErrors : CreateErrors {
  AddErrors() {
    params.disks.pop_back();
    EXPECT_TRUE(create().ok());
    params.disks.emplace_back("/dev/d1");
  }
  Task<Status> add() { return pool->add_disk(params.disks[1], false); }
};

TEST_F(AddErrors, ADiskWhoseLabelCouldNotBeWrittenCanBeAddedAgain) {
  for (const std::uint64_t copy : label_copies) {
    EXPECT_EQ(fail_first_label(1, copy, add()).code(), Errc::io_error);
    expect_unused(1);
  }
  const Status added = machine.run(add());
  ASSERT_TRUE(added.ok()) << added.error().message();
  EXPECT_EQ(pool->view().disks.size(), 2u);
  expect_works();
}

// It has the pool's own label: read once more, it would be taken for a disk of the pool.
TEST_F(AddErrors, ALabelThatCannotBeReadIsAnErrorOfTheDisk) {
  ASSERT_EQ(fail_first_label(1, label_copies[0], add()).code(), Errc::io_error);
  refuse(1, 0, 4096, true);
  const sim::DiskStats before = disk(1).stats();
  const auto mend_at_once = [&]() -> Task<Status> {
    HF_CO_CHECK(co_await reached(disk(1).stats().errors, before.errors + 1));
    mend();
    co_return Status();
  };
  std::vector<Task<Status>> both;
  both.push_back(add());
  both.push_back(mend_at_once());
  EXPECT_EQ(machine.run(when_all_ok(std::move(both))).code(), Errc::io_error);
  expect_unused(1);
  EXPECT_TRUE(machine.run(add()).ok());
  expect_works();
}

// What a try wrote that failed gets to the disk while the next one looks.
TEST_F(AddErrors, ALabelThatComesLateDoesNotKeepTheDiskOut) {
  ASSERT_EQ(fail_first_label(1, label_copies[0], add()).code(), Errc::io_error);
  Bytes label(4096);
  disk(1).peek(label_copies[1], label);
  disk(1).poke(label_copies[1], Bytes(4096));
  const sim::DiskStats before = disk(1).stats();
  const auto late = [&]() -> Task<Status> {
    HF_CO_CHECK(co_await reached(disk(1).stats().reads, before.reads + 2));
    disk(1).poke(label_copies[1], label);
    co_return Status();
  };
  std::vector<Task<Status>> both;
  both.push_back(add());
  both.push_back(late());
  const Status added = machine.run(when_all_ok(std::move(both)));
  EXPECT_TRUE(added.ok()) << added.error().message();
  expect_works();
}

}  // namespace
}  // namespace holdfast::pool
