// Any bytes in the ring are commits that lead to a state which keeps its rules, or the end of the journal, or
// refused. Commits are tried as they are, and with header fields and checksums that fit.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/crc32c.h"
#include "pool/invariants.h"
#include "pool/journal.h"
#include "pool/state.h"
#include "pool/testing/fuzz_disk.h"

using namespace holdfast;
using namespace holdfast::pool;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

const Journal::Ring ring{MiB, Journal::bytes_min, Uuid()};

void check(testing_support::FuzzDisk& fuzz, const std::vector<std::byte>& bytes) {
  fuzz.fill(ring.offset, bytes);
  State state(cluster_bytes_min);
  Effects effects;
  const Record first = AddDiskRecord{DiskRecord{0, Uuid::from_name("d"), "d"}, Segment{0, 40, 0, 0}};
  state.apply(first, effects);
  RecordSink take = [&](std::uint64_t, Record& record) -> Status {
    HF_CHECK(state.check(record));
    state.apply(record, effects);
    state.settle(effects);
    return Status();
  };
  const auto scan = fuzz.run(recover_journal(fuzz.home(), fuzz.disk().home(), ring, Journal::Mark(),
                                             JournalAge{2, 3}, std::move(take)));
  state.settle(effects);
  require(scan.ok() || scan.code() == Errc::bad_format);
  require(check_invariants(state).empty());
}

// Each 4 KiB begins a commit of its own that fits.
void make_fit(std::vector<std::byte>& bytes) {
  std::uint64_t sequence = 0;
  for (std::size_t at = 0; at + 4096 <= bytes.size(); at += 4096) {
    const auto piece = std::span(bytes).subspan(at, 4096);
    auto header = load<wire::CommitHeader>(piece);
    header.magic = wire::CommitHeader::magic_value;
    header.flags = 0;
    header.sequence = ++sequence;
    header.incarnation = sequence <= 3 ? 1 : 2;
    header.length = 4096;
    header.durable_sequence = header.durable_sequence % sequence;
    header.record_bytes = header.record_bytes % (4096 - sizeof header);
    std::fill(piece.begin() + static_cast<std::ptrdiff_t>(sizeof header + header.record_bytes), piece.end(),
              std::byte{0});
    std::memset(header.instance, 0, sizeof header.instance);
    header.crc32c = 0;
    store(piece, header);
    header.crc32c = crc32c(piece);
    store(piece, header);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static testing_support::FuzzDisk& fuzz = *new testing_support::FuzzDisk;  // the process ends with it
  std::vector<std::byte> bytes(round_up(std::min<std::size_t>(size, 8 * 4096), 4096));
  if (bytes.empty()) return 0;
  std::memcpy(bytes.data(), data, std::min(size, bytes.size()));
  check(fuzz, bytes);
  make_fit(bytes);
  check(fuzz, bytes);
  return 0;
}
