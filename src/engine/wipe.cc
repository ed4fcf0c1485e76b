#include "engine/wipe.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "base/crc32c.h"
#include "base/units.h"
#include "block/leaf_device.h"

namespace holdfast::engine {
namespace {

constexpr std::uint64_t io_bytes_max = MiB;

// The open device, and what the pieces of it come to.
class Wiper {
 public:
  Wiper(Reactor& home, BlockDevice& device, Channel& channel, WipeParams params)
      : block_bytes_(device.geometry().block_bytes),
        can_zero_(device.capabilities().write_zeroes),
        channel_(channel),
        params_(params),
        buffer_(home, io_bytes_max) {
    std::memset(buffer_.data(), 0, buffer_.size());
    if (params.method != WipeMethod::write_pattern) return;
    for (std::size_t at = 0; at < buffer_.size(); at += sizeof params.pattern) {
      std::memcpy(buffer_.data() + at, &params.pattern, sizeof params.pattern);
    }
  }

  Task<Status> piece(std::uint64_t offset, std::uint64_t bytes) {
    const Lba first{offset / block_bytes_};
    const BlockRange range{first, bytes / block_bytes_};
    const IoVec vector{buffer_.data(), bytes};
    switch (params_.method) {
      case WipeMethod::none:
        co_return Status();
      case WipeMethod::write_zeroes:
        if (can_zero_) co_return co_await channel_.write_zeroes(range, Unmap::no, Durable::no);
        co_return co_await channel_.write(first, IoVecs(&vector, 1), Durable::no);
      case WipeMethod::unmap:
        co_return co_await channel_.deallocate(range);
      case WipeMethod::write_pattern:
        co_return co_await channel_.write(first, IoVecs(&vector, 1), Durable::no);
      case WipeMethod::checksum:
        HF_CO_CHECK(co_await channel_.read(first, IoVecs(&vector, 1)));
        sum_.update(std::span<const std::byte>(buffer_.data(), bytes));
        co_return Status();
    }
    co_return Status();
  }

  std::optional<std::uint32_t> sum() const {
    if (params_.method != WipeMethod::checksum) return std::nullopt;
    return sum_.value();
  }

 private:
  const std::uint64_t block_bytes_;
  const bool can_zero_;
  Channel& channel_;
  const WipeParams params_;
  ScratchBuffer buffer_;
  Crc32c sum_;
};

Task<Status> run(Reactor& home, Wiper& wiper, WipeProgress& progress,
                 const std::function<void(const WipeProgress&)>& report,
                 const std::function<bool()>& wanted) {
  const Nanos began = home.now();
  progress.crc32c = wiper.sum();
  report(progress);
  while (progress.wiped_bytes < progress.total_bytes) {
    const std::uint64_t end = std::min(progress.wiped_bytes + progress.chunk_bytes, progress.total_bytes);
    while (progress.wiped_bytes < end) {
      if (!wanted()) co_return Error(Errc::cancelled, "nobody listens to the wipe any more");
      const std::uint64_t bytes = std::min(end - progress.wiped_bytes, io_bytes_max);
      HF_CO_CHECK(co_await wiper.piece(progress.wiped_bytes, bytes));
      progress.wiped_bytes += bytes;
    }
    ++progress.wiped_chunks;
    progress.since = home.now() - began;
    progress.crc32c = wiper.sum();
    report(progress);
  }
  co_return Status();
}

}  // namespace

Result<WipeProgress> plan_wipe(const Geometry& geometry, std::uint64_t chunk_bytes) {
  WipeProgress p;
  p.total_bytes = geometry.size_bytes();
  p.chunk_bytes = chunk_bytes == 0 ? p.total_bytes : chunk_bytes;
  if (p.chunk_bytes % geometry.block_bytes != 0 || p.chunk_bytes > p.total_bytes || p.total_bytes == 0) {
    return Error(Errc::invalid_argument,
                 fmt::format("chunk_size: {} is not a multiple of the block size {} up to the size {}",
                             chunk_bytes, geometry.block_bytes, p.total_bytes));
  }
  p.total_chunks = (p.total_bytes + p.chunk_bytes - 1) / p.chunk_bytes;
  if (p.total_chunks > wipe_chunks_max) {
    return Error(Errc::invalid_argument,
                 fmt::format("chunk_size: {} makes {} chunks, at most {} are possible", chunk_bytes,
                             p.total_chunks, wipe_chunks_max));
  }
  const std::uint64_t rest = p.total_bytes % p.chunk_bytes;
  p.last_chunk_bytes = rest == 0 ? p.chunk_bytes : rest;
  return p;
}

Task<Status> wipe(DeviceRegistry& devices, BlockDevice& device, WipeParams params,
                  std::function<void(const WipeProgress&)> report, std::function<bool()> wanted) {
  HF_CO_TRY(WipeProgress progress, plan_wipe(device.geometry(), params.chunk_bytes));
  const bool reads_only = params.method == WipeMethod::none || params.method == WipeMethod::checksum;
  DeviceClaim claim;
  if (reads_only) {
    HF_CO_TRY(claim, devices.claim(device, "a checksum", DeviceUse::guarded));
  } else {
    HF_CO_TRY(claim, devices.claim(device, "a wipe", DeviceUse::sole));
  }
  Reactor& home = devices.cores().home();
  HF_CO_TRY(const auto channel, co_await device.open_channel(home));
  Wiper wiper(home, device, *channel, params);
  Status done = co_await run(home, wiper, progress, report, wanted);
  if (done.ok() && !reads_only) done = co_await channel->flush();
  co_await channel->close();
  co_return done;
}

}  // namespace holdfast::engine
