// The epochs of the regions that are written.
#include <algorithm>
#include <iterator>
#include <vector>

#include "base/units.h"
#include "pool/map_writer.h"

namespace holdfast::pool {

namespace {

// A write so near to the beginning of its region may be one of many that come from the region before.
constexpr std::uint64_t entry_bytes = 128 * KiB;
constexpr std::uint64_t regions_ahead_max = 8;
constexpr std::size_t records_per_commit = 256;

// The first one behind those that the range is in.
std::uint64_t region_after(ByteRange range) { return regions_of(range.offset + range.length); }

}  // namespace

Task<Status> MapWriter::begin_epoch(ByteRange range) {
  if (gate_.paused()) co_return Error(Errc::busy);
  const WriteGate::Inside writing(gate_);
  co_return co_await renew_epoch(range);
}

// Before data of the present epoch is written in place.
Task<Status> MapWriter::renew_epoch(ByteRange range) {
  // A long range is looked at in pieces, none of which has more runs than a commit takes. Each commit is durable: what
  // it has counts at once, and others write in place there.
  constexpr std::uint64_t piece_bytes = 2 * records_per_commit * region_bytes;
  const std::uint64_t end = range.offset + range.length;
  std::vector<Record> records;
  bool found = false;
  for (std::uint64_t at = range.offset; at < end;) {
    const ByteRange piece{at, std::min(end, (at / piece_bytes + 1) * piece_bytes) - at};
    at += piece.length;
    enter_regions_ahead(piece);
    if (!volume_.epoch_is_current(piece)) {
      found = true;
      add_epochs(piece, records);
    }
    if (records.size() >= records_per_commit) {
      std::vector<Record> some;
      some.swap(records);
      HF_CO_CHECK(co_await parts_.journal.commit(std::move(some), Durable::yes));
    }
    if (at < end) co_await home_.yield();
  }
  if (!found) co_return Status();
  const RegionsAhead::Basis basis = ahead_basis();
  RegionRecord behind;
  behind.volume = volume_.spec().id;
  behind.first = static_cast<std::uint32_t>(region_after(range));
  behind.count = regions_ahead_of(range);
  behind.epoch = basis.epoch;
  behind.ahead = true;
  if (behind.count > 0) records.emplace_back(behind);
  HF_CO_CHECK(co_await parts_.journal.commit(std::move(records), Durable::yes));
  if (ahead_basis() == basis) ahead_.add(basis, behind.first, behind.count);
  co_return Status();
}

RegionsAhead::Basis MapWriter::ahead_basis() const noexcept {
  return {volume_.epoch(), parts_.state.generation()};
}

// Those of its regions that the journal has already count from now on.
void MapWriter::enter_regions_ahead(ByteRange range) {
  if (ahead_.empty()) return;
  const RegionsAhead::Basis basis = ahead_basis();
  for (std::uint64_t region = range.offset / region_bytes; region < region_after(range); ++region) {
    if (!ahead_.take(basis, region)) continue;
    RegionRecord entered;
    entered.volume = volume_.spec().id;
    entered.first = static_cast<std::uint32_t>(region);
    entered.count = 1;
    entered.epoch = basis.epoch;
    Effects effects;
    parts_.state.apply_lazily(entered, effects);
    parts_.space.retire(std::move(effects));
  }
}

// How many whole regions behind the range will be written soon, perhaps: as many as lie before it in the present epoch,
// where it is at the beginning of its own. So who writes region after region waits once for several of them, and after
// a crash no more than twice of what was written counts as changed.
std::uint32_t MapWriter::regions_ahead_of(ByteRange range) const noexcept {
  const std::uint64_t first = range.offset / region_bytes;
  if (range.offset % region_bytes >= entry_bytes) return 0;
  std::uint32_t before = 0;
  while (before < std::min(first, regions_ahead_max) &&
         volume_.region_epochs().get(first - 1 - before) >= volume_.epoch())
    ++before;
  std::uint32_t ahead = 0;
  while (ahead < before && has_blocks(region_after(range) + ahead)) ++ahead;
  return ahead;
}

bool MapWriter::has_blocks(std::uint64_t region) const noexcept {
  const std::uint64_t begin = region * region_bytes;
  if (begin >= volume_.spec().size_bytes) return false;
  const std::uint32_t end = index_of(begin + region_bytes - 1) + 1;
  return next_mapped(index_of(begin), end) < end;
}

void MapWriter::add_epochs(ByteRange range, std::vector<Record>& to) const {
  const std::uint32_t epoch = volume_.epoch();
  if (epoch == 0) return;
  const std::uint64_t end = region_after(range);
  // Goes on with the last one where it can.
  const auto put = [&to](const RegionRecord& run) {
    auto* last = to.empty() ? nullptr : std::get_if<RegionRecord>(&to.back());
    const bool goes_on =
        last != nullptr && last->epoch == run.epoch && last->first + last->count == run.first;
    if (goes_on) {
      last->count += run.count;
    } else {
      to.emplace_back(run);
    }
  };
  RegionRecord run;
  run.volume = volume_.spec().id;
  run.epoch = epoch;
  for (std::uint64_t region = range.offset / region_bytes; region < end; ++region) {
    if (volume_.region_epochs().get(region) >= epoch) continue;
    if (run.count > 0 && run.first + run.count == region) {
      ++run.count;
      continue;
    }
    if (run.count > 0) put(run);
    run.first = static_cast<std::uint32_t>(region);
    run.count = 1;
  }
  if (run.count > 0) put(run);
}

Durable MapWriter::add_epochs(ByteRange range, std::vector<Record>& to, Durable durable) {
  enter_regions_ahead(range);
  const std::size_t before = to.size();
  add_epochs(range, to);
  return to.size() > before && !first_in_its_regions(range) ? Durable::yes : durable;
}

// Nothing is mapped in the regions of the range, or about to be, but by the one who writes it.
bool MapWriter::first_in_its_regions(ByteRange range) const noexcept {
  const std::uint32_t own = index_of(range.offset);
  const std::uint32_t first = index_of(range.offset / region_bytes * region_bytes);
  const std::uint32_t end = index_of(round_up(range.offset + range.length, region_bytes) - 1) + 1;
  for (auto at = picked_.lower_bound(first); at != picked_.end() && at->first < end; ++at) {
    if (at->first != own || at->second.users > 1) return false;
  }
  return next_mapped(first, end) == end;
}

}  // namespace holdfast::pool
