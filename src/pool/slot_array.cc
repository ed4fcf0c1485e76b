#include "pool/slot_array.h"

#include <algorithm>
#include <utility>

namespace holdfast::pool {

SlotArray::SlotArray(std::uint32_t stamp, std::size_t size)
    : stamp_(stamp),
      size_(size),
      memory_(sizeof *this + pages() * sizeof(Slot*)),
      pages_(std::make_unique<std::atomic<Slot*>[]>(pages())) {}

SlotArray::SlotArray(std::uint32_t stamp, std::size_t size, const SlotArray& from) : SlotArray(stamp, size) {
  for (std::size_t page = 0; page < from.pages(); ++page) {
    if (from.pages_[page].load(std::memory_order_relaxed) == nullptr) continue;
    const std::size_t end = std::min(from.size(), (page + 1) * page_slots);
    for (std::size_t slot = page * page_slots; slot < end; ++slot) set(slot, from.get(slot));
  }
}

SlotArray::~SlotArray() {
  for (std::size_t page = 0; page < pages(); ++page) delete[] pages_[page].load(std::memory_order_relaxed);
}

void SlotArray::set(std::size_t slot, std::uintptr_t value) {
  HF_ASSERT(slot < size_);
  std::atomic<Slot*>& page = pages_[slot / page_slots];
  Slot* there = page.load(std::memory_order_relaxed);
  if (there == nullptr && value == 0) return;
  if (there == nullptr) {
    const std::size_t slots = std::min(page_slots, size_ - slot / page_slots * page_slots);
    there = new Slot[slots]();
    memory_ += slots * sizeof(Slot);
    page.store(there, std::memory_order_release);  // whoever sees it sees it empty
  }
  there[slot % page_slots].store(value, std::memory_order_release);
}

SlotArray& SlotTable::changeable(const ChangeContext& context, std::size_t size_min) {
  SlotArray* now = array();
  if (now != nullptr && now->size() >= size_min && !context.pin.holds(now->stamp())) return *now;
  const std::size_t size = now != nullptr ? now->size() : 0;
  // Half as much again, so that growing slot by slot stays cheap.
  const std::size_t grown = size >= size_min ? size : std::max(size_min, size + size / 2);
  auto next = now != nullptr ? std::make_unique<SlotArray>(context.pin.generation, grown, *now)
                             : std::make_unique<SlotArray>(context.pin.generation, grown);
  SlotArray& made = *next;
  replace(context, std::move(next));
  return made;
}

void SlotTable::copy_from(const ChangeContext& context, const SlotTable& other) {
  HF_ASSERT(array() == nullptr);
  const SlotArray* from = other.array();
  if (from == nullptr) return;
  replace(context, std::make_unique<SlotArray>(context.pin.generation, from->size(), *from));
}

void SlotTable::replace(const ChangeContext& context, std::unique_ptr<SlotArray> by) {
  std::unique_ptr<SlotArray> old(array());
  array_.store(by.release(), std::memory_order_release);
  if (old == nullptr) return;
  const std::uint32_t stamp = old->stamp();
  context.retire(std::move(old), stamp);
}

}  // namespace holdfast::pool
