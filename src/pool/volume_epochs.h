// VolumeEpochs: the epochs of a volume as its mirror sees them. Home core.
#pragma once

#include "block/epochs.h"
#include "pool/volume.h"

namespace holdfast::pool {

class VolumeEpochs final : public EpochClient {
 public:
  explicit VolumeEpochs(Volume& volume) noexcept : volume_(volume) {}

  Task<Result<EpochState>> state() override;
  Task<Status> announce(std::uint32_t epoch) override;
  Task<Status> seal(std::uint32_t epoch) override;
  Task<Result<RegionBitmap>> changed_since(std::uint32_t epoch, std::uint64_t first,
                                           std::uint64_t count) override;
  Task<Result<RegionBitmap>> allocated(std::uint64_t first, std::uint64_t count) override;

 private:
  std::uint64_t regions() const noexcept;
  Status check(std::uint64_t first, std::uint64_t count) const;
  Task<Status> record(std::uint32_t epoch, std::uint32_t sealed);
  bool is_allocated(std::uint64_t region) const noexcept;

  Volume& volume_;
};

}  // namespace holdfast::pool
