// FreshData: new blocks whose data is in the journal, with the record that maps them (WriteDataRecord), and is not
// known to be durable in its place yet. Recovery puts it there again; so until a SettledRecord says that it is durable,
// nothing else is written to these blocks: their clusters are held (cluster_counts.h), so that no core writes in place
// there and nobody is given them, and the MapWriter asks before it writes.
//
// In the background, and when somebody waits, everything fresh is settled: the disks are flushed, and a record says so.
//
// Home core. Why: docs/adr/0012-small-new-data-travels-in-the-journal.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "pool/cluster_counts.h"
#include "pool/disk_set.h"
#include "pool/journal.h"
#include "pool/record.h"
#include "rt/scope.h"
#include "rt/stop.h"
#include "rt/wait.h"

namespace holdfast::pool {

class FreshData {
 public:
  // writes_per_turn: so many are let go of in one turn of the core.
  FreshData(Reactor& home, ClusterCounts& clusters, DiskSet& disks, Journal& journal,
            std::size_t writes_per_turn) noexcept
      : home_(home),
        counts_(clusters),
        disks_(disks),
        journal_(journal),
        writes_per_turn_(writes_per_turn),
        ended_(home),
        scope_(home) {}
  FreshData(const FreshData&) = delete;
  FreshData& operator=(const FreshData&) = delete;
  ~FreshData();  // close() was awaited

  // Whether the journal takes the data of a write of so many bytes to the cluster: a small one, on a disk that would
  // have to be flushed else, while there is room in the ring.
  bool carries(Cluster cluster, std::uint64_t bytes) const noexcept;
  // Some of the blocks are fresh.
  bool has(Cluster cluster, std::uint32_t first_block, std::uint32_t block_count) const noexcept;
  // Nothing but fresh blocks holds the cluster.
  bool alone_holds(Cluster cluster) const noexcept;

  // What is fresh at the moment of the call is not any more when this ends. Errors: those of disks and journal.
  Task<Status> settle();

  // Before the record's map is published; `sequence`: of its commit.
  void recorded(const WriteRecord& write, std::uint64_t sequence);
  // The data of all commits up to this one is durable in its place, and so is the fact: by a record or a checkpoint.
  // Their clusters are let go of in the turns that follow.
  void settled(std::uint64_t sequence);
  // Nobody names these clusters any more, durably: recovery passes over their data.
  void forget(ClusterRun freed);

  // Nothing is settled, and no record made, after this. May be called again.
  Task<void> close();

 private:
  struct Run {
    std::uint64_t sequence = 0;
    std::uint16_t first_block = 0;
    std::uint16_t block_count = 0;
  };
  struct Place {
    std::uint64_t sequence = 0;
    Cluster cluster{};
  };
  bool any() const noexcept { return newest_ > settled_ && !clusters_.empty(); }
  Task<void> settle_later();
  Task<Status> settle_once();
  Task<void> let_go();
  bool let_go_some();

  Reactor& home_;
  ClusterCounts& counts_;
  DiskSet& disks_;
  Journal& journal_;
  const std::size_t writes_per_turn_;
  std::map<Cluster, std::vector<Run>> clusters_;  // held; runs up to settled_ are not fresh any more
  std::deque<Place> order_;                       // what was recorded, until it is let go of
  std::uint64_t newest_ = 0;                      // commit that was recorded
  std::uint64_t settled_ = 0;                     // commits up to this one are
  bool later_ = false;                            // settle_later() is running
  bool settling_ = false;                         // settle_once() is
  bool letting_go_ = false;                       // let_go() is
  bool closing_ = false;
  StopSource stop_;
  WaitQueue ended_;
  TaskScope scope_;
};

// What recovery found of it in the journal.
class CarriedData {
 public:
  // `settled`: the data of commits up to this one was found to be in its place when the pool was opened last.
  explicit CarriedData(std::uint64_t settled = 0) noexcept : settled_(settled) {}
  void see(std::uint64_t sequence, const Record& record);
  void forget(ClusterRun freed);
  bool empty() const noexcept { return found_.empty(); }
  // Puts everything in its place, durably. On `home`. Errors: io_error, naming the disk.
  Task<Status> restore(Reactor& home, DiskSet& disks);

 private:
  struct Found {
    std::uint64_t sequence = 0;
    WriteDataRecord write;
  };
  std::uint64_t settled_;
  std::map<Cluster, std::vector<Found>> found_;  // of each cluster, in the order of the journal
};

}  // namespace holdfast::pool
