#include "pool/slot_array.h"

#include <algorithm>
#include <utility>

namespace holdfast::pool {

SlotArray& SlotTable::changeable(const ChangeContext& context, std::size_t size_min) {
  SlotArray* now = array();
  if (now != nullptr && now->size() >= size_min && !context.pin.holds(now->stamp())) return *now;
  const std::size_t size = now != nullptr ? now->size() : 0;
  // Half as much again, so that growing slot by slot stays cheap.
  const std::size_t grown = size >= size_min ? size : std::max(size_min, size + size / 2);
  auto next = std::make_unique<SlotArray>(context.pin.generation, grown);
  for (std::size_t slot = 0; slot < size; ++slot) next->set(slot, now->get(slot));
  SlotArray& made = *next;
  replace(context, std::move(next));
  return made;
}

void SlotTable::copy_from(const ChangeContext& context, const SlotTable& other) {
  HF_ASSERT(array() == nullptr);
  const SlotArray* from = other.array();
  if (from == nullptr) return;
  auto next = std::make_unique<SlotArray>(context.pin.generation, from->size());
  for (std::size_t slot = 0; slot < from->size(); ++slot) next->set(slot, from->get(slot));
  replace(context, std::move(next));
}

void SlotTable::replace(const ChangeContext& context, std::unique_ptr<SlotArray> by) {
  std::unique_ptr<SlotArray> old(array());
  array_.store(by.release(), std::memory_order_release);
  if (old == nullptr) return;
  const std::uint32_t stamp = old->stamp();
  context.retire(std::move(old), stamp);
}

}  // namespace holdfast::pool
