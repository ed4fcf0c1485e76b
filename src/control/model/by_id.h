// ById, ByName: std::maps by UUID and by name that find faster. In a tree of ten thousands of large records every step
// of a search is a cache miss, and in one of hundreds of names a comparison of strings; here a hash table leads to the
// record. Whoever goes through one sees the order of a map.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/uuid.h"

namespace holdfast::control {

namespace detail {

inline std::uint64_t mix(std::uint64_t before, std::uint64_t word) noexcept {
  constexpr std::uint64_t odd = 0x9e3779b97f4a7c15;  // 2^64 over the golden ratio
  const std::uint64_t mixed = (before ^ word) * odd;
  return mixed ^ (mixed >> 29);
}

inline std::uint64_t hash_of(std::string_view bytes) noexcept {
  std::uint64_t hash = bytes.size();
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    const std::size_t n = std::min(bytes.size(), sizeof word);
    std::memcpy(&word, bytes.data(), n);
    hash = mix(hash, word);
    bytes.remove_prefix(n);
  }
  return mix(hash, 0);
}

// All of it counts: UUIDs of some makers share one half.
inline std::uint64_t hash_of(const Uuid& id) noexcept {
  return hash_of(std::string_view(reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()));
}

}  // namespace detail

#ifndef NDEBUG
// How often this thread looked something up, for tests of how the cost of something grows.
inline thread_local std::uint64_t lookups = 0;
#endif

template <class Key, class T>
class HashedMap {
  using Map = std::map<Key, T>;

 public:
  using key_type = Key;
  using mapped_type = T;
  using value_type = typename Map::value_type;
  using iterator = typename Map::iterator;
  using const_iterator = typename Map::const_iterator;
  using size_type = std::size_t;

  HashedMap() = default;
  HashedMap(const HashedMap& o) : map_(o.map_) { rebuild(); }
  // What was found in the other is found here: nodes do not move.
  HashedMap(HashedMap&& o) noexcept : map_(std::move(o.map_)), slots_(std::move(o.slots_)) { o.clear(); }
  HashedMap& operator=(HashedMap o) noexcept {
    map_.swap(o.map_);
    slots_.swap(o.slots_);
    return *this;
  }
  ~HashedMap() = default;

  iterator begin() noexcept { return map_.begin(); }
  iterator end() noexcept { return map_.end(); }
  const_iterator begin() const noexcept { return map_.begin(); }
  const_iterator end() const noexcept { return map_.end(); }
  bool empty() const noexcept { return map_.empty(); }
  size_type size() const noexcept { return map_.size(); }

  iterator find(const Key& id) {
    const std::size_t slot = slot_of(id);
    return slot == none ? map_.end() : slots_[slot].at;
  }
  const_iterator find(const Key& id) const {
    const std::size_t slot = slot_of(id);
    return slot == none ? map_.end() : const_iterator(slots_[slot].at);
  }
  bool contains(const Key& id) const { return slot_of(id) != none; }
  T& at(const Key& id) {
    const auto here = find(id);
    HF_ASSERT(here != map_.end());
    return here->second;
  }
  const T& at(const Key& id) const {
    const auto here = find(id);
    HF_ASSERT(here != map_.end());
    return here->second;
  }
  T& operator[](const Key& id) { return try_emplace(id).first->second; }

  template <class... Args>
  std::pair<iterator, bool> try_emplace(const Key& id, Args&&... args) {
    const auto added = map_.try_emplace(id, std::forward<Args>(args)...);
    if (added.second) note(added.first);
    return added;
  }
  std::pair<iterator, bool> emplace(const Key& id, T value) { return try_emplace(id, std::move(value)); }

  iterator erase(const_iterator at) {
    forget(slot_of(at->first));
    return map_.erase(at);
  }
  iterator erase(iterator at) { return erase(const_iterator(at)); }
  size_type erase(const Key& id) {
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

  bool operator==(const HashedMap& o) const { return map_ == o.map_; }

 private:
  // Open addressing, a power of two, never more than three quarters full.
  struct Slot {
    std::uint64_t hash = 0;  // 0: empty
    iterator at{};
  };
  static constexpr std::size_t none = ~std::size_t{0};
  static constexpr std::size_t slots_min = 16;

  // Never 0, which marks an empty slot.
  static std::uint64_t hash_of(const Key& id) noexcept { return detail::hash_of(id) | 1; }
  std::size_t next(std::size_t slot) const noexcept { return (slot + 1) & (slots_.size() - 1); }
  std::size_t first(std::uint64_t hash) const noexcept { return (hash >> 1) & (slots_.size() - 1); }

  std::size_t slot_of(const Key& id) const {
#ifndef NDEBUG
    ++lookups;
#endif
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

template <class T>
using ById = HashedMap<Uuid, T>;
template <class T>
using ByName = HashedMap<std::string, T>;

template <class Key, class T, class Gone>
std::size_t erase_if(HashedMap<Key, T>& from, const Gone& gone) {
  const std::size_t before = from.size();
  for (auto at = from.begin(); at != from.end();) at = gone(*at) ? from.erase(at) : std::next(at);
  return before - from.size();
}

}  // namespace holdfast::control
