// Cluster: the machines of one run, and the processes on them: replica engines, the nexus engine, the host.
//
// Every process is the product's own code: file devices, target, initiator, nexus. Machines and the
// membership store outlive processes. What a person or a control plane would do (start again what crashed,
// bring children back) is here too; what goes wrong is in nemesis.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/cluster/epoch_disk.h"
#include "sim/cluster/history.h"
#include "sim/cluster/store.h"
#include "sim/cluster/swarm.h"
#include "sim/node.h"
#include "sim/world.h"

namespace holdfast::sim {

class ReplicaEngine;
class NexusEngine;
class Host;

// A place that holds a copy of the volume.
struct Replica {
  unsigned index = 0;
  Node* node = nullptr;
  std::string uuid;
  std::string uri;  // as a child of the nexus
  std::string disk_path;
  bool local = false;          // on the nexus's machine
  bool dead = false;           // its disk failed for good
  bool suspect = false;        // lost its cache while the record called it healthy
  EpochTable table;            // with Swarm::epochs and not of a pool; outlives the engine
  bool has_pool = false;       // on its disk
  std::vector<Value> content;  // of a volume of a pool, at the end
  std::unique_ptr<ReplicaEngine> engine;
};

class Cluster {
 public:
  explicit Cluster(const Swarm& swarm, bool verbose);
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;
  ~Cluster();

  World& world() noexcept { return world_; }
  const Swarm& swarm() const noexcept { return swarm_; }
  SharedStore& store() noexcept { return store_; }
  std::vector<Replica>& replicas() noexcept { return replicas_; }
  Node& nexus_node() noexcept { return *nexus_node_; }
  Node& host_node() noexcept { return *host_node_; }
  NexusEngine* nexus() noexcept { return nexus_.get(); }  // nullptr while it is down
  Host& host() noexcept { return *host_; }
  BlockHistory& history() noexcept { return *history_; }

  // The record of the volume; nullptr before there is one.
  const nexus::Record* record() const;
  bool recorded_healthy(const Replica& r) const;
  unsigned recorded_healthy_count() const;

  // Everything up, the volume created, exported and opened by the host. False: the error was noted.
  bool set_up();
  void start_replica(Replica& r);
  void start_nexus();
  void start_host();
  void crash_replica(Replica& r, CrashKind kind);
  void crash_nexus(CrashKind kind);
  // In good order; it is created again so long after that.
  void end_nexus(Nanos away);
  // All that was taken away comes back, except disks that died.
  void heal();
  // Every living child is healthy.
  bool whole() const;
  // Ends every process in good order. False when one of them hangs.
  bool shut_down();

  // What happened: shown when verbose, and part of the trace.
  void note(std::string_view what);
  // The run has failed: the promise that was broken.
  void fail(const std::string& why);
  const std::vector<std::string>& failures() const noexcept { return failures_; }
  // The machine whose code runs right now.
  std::string_view where() const noexcept;

  std::uint64_t next_write() noexcept { return ++writes_; }
  std::uint64_t writes() const noexcept { return writes_; }
  // P1, at the moment of an acknowledgement: the record's healthy children hold the value.
  void check_acknowledged(std::uint64_t first, std::uint64_t count, Value value);
  // A rebuild begins: what it may copy at most. And ends: whether it copied more.
  void expect_copy(const nexus::NexusView& view, const nexus::RebuildRecord& rebuild);
  void check_copied(const nexus::RebuildRecord& record);
  std::uint64_t copies_checked() const noexcept { return copies_checked_; }
  // A snapshot of the volume: of each replica that has one, and what each block may be there.
  struct Snapshot {
    std::vector<std::pair<unsigned, Uuid>> parts;  // replica, snapshot
    std::vector<std::vector<Value>> legal;
  };
  std::optional<unsigned> next_snapshot() {
    return snapshot_numbers_ < swarm_.snapshots ? std::optional(++snapshot_numbers_) : std::nullopt;
  }
  void keep(Snapshot s) { snapshots_.push_back(std::move(s)); }
  std::uint64_t snapshots_compared() const {
    return static_cast<std::uint64_t>(std::count_if(snapshots_.begin(), snapshots_.end(),
                                                    [](const Snapshot& s) { return s.parts.size() > 1; }));
  }
  // P3: they are equal, and each is the volume of one moment. Everything is up.
  void check_snapshots();
  // What of the healthy replicas changed since the last seal; empty: nothing.
  std::string unsealed() const;
  // The last word: all that the record calls healthy hold the same legal values. Everything is up.
  void check_replicas();
  Value on_disk(const Replica& r, std::uint64_t block) const;

 private:
  void add_replica(bool local);
  void watch_record(const nexus::Record& before, const nexus::Record& now);
  void check_joined(const Replica& r);
  bool check_equal(const Replica& joined, const Replica& other);
  std::optional<std::vector<bool>> changed_since(const Replica& r, std::uint64_t epoch) const;
  bool check_snapshot(const Snapshot& s);
  void nexus_ended(const NexusEngine* ended, Nanos away);
  void check_clean_end();
  void lost_cache(Replica& r);
  void check_suspects();

  const Swarm swarm_;
  const bool verbose_;
  World world_;
  SharedStore store_;
  std::vector<Replica> replicas_;
  Node* nexus_node_ = nullptr;
  Node* host_node_ = nullptr;
  std::unique_ptr<NexusEngine> nexus_;
  std::unique_ptr<Host> host_;
  std::unique_ptr<BlockHistory> history_;
  std::vector<std::string> failures_;
  std::map<std::string, std::uint64_t> copy_bytes_max_;  // by child, of the rebuild that is under way
  std::uint64_t copies_checked_ = 0;
  std::vector<Snapshot> snapshots_;
  unsigned snapshot_numbers_ = 0;
  std::uint64_t writes_ = 0;
  Nanos nexus_crashed_at_{-1'000'000'000'000};
};

}  // namespace holdfast::sim
