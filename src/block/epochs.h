// Epochs: what lets a mirror copy only what changed. A device that keeps them remembers for each region (1 MiB)
// the last epoch in which it was written, through crashes; the epoch is a counter that the mirror announces.
// Design: a region's new epoch is durable before the first write of that epoch touches it. Written means: by a
// write, write zeroes or deallocate, also where that changes no byte and allocates or frees nothing here, since
// it may have changed something on another device of the mirror.
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "rt/task.h"

namespace holdfast {

struct EpochState {
  std::uint32_t current = 0;  // announced last; 0: never
  std::uint32_t sealed =
      0;  // every in-sync device of the mirror agrees on all regions of epochs up to this one
  std::uint64_t region_bytes = 0;
  std::uint64_t regions = 0;
  bool operator==(const EpochState&) const = default;
};

// One bit a region, least significant first, from `first` on.
struct RegionBitmap {
  RegionBitmap() = default;
  RegionBitmap(std::uint64_t from, std::uint64_t regions)
      : first(from), count(regions), words((regions + 63) / 64) {}

  // Of a region within [first, first + count).
  bool has(std::uint64_t region) const noexcept {
    const std::uint64_t at = region - first;
    return (words[at / 64] >> (at % 64) & 1) != 0;
  }
  void add(std::uint64_t region) noexcept {
    const std::uint64_t at = region - first;
    words[at / 64] |= std::uint64_t{1} << (at % 64);
  }

  std::uint64_t first = 0;
  std::uint64_t count = 0;
  std::vector<std::uint64_t> words;
};

// The epochs of one device: a volume of a pool, or such a volume behind a target. Home core.
// Errors: not_supported; invalid_argument (an epoch lower than what is there); those of the path to the device,
// after which the request may or may not have been executed.
class EpochClient {
 public:
  static constexpr std::uint64_t regions_per_call_max = 1 << 20;  // 128 KiB of bitmap, 1 TiB

  virtual Task<Result<EpochState>> state() = 0;
  // When it is done, every write that starts afterwards, on any core, counts for this epoch. Not lower than the
  // current one; the same again is ok.
  virtual Task<Status> announce(std::uint32_t epoch) = 0;
  // Durable when it is done. At most the current epoch.
  virtual Task<Status> seal(std::uint32_t epoch) = 0;
  // The regions with a last epoch above `epoch`, of `count` from `first` on.
  virtual Task<Result<RegionBitmap>> changed_since(std::uint32_t epoch, std::uint64_t first,
                                                   std::uint64_t count) = 0;
  // The regions in which anything is allocated; the others read as zeroes.
  virtual Task<Result<RegionBitmap>> allocated(std::uint64_t first, std::uint64_t count) = 0;

  EpochClient() = default;
  EpochClient(const EpochClient&) = delete;
  EpochClient& operator=(const EpochClient&) = delete;
  virtual ~EpochClient() = default;
};

}  // namespace holdfast
