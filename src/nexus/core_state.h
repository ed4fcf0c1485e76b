// CoreState: what one core knows of a nexus, and the I/O path on it (write_path.cc, read_path.cc).
//
// Only its core touches it. Control tells it of changes by message; it tells control of failures through
// FaultSink, also by message. Nothing here is shared, so nothing is locked.
//
// Rules that the path keeps (P1):
//  - A write is done when every in-sync child of this core's list has it.
//  - A child leaves the lists on every core before its failed write gives up its range: from then on no
//    rebuild reads from it, so what the write left there is never copied.
//  - A write that a child of the membership record missed is answered only after the record was changed
//    (`pending_leaves_`), whether the child left before or while the write was under way.
//  - The caller's buffer is in use until the operation at EVERY child has ended, also at the slow one that is
//    given up. So a write never returns before; Channel::cancel_all makes the slow operation end soon. A
//    device that cannot take an operation back (a local disk) delays the writes that it already holds, and
//    only those.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "block/block_device.h"
#include "block/io_latency.h"
#include "nexus/dirty_map.h"
#include "nexus/range_tracker.h"
#include "nexus/types.h"
#include "rt/reactor.h"
#include "rt/scope.h"
#include "rt/wait.h"

namespace holdfast::nexus {

// One opening of one child: a child that comes back has a new one. Never 0.
enum class ChildId : std::uint64_t {};
// The child itself, over all its openings.
enum class ChildKey : std::uint64_t {};

enum class Mode : std::uint8_t {
  rebuilding,   // gets writes; a failure only ends its rebuild
  joining,      // the record may call it healthy already: a write that it misses is held. Not read yet.
  catching_up,  // as rebuilding, but read outside the regions in which it may differ
  in_sync,
};

// Whether a write is done only when the child has it.
constexpr bool counts(Mode mode) noexcept { return mode == Mode::joining || mode == Mode::in_sync; }

// A handful of ids, no allocation.
class IdSet {
 public:
  bool has(ChildId id) const noexcept {
    return std::find(ids_.begin(), ids_.begin() + count_, id) != ids_.begin() + count_;
  }
  void add(ChildId id) noexcept {
    if (has(id)) return;
    // More openings than the set can remember: the oldest is forgotten, which costs a repeated write at most.
    if (count_ == capacity) {
      std::move(ids_.begin() + 1, ids_.end(), ids_.begin());
      --count_;
    }
    ids_[count_++] = id;
  }
  void clear() noexcept { count_ = 0; }
  bool empty() const noexcept { return count_ == 0; }

 private:
  static constexpr unsigned capacity = 2 * children_max;
  std::array<ChildId, capacity> ids_{};
  unsigned count_ = 0;
};

enum class Verdict : std::uint8_t {
  left,  // out of every core's lists by now
  kept,  // the last in-sync child: it stays
};

// The home core's ear. Called on home.
class FaultSink {
 public:
  virtual Task<Verdict> child_failed(ChildId id, Errc code) = 0;
  // An operation on a child that was `kept` went well again.
  virtual void child_recovered(ChildId id) noexcept = 0;
  // A host's flush, or durable write, failed at a child that was `kept`: a later flush says nothing of what that was to
  // cover. owed: what the host's next flush says; ok: it has heard of it.
  virtual void flush_failed(ChildId id, Errc owed) noexcept = 0;
  // The host has heard of a flush of ours that failed.
  virtual void flush_told() noexcept = 0;
  // A read of these blocks hit a media error there, and others have them.
  virtual Task<void> repair(ChildId id, Span blocks) = 0;
  // The first write since the last settling.
  virtual void writes_began() noexcept = 0;

 protected:
  ~FaultSink() = default;
};

struct CoreChild {
  CoreChild(Reactor& core, ChildId i, std::unique_ptr<Channel> c, const Capabilities& can, bool reads_zero,
            bool is_local)
      : id(i),
        channel(std::move(c)),
        local(is_local),
        has_cache(can.flush && can.volatile_cache),
        can_zero(can.write_zeroes),
        can_deallocate(can.deallocate && reads_zero),
        idle(core) {}

