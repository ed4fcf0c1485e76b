#include "sim/cluster/run.h"

#include <gtest/gtest.h>

namespace holdfast::sim {
namespace {

TEST(Run, ASeedReplaysExactly) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    const RunResult first = run_seed(seed, false);
    const RunResult again = run_seed(seed, false);
    EXPECT_EQ(first.trace, again.trace) << "seed " << seed;
    EXPECT_EQ(first.steps, again.steps) << "seed " << seed;
  }
}

TEST(Run, EpochsCompareSnapshotsAndWhatIsCopied) {
  std::uint64_t snapshots = 0, copies = 0;
  for (std::uint64_t seed = 1; seed <= 61; seed += 4) {
    const RunResult result = run_epochs_seed(seed, false);
    snapshots += result.snapshots;
    copies += result.copies;
  }
  EXPECT_GT(snapshots, 0u);
  EXPECT_GT(copies, 20u);
}

struct Regression {
  std::uint64_t seed;
  const char* found;
};

// Seeds that once failed. What a seed does changes with the code, so most of these bugs are also planted by
// tools/mutate.sh; here they keep the neighbourhood of the fault under test.
constexpr Regression regressions[] = {
    {15, "the last in-sync copy lost its cache, and one that was being rebuilt kept what it had lost"},
    {83, "the target of a child was restarted within the grace period, its cache was lost, nobody noticed"},
    {332, "after an unclean restart the source lost power, and nothing counted as missed"},
    {633, "the same, and a person took the child offline meanwhile"},
    {1084, "removing a child that was given up while it was the last one never ended"},
    {1132, "a child joined while the last in-sync one was being reopened"},
    {1742, "a write refused by the last in-sync child stayed on the one being rebuilt"},
    {3212, "a child failed while the nexus was being opened, and its rebuild was started"},
};

constexpr Regression epoch_regressions[] = {
    {71, "a child lost its connection while it was asked what changed, and everything was copied"},
    {80, "a child came while the last one that was in sync was away, and everything was copied"},
};

TEST(Run, SeedsOfEpochsThatOnceFailed) {
  for (const Regression& r : epoch_regressions) {
    const RunResult result = run_epochs_seed(r.seed, false);
    EXPECT_TRUE(result.failures.empty())
        << "seed " << r.seed << " (" << r.found << "): " << result.failures.front();
  }
}

TEST(Run, SeedsThatOnceFailed) {
  for (const Regression& r : regressions) {
    const RunResult result = run_seed(r.seed, false);
    EXPECT_TRUE(result.failures.empty())
        << "seed " << r.seed << " (" << r.found << "): " << result.failures.front();
  }
}

}  // namespace
}  // namespace holdfast::sim
