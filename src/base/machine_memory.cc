#include "base/machine_memory.h"

#include <algorithm>
#include <cstdio>
#include <limits>

#include <unistd.h>

namespace holdfast {
namespace {

// Of the control group as a container sees it; no limit where there is no such file, or "max" in it.
std::uint64_t control_group_bytes() noexcept {
  constexpr std::uint64_t none = std::numeric_limits<std::uint64_t>::max();
  std::FILE* const file = std::fopen("/sys/fs/cgroup/memory.max", "re");
  if (file == nullptr) return none;
  unsigned long long bytes = 0;
  const bool read = std::fscanf(file, "%llu", &bytes) == 1;
  std::fclose(file);
  return read && bytes > 0 ? bytes : none;
}

}  // namespace

std::uint64_t machine_memory_bytes() noexcept {
  const auto pages = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES));
  const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return std::min(pages * page_bytes, control_group_bytes());
}

}  // namespace holdfast