  const ChildId id;
  const std::unique_ptr<Channel> channel;
  const bool local;
  const bool has_cache;
  const bool can_zero;
  const bool can_deallocate;  // and reads zeroes afterwards
  Mode mode = Mode::rebuilding;
  bool doubted = false;  // see doubt()
  DirtyMap behind;       // catching up: where others are read
  bool cancelled = false;
  unsigned operations = 0;  // under way
  unsigned reads = 0;       // of those
  Nanos read_average{0};    // moving average of completion times; 0: not known yet
  WaitQueue idle;           // woken when operations reaches 0
};

struct Modify {
  enum class Kind : std::uint8_t { write, zeroes, deallocate, flush };
  Kind kind = Kind::flush;
  Span span;  // blocks of the volume; empty for a flush
  IoVecs data;
  Durable durable = Durable::no;
  Unmap unmap = Unmap::no;
};

struct Volume {
  std::uint32_t block_bytes = 512;
  std::uint64_t block_count = 0;
  std::uint64_t data_start = 0;  // first block on the children
};

struct CoreCounters {
  IoStats io;
  std::uint64_t held_writes = 0;
  std::uint64_t held_writes_now = 0;
  std::uint64_t hold_timeouts = 0;
  std::uint64_t read_failovers = 0;
};

class CoreState final : Timer {
 public:
  CoreState(Reactor& core, Reactor& home, FaultSink& sink, Volume volume, const NexusOptions& options);
  ~CoreState();

  // I/O of the host.
  Task<Status> read(Lba first, IoVecs into);
  Task<Status> modify(Modify m);

  // Every region counts as written since the last settling.
  void unsettle() noexcept { recent_.mark(0, volume_.block_count); }

  // Control's messages. Unknown ids are ignored: a message may cross a departure.
  void open(std::unique_ptr<CoreChild> child) { opened_.push_back(std::move(child)); }
  // From the opened ones into the lists. What it missed so far is taken out (rebuild first copies that).
  DirtyMap attach(ChildId id, ChildKey key, Mode mode);
  void set_mode(ChildId id, Mode mode) noexcept;
  // Where a child that catches up is not read; then, what it has caught up with.
  void set_behind(ChildId id, DirtyMap behind) noexcept;
  void caught_up(ChildId id, const Span& span) noexcept;
  // The last in-sync child failed and stays: its next success is reported.
  void doubt(ChildId id) noexcept;
  // The last in-sync child may have lost what it had not flushed: a write that is under way goes there again, one
  // that waits for the record ends with not_connected.
  void cache_lost() noexcept;
  // Out of the lists; what it misses from now on is tracked. `recorded`: the record calls it healthy, so
  // writes without it are held until settled(). `give_up`: its operations are asked to end.
  void leave(ChildId id, ChildKey key, bool recorded, bool give_up);
  // Asks the child's operations to end soon. It stays where it is.
  void give_up(ChildId id) noexcept;
  void settled(ChildId id) noexcept;
  // Waits until its operations have ended, closes its channel, forgets it.
  Task<void> drain(ChildId id);
  void forget_missed(ChildKey key);
  void fence() noexcept;
  // Refuses new operations, gives back those that are held, waits for the rest.
  Task<void> stop();
  void resize(std::uint64_t block_count);
  // The regions written so far begin to be settled; done when the writes under way then have ended.
  Task<void> settle_begin();
  void settle_end();

  // Single operations on one child, for rebuild and repair (home core). not_connected when it left.
  Task<Status> child_read(ChildId id, Span blocks, IoVecs into);
  Task<Status> child_write(ChildId id, Span blocks, IoVecs from);
  // As child_write(); until the next settling the child counts as one that may lose it, as it does with the host's.
  Task<Status> child_repair(ChildId id, Span blocks, IoVecs from);
  Task<Status> child_zero(ChildId id, Span blocks);
  Task<Status> child_flush(ChildId id);
  bool child_can_zero(ChildId id) const noexcept;
  // The in-sync child to copy from that is not in `tried`: a local one, else the quickest. Id 0: none.
  ChildId pick_source(const IdSet& tried) const noexcept;
  std::vector<ChildId> members() const;

  RangeTracker& ranges() noexcept { return ranges_; }
  CoreCounters counters() const noexcept { return counters_; }
  const IoLatencies& latencies() const noexcept { return latencies_; }
  void reset_latencies() noexcept { latencies_ = IoLatencies(); }
  // A flush of ours failed at the last in-sync child: the host's next one says so. ok: it has.
  void owe_flush_error(Errc code) noexcept { owed_ = code; }
  const Volume& volume() const noexcept { return volume_; }
  Reactor& reactor() noexcept { return core_; }

