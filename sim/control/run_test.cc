#include "sim/control/run.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace holdfast::sim {
namespace {

TEST(ControlRun, ReplaysExactly) {
  const RunResult first = run_control_seed(7, false);
  const RunResult second = run_control_seed(7, false);
  EXPECT_EQ(first.trace, second.trace);
  EXPECT_EQ(first.steps, second.steps);
  EXPECT_EQ(first.failures, second.failures);
}

// Seeds that found something once.
class ControlRegression : public testing::TestWithParam<std::uint64_t> {};
TEST_P(ControlRegression, Holds) {
  const RunResult r = run_control_seed(GetParam(), false);
  EXPECT_EQ(r.failures, std::vector<std::string>());
  EXPECT_GT(r.operations, 0U);
}
INSTANTIATE_TEST_SUITE_P(Seeds, ControlRegression, testing::Values(4, 8, 9, 464, 1483, 1573, 1702, 3116));

}  // namespace
}  // namespace holdfast::sim
