// RegionEpochs: the last epoch in which each region (1 MiB) of a volume was written; 0: in none. Runs of 512 regions
// that have one epoch take one word, the others a chunk. get() on any core, the rest on the home core.
#pragma once

#include <atomic>
#include <cstdint>

#include "pool/slot_array.h"
#include "pool/types.h"

namespace holdfast::pool {

class RegionEpochs {
 public:
  static constexpr std::uint32_t chunk_regions = 512;
  // For a run of regions, besides the table: where it begins and where it ends.
  static constexpr std::uint64_t run_bytes_max = 2 * (chunk_regions * sizeof(std::uint32_t) + 64);

  RegionEpochs() = default;
  RegionEpochs(const RegionEpochs&) = delete;
  RegionEpochs& operator=(const RegionEpochs&) = delete;
  ~RegionEpochs();

  std::uint32_t get(std::uint64_t region) const noexcept {
    return get(table_.get(region / chunk_regions), region);
  }
  // Raises these regions to `epoch`, where they are lower.
  void raise(const ChangeContext& context, std::uint64_t first, std::uint64_t count, std::uint32_t epoch);
  // The regions from `first` on are 0 again.
  void cut(const ChangeContext& context, std::uint64_t first);

  // All regions are 0 again.
  void clear(const ChangeContext& context);

  struct Run {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
    std::uint32_t epoch = 0;
  };
  // The first run of regions with one epoch that is not 0, at `from` or later; count 0: none.
  static Run next_run(const SlotArray* array, std::uint64_t from) noexcept;
  const SlotArray* array() const noexcept { return table_.array(); }
  std::size_t memory() const noexcept;

 private:
  class Chunk;
  static std::uint32_t get(std::uintptr_t slot, std::uint64_t region) noexcept;
  void raise_slot(const ChangeContext& context, std::size_t slot, std::uint32_t first, std::uint32_t count,
                  std::uint32_t epoch);
  void drop(const ChangeContext& context, std::uintptr_t former);
  Chunk& changeable(const ChangeContext& context, SlotArray& array, std::size_t slot);

  SlotTable table_;
  std::size_t chunks_ = 0;
};

}  // namespace holdfast::pool
