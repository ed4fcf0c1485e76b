#include "sim/cluster/fencing.h"

#include <gtest/gtest.h>

namespace holdfast::sim {
namespace {

TEST(Fencing, ASeedReplaysExactly) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const RunResult first = run_fencing_seed(seed, false);
    const RunResult again = run_fencing_seed(seed, false);
    EXPECT_EQ(first.trace, again.trace) << "seed " << seed;
    EXPECT_EQ(first.steps, again.steps) << "seed " << seed;
  }
}

struct Kept {
  std::uint64_t seed;
  const char* finds;
};

// Seeds that find the bugs of tools/mutants/fencing-*.
constexpr Kept kept[] = {
    {4, "an idle nexus that hears nothing of the loss of its remote children"},
    {11, "a local child that is not reached through its guard"},
    {25, "registrations that end with the process of the replica"},
    {70, "a preemption that does not wait for what is under way"},
};

TEST(Fencing, SeedsThatFindPlantedBugs) {
  for (const Kept& k : kept) {
    const RunResult result = run_fencing_seed(k.seed, false);
    EXPECT_TRUE(result.failures.empty())
        << "seed " << k.seed << " (" << k.finds << "): " << result.failures.front();
  }
}

}  // namespace
}  // namespace holdfast::sim
