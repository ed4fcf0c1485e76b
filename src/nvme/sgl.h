// Scatter gather list descriptors, the only data pointers of NVMe over Fabrics.
// Source: NVM Express Base Specification 2.0, section 4.1.2 (SGLs) and NVMe/TCP Transport 1.0, section 3.3.2
// (command data buffers): a capsule holds one descriptor, either an offset into the capsule or a transport data
// block.
#pragma once

#include <cstdint>

#include "base/endian.h"

namespace holdfast::nvme {

enum class SglType : std::uint8_t {
  data_block = 0,
  bit_bucket = 1,
  segment = 2,
  last_segment = 3,
  keyed = 4,
  transport_data_block = 5
};
enum class SglSubtype : std::uint8_t { address = 0, offset = 1, transport = 0xa };

struct SglDescriptor {
  le64 address;  // an offset into the capsule's data for subtype offset; 0 for a transport data block
  le32 length;   // bytes
  std::uint8_t rsvd12[3];  //
  std::uint8_t id;         // type 7:4, subtype 3:0

  constexpr SglType type() const noexcept { return static_cast<SglType>(id >> 4); }
  constexpr SglSubtype subtype() const noexcept { return static_cast<SglSubtype>(id & 0xf); }
  constexpr bool is_in_capsule() const noexcept { return id == in_capsule_id; }
  constexpr bool is_transport() const noexcept { return id == transport_id; }

  // Data that follows the command in its capsule, from `offset` bytes after the end of the header part.
  static constexpr SglDescriptor in_capsule(std::uint32_t length, std::uint64_t offset = 0) noexcept {
    return SglDescriptor{offset, length, {}, in_capsule_id};
  }
  // Data that C2HData or R2T and H2CData PDUs carry.
  static constexpr SglDescriptor transport(std::uint32_t length) noexcept {
    return SglDescriptor{0, length, {}, transport_id};
  }

  static constexpr std::uint8_t in_capsule_id = 0x01;
  static constexpr std::uint8_t transport_id = 0x5a;
};
static_assert(Wire<SglDescriptor> && sizeof(SglDescriptor) == 16);
HF_FIELD(SglDescriptor, length, 8);
HF_FIELD(SglDescriptor, id, 15);

}  // namespace holdfast::nvme
