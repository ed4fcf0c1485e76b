// Check: every rule of the on-disk format, on disks that no pool has open. Reads only; guesses nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "block/registry.h"
#include "pool/journal.h"
#include "pool/recovery.h"
#include "pool/state.h"
#include "pool/superblock.h"

namespace holdfast::pool {

// What disks of a pool say, as far as it can be read.
struct PoolOnDisk {
  struct DiskLabel {
    std::string uri;
    std::uint64_t size_bytes = 0;
    Label label;
  };
  struct JournalRecord {
    std::uint64_t sequence = 0;
    Record record;
  };
  std::vector<DiskLabel> disks;  // as given
  Superblock superblock;         // of disk 0
  std::unique_ptr<State> state;  // nullptr: it could not be recovered
  JournalScan scan;
  std::vector<DiskCluster> image;
  std::vector<JournalRecord> records;  // of the journal, when they were asked for

  // Breaches of the format, each a line with what and where. Empty: clean.
  std::vector<std::string> findings;
  // What is as it may be after a crash, and worth knowing.
  std::vector<std::string> notes;
};

// Errors: those of opening and reading the disks (not_found, busy, io_error), and resource_exhausted: nothing could be
// checked then. All else is a finding. map_bytes_max as in PoolOptions. Paths are opened read-only; URIs as they say.
Task<Result<PoolOnDisk>> check_pool(DeviceRegistry& registry, std::vector<std::string> disks,
                                    bool keep_records, std::uint64_t map_bytes_max = 0);

}  // namespace holdfast::pool
