#include "pool/leaf.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/assert.h"

namespace holdfast::pool {
namespace {

// The bits of word `word` that lie in [first, first + count).
std::uint64_t mask(std::uint32_t word, std::uint32_t first, std::uint32_t count) noexcept {
  const std::uint32_t low = std::max(first, word * 64);
  const std::uint32_t end = std::min(first + count, word * 64 + 64);
  if (low >= end) return 0;
  const std::uint64_t ones = end - low == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << (end - low)) - 1;
  return ones << (low - word * 64);
}

}  // namespace

Partial::Partial(Cluster cluster, std::uint32_t blocks)
    : cluster_(cluster),
      blocks_(static_cast<std::uint16_t>(blocks)),
      has_behind_(false),
      bits_(std::make_unique<std::atomic<std::uint64_t>[]>(words())) {}

Partial::Partial(Cluster cluster, Cluster behind, std::uint32_t blocks)
    : cluster_(cluster),
      behind_(behind),
      blocks_(static_cast<std::uint16_t>(blocks)),
      has_behind_(true),
      bits_(std::make_unique<std::atomic<std::uint64_t>[]>(std::size_t{2} * words())) {}

std::unique_ptr<Partial> Partial::copy() const {
  auto made = has_behind_ ? std::make_unique<Partial>(cluster_, behind_, blocks_)
                          : std::make_unique<Partial>(cluster_, blocks_);
  for (std::uint32_t w = 0; w < words(); ++w) made->set_words(w, own_word(w), behind_word(w));
  return made;
}

std::uint32_t Partial::own_blocks() const noexcept {
  std::uint32_t sum = 0;
  for (std::uint32_t w = 0; w < words(); ++w) sum += static_cast<std::uint32_t>(std::popcount(own_word(w)));
  return sum;
}

bool Partial::owns(std::uint32_t first, std::uint32_t count) const noexcept {
  for (std::uint32_t w = first / 64; w * 64 < first + count; ++w) {
    if ((mask(w, first, count) & ~own_word(w)) != 0) return false;
  }
  return true;
}

bool Partial::needs_behind() const noexcept {
  for (std::uint32_t w = 0; w < words(); ++w) {
    if ((behind_word(w) & ~own_word(w)) != 0) return true;
  }
  return false;
}

void Partial::set_own(std::uint32_t first, std::uint32_t count, bool value) noexcept {
  HF_ASSERT(first + count <= blocks_);
  for (std::uint32_t w = first / 64; w * 64 < first + count; ++w) {
    const std::uint64_t bits = mask(w, first, count);
    const std::uint64_t now = own_word(w);
    bits_[w].store(value ? now | bits : now & ~bits, std::memory_order_release);
  }
}

void Partial::set_behind_valid(std::uint32_t first, std::uint32_t count) noexcept {
  HF_ASSERT(has_behind_ && first + count <= blocks_);
  for (std::uint32_t w = first / 64; w * 64 < first + count; ++w) {
    set_words(w, own_word(w), behind_word(w) | mask(w, first, count));
  }
}

void Partial::set_words(std::uint32_t word, std::uint64_t own, std::uint64_t behind) noexcept {
  bits_[word].store(own, std::memory_order_release);
  if (has_behind_) bits_[words() + word].store(behind, std::memory_order_relaxed);
}

std::size_t Partial::memory() const noexcept {
  return sizeof *this + std::size_t{words()} * (has_behind_ ? 2 : 1) * sizeof(std::uint64_t);
}

Leaf::~Leaf() {
  for (std::uint32_t at = 0; at < entries; ++at) delete get(at).partial();
}

std::unique_ptr<Leaf> Leaf::copy(std::uint32_t stamp) const {
  auto made = std::make_unique<Leaf>(stamp);
  for (std::uint32_t at = 0; at < entries; ++at) {
    const Entry entry = get(at);
    const Partial* partial = entry.partial();
    made->set(at, partial != nullptr ? Entry::of(partial->copy().release()) : entry);
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
