// SlotArray: what the home core publishes and every core reads: a fixed number of words that point to chunks. In pages:
// those that nothing was set in take no memory, so one cluster at the end of a large volume takes one page.
// SlotTable: an array that grows. Home core; get() on any core.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/assert.h"
#include "pool/effects.h"

namespace holdfast::pool {

class SlotArray final : public Retired {
 public:
  static constexpr std::size_t page_slots = 512;

  using Slot = std::atomic<std::uintptr_t>;

  SlotArray(std::uint32_t stamp, std::size_t size);
  // The same slots, and empty ones behind them.
  SlotArray(std::uint32_t stamp, std::size_t size, const SlotArray& from);
  ~SlotArray() override;

  std::uint32_t stamp() const noexcept { return stamp_; }
  std::size_t size() const noexcept { return size_; }
  std::uintptr_t get(std::size_t slot) const noexcept {
    if (slot >= size_) return 0;
    const Slot* const page = pages_[slot / page_slots].load(std::memory_order_acquire);
    return page != nullptr ? page[slot % page_slots].load(std::memory_order_acquire) : 0;
  }
  void set(std::size_t slot, std::uintptr_t value);
  std::size_t memory() const noexcept { return memory_; }  // bytes
  std::size_t parts() const noexcept override { return 1 + memory_ / (page_slots * sizeof(Slot)); }

 private:
  std::size_t pages() const noexcept { return (size_ + page_slots - 1) / page_slots; }

  std::uint32_t stamp_;
  std::size_t size_;
  std::size_t memory_;
  std::unique_ptr<std::atomic<Slot*>[]> pages_;
};

// What a change needs besides the thing that it changes.
struct ChangeContext {
  Pin& pin;
  Effects& effects;

  // Whoever still looks at it may go on.
  void retire(std::unique_ptr<Retired> object, std::uint32_t stamp) const {
    (pin.holds(stamp) ? pin.kept : effects.retired).push_back(std::move(object));
  }
};

class SlotTable {
 public:
  SlotTable() = default;
  SlotTable(const SlotTable&) = delete;
  SlotTable& operator=(const SlotTable&) = delete;
  ~SlotTable() { delete array(); }

  // 0: nothing there.
  std::uintptr_t get(std::size_t slot) const noexcept {
    const SlotArray* now = array();
    return now != nullptr ? now->get(slot) : 0;
  }
  std::size_t size() const noexcept { return array() != nullptr ? array()->size() : 0; }
  std::size_t memory() const noexcept { return array() != nullptr ? array()->memory() : 0; }  // bytes
  SlotArray* array() const noexcept { return array_.load(std::memory_order_acquire); }

  // The array with at least this size, and not seen by a checkpoint: grown or copied where needed.
  SlotArray& changeable(const ChangeContext& context, std::size_t size_min);
  // Takes the content of `other`; was empty.
  void copy_from(const ChangeContext& context, const SlotTable& other);
  void clear(const ChangeContext& context) { replace(context, nullptr); }

 private:
  void replace(const ChangeContext& context, std::unique_ptr<SlotArray> by);

  std::atomic<SlotArray*> array_{nullptr};
};

}  // namespace holdfast::pool
