// Replicas that keep epochs, and a crash of their nexus, for the tests of what is copied.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "nexus/testing/rig.h"

namespace holdfast::nexus::fake {

inline constexpr std::uint64_t region_blocks = 1 * MiB / Rig::block;
inline constexpr std::uint64_t first_region = data_offset_bytes / MiB;  // of the volume, on a child

// Three replicas of 8 regions that keep epochs; d is spare.
struct Epochs : ::testing::Test {
  Rig rig{2};
  void SetUp() override {
    for (const char* name : {"a", "b", "c", "d"}) {
      rig.add_disk(name, 16 * MiB);
      disk(name).has_epochs = true;
    }
    rig.options.rebuild.window_bytes = 1 * MiB;
    rig.options.child_latency_budget = 60s;
    rig.options.hold_timeout = 120s;
  }
  FakeDisk& disk(const std::string& name) { return rig.disks[name]; }
  void create(std::vector<std::string> names = {"a", "b", "c"}) {
    const Status made = rig.create(std::move(names), 8 * MiB);
    ASSERT_TRUE(made.ok()) << made.error().message();
  }
  void write_region(std::uint64_t region, int fill, unsigned core = 0) {
    ASSERT_EQ(rig.write(core, region * region_blocks + 8, 16, fill), Errc::ok);
  }
  void settle() { rig.pass(25s); }
  bool online() {
    return rig.wait_for([&] { return rig.all_online(); });
  }
  std::uint64_t blocks_read_by_rebuilds() {
    std::uint64_t blocks = 0;
    for (const RebuildRecord& r : rig.nexus->rebuild_history()) blocks += r.blocks_transferred;
    return blocks;
  }
  bool all_same() { return rig.same("a", "b") && rig.same("a", "c"); }
  // The place of the first entry of a kind from `from` on; the end when there is none.
  std::size_t find(const std::string& name, char kind, std::size_t from = 0) {
    const auto& log = disk(name).log;
    while (from < log.size() && log[from].kind != kind) ++from;
    return from;
  }
};

// What a crash leaves: regions 0 to 7 sealed, 3 written again and acknowledged, 5 written on a alone.
struct AfterCrash : Epochs {
  void crash_in_the_middle() {
    create();
    for (std::uint64_t r = 0; r < 8; ++r) write_region(r, static_cast<int>(r) + 1);
    settle();
    ASSERT_GT(disk("a").sealed, 0u);
    write_region(3, 33);
    disk("b").hold_writes = disk("c").hold_writes = true;
    rig.start_write(1, 5 * region_blocks + 8, 16, 55);
    rig.pass(1ms);
    rig.crash();
    disk("b").hold_writes = disk("c").hold_writes = false;
  }
};

}  // namespace holdfast::nexus::fake
