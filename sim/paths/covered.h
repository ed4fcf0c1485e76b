// CoveredBytes: which bytes of NVMe/TCP streams a digest covers, for a network that damages only what somebody can notice.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <utility>

#include "nvme/pdu.h"
#include "sim/net.h"

namespace holdfast::sim {

class CoveredBytes {
 public:
  // The digests that every connection has. With both all bytes count as covered: those of the set-up, which have no
  // digest, are judged by their values.
  CoveredBytes(bool header_digest, bool data_digest) noexcept
      : header_digest_(header_digest), data_digest_(data_digest) {}

  // Of the next piece of a direction of a connection; every piece is to be shown.
  DamagePlaces places(std::uint64_t connection, int side, std::span<const std::byte> piece);

 private:
  // Where a direction is.
  struct Way {
    std::array<std::byte, sizeof(nvme::CommonHeader)> head{};
    std::uint32_t at = 0;  // bytes of the PDU so far
  };
  bool covered(const nvme::CommonHeader& ch, std::uint32_t at) const noexcept;

  const bool header_digest_, data_digest_;
  std::map<std::pair<std::uint64_t, int>, Way> ways_;
};

}  // namespace holdfast::sim
