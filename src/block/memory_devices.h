// The devices without a medium: "malloc" keeps its blocks in memory, "null" keeps nothing and reads as
// zeroes.
#pragma once

#include <memory>

#include "block/leaf_device.h"
#include "block/memory_epochs.h"
#include "block/registry.h"
#include "block/sparse_memory.h"

namespace holdfast {

class MallocDevice final : public LeafDevice {
 public:
  MallocDevice(Identity identity, const Cores& cores, const Geometry& geometry, bool epochs = false);
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override;
  Task<void> close() override { co_return; }
  // Errors: invalid_argument when it would shrink.
  Status resize(std::uint64_t block_count);
  EpochClient* epochs() noexcept override { return epochs_.get(); }
  SparseMemory& memory() noexcept { return memory_; }
  // For its channels.
  MemoryEpochs* memory_epochs() noexcept { return epochs_.get(); }

 private:
  SparseMemory memory_;
  std::unique_ptr<MemoryEpochs> epochs_;
};

class NullDevice final : public LeafDevice {
 public:
  NullDevice(Identity identity, const Cores& cores, const Geometry& geometry);
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override;
  Task<void> close() override { co_return; }
};

// malloc:///NAME?size_mb=N|num_blocks=N&blk_size=512|4096&uuid=U&resize&epochs
DeviceRegistry::Scheme malloc_scheme(const Cores& cores);
// null:///NAME?size_mb=N|num_blocks=N&blk_size=512|4096&uuid=U
DeviceRegistry::Scheme null_scheme(const Cores& cores);

}  // namespace holdfast
