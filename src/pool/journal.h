// Journal: the ring of commits on disk 0. Records that arrive while a commit is being written go together with
// the next one. A commit is applied right after it was written, before anybody hears of it, so that at any moment
// the state in memory is exactly what the commits up to mark().sequence make.
//
// A commit that was damaged on the disk is told from one that was never whole by what comes after it: a later commit
// says that it was durable. So that the newest one has such a witness, too, an empty commit follows when none has come
// for a while.
//
// Home core. Layout and recovery: docs/format/pool.md.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "pool/disk.h"
#include "pool/format.h"
#include "pool/record.h"
#include "rt/scope.h"
#include "rt/stop.h"
#include "rt/wait.h"

namespace holdfast::pool {

// What the journal asks of the pool.
class JournalClient {
 public:
  // Makes durable what the records rely on, the data of clusters that they map: a mapping never becomes durable
  // before its data (P4). An error fails the commits of these records; nothing of them was written then.
  virtual Task<Status> before_commit(std::span<const Record* const> records) = 0;
  // The record is in the journal. In the order of commits; no await between the records of a commit.
  virtual void apply(Record& record) noexcept = 0;
  // The ring is half full or, again and again, full: a checkpoint is wanted, if none is under way.
  // Journal::checkpoint_ended tells how it went.
  virtual void checkpoint_wanted() noexcept = 0;
  // A commit could not be written; every later one is refused. Whether its records happened shows when the pool is
  // opened again: until then neither the one nor the other may become wrong. Before anybody hears of the error.
  virtual void journal_failed(const Error& error, std::span<const Record* const> uncertain) noexcept = 0;

 protected:
  ~JournalClient() = default;
};

class Journal {
 public:
  struct Ring {
    std::uint64_t offset = 0;  // bytes from the start of the disk
    std::uint64_t bytes = 0;   // a multiple of 4096, at least bytes_min
    Uuid instance;
  };
  static constexpr std::uint64_t bytes_min = wire::journal_bytes_min;
  static constexpr std::uint64_t commit_bytes_max = 256 * KiB;
  // So long after the last commit the one that witnesses it is written.
  static constexpr Nanos witness_pause = std::chrono::milliseconds(500);

  // Where a checkpoint stands: commits up to `sequence` are in it, the next one begins at `position`.
  // Positions count on through all laps; the place in the ring is position modulo its size.
  struct Mark {
    std::uint64_t sequence = 0;
    std::uint64_t position = 0;
    bool operator==(const Mark&) const = default;
  };
  struct Stats {
    std::uint64_t commits = 0;
    std::uint64_t records = 0;
    Nanos commit_time{0};  // sum, from the first wait of a batch to its end
  };

  // Something that has to end well before a commit counts, and may be under way while it is written.
  struct Alongside {
    explicit Alongside(Reactor& home) noexcept : ended(home) {}
    Event ended;
    std::optional<Error> error;  // when it has ended and failed
  };

  // `end` is where recovery ended, `begin` the checkpoint's mark. The incarnation is durable in the superblocks.
  Journal(Reactor& home, DiskPort& disk, const Ring& ring, std::uint64_t incarnation, Mark begin, Mark end,
          JournalClient& client);
  ~Journal();  // close() was awaited
  // No commit is under way when this has ended, and none comes but those that are asked for: for the last checkpoint.
  Task<void> rest();
  // Refuses new commits and waits for those under way.
  Task<void> close();

  // All of the records or, after a crash, none of them. Durable::yes: it survives a loss of power, and so do all
  // commits before it; otherwise it does when the disk was flushed later. Errors: those of before_commit;
  // invalid_argument when the records can never fit in the ring, or could not be read again; out_of_space when
  // the ring is full and no checkpoint succeeds; failed_precondition, with the reason, when the pool is frozen.
  // io_error: the pool is frozen now; whether it happened shows when the pool is opened again.
  // With `alongside`, which outlives the call, it ends after that has ended; when that failed, with its error, and
  // nothing of the records happened.
  Task<Status> commit(std::vector<Record> records, Durable durable, Alongside* alongside = nullptr);
  // Every commit that has ended is durable.
  Task<Status> flush();

  Mark mark() const noexcept { return head_; }
  std::uint64_t durable_sequence() const noexcept { return durable_; }
  // A checkpoint of `mark` is durable (the ring before it is free), or failed.
  void checkpoint_ended(const Status& outcome, Mark mark) noexcept;

  // From now on commits are refused with this error: a read-only pool, or one that failed.
  void freeze(Error why);
  const std::optional<Error>& frozen() const noexcept { return frozen_; }
  Status usable() const;  // the error, if it is frozen
  const Ring& ring() const noexcept { return ring_; }
  std::uint64_t used_bytes() const noexcept { return head_.position - tail_.position; }
  const Stats& stats() const noexcept { return stats_; }

 private:
  struct Request;
  struct Batch;
  Task<void> pump();
  Task<void> witness_later();
  Task<void> write_batch(Batch& batch);
  Task<Status> make_room(std::uint64_t length, bool frees);
  Task<Status> skip_rest();
  Task<Status> put(Batch& batch);
  Task<Status> write_commit(const Batch& batch, std::uint64_t length);
  Task<bool> drop_failed(Batch& batch);
  void collect(Batch& batch);
  wire::CommitHeader header(std::uint64_t length, std::uint64_t record_bytes) const noexcept;
  static void seal(wire::CommitHeader& header, std::span<std::byte> bytes) noexcept;
  void advance(std::uint64_t length) noexcept;
  std::uint64_t place_of_head() const noexcept { return ring_.offset + head_.position % ring_.bytes; }
  std::uint64_t rest_of_lap() const noexcept { return ring_.bytes - head_.position % ring_.bytes; }

  Reactor& home_;
  DiskPort& disk_;
  const Ring ring_;
  const std::uint64_t incarnation_;
  JournalClient& client_;
  Mark tail_;
  Mark head_;
  std::uint64_t durable_;
  std::optional<Error> frozen_;
  std::deque<Request*> waiting_;
  bool pumping_ = false;
  std::uint64_t witnessed_ = 0;  // a later commit says of those up to this one that they were durable
  bool watching_ = false;        // witness_later() is running
  StopSource stop_;
  bool wanted_ = false;  // a checkpoint was asked for and has not ended
  std::optional<Error> checkpoint_error_;
  WaitQueue room_;
  TaskScope scope_;
  Stats stats_;
};

// What recovery found in the ring.
struct JournalScan {
  Journal::Mark end;
  std::uint64_t commits = 0;
  std::uint64_t records = 0;
};

// Which runs' commits count: up to `recovered` those of earlier incarnations, and after it those of this one alone.
// What an earlier run left behind the commits that were recovered after it, whole or in part, never counts again.
struct JournalAge {
  std::uint64_t incarnation = 0;
  std::uint64_t recovered = 0;

  bool counts(std::uint64_t sequence, std::uint64_t of) const noexcept {
    return sequence <= recovered ? of < incarnation : of == incarnation;
  }
};

// Reads the commits after `begin` and hands their records over in order. A commit counts when it is whole, is the
// next one and of the right age. Errors: io_error; bad_format (a record that cannot be, or what `take` said; a
// commit that later ones, or the label, knew to be durable is damaged).
using RecordSink = std::function<Status(std::uint64_t sequence, Record& record)>;
Task<Result<JournalScan>> recover_journal(Reactor& home, DiskPort& disk, Journal::Ring ring,
                                          Journal::Mark begin, JournalAge age, RecordSink take);

}  // namespace holdfast::pool
