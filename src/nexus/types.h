// States, reasons, views and options of a nexus: what its users (the API, metrics, logs) see. Values of the
// enumerations are those of mayastor.v1 (api/mayastor/v1/nexus.proto), so the API casts them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "base/uuid.h"
#include "block/block_device.h"
#include "nexus/rebuild.h"
#include "nexus/reservation.h"
#include "rt/time.h"

namespace holdfast::nexus {

// online: every child is healthy. degraded: at least one is. faulted: none is, or the nexus was fenced.
enum class NexusState : std::uint8_t {
  unknown = 0,
  online = 1,
  degraded = 2,
  faulted = 3,
  shutting_down = 4,
  shutdown = 5,
};
enum class ChildState : std::uint8_t { unknown = 0, online = 1, degraded = 2, faulted = 3 };
enum class ChildReason : std::uint8_t {
  none = 0,
  init = 1,
  closed = 2,
  cannot_open = 3,
  config_invalid = 4,
  rebuild_failed = 5,
  io_failure = 6,
  by_client = 7,
  out_of_sync = 8,
  no_space = 9,
  timed_out = 10,
  admin_failed = 11,
};
std::string_view name(NexusState state) noexcept;
std::string_view name(ChildState state) noexcept;
std::string_view name(ChildReason reason) noexcept;

// Why a child was taken out of service.
enum class Fault : std::uint8_t {
  no_space,
  timed_out,  // its oldest write outlived the latency budget, or the device said timed_out
  io_error,
  rebuild_failed,
  offline,            // by the client, for a while
  offline_permanent,  // by the client, for good: only remove_child helps
};
std::string_view name(Fault fault) noexcept;
// May online_child bring a child with this fault back? (section 3.1)
bool may_come_back(Fault fault) noexcept;

// Children of one nexus; a write keeps its children in fixed arrays of this size.
inline constexpr std::size_t children_max = 16;

struct ChildView {
  std::string uri;
  std::string uuid;         // as in the membership record
  std::string device_name;  // empty while its device is closed
  ChildState state = ChildState::unknown;
  ChildReason reason = ChildReason::none;
  std::optional<RebuildStats> rebuild;      // of the job that has it as destination
  std::optional<WallTime> fault_timestamp;  // of the last fault
  bool local = false;                       // on this machine
  bool has_io_log = false;                  // what it missed is known: its next rebuild is partial
};

// A snapshot of one child: what is asked, and how it went.
struct ChildSnapshot {
  std::string uri;
  SnapshotRequest request;
  Errc outcome = Errc::ok;
  std::string text;  // of the error
};

struct NexusCounters {
  std::uint64_t retired_children = 0;
  std::uint64_t held_writes = 0;       // writes whose answer waited for a membership change, ever
  std::uint64_t held_writes_now = 0;   // and now
  std::uint64_t hold_timeouts = 0;     // operations given back with not_connected after hold_timeout
  std::uint64_t read_failovers = 0;    // reads that a second child answered
  std::uint64_t read_repairs = 0;      // ranges written back to a child with a media error
  std::uint64_t membership_swaps = 0;  // successful ones
  std::uint64_t membership_retries = 0;
  std::uint64_t rebuilds_completed = 0;
  std::uint64_t rebuilds_failed = 0;
};

struct NexusView {
  std::string name;
  Uuid uuid;
  std::uint64_t requested_bytes = 0;  // what create or resize asked for; the capacity is a little smaller
  std::uint64_t capacity_bytes = 0;
  NexusState state = NexusState::unknown;
  bool fenced = false;  // another owner changed the membership record: nothing is acknowledged any more
  bool membership_pending = false;    // a membership change waits for the store
  std::uint64_t epoch = 0;            // of the membership record
  std::uint32_t announced_epoch = 0;  // that what is written now counts for
  std::uint32_t sealed_epoch = 0;     // in-sync children agree on all that was written up to this one
  std::vector<ChildView> children;
  unsigned rebuilds = 0;  // jobs that have not ended
};

struct NexusOptions {
  // A child whose oldest write is older than this, while a peer has answered that write, is retired.
  Nanos child_latency_budget = 3s;
  // How long an operation waits for a membership change or for the last in-sync child to come back before it
  // is given back with not_connected, for the host to retry (perhaps elsewhere).
  Nanos hold_timeout = 30s;
  // Pause between two attempts at the store or the last child: doubled from the first to the second.
  Nanos retry_first = 20ms;
  Nanos retry_longest = 1s;
  // While there are writes, this often: a new epoch begins, every child with a volatile cache is flushed, and the
  // epochs before are sealed. What was written since counts as missed when a child leaves, because it may have
  // lost its cache, and is copied when the nexus is opened after a crash.
  Nanos settle_interval = 10s;
  // Children that left because of an error are reopened this often until it works; zero: only online_child
  // brings them back.
  Nanos reopen_interval = Nanos(0);
  // How long a shutdown waits for the store to record that it was clean.
  Nanos shutdown_store_deadline = 10s;
  RebuildOptions rebuild;
  // Who this engine is to the reservations of its own devices; the initiator says the same to others.
  Uuid host_id = Uuid::from_name("holdfast");
};

struct NexusParams {
  std::string name;  // device name in the registry
  Uuid uuid;
  std::uint64_t size_bytes = 0;
  std::vector<std::string> children;  // URIs
  std::string membership_key;         // empty: the nexus's uuid
  ReservationParams reservation;      // of every child
};

// Told on the home core, after the fact; must not wait or call back.
class NexusObserver {
 public:
  virtual void on_child_changed(const NexusView&, const ChildView&) noexcept {}
  virtual void on_state_changed(const NexusView&, NexusState /*before*/) noexcept {}
  virtual void on_rebuild_started(const NexusView&, const RebuildRecord&) noexcept {}
  virtual void on_rebuild_ended(const NexusView&, const RebuildRecord&) noexcept {}

 protected:
  ~NexusObserver() = default;
};

}  // namespace holdfast::nexus
