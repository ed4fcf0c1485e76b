#include "pool/region_epochs.h"

#include <algorithm>
#include <utility>

namespace holdfast::pool {
namespace {

constexpr std::uintptr_t uniform_bit = 1;

std::uintptr_t uniform(std::uint32_t epoch) noexcept {
  return epoch == 0 ? 0 : std::uintptr_t{epoch} << 1 | uniform_bit;
}
bool is_uniform(std::uintptr_t slot) noexcept { return slot == 0 || (slot & uniform_bit) != 0; }
std::uint32_t epoch_of(std::uintptr_t slot) noexcept { return static_cast<std::uint32_t>(slot >> 1); }

}  // namespace

class RegionEpochs::Chunk final : public Retired {
 public:
  Chunk(std::uint32_t stamp_of, std::uint32_t epoch) : stamp(stamp_of) {
    for (auto& region : regions) region.store(epoch, std::memory_order_relaxed);
  }
  Chunk(std::uint32_t stamp_of, const Chunk& other) : stamp(stamp_of) {
    for (std::uint32_t i = 0; i < chunk_regions; ++i) {
      regions[i].store(other.regions[i].load(std::memory_order_relaxed), std::memory_order_relaxed);
    }
  }
  static Chunk* at(std::uintptr_t slot) noexcept { return reinterpret_cast<Chunk*>(slot); }

  const std::uint32_t stamp;
  std::atomic<std::uint32_t> regions[chunk_regions];
};

RegionEpochs::~RegionEpochs() {
  for (std::size_t slot = 0; slot < table_.size(); ++slot) {
    if (!is_uniform(table_.get(slot))) delete Chunk::at(table_.get(slot));
  }
}

std::uint32_t RegionEpochs::get(std::uintptr_t slot, std::uint64_t region) noexcept {
  if (is_uniform(slot)) return epoch_of(slot);
  return Chunk::at(slot)->regions[region % chunk_regions].load(std::memory_order_acquire);
}

RegionEpochs::Chunk& RegionEpochs::changeable(const ChangeContext& context, SlotArray& array,
                                              std::size_t slot) {
  const std::uintptr_t now = array.get(slot);
  if (!is_uniform(now) && !context.pin.holds(Chunk::at(now)->stamp)) return *Chunk::at(now);
  auto made = is_uniform(now) ? std::make_unique<Chunk>(context.pin.generation, epoch_of(now))
                              : std::make_unique<Chunk>(context.pin.generation, *Chunk::at(now));
  array.set(slot, reinterpret_cast<std::uintptr_t>(made.get()));
  chunks_ += is_uniform(now) ? 1 : 0;
  if (!is_uniform(now)) context.retire(std::unique_ptr<Chunk>(Chunk::at(now)), Chunk::at(now)->stamp);
  return *made.release();
}

void RegionEpochs::raise_slot(const ChangeContext& context, std::size_t slot, std::uint32_t first,
                              std::uint32_t count, std::uint32_t epoch) {
  const std::uintptr_t now = table_.get(slot);
  std::uint32_t lower = 0, higher = 0;
  if (is_uniform(now)) {
    lower = epoch_of(now) < epoch ? count : 0;
    higher = epoch_of(now) > epoch ? count : 0;
  }
  for (std::uint32_t i = first; i < first + count && !is_uniform(now); ++i) {
    const std::uint32_t region = get(now, i);
    lower += region < epoch ? 1 : 0;
    higher += region > epoch ? 1 : 0;
  }
  if (lower == 0) return;
  SlotArray& array = table_.changeable(context, slot + 1);
  if (count == chunk_regions && higher == 0) {
    array.set(slot, uniform(epoch));
    drop(context, now);
    return;
  }
  Chunk& chunk = changeable(context, array, slot);
  for (std::uint32_t i = first; i < first + count; ++i) {
    if (get(now, i) < epoch) chunk.regions[i].store(epoch, std::memory_order_release);
  }
}

void RegionEpochs::raise(const ChangeContext& context, std::uint64_t first, std::uint64_t count,
                         std::uint32_t epoch) {
  for (const std::uint64_t end = first + count; first < end;) {
    const auto low = static_cast<std::uint32_t>(first % chunk_regions);
    const auto part = static_cast<std::uint32_t>(std::min<std::uint64_t>(end - first, chunk_regions - low));
    raise_slot(context, first / chunk_regions, low, part, epoch);
    first += part;
  }
}

void RegionEpochs::cut(const ChangeContext& context, std::uint64_t first) {
  for (std::size_t slot = first / chunk_regions; slot < table_.size(); ++slot) {
    const std::uintptr_t now = table_.get(slot);
    if (now == 0) continue;
    SlotArray& array = table_.changeable(context, slot + 1);
    const std::uint64_t slot_first = std::uint64_t{slot} * chunk_regions;
    if (slot_first < first) {
      Chunk& chunk = changeable(context, array, slot);
      for (std::uint64_t i = first - slot_first; i < chunk_regions; ++i) chunk.regions[i] = 0;
      continue;
    }
    array.set(slot, 0);
    drop(context, now);
  }
}

void RegionEpochs::clear(const ChangeContext& context) {
  for (std::size_t slot = 0; slot < table_.size(); ++slot) drop(context, table_.get(slot));
  table_.clear(context);
}

RegionEpochs::Run RegionEpochs::next_run(const SlotArray* array, std::uint64_t from) noexcept {
  Run run;
  const std::uint64_t end = array != nullptr ? array->size() * std::uint64_t{chunk_regions} : 0;
  for (std::uint64_t region = from; region < end;) {
    const std::uintptr_t slot = array->get(region / chunk_regions);
    const std::uint64_t step = is_uniform(slot) ? chunk_regions - region % chunk_regions : 1;
    const std::uint32_t epoch = get(slot, region);
    if (run.count > 0 && epoch != run.epoch) break;
    if (epoch != 0) {
      if (run.count == 0) run = Run{region, 0, epoch};
      run.count += step;
    }
    region += step;
  }
  return run;
}

std::size_t RegionEpochs::memory() const noexcept { return table_.memory() + chunks_ * sizeof(Chunk); }

// What was in a slot.
void RegionEpochs::drop(const ChangeContext& context, std::uintptr_t former) {
  if (is_uniform(former)) return;
  --chunks_;
  context.retire(std::unique_ptr<Chunk>(Chunk::at(former)), Chunk::at(former)->stamp);
}

}  // namespace holdfast::pool
