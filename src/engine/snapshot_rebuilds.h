// Jobs that give a replica the content of a snapshot, here or on another engine: how a new replica gets a
// whole chain of snapshots, oldest first, with a snapshot of its own after each. Home core.
//
// Only what differs is written: what the replica has already keeps being shared with its earlier snapshots,
// and what the snapshot has not allocated reads as zeroes afterwards, without taking room.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/uuid.h"
#include "block/registry.h"
#include "rt/scope.h"
#include "rt/stop.h"

namespace holdfast::engine {

class Pools;

enum class SnapshotRebuildState : std::uint8_t { running, successful, failed };

struct SnapshotRebuildParams {
  Uuid uuid;  // of the job
  Uuid replica;
  Uuid snapshot;
  std::string replica_uri;   // "bdev:///name" of this engine, "nvmf://..." of another
  std::string snapshot_uri;  // likewise
};

struct SnapshotRebuildView {
  SnapshotRebuildParams params;
  SnapshotRebuildState state = SnapshotRebuildState::running;
  std::string error;
  std::uint64_t total_bytes = 0;    // to look at: allocated on either side
  std::uint64_t rebuilt_bytes = 0;  // of these
  WallTime start{};
  WallTime end{};  // 0: it runs
};

class SnapshotRebuilds {
 public:
  static constexpr std::size_t jobs_max = 256;

  // Both outlive the jobs.
  SnapshotRebuilds(DeviceRegistry& devices, const Pools& pools);
  ~SnapshotRebuilds();  // close() was awaited
  SnapshotRebuilds(const SnapshotRebuilds&) = delete;
  SnapshotRebuilds& operator=(const SnapshotRebuilds&) = delete;

  // Opens both ends and starts to copy. Errors: already_exists, resource_exhausted (too many jobs); busy (one
  // end is in use); invalid_argument (the replica is smaller than the snapshot, or of another block size);
  // those of the devices.
  Task<Result<SnapshotRebuildView>> create(SnapshotRebuildParams params);
  // Ends the job if it runs. Errors: not_found.
  Task<Status> destroy(Uuid uuid);
  std::vector<SnapshotRebuildView> list() const;  // by UUID
  Task<void> close();

 private:
  struct Job;
  struct Range;
  Task<Status> open_both(Job& job);
  Task<Result<std::vector<Range>>> allocated(BlockDevice& device) const;
  static void plan(Job& job);
  Task<void> run(Job& job);
  Task<Status> copy(Job& job);
  Task<Status> copy_piece(Job& job, Range piece, bool in_source, std::byte* from, std::byte* to);
  Reactor& home() const noexcept { return devices_.cores().home(); }

  DeviceRegistry& devices_;
  const Pools& pools_;
  std::map<Uuid, std::unique_ptr<Job>> jobs_;
  TaskScope scope_;
};

}  // namespace holdfast::engine
