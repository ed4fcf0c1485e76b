// Nexus: a device made of devices, the mirror. Every write goes to all children and is acknowledged when
// every in-sync child has it; a read goes to one child, and to the next when that fails.
//
// Control state lives on the home core, each core has its own lists of children and channels; changes reach
// the cores by message and count when every core has acknowledged them. Membership rules: docs in control.h.
//
// All functions on the home core, except what comes through channels.
//
// Errors of the operations: not_found (no such child, job or nexus), already_exists, invalid_argument
// (geometry, URI), failed_precondition (last healthy child, shut down, no record that allows it), busy (a
// child is claimed by another, or still closing), fenced, not_connected (the store), and those of the
// devices. Texts name the thing and the remedy.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "block/block_device.h"
#include "block/io_latency.h"
#include "block/registry.h"
#include "nexus/membership.h"
#include "nexus/rebuild.h"
#include "nexus/types.h"
#include "rt/wait.h"

namespace holdfast::nexus {

class Control;

class Nexus final : public BlockDevice {
 public:
  // Opens all children, reads the membership record, decides who is in sync, records the nexus as open, and
  // starts the rebuilds of the others. Any failure undoes everything. Registry, store and observer (may be
  // nullptr) outlive the nexus.
  static Task<Result<std::unique_ptr<Nexus>>> create(DeviceRegistry& registry, MembershipStore& store,
                                                     NexusParams params, NexusOptions options,
                                                     NexusObserver* observer);
  ~Nexus() override;  // close() was awaited

  // BlockDevice. Any number of channels per core; they share the core's lists.
  const Geometry& geometry() const noexcept override;
  const Capabilities& capabilities() const noexcept override;
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override;
  Task<IoStats> stats() override;
  // shutdown(), then the children's devices that the nexus opened are destroyed. Every channel was closed.
  Task<void> close() override;

  // Of the host's operations, since the beginning or the last reset; `reset` begins anew.
  Task<IoLatencies> latencies(bool reset);
  NexusView view() const;
  Task<NexusCounters> counters();
  const NexusParams& params() const noexcept;

  // Opens a new child; it is out of sync and rebuilt, unless `norebuild`. A child that is there already: ok.
  // `in_sync_through`: the child was given, elsewhere, all that this volume has in regions of epochs up to this
  // one, with their epochs; the rest is copied. 0: nothing is known of it.
  Task<Status> add_child(std::string uri, bool norebuild, std::uint32_t in_sync_through = 0);
  // Out of the nexus and out of the record. A child that is not there: ok.
  Task<Status> remove_child(std::string uri);
  // Out of service until online_child. What it misses from now on is tracked.
  Task<Status> offline_child(std::string uri);
  // Reopens the device of a child that left and rebuilds what it missed. A child that is in service: ok.
  Task<Status> online_child(std::string uri);
  // Out of service as after an error of this kind: io_error, or offline_permanent (FaultNexusChild).
  Task<Status> fault_child(std::string uri, Fault fault);

  // `uri` is the destination. Errors: not_found without a job.
  Task<Status> start_rebuild(std::string uri);
  Task<Status> stop_rebuild(std::string uri);
  Task<Status> pause_rebuild(std::string uri);
  Task<Status> resume_rebuild(std::string uri);
  Result<RebuildStats> rebuild_stats(std::string_view uri) const;
  // Ended jobs, oldest first; the last 64.
  std::vector<RebuildRecord> rebuild_history() const;

  // Grows, once every child has grown. The same size: ok. Errors: invalid_argument (smaller, unaligned),
  // failed_precondition naming the child that is too small, not_connected naming the one that does not answer.
  Task<Status> resize(std::uint64_t size_bytes);
  // Snapshots of these children, all of one point in time: no write is under way at any child while they are
  // made; writes that arrive wait, reads go on. Every child in sync has to be named. One that fails says so in
  // its outcome, and leaves the others their snapshots. Errors, after which nothing was done: not_found (a
  // child), failed_precondition (a child in sync is not named, one that is named is not in sync or cannot make
  // snapshots).
  Task<Result<std::vector<ChildSnapshot>>> snapshot(std::vector<ChildSnapshot> wanted);
  // Ends all I/O, flushes, closes the children, records a clean shutdown. Repeatable. Later I/O gets
  // not_connected. When the store does not answer in time the children are closed all the same and the error
  // says that the record still reads unclean.
  Task<Status> shutdown();

 private:
  explicit Nexus(BlockDevice::Identity identity);
  friend class Control;
  std::unique_ptr<Control> control_;
};

// The nexuses of a process: each is also a device of the registry, under its name.
class Nexuses {
 public:
  Nexuses(DeviceRegistry& registry, MembershipStore& store, NexusOptions options,
          NexusObserver* observer = nullptr);
  Nexuses(const Nexuses&) = delete;
  Nexuses& operator=(const Nexuses&) = delete;
  ~Nexuses();  // close() was awaited

  // The same request again: the nexus that is there. Errors: already_exists (name or uuid is taken by a
  // nexus with other parameters); those of Nexus::create.
  Task<Result<Nexus*>> create(NexusParams params);
  // Errors: not_found; failed_precondition while the nexus is shared.
  Task<Status> destroy(Uuid uuid);
  // Errors: not_found, naming it.
  Result<Nexus*> find(const Uuid& uuid) const;
  Result<Nexus*> find(std::string_view name) const;
  std::vector<Nexus*> list() const;  // by name
  // Shuts every nexus down cleanly, then destroys it. For the end of the process; shares are gone by then.
  Task<void> close();
  // The same to those that nobody uses, and then to those that nobody uses any more.
  Task<void> close_unused();
  // The scheme nexus:///name?size=BYTES&children=URI,URI[&uuid=UUID], for tests and benchmarks.
  void add_scheme();

 private:
  DeviceRegistry& registry_;
  MembershipStore& store_;
  NexusOptions options_;
  NexusObserver* observer_;
  std::vector<const NexusParams*> being_made_;
  std::vector<Nexus*> nexuses_;
};

}  // namespace holdfast::nexus
