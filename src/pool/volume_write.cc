// Writes of a volume, on any core: in place where that is allowed, through the home core where the map changes.
#include <algorithm>
#include <array>

#include "base/units.h"
#include "pool/io_slice.h"
#include "pool/map_writer.h"
#include "pool/volume_core.h"
#include "rt/cross_core.h"
#include "rt/when_all.h"

namespace holdfast::pool {

namespace {

alignas(block_bytes) std::array<std::byte, 64 * KiB> zeroes;  // nobody writes it
constexpr std::uint64_t zero_write_bytes_max = MiB;

}  // namespace

std::vector<IoVec> zero_vectors(std::uint64_t bytes) {
  std::vector<IoVec> vectors;
  for (; bytes > 0; bytes -= vectors.back().size)
    vectors.push_back(IoVec{zeroes.data(), std::min<std::uint64_t>(bytes, zeroes.size())});
  return vectors;
}

bool VolumeCore::one_cluster(ByteRange range) const noexcept {
  return range.offset % volume_.cluster_bytes() + range.length <= volume_.cluster_bytes();
}

// Where a range of one cluster may be overwritten. False: it may not, or not yet.
bool VolumeCore::own_place(ByteRange range, DiskPlace& place) const noexcept {
  const std::uint32_t cluster_bytes = volume_.cluster_bytes();
  const auto in = static_cast<std::uint32_t>(range.offset % cluster_bytes);
  const ClusterView view = volume_.map().find(static_cast<std::uint32_t>(range.offset / cluster_bytes));
  if (!volume_.parts().state.exclusive(view)) return false;
  if (!view.whole()) {
    const std::uint32_t first = in / block_bytes;
    const auto end = static_cast<std::uint32_t>((in + range.length + block_bytes - 1) / block_bytes);
    if (!view.owns(first, end - first)) return false;
  }
  if (!volume_.epoch_is_current(range) || volume_.refuses_writes()) return false;
  place = volume_.parts().disks.locate(view.own(), in);
  return true;
}

Task<Status> VolumeCore::write(Lba first, IoVecs from, Durable durable) {
  if (volume_.is_read_only()) [[unlikely]]
    co_return fail(Error(Errc::read_only));
  const Nanos began = core_.now();
  while (gate_.paused()) [[unlikely]] co_await gate_.open();
  const ByteRange range = bytes_of(first, from);
  if (!in_range(to_blocks(first), range.length / volume_.block_bytes())) [[unlikely]]
    co_return fail(Error(Errc::out_of_range));
  if (range.length == 0) co_return Status();
  DiskPlace place;
  if (one_cluster(range) && own_place(range, place)) [[likely]] {
    const WriteGate::Inside writing(gate_);
    const CoreGuard::Slot::Inside inside(slot_);
    const Status done = co_await write_in_place(place, from, durable);
    if (!done.ok()) co_return fail(done.error());
  } else {
    auto attempt = [&]() -> Task<Status> { return write_clusters(range, from, durable); };
    const Status done = co_await gated(range, attempt);
    if (!done.ok()) co_return fail(done.error());
  }
  counters_.write_done(range.length);
  latencies_.write_took(core_.now() - began);
  co_return Status();
}

// What may take the way through the home core: again when the MapWriter held it back. It waits outside of the gate,
// so that those who pause it do not wait for this. The volume may have another size by then.
template <class Attempt>
Task<Status> VolumeCore::gated(ByteRange range, Attempt& attempt) {
  for (;;) {
    while (gate_.paused()) co_await gate_.open();
    if (!in_range(range.offset / volume_.block_bytes(), range.length / volume_.block_bytes()))
      co_return Error(Errc::out_of_range);
    {
      const WriteGate::Inside writing(gate_);
      Status done = co_await attempt();
      if (done.code() != Errc::busy) co_return done;
    }
    auto open = [this]() -> Task<void> { return volume_.writer().open(); };
    co_await run_on(core_, volume_.parts().cores.home(), open);
  }
}

Task<Status> VolumeCore::write_clusters(ByteRange range, IoVecs from, Durable durable) {
  if (one_cluster(range)) co_return co_await write_at_home(range, from, durable);
  std::vector<Task<Status>> tasks;
  for (std::uint64_t at = 0; at < range.length;) {
    const std::uint64_t offset = range.offset + at;
    const std::uint64_t length =
        std::min(range.length - at, volume_.cluster_bytes() - offset % volume_.cluster_bytes());
    tasks.push_back(write_cluster(ByteRange{offset, length}, from, at, durable));
    at += length;
  }
  co_return co_await when_all_ok(std::move(tasks));
}

Task<Status> VolumeCore::write_cluster(ByteRange range, IoVecs from, std::uint64_t skip, Durable durable) {
  const IoSlice part(from, skip, range.length);
  DiskPlace place;
  if (own_place(range, place)) {
    const CoreGuard::Slot::Inside inside(slot_);
    co_return co_await write_in_place(place, part.vectors(), durable);
  }
  co_return co_await write_at_home(range, part.vectors(), durable);
}

// Durable data is worth nothing before its mapping is durable, too: the commit of an earlier write may not be.
Task<Status> VolumeCore::write_in_place(DiskPlace place, IoVecs from, Durable durable) {
  HF_CO_CHECK(
      co_await volume_.parts().disks.port(core_.core(), place.disk).write(place.offset, from, durable));
  if (durable == Durable::no) co_return Status();
  auto settle_map = [&]() -> Task<Status> { return volume_.parts().journal.flush(); };
  co_return co_await run_on(core_, volume_.parts().cores.home(), settle_map);
}

Task<Status> VolumeCore::write_at_home(ByteRange range, IoVecs from, Durable durable) {
  auto there = [&]() -> Task<Status> { return volume_.writer().write(range, from, durable); };
  co_return co_await run_on(core_, volume_.parts().cores.home(), there);
}

Task<Status> VolumeCore::write_zeroes(BlockRange range, Unmap unmap_wish, Durable durable) {
  // A thick volume keeps the space, whoever has it meanwhile: it is reserved.
  if (unmap_wish == Unmap::yes || volume_.is_thick()) co_return co_await deallocate(range, durable);
  if (volume_.is_read_only()) co_return fail(Error(Errc::read_only));
  if (!in_range(to_blocks(range.first), range.count)) co_return fail(Error(Errc::out_of_range));
  if (range.count == 0) co_return Status();
  const ByteRange bytes{to_blocks(range.first) * volume_.block_bytes(), range.count * volume_.block_bytes()};
  const Nanos began = core_.now();
  auto attempt = [&]() -> Task<Status> { return write_zero_data(bytes, durable); };
  const Status done = co_await gated(bytes, attempt);
  if (!done.ok()) co_return fail(done.error());
  counters_.write_done(bytes.length);
  latencies_.write_took(core_.now() - began);
  co_return Status();
}

// What nobody has mapped reads as zeroes already.
Task<Status> VolumeCore::write_zero_data(ByteRange range, Durable durable) {
  if (!volume_.epoch_is_current(range)) {
    auto begin = [&]() -> Task<Status> { return volume_.writer().begin_epoch(range); };
    HF_CO_CHECK(co_await run_on(core_, volume_.parts().cores.home(), begin));
  }
  const std::vector<IoVec> data = zero_vectors(std::min(range.length, zero_write_bytes_max));
  bool all_written = true;
  for (std::uint64_t at = 0; at < range.length;) {
    const ByteRange rest{range.offset + at, range.length - at};
    const Run run = first_run(rest);
    const std::uint64_t length = run.zero ? run.length : std::min(run.length, zero_write_bytes_max);
    const ByteRange piece{rest.offset, length};
    if (!run.zero) HF_CO_CHECK(co_await write_cluster(piece, data, 0, durable));
    all_written = all_written && !run.zero;
    at += length;
  }
  if (all_written) co_return Status();
  // As MapWriter::unmap().
  auto look = [&]() -> Task<Status> {
    Journal& journal = volume_.parts().journal;
    HF_CO_CHECK(journal.usable());
    if (durable == Durable::yes) co_return co_await journal.flush();
    co_return Status();
  };
  co_return co_await run_on(core_, volume_.parts().cores.home(), look);
}

Task<Status> VolumeCore::deallocate(BlockRange range, Durable durable) {
  if (volume_.is_read_only()) co_return fail(Error(Errc::read_only));
  if (!in_range(to_blocks(range.first), range.count)) co_return fail(Error(Errc::out_of_range));
  if (range.count == 0) co_return Status();
  const ByteRange bytes{to_blocks(range.first) * volume_.block_bytes(), range.count * volume_.block_bytes()};
  const Nanos began = core_.now();
  auto attempt = [&]() -> Task<Status> { return unmap(bytes, durable); };
  const Status done = co_await gated(bytes, attempt);
  if (!done.ok()) co_return fail(done.error());
  counters_.unmap_done(bytes.length);
  latencies_.unmap_took(core_.now() - began);
  co_return Status();
}

Task<Status> VolumeCore::unmap(ByteRange range, Durable durable) {
  auto there = [&]() -> Task<Status> { return volume_.writer().unmap(range, durable); };
  co_return co_await run_on(core_, volume_.parts().cores.home(), there);
}

Task<Status> VolumeCore::flush() { return volume_.parts().disks.flush(core_.core()); }

}  // namespace holdfast::pool
