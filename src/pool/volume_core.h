// VolumeCore: one volume on one core: its I/O path there. That core only.
//
// A read goes straight to the disks. So does a write to blocks that are the volume's own and of nobody else, in
// regions that belong to the present epoch; other writes, and all that gives space back, go to the MapWriter.
#pragma once

#include <cstdint>
#include <vector>

#include "block/block_device.h"
#include "block/io_latency.h"
#include "block/leaf_device.h"
#include "pool/core_guard.h"
#include "pool/volume.h"

namespace holdfast::pool {

class VolumeCore {
 public:
  VolumeCore(Volume& volume, Reactor& core);
  VolumeCore(const VolumeCore&) = delete;
  VolumeCore& operator=(const VolumeCore&) = delete;

  // As a Channel's.
  Task<Status> read(Lba first, IoVecs into);
  Task<Status> write(Lba first, IoVecs from, Durable durable);
  Task<Status> write_zeroes(BlockRange range, Unmap unmap, Durable durable);
  Task<Status> deallocate(BlockRange range, Durable durable);
  Task<Status> flush();
  Task<Status> compare(Lba first, IoVecs with, Channel& reader);

  WriteGate& gate() noexcept { return gate_; }
  CoreCounters& counters() noexcept { return counters_; }
  CoreLatencies& latencies() noexcept { return latencies_; }

 private:
  // A run of bytes on a disk, or of zeroes.
  struct Run {
    bool zero = false;
    DiskPlace place;
    std::uint64_t length = 0;
  };

  bool in_range(std::uint64_t first, std::uint64_t count) const noexcept;
  Status fail(const Error& error) noexcept {
    counters_.failed();
    return error;
  }
  ByteRange bytes_of(Lba first, IoVecs vectors) const noexcept;
  bool one_cluster(ByteRange range) const noexcept;
  bool own_place(ByteRange range, DiskPlace& place) const noexcept;
  Run first_run(ByteRange range) const noexcept;
  Task<Status> read_runs(ByteRange range, IoVecs into);
  Task<Status> read_run(Run run, IoVecs into, std::uint64_t skip);
  template <class Attempt>
  Task<Status> gated(ByteRange range, Attempt& attempt);
  Task<Status> write_clusters(ByteRange range, IoVecs from, Durable durable);
  Task<Status> write_cluster(ByteRange range, IoVecs from, std::uint64_t skip, Durable durable);
  Task<Status> write_in_place(DiskPlace place, IoVecs from, Durable durable);
  Task<Status> write_at_home(ByteRange range, IoVecs from, Durable durable);
  Task<Status> unmap(ByteRange range, Durable durable);
  Task<Status> write_zero_data(ByteRange range, Durable durable);

  Volume& volume_;
  Reactor& core_;
  CoreGuard::Slot& slot_;
  WriteGate gate_;
  CoreCounters counters_;
  CoreLatencies latencies_;
};

// `bytes` zeroes as vectors, of memory that nobody writes.
std::vector<IoVec> zero_vectors(std::uint64_t bytes);

}  // namespace holdfast::pool
