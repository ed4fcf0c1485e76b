#include "pool/volume_epochs.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::pool {

std::uint64_t VolumeEpochs::regions() const noexcept { return regions_of(volume_.spec().size_bytes); }

Status VolumeEpochs::check(std::uint64_t first, std::uint64_t count) const {
  if (count <= regions_per_call_max && first <= regions() && count <= regions() - first) return Status();
  return Error(Errc::invalid_argument, fmt::format("volume '{}' has {} regions; {} from {} on were asked for",
                                                   volume_.name(), regions(), count, first));
}

Task<Result<EpochState>> VolumeEpochs::state() {
  EpochState state;
  state.current = volume_.spec().epoch;
  state.sealed = volume_.spec().sealed;
  state.region_bytes = region_bytes;
  state.regions = regions();
  co_return state;
}

Task<Status> VolumeEpochs::record(std::uint32_t epoch, std::uint32_t sealed) {
  EpochRecord record;
  record.volume = volume_.spec().id;
  record.epoch = epoch;
  record.sealed = sealed;
  std::vector<Record> records;
  records.emplace_back(record);
  co_return co_await volume_.parts().journal.commit(std::move(records), Durable::yes);
}

Task<Status> VolumeEpochs::announce(std::uint32_t epoch) {
  const std::uint32_t now = volume_.spec().epoch;
  if (epoch < now) {
    co_return Error(Errc::invalid_argument,
                    fmt::format("volume '{}' is at epoch {}; {} is lower", volume_.name(), now, epoch));
  }
  if (epoch > now) HF_CO_CHECK(co_await record(epoch, 0));
  co_await volume_.epoch_changed();
  co_return Status();
}

Task<Status> VolumeEpochs::seal(std::uint32_t epoch) {
  if (epoch > volume_.spec().epoch) {
    co_return Error(Errc::invalid_argument, fmt::format("volume '{}' is at epoch {}; {} cannot be sealed yet",
                                                        volume_.name(), volume_.spec().epoch, epoch));
  }
  if (epoch <= volume_.spec().sealed) co_return Status();
  co_return co_await record(volume_.spec().epoch, epoch);
}

Task<Result<RegionBitmap>> VolumeEpochs::changed_since(std::uint32_t epoch, std::uint64_t first,
                                                       std::uint64_t count) {
  HF_CO_CHECK(check(first, count));
  RegionBitmap bits(first, count);
  const std::uint64_t end = first + count;
  const SlotArray* epochs = volume_.region_epochs().array();
  while (epochs != nullptr && first < end) {
    const RegionEpochs::Run run = RegionEpochs::next_run(epochs, first);
    if (run.count == 0 || run.first >= end) break;
    first = std::min(end, run.first + run.count);
    if (run.epoch <= epoch) continue;
    for (std::uint64_t region = run.first; region < first; ++region) bits.add(region);
  }
  co_return bits;
}

bool VolumeEpochs::is_allocated(std::uint64_t region) const noexcept {
  const std::uint64_t cluster_bytes = volume_.cluster_bytes();
  const std::uint64_t end = (region + 1) * region_bytes;
  for (std::uint64_t at = region * region_bytes; at < end;) {
    const std::uint64_t in = at % cluster_bytes;
    const auto blocks = static_cast<std::uint32_t>(std::min(cluster_bytes - in, end - at) / block_bytes);
    const BlockRun run = volume_.map()
                             .find(static_cast<std::uint32_t>(at / cluster_bytes))
                             .run(static_cast<std::uint32_t>(in / block_bytes), blocks);
    if (run.source != BlockSource::zero) return true;
    at += std::uint64_t{run.blocks} * block_bytes;
  }
  return false;
}

Task<Result<RegionBitmap>> VolumeEpochs::allocated(std::uint64_t first, std::uint64_t count) {
  HF_CO_CHECK(check(first, count));
  RegionBitmap bits(first, count);
  for (std::uint64_t region = first; region < first + count; ++region) {
    if (is_allocated(region)) bits.add(region);
  }
  co_return bits;
}

}  // namespace holdfast::pool
