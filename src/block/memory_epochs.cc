#include "block/memory_epochs.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "base/assert.h"

namespace holdfast {
namespace {

constexpr std::uint64_t table_entries = SparseMemory::size_max / MemoryEpochs::region_bytes;

}  // namespace

MemoryEpochs::MemoryEpochs(SparseMemory& memory, std::uint64_t size_bytes)
    : memory_(memory),
      size_bytes_(size_bytes),
      table_(static_cast<std::uint32_t*>(std::calloc(table_entries, sizeof(std::uint32_t)))) {
  HF_ASSERT(table_ != nullptr && size_bytes <= SparseMemory::size_max);
}

MemoryEpochs::~MemoryEpochs() { std::free(table_); }

void MemoryEpochs::mark(std::uint64_t offset, std::uint64_t bytes) noexcept {
  const std::uint32_t epoch = current_.load();
  const std::uint64_t last = (offset + bytes - 1) / region_bytes;
  for (std::uint64_t r = offset / region_bytes; r <= last; ++r) {
    const std::atomic_ref<std::uint32_t> entry(table_[r]);
    std::uint32_t seen = entry.load();
    // Never back: another core may know a newer one already.
    while (seen < epoch && !entry.compare_exchange_weak(seen, epoch)) {
    }
  }
}

Task<Result<EpochState>> MemoryEpochs::state() {
  EpochState state;
  state.current = current_.load();
  state.sealed = sealed_;
  state.region_bytes = region_bytes;
  state.regions = regions();
  co_return state;
}

Task<Status> MemoryEpochs::announce(std::uint32_t epoch) {
  if (epoch < current_.load()) {
    co_return Error(Errc::invalid_argument, "epoch " + std::to_string(epoch) +
                                                " is older than the current one, " +
                                                std::to_string(current_.load()));
  }
  current_.store(epoch);
  co_return Status();
}

Task<Status> MemoryEpochs::seal(std::uint32_t epoch) {
  if (epoch > current_.load()) {
    co_return Error(Errc::invalid_argument, "epoch " + std::to_string(epoch) + " has not been announced");
  }
  sealed_ = std::max(sealed_, epoch);
  co_return Status();
}

template <class F>
Result<RegionBitmap> MemoryEpochs::collect(std::uint64_t first, std::uint64_t count, F f) const {
  if (count > regions_per_call_max) return Error(Errc::invalid_argument);
  if (first > regions() || count > regions() - first) return Error(Errc::out_of_range);
  RegionBitmap bits(first, count);
  for (std::uint64_t region = first; region < first + count; ++region) {
    if (f(region)) bits.add(region);
  }
  return bits;
}

Task<Result<RegionBitmap>> MemoryEpochs::changed_since(std::uint32_t epoch, std::uint64_t first,
                                                       std::uint64_t count) {
  const auto changed = [this, epoch](std::uint64_t region) {
    return std::atomic_ref<std::uint32_t>(table_[region]).load() > epoch;
  };
  co_return collect(first, count, changed);
}

Task<Result<RegionBitmap>> MemoryEpochs::allocated(std::uint64_t first, std::uint64_t count) {
  const auto has_memory = [this](std::uint64_t region) { return memory_.has(region * region_bytes); };
  co_return collect(first, count, has_memory);
}

}  // namespace holdfast
