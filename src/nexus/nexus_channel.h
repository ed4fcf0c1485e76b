// A host-facing channel: a light handle onto the state of its core.
#pragma once

#include "block/block_device.h"
#include "nexus/core_state.h"

namespace holdfast::nexus {

class NexusChannel final : public Channel {
 public:
  explicit NexusChannel(CoreState& state) noexcept : state_(state) {}

  Task<Status> read(Lba first, IoVecs into) override;
  Task<Status> write(Lba first, IoVecs from, Durable durable) override;
  Task<Status> write_zeroes(BlockRange range, Unmap unmap, Durable durable) override;
  Task<Status> deallocate(BlockRange range) override;
  Task<Status> flush() override;
  Task<Status> compare(Lba first, IoVecs with) override;
  Task<void> close() override;

 private:
  CoreState& state_;
};

}  // namespace holdfast::nexus
