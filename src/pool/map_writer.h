// MapWriter: what changes the map of one volume. Home core; the caller is inside the volume's WriteGate.
//
// Rules:
//  - Whoever changes or fills blocks holds their range; whole clusters are taken out of the map only with all of
//    their blocks. So what a writer sees of its blocks stays as it is, but for what it does itself.
//  - Writers of one cluster at the same time share the cluster that the first of them picked.
//  - Data of new blocks is on the disk before the record that maps them (the journal flushes the disk in between), or
//    in that record as well (fresh_data.h).
//  - A region's new epoch is durable before data of that epoch can be: before the data where blocks are written in
//    place; else in the same commit as the map, which is a durable one where the region has other blocks, because these
//    are written in place as soon as the map says that the region has the epoch.
//  - A region may have an epoch that it was not written in, never the reverse. Where one region is written after the
//    other, the record of one has those behind it, too: while the pool is open these count when they are written
//    (region_write.cc).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "block/block_device.h"
#include "pool/range_lock.h"
#include "pool/record.h"
#include "pool/regions_ahead.h"
#include "pool/space.h"
#include "pool/volume.h"
#include "rt/wait.h"

namespace holdfast::pool {

class MapWriter {
 public:
  explicit MapWriter(Volume& volume);
  MapWriter(const MapWriter&) = delete;
  MapWriter& operator=(const MapWriter&) = delete;
  ~MapWriter();

  // A range of one cluster. Errors: out_of_space, those of disks and journal; busy: writes are held back, and this
  // one comes again when open() has ended. Nobody waits here who is inside the volume's WriteGate.
  Task<Status> write(ByteRange range, IoVecs from, Durable durable);
  // The range reads as zeroes, and what it occupied is given back where that is possible. Errors as write().
  Task<Status> unmap(ByteRange range, Durable durable);
  // The regions of the range count as written in the present epoch, durably. Errors as write().
  Task<Status> begin_epoch(ByteRange range);
  // Holds what comes back and waits for what is under way: what remains to be waited for is in place, and short.
  Task<void> hold_back() { return gate_.pause(); }
  // Nothing is under way, and what regions there are may change.
  void forget_regions_ahead() noexcept { ahead_.forget(); }
  void resume() noexcept { gate_.resume(); }
  Task<void> open() { return gate_.open(); }
  // Completes the next cluster that has another one behind it and that nobody is writing. Enters the WriteGate
  // itself. False: there is none.
  Task<bool> complete_one();
  // Operations that came so far: who completes clusters leaves a busy volume alone.
  std::uint64_t operations() const noexcept { return operations_; }
  // Ends complete_one().
  Task<void> close();

 private:
  // A cluster that writers of one index fill until the last of them has it in the map. The former cluster is held
  // as long, so that it cannot become one that other cores write in place.
  struct Picked {
    explicit Picked(Reactor& home) noexcept : ready(home) {}
    Space::Pick pick;
    std::optional<Cluster> former;
    std::optional<Error> error;
    Event ready;
    unsigned users = 0;
  };
  class PickUser;
  enum class Way : std::uint8_t {
    own,    // all its blocks are own and may be overwritten
    more,   // blocks join a cluster that only this volume has
    fresh,  // a new cluster, or one that others fill right now
    wait,   // the cluster is about to be only this volume's
  };

  std::uint32_t index_of(std::uint64_t offset) const noexcept {
    return static_cast<std::uint32_t>(offset / volume_.cluster_bytes());
  }
  BlockSpan span_of(ByteRange range) const noexcept;
  Task<RangeLock::Hold> lock(BlockSpan span);
  Way way_of(BlockSpan span) const noexcept;
  // Waits until a write of these blocks may go to their place: fresh data of theirs would come back over it.
  Task<Status> settle(BlockSpan span);
  // A new cluster has to be written as a whole: else two steps would be behind it.
  bool must_rewrite(std::uint32_t index) const noexcept;
  std::optional<Cluster> neighbour(std::uint32_t index) const noexcept;

  Task<Status> renew_epoch(ByteRange range);
  void enter_regions_ahead(ByteRange range);
  RegionsAhead::Basis ahead_basis() const noexcept;
  Task<Status> write_locked(ByteRange range, IoVecs from, Durable durable);
  Task<Status> write_own(ByteRange range, IoVecs from, Durable durable);
  Task<Status> write_fresh(ByteRange range, IoVecs from, Durable durable);
  Task<Status> fill_and_record(Cluster cluster, BlockSpan blocks, ByteRange range, IoVecs from,
                               Durable durable);
  // The same for whole blocks that the journal takes as well: both at once.
  Task<Status> carry(const WriteRecord& write, ByteRange range, IoVecs from, Durable durable);
  Task<Status> put_in_place(const WriteRecord& write, IoVecs from, Journal::Alongside& done);
  // Writes the blocks, the range's data within and what the volume has there around it.
  Task<Status> fill(Cluster cluster, BlockSpan blocks, ByteRange range, IoVecs from);
  Task<Status> read_blocks(BlockSpan blocks, std::byte* into);
  bool owned_in(Cluster cluster, std::uint32_t index, std::uint32_t block) const noexcept;
  bool any_owned_in(Cluster cluster, BlockSpan span) const noexcept;
  void add_epochs(ByteRange range, std::vector<Record>& to) const;
  // The same to records that map the range; how durable they have to be when the caller wants `durable`.
  Durable add_epochs(ByteRange range, std::vector<Record>& to, Durable durable);
  bool first_in_its_regions(ByteRange range) const noexcept;
  std::uint32_t regions_ahead_of(ByteRange range) const noexcept;
  bool has_blocks(std::uint64_t region) const noexcept;

  Task<Status> unmap_clusters(std::uint32_t first, std::uint32_t count, Durable durable);
  Task<Status> unmap_part(ByteRange range, Durable durable);
  Task<Status> zero_part(ByteRange range, Durable durable);
  Task<Status> trim(ByteRange range, Durable durable);
  std::uint32_t next_mapped(std::uint32_t first, std::uint32_t end) const noexcept;

  std::optional<std::uint32_t> next_to_complete();
  bool can_complete(std::uint32_t index) const noexcept;
  Task<Status> complete(std::uint32_t index);
  Task<Status> copy_behind(std::uint32_t index, Cluster own);

  Volume& volume_;
  VolumeParts& parts_;
  Reactor& home_;
  const unsigned core_;
  const std::uint32_t blocks_;  // per cluster
  RangeLock locks_;
  RegionsAhead ahead_;
  std::map<std::uint32_t, Picked> picked_;  // by index
  std::uint64_t operations_ = 0;
  std::uint32_t complete_cursor_ = 0;
  Gate completing_;
  WriteGate gate_;
};

}  // namespace holdfast::pool
