#include "cli/pool_disk/pool_json.h"

#include <set>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "pool/testing/pool_bench.h"
#include "pool/testing/pool_machine.h"

namespace holdfast::cli {
namespace {

using pool::testing_support::BenchParams;
using pool::testing_support::PoolBench;
using pool::testing_support::Tracked;

// A pool on two disks with a little of everything, its disks as a crash leaves them.
struct PoolJson : testing::Test {
  PoolJson() : bench(params()) {
    bench.volume("v", 256 * KiB);
    {
      Tracked v(bench, bench.device("v"));
      EXPECT_EQ(v.write(4096, 8192), Errc::ok);
    }
    EXPECT_EQ(bench.snapshot("v", "s"), Errc::ok);
    std::vector<std::vector<std::byte>> disks(2);
    for (std::size_t i = 0; i < disks.size(); ++i) {
      disks[i].resize(params().disk_bytes);
      bench.disk(i).peek(0, disks[i]);
    }
    bench.close();
    for (std::size_t i = 0; i < disks.size(); ++i) bench.disk(i).poke(0, disks[i]);
  }
  static BenchParams params() {
    BenchParams p;
    p.disks = 2;
    p.disk_bytes = 4 * MiB;
    return p;
  }
  pool::PoolOnDisk look() {
    auto found = bench.machine.run(pool::check_pool(bench.machine.registry, bench.paths, true));
    EXPECT_TRUE(found.ok());
    return std::move(found).value();
  }
  PoolBench bench;
};

TEST_F(PoolJson, ACheckSaysWhatIsThere) {
  const auto tree = check_json(look());
  EXPECT_EQ(tree["pool"], "p");
  EXPECT_EQ(tree["clean"], true);
  EXPECT_TRUE(tree["findings"].empty());
  EXPECT_EQ(tree["disks"].size(), 2u);
  EXPECT_EQ(tree["volumes"], 1);
  EXPECT_EQ(tree["snapshots"], 1);
  EXPECT_EQ(tree["used_bytes"], 2 * 64 * KiB);  // one of the volume, one of the checkpoint
  EXPECT_EQ(tree["records"], 3);
}

TEST_F(PoolJson, ADumpShowsTheJournal) {
  const auto tree = dump_json(look());
  EXPECT_EQ(tree["labels"].size(), 2u);
  EXPECT_EQ(tree["labels"][0]["members"].size(), 2u);
  EXPECT_EQ(tree["segments"].size(), 2u);
  EXPECT_EQ(tree["volumes"].size(), 2u);
  std::vector<std::string> types;
  for (const auto& record : tree["journal"]) types.push_back(record["type"]);
  EXPECT_EQ(types, (std::vector<std::string>{"create", "write_data", "create"}));
  EXPECT_EQ(tree["journal"][1]["block_count"], 2);
}

TEST_F(PoolJson, APoolThatWasNeverFinishedIsNamed) {
  for (std::size_t i = 0; i < 2; ++i) {
    pool::testing_support::OpenDisk disk(bench.machine, bench.paths[i]);
    ASSERT_TRUE(bench.machine.run(pool::mark_unfinished(bench.machine.home(), disk.port())).ok());
  }
  const auto checked = check_json(look());
  EXPECT_EQ(checked["clean"], false);
  EXPECT_EQ(checked["disks"][1]["unfinished"], true);
  EXPECT_NE(checked["findings"][0].get<std::string>().find("was cut off"), std::string::npos);
  const auto dumped = dump_json(look());
  EXPECT_EQ(dumped["labels"][0]["unfinished"], true);
  EXPECT_EQ(dumped["labels"][0]["features"]["incompatible"], 1);
}

TEST_F(PoolJson, DamageIsAFinding) {
  const std::byte damage[1] = {std::byte{0x55}};
  for (const std::uint64_t offset : pool::wire::superblock_offsets) bench.disk(0).poke(offset + 300, damage);
  const auto tree = check_json(look());
  EXPECT_EQ(tree["clean"], false);
  EXPECT_EQ(tree["findings"].size(), 1u);
  EXPECT_FALSE(dump_json(look()).contains("volumes"));
}

}  // namespace
}  // namespace holdfast::cli
