#include "nvmf/initiator/remote_channel.h"

#include <algorithm>
#include <array>
#include <utility>

#include "block/leaf_device.h"
#include "rt/cross_core.h"
#include "rt/when_all.h"

namespace holdfast::nvmf::host {
namespace {

// Pieces of one large operation that are under way at once: enough to keep a connection busy, few enough to
// leave the queue to others.
constexpr std::size_t pieces_in_flight = 8;

// One kind of operation on a range with data.
struct Move {
  nvme::IoOpcode opcode;
  Transfer transfer;
  std::uint32_t cdw12;
  bool modifies;

  constexpr Move(nvme::IoOpcode o, Transfer t, std::uint32_t c, bool m) noexcept
      : opcode(o), transfer(t), cdw12(c), modifies(m) {}
};

class RemoteChannel final : public Channel {
 public:
  explicit RemoteChannel(CoreIo& io) noexcept : io_(io) {}

  Task<Status> read(Lba first, IoVecs into) override;
  Task<Status> write(Lba first, IoVecs from, Durable durable) override;
  Task<Status> write_zeroes(BlockRange range, Unmap unmap, Durable durable) override;
  Task<Status> deallocate(BlockRange range) override;
  Task<Status> flush() override;
  Task<Status> compare(Lba first, IoVecs with) override;
  void cancel_all() noexcept override {
    cancelled_ = true;
    io_.give_up_users();
  }
  Task<void> close() override { co_return; }

 private:
  // A large operation, taken apart by several workers.
  struct Split {
    Move move;
    std::uint64_t lba;
    IoVecs data;
    std::size_t bytes;
    std::size_t taken = 0;
    Status outcome;

    Split(const Move& m, std::uint64_t l, IoVecs d, std::size_t b) : move(m), lba(l), data(d), bytes(b) {
      outcome.ignore("asked at the end");
    }
  };

  Task<Status> transfer(Move move, Lba first, IoVecs data);
  Task<Status> transfer_split(const Move& move, std::uint64_t lba, IoVecs data, std::size_t bytes);
  Task<void> work(Split& split);
  Task<Status> one(const Move& move, std::uint64_t lba, IoVecs data, std::size_t offset, std::size_t bytes);
  Task<Status> zero_piece(std::uint64_t lba, std::uint32_t blocks, std::uint32_t cdw12);
  Task<Status> deallocate_piece(std::uint64_t lba, std::uint32_t blocks);
  Task<Status> read_and_compare(Lba first, IoVecs with);
  const PathLimits& limits() const noexcept { return io_.limits(); }
  Status counted(Status outcome) noexcept {
    if (!outcome.ok()) ++io_.stats.errors;
    return outcome;
  }

