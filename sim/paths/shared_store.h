// SharedStore: the blocks that several simulated targets export, as a disk with several ports would; and
// SharedDevice, one such port. An operation takes effect at one moment between its start and its end; what a
// crashed process had not done by then never happens.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "rt/reactor.h"

namespace holdfast::sim {

class SharedStore {
 public:
  static constexpr std::uint32_t block_bytes = 512;
  explicit SharedStore(std::uint64_t blocks) : bytes_(blocks * block_bytes) {}

  std::uint64_t blocks() const noexcept { return bytes_.size() / block_bytes; }
  std::byte* at(std::uint64_t lba) noexcept { return bytes_.data() + lba * block_bytes; }

 private:
  std::vector<std::byte> bytes_;
};

// How a port behaves; may change at any time.
struct PortBehavior {
  Nanos latency_max{200'000};
  Nanos stalled_until{0};             // nothing takes effect before
  unsigned path_error_per_mille = 0;  // ends with not_connected instead, before anything is done
};

class SharedDevice final : public BlockDevice {
 public:
  // `store` and `behavior` outlive the device.
  SharedDevice(SharedStore& store, const PortBehavior& behavior, Uuid uuid);

  const Geometry& geometry() const noexcept override { return geometry_; }
  const Capabilities& capabilities() const noexcept override { return capabilities_; }
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override;
  Task<IoStats> stats() override { co_return IoStats(); }
  Task<void> close() override { co_return; }

 private:
  SharedStore& store_;
  const PortBehavior& behavior_;
  Geometry geometry_;
  Capabilities capabilities_;
};

}  // namespace holdfast::sim
