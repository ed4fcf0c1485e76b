// Leaf: where 512 consecutive clusters of a volume are. ClusterView: what a reader or writer, on any core, sees of one
// cluster.
//
// The home core changes leaves that one map has; readers see each entry before or after a change, never between.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "pool/effects.h"
#include "pool/partial.h"
#include "pool/slab.h"
#include "pool/types.h"

namespace holdfast::pool {

// An entry of a leaf: 0, or a cluster that is wholly the volume's, or a Partial.
class Entry {
 public:
  constexpr Entry() noexcept = default;
  constexpr explicit Entry(std::uintptr_t raw) noexcept : raw_(raw) {}
  static constexpr Entry whole(Cluster cluster) noexcept {
    return Entry(std::uintptr_t{to_index(cluster)} << 8 | whole_bit);
  }
  static Entry of(Partial* partial) noexcept {
    return Entry(reinterpret_cast<std::uintptr_t>(partial) | partial_bit);
  }
  constexpr std::uintptr_t raw() const noexcept { return raw_; }
  constexpr bool mapped() const noexcept { return raw_ != 0; }
  constexpr bool is_whole() const noexcept { return (raw_ & whole_bit) != 0; }
  // nullptr: it is whole, or nothing is mapped.
  Partial* partial() const noexcept {
    return (raw_ & partial_bit) != 0 ? reinterpret_cast<Partial*>(raw_ & ~partial_bit) : nullptr;
  }
  // Mapped.
  Cluster cluster() const noexcept {
    return is_whole() ? Cluster{static_cast<std::uint32_t>(raw_ >> 8)} : partial()->cluster();
  }
  bool has_behind() const noexcept { return partial() != nullptr && partial()->has_behind(); }

 private:
  static constexpr std::uintptr_t partial_bit = 1, whole_bit = 2;
  std::uintptr_t raw_ = 0;
};
static_assert(sizeof(std::uintptr_t) == 8);

// Memory for the maps of one pool, whose leaves and Partials may live longer. Home core.
class MapMemory {
 public:
  explicit MapMemory(std::uint32_t blocks) noexcept;  // of a cluster
  // Chunks of it that nothing needs; to the system go `most` of them at most.
  std::size_t spare() const noexcept { return partials_.spare() + leaves_.spare(); }
  void trim(std::size_t most) noexcept;
  // From the system, bytes.
  std::size_t taken() const noexcept { return partials_.taken() + leaves_.memory(); }
  PartialMemory& partials() noexcept { return partials_; }

 private:
  friend class Leaf;
  PartialMemory partials_;
  Slab leaves_;
};

class Leaf final : public Retired {
 public:
  static constexpr std::uint32_t entries = 512;

  static std::unique_ptr<Leaf> make(MapMemory& memory, std::uint32_t stamp);
  ~Leaf() override;
  static void operator delete(void* object) noexcept { Slab::release(object); }
  std::size_t parts() const noexcept override;
  // The same entries, with Partials of its own.
  std::unique_ptr<Leaf> copy(std::uint32_t stamp, MapMemory& memory) const;

  Entry get(std::uint32_t at) const noexcept { return Entry(entries_[at].load(std::memory_order_acquire)); }
  // The Partial that was there is the caller's.
  void set(std::uint32_t at, Entry entry) noexcept;
  // Any core: other maps have it, too, or had it until something that is not settled.
  bool shared() const noexcept { return claims_.load(std::memory_order_acquire) > 1; }

  // Home core only.
  std::uint32_t stamp() const noexcept { return stamp_; }
  // What is in it, as numbers.
  struct Totals {
    std::uint16_t mapped = 0, partials = 0, behinds = 0;
  };
  const Totals& totals() const noexcept { return totals_; }
  std::uint32_t owners() const noexcept { return owners_; }
  void add_owner() noexcept { ++owners_, claims_.fetch_add(1, std::memory_order_release); }
  void remove_owner() noexcept { --owners_, claims_.fetch_sub(1, std::memory_order_release); }
  void hold() noexcept { claims_.fetch_add(1, std::memory_order_release); }
  void release() noexcept { claims_.fetch_sub(1, std::memory_order_release); }
  std::uint32_t holds() const noexcept { return claims_.load(std::memory_order_relaxed) - owners_; }
  // Whether some cluster in it may be named by another leaf; false is certain.
  bool maybe_shares() const noexcept { return maybe_shares_; }
  void set_maybe_shares(bool value) const noexcept { maybe_shares_ = value; }
  // The number of the leaf in the image of this generation, for who writes the image.
  struct Mark {
    std::uint32_t generation = 0;
    std::uint32_t number = 0;
  };
  Mark mark() const noexcept { return mark_; }
  void set_mark(Mark mark) const noexcept { mark_ = mark; }
  std::size_t memory() const noexcept;

 private:
  explicit Leaf(std::uint32_t stamp) noexcept : stamp_(stamp) {}
  static void* operator new(std::size_t, Slab& slab) { return slab.allocate(); }
  static void operator delete(void* object, Slab&) noexcept { Slab::release(object); }

  std::atomic<std::uint32_t> claims_{0};  // owners and holds
  std::uint32_t owners_ = 0;
  std::uint32_t stamp_;
  Totals totals_;
  mutable bool maybe_shares_ = false;
  mutable Mark mark_;
  std::atomic<std::uintptr_t> entries_[entries] = {};
};

enum class BlockSource : std::uint8_t { zero, own, behind };

// Blocks of one cluster that are to be read from one place.
struct BlockRun {
  BlockSource source = BlockSource::zero;
  Cluster cluster{};  // not for zero
  std::uint32_t blocks = 0;
};

// One cluster of a map as it was when it was looked up; own blocks may have become more since. Valid until the
// core that has it passes a grace period.
class ClusterView {
 public:
  ClusterView() = default;
  ClusterView(Entry entry, bool leaf_shared) noexcept : entry_(entry), leaf_shared_(leaf_shared) {}

  bool mapped() const noexcept { return entry_.mapped(); }
  // The leaf is shared; when it is not, ClusterCounts::exclusive() says whether own() may be written in place.
  bool leaf_shared() const noexcept { return leaf_shared_; }
  Cluster own() const noexcept { return entry_.cluster(); }  // mapped
  bool whole() const noexcept { return entry_.is_whole(); }  // all blocks are own
  bool has_behind() const noexcept { return entry_.has_behind(); }
  Cluster behind() const noexcept { return entry_.partial()->behind(); }  // has_behind
  // All these blocks are own.
  bool owns(std::uint32_t first, std::uint32_t count) const noexcept;
  // The longest run from block `first` on that is in one place, `limit` at most.
  BlockRun run(std::uint32_t first, std::uint32_t limit) const noexcept;

 private:
  Entry entry_;
  bool leaf_shared_ = false;
};

}  // namespace holdfast::pool