  CoreIo& io_;
  bool cancelled_ = false;
};

Task<Status> RemoteChannel::read(Lba first, IoVecs into) {
  ++io_.stats.read_ops;
  io_.stats.read_bytes += total_bytes(into);
  return transfer(Move(nvme::IoOpcode::read, Transfer::to_host, 0, false), first, into);
}

Task<Status> RemoteChannel::write(Lba first, IoVecs from, Durable durable) {
  ++io_.stats.write_ops;
  io_.stats.write_bytes += total_bytes(from);
  const std::uint32_t cdw12 = durable == Durable::yes ? nvme::cdw12_fua : 0;
  return transfer(Move(nvme::IoOpcode::write, Transfer::to_controller, cdw12, true), first, from);
}

Task<Status> RemoteChannel::compare(Lba first, IoVecs with) {
  if (!limits().compare) return read_and_compare(first, with);
  return transfer(Move(nvme::IoOpcode::compare, Transfer::to_controller, 0, false), first, with);
}

Task<Status> RemoteChannel::transfer(Move move, Lba first, IoVecs data) {
  const std::size_t bytes = total_bytes(data);
  const std::uint32_t block_bytes = limits().geometry.block_bytes;
  HF_ASSERT(bytes % block_bytes == 0);
  const std::uint64_t lba = to_blocks(first);
  const BlockRange range{first, bytes / block_bytes};
  if (Status inside = check_range(limits().geometry, range); !inside.ok()) co_return inside;
  if (bytes == 0) co_return Status();
  if (bytes <= limits().transfer_bytes_max) [[likely]]
    co_return counted(co_await one(move, lba, data, 0, bytes));
  co_return counted(co_await transfer_split(move, lba, data, bytes));
}

Task<Status> RemoteChannel::transfer_split(const Move& move, std::uint64_t lba, IoVecs data,
                                           std::size_t bytes) {
  Split split(move, lba, data, bytes);
  std::array<Task<void>, pieces_in_flight> workers;
  for (auto& worker : workers) worker = work(split);
  co_await when_all(std::span<Task<void>>(workers));
  co_return std::move(split.outcome);
}

// Takes pieces until none is left or one failed.
Task<void> RemoteChannel::work(Split& split) {
  const std::uint32_t block_bytes = limits().geometry.block_bytes;
  while (split.taken < split.bytes && split.outcome.ok()) {
    const std::size_t offset = split.taken;
    const std::size_t bytes = std::min<std::size_t>(split.bytes - offset, limits().transfer_bytes_max);
    split.taken += bytes;
    Status moved = co_await one(split.move, split.lba + offset / block_bytes, split.data, offset, bytes);
    if (!moved.ok() && split.outcome.ok()) split.outcome = std::move(moved);
  }
}

Task<Status> RemoteChannel::one(const Move& move, std::uint64_t lba, IoVecs data, std::size_t offset,
                                std::size_t bytes) {
  Command command;
  command.sqe.opc = static_cast<std::uint8_t>(move.opcode);
  command.sqe.cdw12 = move.cdw12;
  nvme::set_io_range(command.sqe, lba, static_cast<std::uint32_t>(bytes / limits().geometry.block_bytes));
  command.transfer = move.transfer;
  command.length = static_cast<std::uint32_t>(bytes);
  command.offset = offset;
  command.data = data;
  co_return co_await io_.execute(command, move.modifies, cancelled_);
}

Task<Status> RemoteChannel::write_zeroes(BlockRange range, Unmap unmap, Durable durable) {
  if (!limits().capabilities.write_zeroes) co_return Error(Errc::not_supported);
  if (Status inside = check_range(limits().geometry, range); !inside.ok()) co_return inside;
  ++io_.stats.write_ops;
  io_.stats.write_bytes += range.count * limits().geometry.block_bytes;
  const bool deac = unmap == Unmap::yes && limits().zeroes_may_deallocate;
  const std::uint32_t cdw12 = (durable == Durable::yes ? nvme::cdw12_fua : 0) | (deac ? nvme::cdw12_deac : 0);
  std::uint64_t lba = to_blocks(range.first);
  for (std::uint64_t left = range.count; left > 0;) {
    const auto blocks = static_cast<std::uint32_t>(std::min(left, limits().zeroes_blocks_max));
    if (Status done = counted(co_await zero_piece(lba, blocks, cdw12)); !done.ok()) co_return done;
    lba += blocks;
    left -= blocks;
  }
  co_return Status();
}

Task<Status> RemoteChannel::zero_piece(std::uint64_t lba, std::uint32_t blocks, std::uint32_t cdw12) {
  Command command;
  command.sqe.opc = static_cast<std::uint8_t>(nvme::IoOpcode::write_zeroes);
  command.sqe.cdw12 = cdw12;
  nvme::set_io_range(command.sqe, lba, blocks);
  co_return co_await io_.execute(command, true, cancelled_);
}

Task<Status> RemoteChannel::deallocate(BlockRange range) {
  if (!limits().capabilities.deallocate) co_return Error(Errc::not_supported);
  if (Status inside = check_range(limits().geometry, range); !inside.ok()) co_return inside;
  ++io_.stats.unmap_ops;
  io_.stats.unmapped_bytes += range.count * limits().geometry.block_bytes;
  std::uint64_t lba = to_blocks(range.first);
  for (std::uint64_t left = range.count; left > 0;) {
    const auto blocks =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(left, limits().deallocate_blocks_max));
    if (Status done = counted(co_await deallocate_piece(lba, blocks)); !done.ok()) co_return done;
    lba += blocks;
    left -= blocks;
  }
  co_return Status();
}

Task<Status> RemoteChannel::deallocate_piece(std::uint64_t lba, std::uint32_t blocks) {
  nvme::DsmRange range{};
  range.nlb = blocks;
  range.slba = lba;
  const IoVec vec{reinterpret_cast<std::byte*>(&range), sizeof range};
  Command command;
  command.sqe.opc = static_cast<std::uint8_t>(nvme::IoOpcode::dataset_management);
  command.sqe.cdw10 = 0;  // one range
  command.sqe.cdw11 = nvme::cdw11_dsm_deallocate;
  command.transfer = Transfer::to_controller;
  command.length = sizeof range;
  command.data = IoVecs(&vec, 1);
  co_return co_await io_.execute(command, true, cancelled_);
}

Task<Status> RemoteChannel::flush() {
  if (!limits().capabilities.volatile_cache) co_return Status();  // every finished write is durable
  Command command;
  command.sqe.opc = static_cast<std::uint8_t>(nvme::IoOpcode::flush);
  co_return counted(co_await io_.execute(command, false, cancelled_));
}

Task<Status> RemoteChannel::read_and_compare(Lba first, IoVecs with) {
  return compare_by_reading(*this, io_.reactor(), limits().geometry.block_bytes, first, with);
}

// Calls a channel on another core.
class FarChannel final : public Channel, Message {
 public:
  FarChannel(Reactor& here, CoreIo& io) noexcept : here_(here), there_(io.reactor()), channel_(io) {}

