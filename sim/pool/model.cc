#include "sim/pool/model.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "base/endian.h"

namespace holdfast::sim {
namespace {

struct Mark {
  le64 magic, tag, number;
};
constexpr std::size_t marks_bytes = DiskImage::sector_bytes / sizeof(Mark) * sizeof(Mark);
constexpr std::byte filler{0x5a};

}  // namespace

void fill_sector(std::span<std::byte> sector, std::uint64_t tag, std::uint64_t number) {
  const Mark mark{data_magic, tag, number};
  for (std::size_t i = 0; i < marks_bytes; i += sizeof mark) store(sector.subspan(i), mark);
  std::fill(sector.begin() + marks_bytes, sector.end(), filler);
}

// Every sector of every volume after every crash is looked at.
std::optional<std::uint64_t> tag_of(std::span<const std::byte> sector, std::uint64_t number) {
  static constexpr std::array<std::byte, DiskImage::sector_bytes> zeroes{};
  if (std::memcmp(sector.data(), zeroes.data(), zeroes.size()) == 0) return 0;
  const auto mark = load<Mark>(sector);
  if (mark.magic != data_magic || mark.number != number) return std::nullopt;
  // Each mark is as the one before it.
  const bool same = std::memcmp(sector.data(), sector.data() + sizeof mark, marks_bytes - sizeof mark) == 0;
  const auto rest = sector.subspan(marks_bytes);
  if (!same || !std::all_of(rest.begin(), rest.end(), [](std::byte b) { return b == filler; }))
    return std::nullopt;
  return mark.tag.get();
}

const Version& always() noexcept {
  static const Version version{0, 0, 0, 0};
  return version;
}

void note_write(Object& object, const Version& version, std::uint64_t first_sector, std::uint64_t sectors) {
  if (object.epochs.current == 0) return;
  const std::uint64_t first = region_of(first_sector);
  const std::uint64_t count = region_of(first_sector + sectors - 1) - first + 1;
  object.epochs.writes->push_back({&version, first, count, object.epochs.current});
}

Epochs with_regions(const Epochs& epochs, std::uint64_t regions) {
  Epochs cut = epochs;
  cut.writes = std::make_shared<std::vector<EpochWrite>>();
  for (EpochWrite write : *epochs.writes) {
    if (write.first >= regions) continue;
    write.count = std::min(write.count, regions - write.first);
    cut.writes->push_back(write);
  }
  return cut;
}

void revert(Object& volume, const Object& snapshot) {
  const Sectors& from = *volume.sectors;
  const Sectors& to = *snapshot.sectors;
  std::set<std::uint64_t> changed;
  for (std::uint64_t i = 0; i < std::min(from.size(), to.size()); ++i) {
    const Version &was = *from[i].back(), &is = *to[i].back();
    // One that failed may not have happened.
    const bool known = was.acked != never && is.acked != never;
    if (known && was.tag != is.tag) changed.insert(region_of(i));
  }
  volume.sectors = std::make_shared<Sectors>(to);
  volume.epochs = with_regions(volume.epochs, volume.regions());
  if (volume.epochs.current == 0) return;
  ++volume.epochs.current;
  for (const std::uint64_t region : changed)
    volume.epochs.writes->push_back({&always(), region, 1, volume.epochs.current});
}

std::string unrecorded(const Object& object, const std::vector<pool::RegionRun>& table, const SeenTags& seen,
                       Moment at, Crash crash) {
  const auto recorded = [&table](std::uint64_t region) -> std::uint32_t {
    for (const pool::RegionRun& run : table) {
      if (region >= run.first && region - run.first < run.count) return run.epoch;
    }
    return 0;
  };
  for (const EpochWrite& write : *object.epochs.writes) {
    const Version& v = *write.version;
    if (v.begun > at) continue;
    const bool there = (crash == Crash::process ? v.acked : v.durable) <= at;
    for (std::uint64_t region = write.first; region < write.first + write.count; ++region) {
      if (!there && (v.tag == 0 || !seen.contains({region, v.tag}))) continue;
      if (recorded(region) >= write.epoch) continue;
      return fmt::format("region {} has write {} of epoch {}; the table says {}", region, v.tag, write.epoch,
                         recorded(region));
    }
  }
  return "";
}

bool may_be(const std::vector<const Version*>& history, std::uint64_t tag, Moment at, Crash crash) {
  for (auto version = history.rbegin(); version != history.rend(); ++version) {
    const Version& v = **version;
    if (v.begun > at) continue;
    if (v.tag == tag) return true;
    const Moment kept = crash == Crash::process ? v.acked : v.durable;
    if (kept <= at) return false;  // what was there before is gone for good
  }
  return false;
}

}  // namespace holdfast::sim
