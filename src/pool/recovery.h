// Recovery: from labels to a state. Reads only. For opening a pool, and for checking one that nobody has open.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pool/disk.h"
#include "pool/fresh_data.h"
#include "pool/journal.h"
#include "pool/state.h"
#include "pool/superblock.h"

namespace holdfast::pool {

// Reads the labels of disks. Errors: failed_precondition (a disk is of no pool), bad_format, not_supported,
// io_error. Texts name the disk.
Task<Result<std::vector<Label>>> read_labels(Reactor& home, std::span<const std::unique_ptr<Disk>> disks);

// That the disks are of one pool, different, not smaller than their data's beginning, and disk 0 is among them, whose
// place is returned. `name` (empty: any) and `uuid` must be the pool's. Errors: failed_precondition, bad_format, naming
// the disks.
Result<std::size_t> check_labels(std::span<const std::unique_ptr<Disk>> disks, std::span<const Label> labels,
                                 const std::string& name, const std::optional<Uuid>& uuid);

struct Recovered {
  std::unique_ptr<State> state;
  Journal::Mark begin;             // of the checkpoint
  JournalScan scan;                // of the commits after it
  std::vector<DiskCluster> image;  // where the checkpoint lies
  CarriedData carried;             // what has to be put in its place before the pool is used
};
// Whether all disks that the state knows have to be there. A segment on one that is not there may claim any number of
// clusters, and memory for them up to the limit.
enum class Members : std::uint8_t { all, some };
// The checkpoint of disk 0's label with the commits after it. `each` (may be empty) sees every record before it is
// applied. The disks have become() what their labels say. Errors: bad_format; failed_precondition (a disk has become
// smaller, or is missing: one that the checkpoint lies on, or any with Members::all); io_error.
using RecordObserver = std::function<void(std::uint64_t sequence, const Record& record)>;
// map_bytes_max: see MemoryLimit; resource_exhausted.
Task<Result<Recovered>> recover(Reactor& home, std::span<const std::unique_ptr<Disk>> disks,
                                Superblock superblock, Members members, std::uint64_t map_bytes_max,
                                RecordObserver each);

// So many clusters of this size fit behind the disk's data offset.
std::uint64_t clusters_that_fit(const Disk& disk, std::uint32_t cluster_bytes) noexcept;

}  // namespace holdfast::pool
