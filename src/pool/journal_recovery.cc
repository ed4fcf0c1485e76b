#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "base/crc32c.h"
#include "base/zeroes.h"
#include "block/leaf_device.h"
#include "pool/codec.h"
#include "pool/format.h"
#include "pool/journal.h"

namespace holdfast::pool {
namespace {

// How far behind the end a commit is looked for that knew of a damaged one. The first commit after the damage
// begins within the longest commit, and a flush between two commits is known to the one after it.
constexpr std::uint64_t lookahead_bytes = 4 * MiB;
constexpr std::uint64_t records_per_turn = 64;

class Reader {
 public:
  Reader(Reactor& home, DiskPort& disk, const Journal::Ring& ring)
      : disk_(disk), ring_(ring), buffer_(home, Journal::commit_bytes_max) {}

  struct Commit {
    wire::CommitHeader header;
    std::span<const std::byte> records;  // valid until the next call
    const char* wrong = nullptr;         // what no pool writes, although the checksum is right
  };
  // The commit at a position, if a whole one is there, whatever its sequence. Errors: io_error.
  Task<Result<std::optional<Commit>>> at(std::uint64_t position) {
    const std::uint64_t place = position % ring_.bytes;
    const std::uint64_t rest = ring_.bytes - place;
    std::optional<Commit> none;
    HF_CO_CHECK(co_await fill(place, wire::commit_alignment));
    const auto header = load<wire::CommitHeader>(bytes(wire::commit_alignment));
    if (header.magic != wire::CommitHeader::magic_value || header.length % wire::commit_alignment != 0 ||
        header.length == 0 || header.length > rest ||
        std::memcmp(header.instance, ring_.instance.bytes.data(), sizeof header.instance) != 0) {
      co_return none;
    }
    const bool skip = (header.flags & wire::CommitHeader::flag_skip) != 0;
    const std::uint64_t covered = skip ? wire::commit_alignment : header.length.get();
    if (covered > buffer_.size()) co_return none;
    HF_CO_CHECK(co_await fill(place, covered));
    wire::CommitHeader unsealed = header;
    unsealed.crc32c = 0;
    Crc32c crc;
    crc.update(bytes_of(unsealed));
    crc.update(bytes(covered).subspan(sizeof header));
    if (crc.value() != header.crc32c) co_return none;
    const std::span<const std::byte> behind = bytes(covered).subspan(sizeof header);
    const char* const wrong = why_wrong(header, behind, rest);
    const std::size_t size = wrong == nullptr ? header.record_bytes.get() : 0;
    none.emplace(Commit{header, behind.first(size), wrong});
    co_return none;
  }

 private:
  static const char* why_wrong(const wire::CommitHeader& header, std::span<const std::byte> behind,
                               std::uint64_t rest) {
    if (header.flags > wire::CommitHeader::flag_skip) return "reserved flags are set";
    const bool skip = header.flags == wire::CommitHeader::flag_skip;
    if (skip && (header.length != rest || header.record_bytes != 0)) return "it does not end the lap";
    const std::uint64_t needed = round_up(sizeof header + header.record_bytes.get(), wire::commit_alignment);
    if (!skip && needed != header.length) return "its length is not that of its records";
    if (header.durable_sequence >= header.sequence) return "it was durable before it was written";
    return is_zero(behind.subspan(header.record_bytes)) ? nullptr : "bytes behind its records are set";
  }
  std::span<const std::byte> bytes(std::uint64_t count) const noexcept { return {buffer_.data(), count}; }
  Task<Status> fill(std::uint64_t place, std::uint64_t count) {
    const IoVec vec{buffer_.data(), count};
    Status read = co_await disk_.read(ring_.offset + place, IoVecs(&vec, 1));
    if (!read.ok()) co_return disk_.disk().explain(read.error(), "reading the journal");
    co_return read;
  }

  DiskPort& disk_;
  const Journal::Ring& ring_;
  const ScratchBuffer buffer_;
};

Error damaged(const DiskPort& disk, std::uint64_t sequence, const std::string& why) {
  return Error(Errc::bad_format, disk.disk().user() + ": disk '" + disk.disk().uri() + "': commit " +
                                     std::to_string(sequence) + " of the journal " + why);
}

// Whether a commit behind the end knew the missing one to be durable: then it was not lost, it is damaged.
Task<Status> check_end(Reader& reader, const DiskPort& disk, const Journal::Ring& ring, Journal::Mark begin,
                       const JournalScan& scan, JournalAge age) {
  const std::uint64_t missing = scan.end.sequence + 1;
  // The label says so only when they were durable.
  if (missing <= age.recovered) co_return damaged(disk, missing, "is damaged; it was there before");
  const std::uint64_t room = ring.bytes - (scan.end.position - begin.position);
  const std::uint64_t ahead = std::min(room, lookahead_bytes);
  for (std::uint64_t step = wire::commit_alignment; step < ahead; step += wire::commit_alignment) {
    HF_CO_TRY(const auto found, co_await reader.at(scan.end.position + step));
    if (!found || found->header.sequence <= missing) continue;
    if (!age.counts(found->header.sequence, found->header.incarnation)) continue;
    if (found->header.durable_sequence >= missing)
      co_return damaged(disk, missing, "is damaged; commits after it are there");
  }
  co_return Status();
}

}  // namespace

Task<Result<JournalScan>> recover_journal(Reactor& home, DiskPort& disk, Journal::Ring ring,
                                          Journal::Mark begin, JournalAge age, RecordSink take) {
  Reader reader(home, disk, ring);
  JournalScan scan;
  scan.end = begin;
  while (scan.end.position - begin.position < ring.bytes) {
    HF_CO_TRY(const auto found, co_await reader.at(scan.end.position));
    if (!found || found->header.sequence != scan.end.sequence + 1) break;
    if (!age.counts(found->header.sequence, found->header.incarnation)) break;
    if (scan.end.position + found->header.length - begin.position > ring.bytes) break;
    if (found->wrong != nullptr)
      co_return damaged(disk, found->header.sequence, std::string("is wrong: ") + found->wrong);
    std::span<const std::byte> rest = found->records;
    while (!rest.empty()) {
      auto record = decode(rest);
      if (!record.ok())
        co_return damaged(disk, found->header.sequence, "is wrong: " + record.error().message());
      const Status taken = take(found->header.sequence, record.value());
      if (taken.code() == Errc::resource_exhausted)
        co_return taken.error().with_context(disk.disk().user() + ": the journal");
      if (!taken.ok())
        co_return damaged(disk, found->header.sequence, "is wrong: " + taken.error().message());
      ++scan.records;
      // A few bytes may be much work.
      if (scan.records % records_per_turn == 0) co_await home.yield();
    }
    ++scan.commits;
    ++scan.end.sequence;
    scan.end.position += found->header.length;
  }
  HF_CO_CHECK(co_await check_end(reader, disk, ring, begin, scan, age));
  co_return scan;
}

}  // namespace holdfast::pool
