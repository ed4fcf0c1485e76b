#include "pool/journal.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <variant>

#include "base/crc32c.h"
#include "base/log.h"
#include "block/leaf_device.h"
#include "pool/format.h"
#include "pool/record_format.h"

namespace holdfast::pool {
namespace {

constexpr std::uint64_t header_bytes = sizeof(wire::CommitHeader);

std::uint64_t commit_length(std::uint64_t record_bytes) {
  return round_up(header_bytes + record_bytes, wire::commit_alignment);
}

// What recovery would not take must never get into the ring: the pool could not be opened any more. Writes and
// regions are numbers only, and State::check sees those.
Status check_readable(std::span<const Record> records, std::span<const std::byte> bytes) {
  for (const Record& record : records) {
    if (std::holds_alternative<WriteRecord>(record) || std::holds_alternative<RegionRecord>(record) ||
        std::holds_alternative<WriteDataRecord>(record)) {
      bytes = bytes.subspan(sizeof(wire::ItemHeader) + load<wire::ItemHeader>(bytes).bytes);
      continue;
    }
    const Result<Record> read = decode(bytes);
    if (!read.ok()) return Error(Errc::invalid_argument, read.error().message());
  }
  return Status();
}

// What makes room, or shows where some is: it finds a place in the ring when nothing else does, and no checkpoint fits.
bool makes_room(const std::vector<Record>& records) {
  return !records.empty() && std::all_of(records.begin(), records.end(), [](const Record& r) {
    return std::holds_alternative<DeleteRecord>(r) || std::holds_alternative<ResizeRecord>(r) ||
           std::holds_alternative<AddDiskRecord>(r) || std::holds_alternative<GrowRecord>(r);
  });
}

}  // namespace

// One call of commit(). Lives in its frame.
struct Journal::Request {
  Request(Reactor& home, std::vector<Record> wanted, bool must_be_durable, Alongside* with)
      : records(std::move(wanted)),
        frees(makes_room(records)),
        durable(must_be_durable),
        alongside(with),
        ended(home) {
    for (const Record& r : records) encode(r, bytes);
  }
  std::vector<Record> records;
  std::vector<std::byte> bytes;
  const bool frees;
  const bool durable;
  Alongside* const alongside;
  std::optional<Error> error;
  Event ended;
};

struct Journal::Batch {
  std::vector<Request*> requests;
  std::vector<Request*> dropped;  // what went on alongside failed
  std::vector<const Record*> records;
  std::uint64_t record_bytes = 0;
  bool durable = false;
  bool frees = false;  // all of them, or none
};

Journal::Journal(Reactor& home, DiskPort& disk, const Ring& ring, std::uint64_t incarnation, Mark begin,
                 Mark end, JournalClient& client)
    : home_(home),
      disk_(disk),
      ring_(ring),
      incarnation_(incarnation),
      client_(client),
      tail_(begin),
      head_(end),
      durable_(end.sequence),
      witnessed_(end.sequence),  // by the label, before there is a commit
      room_(home),
      scope_(home) {
  HF_ASSERT(ring.bytes >= bytes_min && ring.bytes % wire::commit_alignment == 0);
  HF_ASSERT(begin.position <= end.position && end.position - begin.position <= ring.bytes);
}

Journal::~Journal() { HF_ASSERT(waiting_.empty() && !pumping_); }

Task<void> Journal::close() {
  if (!frozen_) freeze(Error(Errc::failed_precondition, disk_.disk().user() + " is being closed"));
  co_await rest();
}

Task<void> Journal::rest() {
  stop_.request_stop();
  co_await scope_.join();
}

void Journal::freeze(Error why) {
  frozen_ = std::move(why);
  room_.wake_all();
}

Status Journal::usable() const {
  if (frozen_) return *frozen_;
  return Status();
}

Task<Status> Journal::commit(std::vector<Record> records, Durable durable, Alongside* alongside) {
  HF_CO_CHECK(usable());
  Request request(home_, std::move(records), durable == Durable::yes, alongside);
  if (commit_length(request.bytes.size()) > std::min(commit_bytes_max, ring_.bytes / 4)) {
    co_return Error(Errc::invalid_argument,
                    disk_.disk().user() + ": a change of " + std::to_string(request.bytes.size()) +
                        " bytes is too large for its journal of " + format_size(ring_.bytes));
  }
  const Status readable = check_readable(request.records, request.bytes);
  if (!readable.ok()) co_return readable.error().with_context(disk_.disk().user());
  waiting_.push_back(&request);
  if (!pumping_) {
    pumping_ = true;
    scope_.spawn(pump());
  }
  co_await request.ended.wait();
  if (request.error) co_return std::move(*request.error);
  co_return Status();
}

Task<Status> Journal::flush() {
  const std::uint64_t written = head_.sequence;
  if (durable_ >= written) co_return Status();
  HF_CO_CHECK(co_await disk_.flush());
  durable_ = std::max(durable_, written);
  co_return Status();
}

Task<void> Journal::pump() {
  while (!waiting_.empty()) {
    Batch batch;
    collect(batch);
    co_await write_batch(batch);
  }
  pumping_ = false;
  if (watching_ || frozen_ || witnessed_ >= head_.sequence) co_return;
  watching_ = true;
  scope_.spawn(witness_later());
}

// The disk is flushed first: what is acknowledged and not durable yet has a witness, too, when nothing more happens.
Task<void> Journal::witness_later() {
  while (witnessed_ < head_.sequence && !frozen_) {
    const std::uint64_t newest = head_.sequence;
    const bool on = co_await home_.sleep(witness_pause, stop_.token());
    if (!on || frozen_) break;
    if (head_.sequence != newest || pumping_) continue;
    if (used_bytes() > ring_.bytes / 2) break;  // a checkpoint is on its way
    Status done = co_await flush();
    std::vector<Record> nothing;
    if (done.ok() && head_.sequence == newest) done = co_await commit(std::move(nothing), Durable::yes);
    if (done.ok()) continue;
    HF_LOG(debug, "pool", "the newest commit has no witness yet", {"error", done.error()});
    break;  // the next commit tries again
  }
  watching_ = false;
}

void Journal::collect(Batch& batch) {
  const std::uint64_t most = std::min(commit_bytes_max, ring_.bytes / 4);
  while (!waiting_.empty()) {
    Request* next = waiting_.front();
    const bool fits =
        next->frees == batch.frees && commit_length(batch.record_bytes + next->bytes.size()) <= most;
    if (!batch.requests.empty() && !fits) break;
    waiting_.pop_front();
    batch.frees = next->frees;
    batch.requests.push_back(next);
    batch.record_bytes += next->bytes.size();
    batch.durable = batch.durable || next->durable;
    for (const Record& r : next->records) batch.records.push_back(&r);
  }
}

Task<void> Journal::write_batch(Batch& batch) {
  const Nanos began = home_.now();
  const std::uint64_t length = commit_length(batch.record_bytes);
  Status outcome = co_await make_room(length, batch.frees);
  if (outcome.ok()) outcome = co_await client_.before_commit(batch.records);
  if (outcome.ok()) outcome = usable();
  if (outcome.ok()) {
    outcome = co_await put(batch);
    if (!outcome.ok()) {
      const Error error = disk_.disk().explain(outcome.error(), "writing the journal");
      HF_LOG(error, "pool", "the journal cannot be written; the pool changes no more", {"error", error});
      freeze(Error(Errc::failed_precondition, error.message() + "; export the pool and import it again"));
      client_.journal_failed(error, batch.records);
    }
  }
  if (outcome.ok()) {
    ++stats_.commits;
    stats_.commit_time += home_.now() - began;
    for (Request* request : batch.requests) {
      stats_.records += request->records.size();
      for (Record& record : request->records) client_.apply(record);
    }
  }
  for (Request* request : batch.requests) {
    if (!outcome.ok()) request->error = outcome.error();
    request->ended.set();
  }
  for (Request* request : batch.dropped) request->ended.set();
  if (!frozen_ && used_bytes() > ring_.bytes / 2 && !wanted_) {
    wanted_ = true;
    client_.checkpoint_wanted();
  }
}

Task<Status> Journal::make_room(std::uint64_t length, bool frees) {
  const std::uint64_t most = ring_.bytes - (frees ? 0 : ring_.bytes / 8);
  const auto needed = [&] {
    const std::uint64_t rest = rest_of_lap();
    return rest < length ? rest + length : length;
  };
  HF_CO_CHECK(usable());
  bool tried = false;
  while (used_bytes() + needed() > most) {
    if (!wanted_) {
      if (tried && checkpoint_error_) {
        co_return Error(Errc::out_of_space, disk_.disk().user() +
                                                ": the journal is full, and no checkpoint succeeds: " +
                                                checkpoint_error_->message());
      }
      tried = true;
      checkpoint_error_.reset();
      wanted_ = true;
      client_.checkpoint_wanted();
    }
    if (wanted_) co_await room_.wait();
    HF_CO_CHECK(usable());
  }
  co_return Status();
}

void Journal::checkpoint_ended(const Status& outcome, Mark mark) noexcept {
  wanted_ = false;
  if (outcome.ok()) {
    HF_ASSERT(mark.position >= tail_.position && mark.position <= head_.position);
    tail_ = mark;
    durable_ = std::max(durable_, mark.sequence);
    witnessed_ = std::max(witnessed_, mark.sequence);  // by the label
    checkpoint_error_.reset();
  } else {
    checkpoint_error_ = outcome.error();
  }
  room_.wake_all();
}

// Writes the commit that makes the rest of this lap mean nothing, when the next one does not fit into it.
Task<Status> Journal::skip_rest() {
  const ScratchBuffer buffer(home_, wire::commit_alignment);
  std::fill_n(buffer.data(), buffer.size(), std::byte{0});
  wire::CommitHeader header = this->header(rest_of_lap(), 0);
  header.flags = wire::CommitHeader::flag_skip;
  const std::span<std::byte> bytes(buffer.data(), buffer.size());
  seal(header, bytes);
  const IoVec vec = buffer.vec();
  HF_CO_CHECK(co_await disk_.write(place_of_head(), IoVecs(&vec, 1), Durable::no));
  advance(header.length);
  co_return Status();
}

wire::CommitHeader Journal::header(std::uint64_t length, std::uint64_t record_bytes) const noexcept {
  wire::CommitHeader header{};
  header.magic = wire::CommitHeader::magic_value;
  header.sequence = head_.sequence + 1;
  header.incarnation = incarnation_;
  header.durable_sequence = durable_;
  header.length = static_cast<std::uint32_t>(length);
  header.record_bytes = static_cast<std::uint32_t>(record_bytes);
  std::memcpy(header.instance, ring_.instance.bytes.data(), sizeof header.instance);
  return header;
}

// Puts the header in front of what is in `bytes` already, with the checksum over all of it.
void Journal::seal(wire::CommitHeader& header, std::span<std::byte> bytes) noexcept {
  header.crc32c = 0;
  store(bytes, header);
  header.crc32c = crc32c(bytes);
  store(bytes, header);
}

void Journal::advance(std::uint64_t length) noexcept {
  ++head_.sequence;
  head_.position += length;
}

Task<Status> Journal::put(Batch& batch) {
  std::uint64_t length = commit_length(batch.record_bytes);
  if (rest_of_lap() < length) HF_CO_CHECK(co_await skip_rest());
  for (;;) {
    HF_CO_CHECK(co_await write_commit(batch, length));
    const bool dropped = co_await drop_failed(batch);
    if (!dropped) break;
    length = commit_length(batch.record_bytes);
  }
  advance(length);
  // It says so of those before it; it needs no witness itself when it has no records.
  const bool all = batch.record_bytes == 0 && durable_ + 1 == head_.sequence;
  witnessed_ = all ? head_.sequence : std::max(witnessed_, durable_);
  if (batch.durable) durable_ = head_.sequence;
  co_return Status();
}

Task<Status> Journal::write_commit(const Batch& batch, std::uint64_t length) {
  const ScratchBuffer buffer(home_, length);
  std::byte* to = buffer.data() + header_bytes;
  for (const Request* request : batch.requests)
    to = std::copy(request->bytes.begin(), request->bytes.end(), to);
  std::fill(to, buffer.data() + length, std::byte{0});
  wire::CommitHeader header = this->header(length, batch.record_bytes);
  seal(header, std::span<std::byte>(buffer.data(), length));
  // A durable write covers itself alone: it is enough when everything before it is durable already.
  const bool alone = batch.durable && durable_ == head_.sequence;
  const IoVec vec{buffer.data(), length};
  const Durable durable = alone ? Durable::yes : Durable::no;
  HF_CO_CHECK(co_await disk_.write(place_of_head(), IoVecs(&vec, 1), durable));
  if (batch.durable && !alone) HF_CO_CHECK(co_await disk_.flush());
  co_return Status();
}

// Waits for what goes on alongside. Where that failed the commit must not count: it is written once more, at the same
// place, without those records; durably, so that the former one never comes back under later commits.
Task<bool> Journal::drop_failed(Batch& batch) {
  const std::size_t before = batch.dropped.size();
  for (Request*& request : batch.requests) {
    if (request->alongside == nullptr) continue;
    const Wake woken = co_await request->alongside->ended.wait();
    HF_ASSERT(woken == Wake::signalled);
    if (!request->alongside->error) continue;
    batch.record_bytes -= request->bytes.size();
    request->error = request->alongside->error;
    batch.dropped.push_back(std::exchange(request, nullptr));
  }
  std::erase(batch.requests, nullptr);
  batch.durable = batch.durable || batch.dropped.size() > before;
  co_return batch.dropped.size() > before;
}

}  // namespace holdfast::pool
