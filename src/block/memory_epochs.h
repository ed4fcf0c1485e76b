// MemoryEpochs: the epochs of a memory device, kept as its bytes are: gone with the process.
#pragma once

#include <atomic>
#include <cstdint>

#include "block/epochs.h"
#include "block/sparse_memory.h"

namespace holdfast {

class MemoryEpochs final : public EpochClient {
 public:
  static constexpr std::uint64_t region_bytes = std::uint64_t{1} << 20;

  // `memory` outlives it.
  MemoryEpochs(SparseMemory& memory, std::uint64_t size_bytes);
  ~MemoryEpochs() override;

  // Home core.
  Task<Result<EpochState>> state() override;
  Task<Status> announce(std::uint32_t epoch) override;
  Task<Status> seal(std::uint32_t epoch) override;
  Task<Result<RegionBitmap>> changed_since(std::uint32_t epoch, std::uint64_t first,
                                           std::uint64_t count) override;
  Task<Result<RegionBitmap>> allocated(std::uint64_t first, std::uint64_t count) override;
  void resize(std::uint64_t size_bytes) noexcept { size_bytes_ = size_bytes; }

  // Any core, before the bytes are changed. bytes > 0.
  void mark(std::uint64_t offset, std::uint64_t bytes) noexcept;

 private:
  std::uint64_t regions() const noexcept { return (size_bytes_ + region_bytes - 1) / region_bytes; }
  // Calls f(region) for the regions; gives those for which it is true.
  template <class F>
  Result<RegionBitmap> collect(std::uint64_t first, std::uint64_t count, F f) const;

  SparseMemory& memory_;
  std::uint64_t size_bytes_;
  std::uint32_t* const
      table_;  // by region, up to SparseMemory::size_max; by atomic_ref. Zero pages until used.
  std::atomic<std::uint32_t> current_{0};
  std::uint32_t sealed_ = 0;
};

}  // namespace holdfast
