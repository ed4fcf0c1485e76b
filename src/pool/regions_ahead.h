// RegionsAhead: regions that have an epoch in the journal already and were not written in it yet. While the pool is
// open they do not count as written; recovery counts them. Home core.
#pragma once

#include <cstdint>
#include <set>

namespace holdfast::pool {

class RegionsAhead {
 public:
  // What the record says holds as long as the volume has this epoch, and no image of a checkpoint was begun since:
  // that takes the place of the record, without these regions.
  struct Basis {
    std::uint32_t epoch = 0;
    std::uint32_t generation = 0;  // of the state
    bool operator==(const Basis&) const = default;
  };
  static constexpr std::size_t regions_max = 256;

  void add(const Basis& basis, std::uint64_t first, std::uint64_t count) {
    keep(basis);
    // Who writes at so many places gains little; what is forgotten is recorded once more.
    if (regions_.size() + count > regions_max) regions_.clear();
    for (std::uint64_t region = first; region < first + count; ++region) regions_.insert(region);
  }
  // The region is about to be written. False: it has to be recorded.
  bool take(const Basis& basis, std::uint64_t region) {
    keep(basis);
    return regions_.erase(region) > 0;
  }
  bool empty() const noexcept { return regions_.empty(); }
  void forget() noexcept { regions_.clear(); }

 private:
  void keep(const Basis& basis) {
    if (basis_ != basis) regions_.clear();
    basis_ = basis;
  }

  Basis basis_;
  std::set<std::uint64_t> regions_;
};

}  // namespace holdfast::pool
