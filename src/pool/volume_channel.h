// A channel of a volume or snapshot: a light handle onto the state of its core.
#pragma once

#include "block/block_device.h"
#include "pool/volume.h"
#include "pool/volume_core.h"

namespace holdfast::pool {

class VolumeChannel final : public Channel {
 public:
  VolumeChannel(Volume& volume, VolumeCore& core) noexcept : volume_(volume), core_(core) {}

  Task<Status> read(Lba first, IoVecs into) override;
  Task<Status> write(Lba first, IoVecs from, Durable durable) override;
  Task<Status> write_zeroes(BlockRange range, Unmap unmap, Durable durable) override;
  Task<Status> deallocate(BlockRange range) override;
  Task<Status> flush() override;
  Task<Status> compare(Lba first, IoVecs with) override;
  void cancel_all() noexcept override { cancelled_ = true; }
  Task<void> close() override;

 private:
  Volume& volume_;
  VolumeCore& core_;
  bool cancelled_ = false;
};

}  // namespace holdfast::pool
