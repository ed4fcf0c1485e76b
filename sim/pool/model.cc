#include "sim/pool/model.h"

#include <algorithm>

#include "base/endian.h"

namespace holdfast::sim {
namespace {

struct Mark {
  le64 magic, tag, number;
};

}  // namespace

void fill_sector(std::span<std::byte> sector, std::uint64_t tag, std::uint64_t number) {
  const Mark mark{data_magic, tag, number};
  for (std::size_t i = 0; i + sizeof mark <= sector.size(); i += sizeof mark) store(sector.subspan(i), mark);
  const std::size_t rest = sector.size() % sizeof mark;
  std::fill(sector.end() - static_cast<std::ptrdiff_t>(rest), sector.end(), std::byte{0x5a});
}

std::optional<std::uint64_t> tag_of(std::span<const std::byte> sector, std::uint64_t number) {
  if (std::all_of(sector.begin(), sector.end(), [](std::byte b) { return b == std::byte{0}; })) return 0;
  const auto mark = load<Mark>(sector);
  if (mark.magic != data_magic || mark.number != number) return std::nullopt;
  std::array<std::byte, DiskImage::sector_bytes> whole;
  fill_sector(whole, mark.tag, number);
  if (!std::equal(sector.begin(), sector.end(), whole.begin())) return std::nullopt;
  return mark.tag.get();
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
