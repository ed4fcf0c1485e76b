// A device whose operations take a random while each, so that others can come in between. Tests only.
#pragma once

#include <memory>
#include <utility>

#include "nvmf/target/testing/device_over.h"

namespace holdfast::nvmf::test {

class SlowDevice final : public DeviceOver {
 public:
  class SlowChannel final : public ChannelOver {
   public:
    SlowChannel(SlowDevice& device, Reactor& core, std::unique_ptr<Channel> below)
        : ChannelOver(std::move(below)), device_(device), core_(core) {}
    Task<Status> read(Lba first, IoVecs into) override {
      co_await pause();
      HF_CO_CHECK(co_await ChannelOver::read(first, into));
      co_await pause();
      co_return Status();
    }
    Task<Status> write(Lba first, IoVecs from, Durable durable) override {
      co_await pause();
      HF_CO_CHECK(co_await ChannelOver::write(first, from, durable));
      co_await pause();
      co_return Status();
    }
    Task<Status> flush() override {
      ++device_.flushing;
      co_await pause();
      co_await core_.sleep(device_.flush_time);
      --device_.flushing;
      ++device_.flushes;
      if (device_.flush_error != Errc::ok) co_return Error(device_.flush_error);
      co_return Status();
    }

   private:
    Task<void> pause() {
      const Nanos time(static_cast<std::int64_t>(core_.random().below(100'000)));
      co_await core_.sleep(time);
    }
    SlowDevice& device_;
    Reactor& core_;
  };

  using DeviceOver::DeviceOver;

  unsigned flushes = 0;  // of one core
  unsigned flushing = 0;
  Nanos flush_time{0};  // besides the pause
  Errc flush_error = Errc::ok;

 private:
  std::unique_ptr<Channel> channel_over(Reactor& core, std::unique_ptr<Channel> below) override {
    return std::make_unique<SlowChannel>(*this, core, std::move(below));
  }
};

}  // namespace holdfast::nvmf::test
