// A device whose operations take a random while each, so that others can come in between. Tests only.
#pragma once

#include <memory>
#include <utility>

#include "block/block_device.h"

namespace holdfast::nvmf::test {

class SlowDevice final : public BlockDevice {
 public:
  class SlowChannel final : public Channel {
   public:
    SlowChannel(SlowDevice& device, Reactor& core, std::unique_ptr<Channel> below)
        : device_(device), core_(core), below_(std::move(below)) {}
    Task<Status> read(Lba first, IoVecs into) override {
      co_await pause();
      HF_CO_CHECK(co_await below_->read(first, into));
      co_await pause();
      co_return Status();
    }
    Task<Status> write(Lba first, IoVecs from, Durable durable) override {
      co_await pause();
      HF_CO_CHECK(co_await below_->write(first, from, durable));
      co_await pause();
      co_return Status();
    }
    Task<Status> write_zeroes(BlockRange, Unmap, Durable) override { co_return Error(Errc::not_supported); }
    Task<Status> deallocate(BlockRange) override { co_return Error(Errc::not_supported); }
    Task<Status> flush() override {
      ++device_.flushing;
      co_await pause();
      co_await core_.sleep(device_.flush_time);
      --device_.flushing;
      ++device_.flushes;
      if (device_.flush_error != Errc::ok) co_return Error(device_.flush_error);
      co_return Status();
    }
    Task<Status> compare(Lba, IoVecs) override { co_return Error(Errc::not_supported); }
    Task<void> close() override { co_await below_->close(); }

   private:
    Task<void> pause() {
      const Nanos time(static_cast<std::int64_t>(core_.random().below(100'000)));
      co_await core_.sleep(time);
    }
    SlowDevice& device_;
    Reactor& core_;
    std::unique_ptr<Channel> below_;
  };

  explicit SlowDevice(BlockDevice& below) : BlockDevice(Identity()), below_(below) {}
  const Geometry& geometry() const noexcept override { return below_.geometry(); }
  const Capabilities& capabilities() const noexcept override { return capabilities_; }
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override {
    HF_CO_TRY(auto channel, co_await below_.open_channel(core));
    std::unique_ptr<Channel> mine = std::make_unique<SlowChannel>(*this, core, std::move(channel));
    co_return mine;
  }
  Task<IoStats> stats() override { co_return IoStats(); }
  Task<void> close() override { co_return; }

  unsigned flushes = 0;  // of one core
  unsigned flushing = 0;
  Nanos flush_time{0};  // besides the pause
  Errc flush_error = Errc::ok;

 private:
  BlockDevice& below_;
  Capabilities capabilities_;
};

}  // namespace holdfast::nvmf::test
