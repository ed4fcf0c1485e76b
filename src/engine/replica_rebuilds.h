// Jobs that give a replica of this engine the snapshots of a replica of another engine: oldest first, each made
// of the differences to the one before, with its attributes and time, and its UUID and name or those that are asked
// for. Home core.
//
// Between two snapshots the replica holds exactly one of the source's. Whatever else it holds when a job begins, from
// one that was interrupted, is discarded, so that a job can be started again after any crash.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/uuid.h"
#include "block/registry.h"
#include "rt/scope.h"

namespace holdfast::engine {

class Engine;

enum class ReplicaRebuildState : std::uint8_t { running, successful, failed };

struct ReplicaRebuildParams {
  // A snapshot of the source, and what its copy is to be called.
  struct Wanted {
    Uuid source;
    Uuid uuid;
    std::string name;  // empty: as the snapshot
    bool operator==(const Wanted&) const = default;
  };
  Uuid replica;
  Uuid source;
  std::string endpoint;        // gRPC address of the engine that has the source
  std::vector<Wanted> wanted;  // none: every snapshot, as it is called there

  bool operator==(const ReplicaRebuildParams&) const = default;
};

struct ReplicaRebuildView {
  struct Copied {
    Uuid uuid;  // of the copy
    std::string name;
    std::uint64_t bytes = 0;
  };
  ReplicaRebuildParams params;
  ReplicaRebuildState state = ReplicaRebuildState::running;
  std::string error;
  std::size_t snapshots = 0;   // of the source, that are wanted
  std::vector<Copied> copied;  // by this job
  std::uint32_t in_sync_through =
      0;  // the replica has what was written in epochs up to this one; 0: not known
  WallTime start{};
  WallTime end{};  // 0: it runs
};

class ReplicaRebuilds {
 public:
  static constexpr std::size_t jobs_max = 64;

  explicit ReplicaRebuilds(Engine& engine);
  ~ReplicaRebuilds();  // close() was awaited
  ReplicaRebuilds(const ReplicaRebuilds&) = delete;
  ReplicaRebuilds& operator=(const ReplicaRebuilds&) = delete;

  // The same request while its job runs: that job. One that has ended is started anew. Errors: not_found,
  // already_exists (another job for this replica runs), resource_exhausted, busy (the replica is in use).
  Task<Result<ReplicaRebuildView>> create(ReplicaRebuildParams params);
  // Ends the job if it runs. Errors: not_found.
  Task<Status> destroy(Uuid replica);
  std::vector<ReplicaRebuildView> list() const;  // by replica
  Task<void> close();

 private:
  struct Job;
  struct Layer;
  using Chain = std::vector<Layer>;
  Task<void> run(Job& job);
  Task<Status> work(Job& job);
  Task<Result<Chain>> chain_of_source(Job& job);
  std::size_t count_present(const Job& job, const Chain& chain) const;
  Task<Status> begin(Job& job, const Layer* newest);
  Task<Status> discard_rest(Job& job, const Layer* newest);
  Task<Status> copy_layer(Job& job, const Layer* before, const Layer& wanted);
  Task<Status> copy_differences(Job& job, const Layer* before, const Layer& wanted);
  Task<Status> copy_range(Job& job, std::uint64_t offset, std::uint64_t length);
  Task<Status> write_piece(Job& job, std::uint64_t offset, std::byte* data, std::uint64_t length);
  Task<Status> make_snapshot(Job& job, const Layer& wanted);
  Task<Status> resize(Job& job, std::uint64_t size_bytes);
  Task<Status> finish(Job& job, const Layer* newest);
  Task<Status> take_epochs(Job& job, std::uint32_t through);
  Task<Result<std::string>> share(Job& job, const Layer& wanted);
  Task<void> end_share(Job& job, const Layer& wanted);

  Engine& engine_;
  const std::string host_nqn_;
  std::map<Uuid, std::unique_ptr<Job>> jobs_;  // by replica
  TaskScope scope_;
};

}  // namespace holdfast::engine
