#include "sim/paths/covered.h"

#include <algorithm>

#include "base/assert.h"

namespace holdfast::sim {

// What a byte belongs to is known when the common header is complete: of that only the last byte is ever named.
DamagePlaces CoveredBytes::places(std::uint64_t connection, int side, std::span<const std::byte> piece) {
  if (header_digest_ && data_digest_) return {{0, piece.size()}};
  DamagePlaces found;
  Way& way = ways_[{connection, side}];
  for (std::size_t i = 0; i < piece.size(); ++i) {
    if (way.at < way.head.size()) way.head[way.at] = piece[i];
    const std::uint32_t at = way.at++;
    if (way.at < way.head.size()) continue;
    const auto ch = load<nvme::CommonHeader>(std::span<const std::byte>(way.head));
    HF_ASSERT(ch.plen.get() >= way.at);
    if (way.at == ch.plen.get()) way.at = 0;
    if (!covered(ch, at)) continue;
    if (!found.empty() && found.back().second == i) {
      found.back().second = i + 1;
    } else {
      found.emplace_back(i, i + 1);
    }
  }
  return found;
}

bool CoveredBytes::covered(const nvme::CommonHeader& ch, std::uint32_t at) const noexcept {
  if (header_digest_) return (ch.flags & nvme::flag_header_digest) != 0 && at < ch.hlen + nvme::digest_bytes;
  return (ch.flags & nvme::flag_data_digest) != 0 && at >= ch.pdo;
}

}  // namespace holdfast::sim
