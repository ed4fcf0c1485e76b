#include "nvmf/target/range_fence.h"

namespace holdfast::nvmf::target {

bool RangeFence::is_occupied() const noexcept {
  for (const InFlight* f = first_; f != nullptr; f = f->next_) {
    if (overlap(range_, f->range_)) return true;
  }
  return false;
}

Task<void> RangeFence::pass(BlockRange range) {
  while (stops(range)) (void)co_await moved_.wait();
}

Task<void> RangeFence::raise(BlockRange range) {
  HF_ASSERT(!up_);
  range_ = range;
  up_ = true;
  while (is_occupied()) (void)co_await moved_.wait();
}

void RangeFence::lift() noexcept {
  HF_ASSERT(up_);
  up_ = false;
  moved_.wake_all();
}

}  // namespace holdfast::nvmf::target
