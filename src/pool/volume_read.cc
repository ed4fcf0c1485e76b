// Reads of a volume, on any core.
#include <algorithm>
#include <cstring>

#include "pool/io_slice.h"
#include "pool/volume_core.h"
#include "rt/when_all.h"

namespace holdfast::pool {

namespace {

void fill_zero(IoVecs into) noexcept {
  for (const IoVec& v : into) std::memset(v.data, 0, v.size);
}

}  // namespace

VolumeCore::VolumeCore(Volume& volume, Reactor& core)
    : volume_(volume), core_(core), slot_(volume.parts().guard.at(core.core())), gate_(core) {}

bool VolumeCore::in_range(std::uint64_t first, std::uint64_t count) const noexcept {
  const std::uint64_t blocks = volume_.block_count();
  return first <= blocks && count <= blocks - first;
}

ByteRange VolumeCore::bytes_of(Lba first, IoVecs vectors) const noexcept {
  const std::uint64_t length = total_bytes(vectors);
  HF_ASSERT(length % volume_.block_bytes() == 0);
  return ByteRange{to_blocks(first) * volume_.block_bytes(), length};
}

// What is at the start of the range, at most to the end of its cluster.
VolumeCore::Run VolumeCore::first_run(ByteRange range) const noexcept {
  const std::uint32_t cluster_bytes = volume_.cluster_bytes();
  const auto index = static_cast<std::uint32_t>(range.offset / cluster_bytes);
  const auto in = static_cast<std::uint32_t>(range.offset % cluster_bytes);
  const std::uint64_t length = std::min<std::uint64_t>(range.length, cluster_bytes - in);
  const ClusterView view = volume_.map().find(index);
  Run run;
  if (!view.mapped()) {
    run.zero = true;
    run.length = length;
    return run;
  }
  const std::uint32_t first = in / block_bytes;
  const auto end = static_cast<std::uint32_t>((in + length + block_bytes - 1) / block_bytes);
  const BlockRun blocks = view.run(first, end - first);
  run.zero = blocks.source == BlockSource::zero;
  run.length = std::min(length, std::uint64_t{first + blocks.blocks} * block_bytes - in);
  if (!run.zero) run.place = volume_.parts().disks.locate(blocks.cluster, in);
  return run;
}

Task<Status> VolumeCore::read(Lba first, IoVecs into) {
  const ByteRange range = bytes_of(first, into);
  if (!in_range(to_blocks(first), range.length / volume_.block_bytes())) [[unlikely]]
    co_return fail(Error(Errc::out_of_range));
  if (range.length == 0) co_return Status();
  const Nanos began = core_.now();
  const CoreGuard::Slot::Inside inside(slot_);
  const Run run = first_run(range);
  if (run.length < range.length) {
    const Status done = co_await read_runs(range, into);
    if (!done.ok()) co_return fail(done.error());
  } else if (run.zero) {
    fill_zero(into);
  } else {
    const Status done =
        co_await volume_.parts().disks.port(core_.core(), run.place.disk).read(run.place.offset, into);
    if (!done.ok()) co_return fail(done.error());
  }
  counters_.read_done(range.length);
  latencies_.read_took(core_.now() - began);
  co_return Status();
}

// Runs that lie one behind the other on a disk are one, also across clusters.
Task<Status> VolumeCore::read_runs(ByteRange range, IoVecs into) {
  std::vector<Run> runs;
  for (std::uint64_t at = 0; at < range.length;) {
    const Run next = first_run(ByteRange{range.offset + at, range.length - at});
    at += next.length;
    Run* const last = runs.empty() ? nullptr : &runs.back();
    const bool goes_on = last != nullptr && last->zero == next.zero &&
                         (next.zero || (last->place.disk == next.place.disk &&
                                        last->place.offset + last->length == next.place.offset));
    if (goes_on) {
      last->length += next.length;
    } else {
      runs.push_back(next);
    }
  }
  std::vector<Task<Status>> tasks;
  tasks.reserve(runs.size());
  std::uint64_t skip = 0;
  for (const Run& run : runs) {
    tasks.push_back(read_run(run, into, skip));
    skip += run.length;
  }
  co_return co_await when_all_ok(std::move(tasks));
}

Task<Status> VolumeCore::read_run(Run run, IoVecs into, std::uint64_t skip) {
  const IoSlice part(into, skip, run.length);
  if (run.zero) {
    fill_zero(part.vectors());
    co_return Status();
  }
  co_return co_await volume_.parts()
      .disks.port(core_.core(), run.place.disk)
      .read(run.place.offset, part.vectors());
}

Task<Status> VolumeCore::compare(Lba first, IoVecs with, Channel& reader) {
  return compare_by_reading(reader, core_, volume_.block_bytes(), first, with);
}

}  // namespace holdfast::pool
