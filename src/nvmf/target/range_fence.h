// RangeFence: what keeps the halves of a fused command together. Each namespace has one on each core.
//
// Every command that touches data is in flight by an InFlight while the device has it. A fused command raises
// the fences of its range on all cores (Subsystem::fence), so that it is alone with its blocks. One fused
// command of a namespace at a time. Its own core only.
#pragma once

#include <cstdint>

#include "block/block_device.h"
#include "rt/wait.h"

namespace holdfast::nvmf::target {

class RangeFence {
 public:
  explicit RangeFence(Reactor& core) noexcept : moved_(core) {}
  RangeFence(const RangeFence&) = delete;
  RangeFence& operator=(const RangeFence&) = delete;
  ~RangeFence() { HF_ASSERT(first_ == nullptr && !up_); }

  // Commands whose ranges are in their data.
  static constexpr BlockRange anywhere{Lba{0}, ~std::uint64_t{0}};

  class [[nodiscard]] InFlight {
   public:
    // The fence does not stop the range.
    InFlight(RangeFence& fence, BlockRange range) noexcept;
    InFlight(const InFlight&) = delete;
    InFlight& operator=(const InFlight&) = delete;
    ~InFlight();

   private:
    friend class RangeFence;
    RangeFence& fence_;
    const BlockRange range_;
    InFlight* prev_ = nullptr;
    InFlight* next_ = nullptr;
  };

  bool stops(BlockRange range) const noexcept { return up_ && overlap(range_, range); }
  // Waits until the fence does not stop the range.
  Task<void> pass(BlockRange range);
  // New commands of the range wait from now on; returns when none of before is in flight.
  Task<void> raise(BlockRange range);
  void lift() noexcept;

 private:
  static constexpr bool overlap(BlockRange a, BlockRange b) noexcept {
    return to_blocks(a.first) <= to_blocks(b.first) ? to_blocks(b.first) - to_blocks(a.first) < a.count
                                                    : to_blocks(a.first) - to_blocks(b.first) < b.count;
  }
  bool is_occupied() const noexcept;

  WaitQueue moved_;  // a command ended while the fence is up, or the fence was lifted
  BlockRange range_;
  bool up_ = false;
  InFlight* first_ = nullptr;
};

inline RangeFence::InFlight::InFlight(RangeFence& fence, BlockRange range) noexcept
    : fence_(fence), range_(range), next_(fence.first_) {
  if (next_ != nullptr) next_->prev_ = this;
  fence.first_ = this;
}

inline RangeFence::InFlight::~InFlight() {
  if (next_ != nullptr) next_->prev_ = prev_;
  (prev_ != nullptr ? prev_->next_ : fence_.first_) = next_;
  if (fence_.up_) [[unlikely]]
    fence_.moved_.wake_all();
}

}  // namespace holdfast::nvmf::target
