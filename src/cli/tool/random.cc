#include "cli/tool/random.h"

#include <cstdint>

#include <sys/random.h>

#include "base/assert.h"
#include "base/prng.h"
#include "base/uuid.h"

namespace holdfast::cli {

std::string random_uuid() {
  std::uint64_t seed = 0;
  // Never fails for 8 bytes once the system has booted.
  const bool seeded = getrandom(&seed, sizeof seed, 0) == sizeof seed;
  HF_ASSERT(seeded);
  Prng prng(seed);
  return Uuid::random(prng).to_string();
}

}  // namespace holdfast::cli