 private:
  struct Target {
    CoreChild* child = nullptr;  // alive while its operation is under way
    ChildId id{};
    bool ended = false;
    Errc outcome = Errc::ok;
  };
  // What a write keeps others from: its range, and the end of its generation.
  struct Way {
    RangeTracker::Entry* range = nullptr;  // nullptr: it has none
    unsigned generation = 0;
    bool clear = false;
  };
  // One round of a write over its children; the watchdog looks at those that are under way.
  struct Attempt {
    Nanos started{};
    Way* way = nullptr;
    const IdSet* done = nullptr;  // by earlier attempts
    unsigned losses = 0;          // when it began
    unsigned count = 0;
    std::array<Target, children_max> targets;
    Attempt* prev = nullptr;
    Attempt* next = nullptr;
  };
  struct Missed {
    ChildKey key{};
    DirtyMap map;
  };
  class Inside;  // counts operations of the host
  class Busy;    // counts an operation at a child

  Status admit() const noexcept;
  void mark(const Span& span);
  CoreChild* find(ChildId id) const noexcept;
  CoreChild* pick_reader(const Span& span, const IdSet& tried) noexcept;

  Task<Status> fan_out(const Modify& m, Way& way, IdSet& done, unsigned& losses);
  Way enter(RangeTracker::Entry* range) noexcept;
  void clear(Way& way) noexcept;
  void clear_if_done(const Attempt& a) noexcept;
  Task<void> drop_holders(const IdSet& done);
  Task<void> run_attempt(Attempt& a, const Modify& m);
  Task<Errc> judge(const Attempt& a, const Modify& m, IdSet& done);
  Task<Status> child_modify(Attempt& a, Target& t, const Modify& m);
  Task<Status> issue(CoreChild& c, const Modify& m);
  Task<Status> write_zero_blocks(CoreChild& c, const Span& span, Durable durable);
  bool complete(const IdSet& done) const noexcept;
  bool has_reader(const IdSet& done) const noexcept;
  bool must_hold(const IdSet& done) const noexcept;
  Task<Status> hold_for_membership(const IdSet& done, unsigned losses);
  void count(const Modify& m, const Status& s, Nanos took) noexcept;
  // Waits for a change of the lists, a pause that doubles, or the deadline (armed at the first call).
  struct Patience {
    Nanos deadline = no_deadline;
    Nanos pause{0};
  };
  // False: the deadline has passed.
  Task<bool> wait_for_change(Patience& p);

  Task<Status> read_from(CoreChild& c, Lba first, IoVecs into);
  void repair_later(const IdSet& bad, const Span& blocks);
  Task<void> repair_task(ChildId id, Span blocks);

  Task<Verdict> report(ChildId id, Errc code);
  Task<void> report_task(ChildId id, Errc code);
  template <class Do>
  Task<void> tell_home(const Do& what);
  Task<void> report_recovered(ChildId id);
  Task<void> report_flush_failed(ChildId id, Errc owed);
  Task<void> report_flush_told();
  Task<void> report_writes();

  void fire() noexcept override;  // the watchdog of slow children
  void watch(Attempt& a) noexcept;
  void unwatch(Attempt& a) noexcept;

  Reactor& core_;
  Reactor& home_;
  FaultSink& sink_;
  Volume volume_;
  const NexusOptions options_;
  RangeTracker ranges_;
  std::vector<std::unique_ptr<CoreChild>> opened_;    // not in the lists yet
  std::vector<std::unique_ptr<CoreChild>> members_;   // readers and writers
  std::vector<std::unique_ptr<CoreChild>> detached_;  // operations may still be under way
  std::vector<ChildId> pending_leaves_;               // left, and the record still calls them healthy
  std::vector<Missed> missed_;
  // Regions written since the last settling, and those being settled now; writes under way by generation.
  DirtyMap recent_, settling_;
  std::array<unsigned, 2> writes_of_generation_{};
  unsigned generation_ = 0;
  WaitQueue generation_idle_;
  Errc owed_ = Errc::ok;  // owe_flush_error()
  WaitQueue changed_;     // lists, pending leaves, fenced, stopped
  WaitQueue outside_;     // woken when inside_ reaches 0
  unsigned inside_ = 0;
  unsigned repairs_ = 0;
  unsigned losses_ = 0;  // calls of cache_lost()
  bool fenced_ = false;
  bool stopped_ = false;
  Attempt* first_attempt_ = nullptr;
  Attempt* last_attempt_ = nullptr;
  CoreCounters counters_;
  IoLatencies latencies_;
  TaskScope scope_;
};

// What a failure at a child means for a host whose data is on that child alone: not_connected, timed_out and
// the like are held and retried, a medium's own answer is given to the host.
bool is_path_error(Errc code) noexcept;
// Another nexus owns the child.
constexpr bool is_fencing(Errc code) noexcept {
  return code == Errc::reservation_conflict || code == Errc::fenced;
}

}  // namespace holdfast::nexus
