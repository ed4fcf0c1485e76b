#include "sim/paths/paths.h"

#include <gtest/gtest.h>

#include "sim/paths/run.h"

namespace holdfast::sim {
namespace {

TEST(Paths, ASeedReplaysExactly) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const RunResult first = run_paths_seed(seed, false);
    const RunResult again = run_paths_seed(seed, false);
    EXPECT_EQ(first.trace, again.trace) << "seed " << seed;
    EXPECT_EQ(first.steps, again.steps) << "seed " << seed;
  }
}

TEST(Paths, FirstSeedsPass) {
  std::uint64_t operations = 0;
  unsigned faults = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    const RunResult r = run_paths_seed(seed, false);
    EXPECT_TRUE(r.failures.empty()) << describe_paths_seed(seed) << r.failures.front();
    operations += r.operations;
    faults += r.faults;
  }
  EXPECT_GT(operations, 5000u);
  EXPECT_GT(faults, 200u);
}

}  // namespace
}  // namespace holdfast::sim
