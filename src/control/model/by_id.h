// ById: a std::map by UUID that finds faster. In a tree of ten thousands of large records every step of a search is
// a cache miss; here a hash table leads to the record. Whoever goes through it sees the order of a map.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/uuid.h"

namespace holdfast::control {

template <class T>
class ById {
  using Map = std::map<Uuid, T>;

 public:
  using key_type = Uuid;
  using mapped_type = T;
  using value_type = typename Map::value_type;
  using iterator = typename Map::iterator;
  using const_iterator = typename Map::const_iterator;
  using size_type = std::size_t;

  ById() = default;
  ById(const ById& o) : map_(o.map_) { rebuild(); }
  // What was found in the other is found here: nodes do not move.
  ById(ById&& o) noexcept : map_(std::move(o.map_)), slots_(std::move(o.slots_)) { o.clear(); }
  ById& operator=(ById o) noexcept {
    map_.swap(o.map_);
    slots_.swap(o.slots_);
    return *this;
  }
  ~ById() = default;

  iterator begin() noexcept { return map_.begin(); }
  iterator end() noexcept { return map_.end(); }
  const_iterator begin() const noexcept { return map_.begin(); }
  const_iterator end() const noexcept { return map_.end(); }
  bool empty() const noexcept { return map_.empty(); }
  size_type size() const noexcept { return map_.size(); }

  iterator find(const Uuid& id) {
    const std::size_t slot = slot_of(id);
    return slot == none ? map_.end() : slots_[slot].at;
  }
  const_iterator find(const Uuid& id) const {
    const std::size_t slot = slot_of(id);
    return slot == none ? map_.end() : const_iterator(slots_[slot].at);
  }
  bool contains(const Uuid& id) const { return slot_of(id) != none; }
  T& at(const Uuid& id) {
    const auto here = find(id);
    HF_ASSERT(here != map_.end());
    return here->second;
  }
  const T& at(const Uuid& id) const {
    const auto here = find(id);
    HF_ASSERT(here != map_.end());
    return here->second;
  }
  T& operator[](const Uuid& id) { return try_emplace(id).first->second; }

  template <class... Args>
  std::pair<iterator, bool> try_emplace(const Uuid& id, Args&&... args) {
    const auto added = map_.try_emplace(id, std::forward<Args>(args)...);
    if (added.second) note(added.first);
    return added;
  }
  std::pair<iterator, bool> emplace(const Uuid& id, T value) { return try_emplace(id, std::move(value)); }

  iterator erase(const_iterator at) {
    forget(slot_of(at->first));
    return map_.erase(at);
  }
  iterator erase(iterator at) { return erase(const_iterator(at)); }
  size_type erase(const Uuid& id) {
    const std::size_t slot = slot_of(id);
    if (slot == none) return 0;
    const iterator at = slots_[slot].at;
    forget(slot);
    map_.erase(at);
    return 1;
  }
  void clear() noexcept {
    slots_.clear();
    map_.clear();
  }

  bool operator==(const ById& o) const { return map_ == o.map_; }

 private:
  // Open addressing, a power of two, never more than three quarters full.
  struct Slot {
    std::uint64_t hash = 0;  // 0: empty
    iterator at{};
  };
  static constexpr std::size_t none = ~std::size_t{0};
  static constexpr std::size_t slots_min = 16;

  static std::uint64_t hash_of(const Uuid& id) noexcept {
    // Both halves count: UUIDs of some makers share one of them.
    std::uint64_t high = 0, low = 0;
    std::memcpy(&high, id.bytes.data(), sizeof high);
    std::memcpy(&low, id.bytes.data() + sizeof high, sizeof low);
    constexpr std::uint64_t odd = 0x9e3779b97f4a7c15;  // 2^64 over the golden ratio
    std::uint64_t mixed = (high ^ std::rotl(low, 32)) * odd;
    mixed = (mixed ^ (mixed >> 29) ^ low) * odd;
    return (mixed ^ (mixed >> 32)) | 1;
  }
  std::size_t next(std::size_t slot) const noexcept { return (slot + 1) & (slots_.size() - 1); }
  std::size_t first(std::uint64_t hash) const noexcept { return (hash >> 1) & (slots_.size() - 1); }

  std::size_t slot_of(const Uuid& id) const {
    if (slots_.empty()) return none;
    const std::uint64_t hash = hash_of(id);
    for (std::size_t slot = first(hash); slots_[slot].hash != 0; slot = next(slot)) {
      if (slots_[slot].hash == hash && slots_[slot].at->first == id) return slot;
    }
    return none;
  }
  void put(Slot entry) {
    std::size_t slot = first(entry.hash);
    while (slots_[slot].hash != 0) slot = next(slot);
    slots_[slot] = entry;
  }
  void note(iterator at) {
    if (map_.size() * 4 > slots_.size() * 3) {
      rebuild();
    } else {
      put({hash_of(at->first), at});
    }
  }
  // Those behind it that could not stand where it stood move up.
  void forget(std::size_t gone) {
    for (std::size_t slot = next(gone); slots_[slot].hash != 0; slot = next(slot)) {
      const std::size_t wanted = first(slots_[slot].hash);
      const bool stays = gone <= slot ? gone < wanted && wanted <= slot : gone < wanted || wanted <= slot;
      if (stays) continue;
      slots_[gone] = slots_[slot];
      gone = slot;
    }
    slots_[gone] = Slot();
  }
  void rebuild() {
    slots_.assign(std::max(slots_min, std::bit_ceil(map_.size() * 2)), Slot());
    for (auto at = map_.begin(); at != map_.end(); ++at) put({hash_of(at->first), at});
  }

  Map map_;
  std::vector<Slot> slots_;
};

template <class T, class Gone>
std::size_t erase_if(ById<T>& from, const Gone& gone) {
  const std::size_t before = from.size();
  for (auto at = from.begin(); at != from.end();) at = gone(*at) ? from.erase(at) : std::next(at);
  return before - from.size();
}

}  // namespace holdfast::control
