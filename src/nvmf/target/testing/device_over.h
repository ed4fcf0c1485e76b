// A device over another one, for tests that change some of what it does. Reads, writes and flushes are passed on;
// what a device need not have, it has not. Tests only.
#pragma once

#include <memory>
#include <utility>

#include "block/block_device.h"

namespace holdfast::nvmf::test {

class ChannelOver : public Channel {
 public:
  explicit ChannelOver(std::unique_ptr<Channel> below) : below_(std::move(below)) {}
  Task<Status> read(Lba first, IoVecs into) override { return below_->read(first, into); }
  Task<Status> write(Lba first, IoVecs from, Durable durable) override {
    return below_->write(first, from, durable);
  }
  Task<Status> write_zeroes(BlockRange, Unmap, Durable) override { co_return Error(Errc::not_supported); }
  Task<Status> deallocate(BlockRange) override { co_return Error(Errc::not_supported); }
  Task<Status> flush() override { return below_->flush(); }
  Task<Status> compare(Lba, IoVecs) override { co_return Error(Errc::not_supported); }
  Task<void> close() override { return below_->close(); }

 private:
  std::unique_ptr<Channel> below_;
};

class DeviceOver : public BlockDevice {
 public:
  explicit DeviceOver(BlockDevice& below, Identity identity = Identity())
      : BlockDevice(std::move(identity)), below_(below) {}
  const Geometry& geometry() const noexcept override { return below_.geometry(); }
  const Capabilities& capabilities() const noexcept override { return capabilities_; }
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override {
    HF_CO_TRY(auto channel, co_await below_.open_channel(core));
    co_return channel_over(core, std::move(channel));
  }
  Task<IoStats> stats() override { co_return IoStats(); }
  Task<void> close() override { co_return; }

 protected:
  Capabilities capabilities_;

 private:
  virtual std::unique_ptr<Channel> channel_over(Reactor& core, std::unique_ptr<Channel> below) = 0;
  BlockDevice& below_;
};

}  // namespace holdfast::nvmf::test
