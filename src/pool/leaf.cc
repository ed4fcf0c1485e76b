#include "pool/leaf.h"

namespace holdfast::pool {

MapMemory::MapMemory(std::uint32_t blocks) noexcept : partials_(blocks), leaves_(sizeof(Leaf)) {}

void MapMemory::trim(std::size_t most) noexcept { leaves_.trim(most - partials_.trim(most)); }

std::unique_ptr<Leaf> Leaf::make(MapMemory& memory, std::uint32_t stamp) {
  return std::unique_ptr<Leaf>(new (memory.leaves_) Leaf(stamp));
}

Leaf::~Leaf() {
  for (std::uint32_t at = 0, left = totals_.partials; left > 0; ++at) {
    Partial* const partial = get(at).partial();
    if (partial == nullptr) continue;
    delete partial;
    --left;
  }
}

std::size_t Leaf::parts() const noexcept {
  constexpr std::size_t own = 4, searched = 8;  // it takes some pages' memory, and a look at every entry
  return own + (totals_.partials > 0 ? searched + totals_.partials : 0);
}

std::unique_ptr<Leaf> Leaf::copy(std::uint32_t stamp, MapMemory& memory) const {
  auto made = make(memory, stamp);
  for (std::uint32_t at = 0; at < entries; ++at) {
    const Entry entry = get(at);
    const Partial* partial = entry.partial();
    made->set(at, partial != nullptr ? Entry::of(partial->copy(memory.partials()).release()) : entry);
  }
  made->maybe_shares_ = maybe_shares_;
  return made;
}

void Leaf::set(std::uint32_t at, Entry entry) noexcept {
  const auto count = [this](Entry e, int n) {
    totals_.mapped = static_cast<std::uint16_t>(totals_.mapped + (e.mapped() ? n : 0));
    totals_.partials = static_cast<std::uint16_t>(totals_.partials + (e.partial() != nullptr ? n : 0));
    totals_.behinds = static_cast<std::uint16_t>(totals_.behinds + (e.has_behind() ? n : 0));
  };
  count(get(at), -1);
  count(entry, 1);
  entries_[at].store(entry.raw(), std::memory_order_release);
}

std::size_t Leaf::memory() const noexcept {
  std::size_t sum = sizeof *this;
  for (std::uint32_t at = 0; at < entries; ++at) {
    const Partial* partial = get(at).partial();
    sum += partial != nullptr ? partial->memory() : 0;
  }
  return sum;
}

bool ClusterView::owns(std::uint32_t first, std::uint32_t count) const noexcept {
  const Partial* partial = entry_.partial();
  return partial != nullptr ? partial->owns(first, count) : entry_.mapped();
}

BlockRun ClusterView::run(std::uint32_t first, std::uint32_t limit) const noexcept {
  const Partial* partial = entry_.partial();
  if (partial == nullptr) {
    if (!entry_.mapped()) return BlockRun{BlockSource::zero, Cluster{}, limit};
    return BlockRun{BlockSource::own, entry_.cluster(), limit};
  }
  const auto source = [partial](std::uint32_t block) {
    if (partial->own(block)) return BlockSource::own;
    return partial->behind_valid(block) ? BlockSource::behind : BlockSource::zero;
  };
  BlockRun run;
  run.source = source(first);
  if (run.source != BlockSource::zero) {
    run.cluster = run.source == BlockSource::own ? partial->cluster() : partial->behind();
  }
  run.blocks = 1;
  while (run.blocks < limit && source(first + run.blocks) == run.source) ++run.blocks;
  return run;
}

}  // namespace holdfast::pool
