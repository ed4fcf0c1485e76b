#include "pool/memory_limit.h"

#include <string>
#include <variant>

#include "base/machine_memory.h"
#include "base/units.h"
#include "pool/leaf.h"
#include "pool/slot_array.h"

namespace holdfast::pool {
namespace {

constexpr std::uint64_t page_bytes = SlotArray::page_slots * sizeof(std::uintptr_t);
// Of a change in one place: copies of a leaf, with its Partials, and of the pages that lead to it.
std::uint64_t place_bytes(const State& state) noexcept {
  return 2 * sizeof(Leaf) + Leaf::entries * Partial::memory(state.blocks_per_cluster(), true) +
         4 * page_bytes;
}
// Looking takes as long as there are volumes: only when so much of the limit may have been taken since.
constexpr std::uint64_t looks = 64;

std::uint64_t usual_bytes_max() noexcept {
  static const std::uint64_t bytes = machine_memory_bytes() / 2;
  return bytes;
}

}  // namespace

MemoryLimit::MemoryLimit(std::uint64_t bytes_max) noexcept
    : bytes_max_(bytes_max != 0 ? bytes_max : usual_bytes_max()) {}

std::uint64_t MemoryLimit::slots_cost(std::uint64_t end, std::uint64_t count) noexcept {
  const std::uint64_t pages = end / SlotArray::page_slots + 1;
  return pages * sizeof(std::uintptr_t) + (count / SlotArray::page_slots + 2) * page_bytes;
}

MemoryLimit MemoryLimit::of_growth(std::uint64_t bytes_max) noexcept {
  MemoryLimit limit(bytes_max);
  limit.bytes_max_ -= limit.bytes_max_ / 8;
  limit.more_ = limit.bytes_max_;  // the pool that is open may take that already: the first one looks
  return limit;
}

Status MemoryLimit::charge(const State& state, std::uint64_t more) {
  more_ += more;
  if (counted_ + more_ <= bytes_max_) return Status();
  if (counted_ <= bytes_max_ && more_ < bytes_max_ / looks) return Status();
  counted_ = state.map_bytes();
  more_ = 0;
  if (counted_ <= bytes_max_) return Status();
  return Error(Errc::resource_exhausted, "the maps of its volumes take more than " + format_size(bytes_max_) +
                                             " of memory, which is what a pool may take here");
}

Status MemoryLimit::charge_write(const State& state) { return charge(state, place_bytes(state)); }

Status MemoryLimit::charge(const State& state, const Record& record) {
  const auto map_of = [&state](VolumeId id) {
    const StateVolume* volume = state.find(id);
    const std::uint64_t slots = volume != nullptr ? volume->map().leaves() : 0;
    return place_bytes(state) + slots_cost(slots, slots);
  };
  std::uint64_t more = place_bytes(state);
  if (const auto* create = std::get_if<CreateRecord>(&record)) more = map_of(create->spec.source);
  if (const auto* revert = std::get_if<RevertRecord>(&record)) more = map_of(revert->snapshot);
  if (const auto* region = std::get_if<RegionRecord>(&record)) {
    const std::uint64_t slots = region->count / RegionEpochs::chunk_regions;
    const std::uint64_t end = (std::uint64_t{region->first} + region->count) / RegionEpochs::chunk_regions;
    more = place_bytes(state) + slots_cost(end, slots);
  }
  return charge(state, more);
}

}  // namespace holdfast::pool
