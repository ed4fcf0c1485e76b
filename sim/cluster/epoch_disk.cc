#include "sim/cluster/epoch_disk.h"

#include <algorithm>
#include <utility>

namespace holdfast::sim {
namespace {

Result<RegionBitmap> bits_of(const std::vector<bool>& set, std::uint64_t first, std::uint64_t count) {
  if (first > set.size() || count > set.size() - first) return Error(Errc::out_of_range);
  RegionBitmap bits(first, count);
  for (std::uint64_t region = first; region < first + count; ++region) {
    if (set[region]) bits.add(region);
  }
  return bits;
}

class TableEpochs final : public EpochClient {
 public:
  explicit TableEpochs(EpochTable& table) : table_(table) {}
  Task<Result<EpochState>> state() override {
    EpochState state;
    state.current = table_.current;
    state.sealed = table_.sealed;
    state.region_bytes = EpochTable::region_bytes;
    state.regions = table_.epochs.size();
    co_return state;
  }
  Task<Status> announce(std::uint32_t epoch) override {
    if (epoch < table_.current) co_return Error(Errc::invalid_argument);
    table_.current = epoch;
    co_return Status();
  }
  Task<Status> seal(std::uint32_t epoch) override {
    if (epoch > table_.current) co_return Error(Errc::invalid_argument);
    table_.sealed = std::max(table_.sealed, epoch);
    co_return Status();
  }
  Task<Result<RegionBitmap>> changed_since(std::uint32_t epoch, std::uint64_t first,
                                           std::uint64_t count) override {
    co_return bits_of(table_.changed_since(epoch), first, count);
  }
  Task<Result<RegionBitmap>> allocated(std::uint64_t first, std::uint64_t count) override {
    co_return bits_of(table_.allocated, first, count);
  }

 private:
  EpochTable& table_;
};

class EpochChannel final : public Channel {
 public:
  EpochChannel(std::unique_ptr<Channel> below, EpochTable& table, std::uint32_t block_bytes)
      : below_(std::move(below)), table_(table), block_bytes_(block_bytes) {}

  Task<Status> read(Lba first, IoVecs into) override { return below_->read(first, into); }
  Task<Status> write(Lba first, IoVecs from, Durable durable) override {
    table_.mark(to_blocks(first) * block_bytes_, total_bytes(from));
    return below_->write(first, from, durable);
  }
  Task<Status> write_zeroes(BlockRange range, Unmap unmap, Durable durable) override {
    table_.mark(to_blocks(range.first) * block_bytes_, range.count * block_bytes_);
    return below_->write_zeroes(range, unmap, durable);
  }
  Task<Status> deallocate(BlockRange range) override {
    table_.mark(to_blocks(range.first) * block_bytes_, range.count * block_bytes_);
    return below_->deallocate(range);
  }
  Task<Status> flush() override { return below_->flush(); }
  Task<Status> compare(Lba first, IoVecs with) override { return below_->compare(first, with); }
  void cancel_all() noexcept override { below_->cancel_all(); }
  Task<void> close() override { return below_->close(); }

 private:
  std::unique_ptr<Channel> below_;
  EpochTable& table_;
  const std::uint32_t block_bytes_;
};

class EpochDisk final : public BlockDevice {
 public:
  EpochDisk(Identity identity, DeviceClaim below, EpochTable& table)
      : BlockDevice(std::move(identity)), below_(std::move(below)), table_(table), epochs_(table) {
    table.fit(geometry().size_bytes());
  }
  const Geometry& geometry() const noexcept override { return below_.device().geometry(); }
  const Capabilities& capabilities() const noexcept override { return below_.device().capabilities(); }
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override {
    HF_CO_TRY(std::unique_ptr<Channel> below, co_await below_.device().open_channel(core));
    std::unique_ptr<Channel> channel =
        std::make_unique<EpochChannel>(std::move(below), table_, geometry().block_bytes);
    co_return channel;
  }
  Task<IoStats> stats() override { return below_.device().stats(); }
  EpochClient* epochs() noexcept override { return &epochs_; }
  Task<void> close() override {
    below_.release();
    co_return;
  }

 private:
  DeviceClaim below_;
  EpochTable& table_;
  TableEpochs epochs_;
};

}  // namespace

void EpochTable::fit(std::uint64_t bytes) {
  epochs.resize((bytes + region_bytes - 1) / region_bytes);
  allocated.resize(epochs.size());
}

void EpochTable::mark(std::uint64_t offset, std::uint64_t bytes) {
  const std::uint64_t last = std::min((offset + bytes - 1) / region_bytes, epochs.size() - 1);
  for (std::uint64_t r = offset / region_bytes; r <= last; ++r) {
    epochs[r] = std::max(epochs[r], current);
    allocated[r] = true;
  }
}

std::vector<bool> EpochTable::changed_since(std::uint32_t epoch) const {
  std::vector<bool> changed;
  for (const std::uint32_t e : epochs) changed.push_back(e > epoch);
  return changed;
}

std::unique_ptr<BlockDevice> make_epoch_disk(BlockDevice::Identity identity, DeviceClaim below,
                                             EpochTable& table) {
  return std::make_unique<EpochDisk>(std::move(identity), std::move(below), table);
}

}  // namespace holdfast::sim
