#include "base/machine_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/units.h"

namespace holdfast {
namespace {

TEST(MachineMemory, IsWhatIsThereAtMost) {
  const std::uint64_t bytes = machine_memory_bytes();
  EXPECT_GE(bytes, 64 * MiB);
  const auto pages = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES));
  EXPECT_LE(bytes, pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)));
}

}  // namespace
}  // namespace holdfast