  Task<Status> read(Lba first, IoVecs into) override {
    auto call = [&]() -> Task<Status> { return channel_.read(first, into); };
    co_return co_await run_on(here_, there_, call);
  }
  Task<Status> write(Lba first, IoVecs from, Durable durable) override {
    auto call = [&]() -> Task<Status> { return channel_.write(first, from, durable); };
    co_return co_await run_on(here_, there_, call);
  }
  Task<Status> write_zeroes(BlockRange range, Unmap unmap, Durable durable) override {
    auto call = [&]() -> Task<Status> { return channel_.write_zeroes(range, unmap, durable); };
    co_return co_await run_on(here_, there_, call);
  }
  Task<Status> deallocate(BlockRange range) override {
    auto call = [&]() -> Task<Status> { return channel_.deallocate(range); };
    co_return co_await run_on(here_, there_, call);
  }
  Task<Status> flush() override {
    auto call = [&]() -> Task<Status> { return channel_.flush(); };
    co_return co_await run_on(here_, there_, call);
  }
  Task<Status> compare(Lba first, IoVecs with) override {
    auto call = [&]() -> Task<Status> { return channel_.compare(first, with); };
    co_return co_await run_on(here_, there_, call);
  }
  void cancel_all() noexcept override {
    if (!std::exchange(cancelled_, true)) there_.send(*this);
  }
  // Behind the message of cancel_all(), if there was one.
  Task<void> close() override {
    auto call = [&]() -> Task<void> { return channel_.close(); };
    co_await run_on(here_, there_, call);
  }

 private:
  void run() noexcept override { channel_.cancel_all(); }

  Reactor& here_;
  Reactor& there_;
  RemoteChannel channel_;
  bool cancelled_ = false;
};

}  // namespace

std::unique_ptr<Channel> make_remote_channel(Reactor& core, CoreIo& io) {
  if (&core == &io.reactor()) return std::make_unique<RemoteChannel>(io);
  return std::make_unique<FarChannel>(core, io);
}

}  // namespace holdfast::nvmf::host
