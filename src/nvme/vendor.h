// Admin commands of our own: the epochs of a namespace and snapshots of it. Every byte: docs/format/vendor.md.
// Form: NVM Express Base Specification 2.0, section 5 (admin command format for vendor specific commands, which
// AVSCC promises): dwords of data in dword 10, of metadata (none) in dword 11, the rest is ours.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/endian.h"
#include "base/error.h"
#include "base/uuid.h"
#include "nvme/sqe.h"
#include "nvme/status.h"

namespace holdfast::nvme {

// One opcode for each direction of data; which function is in dword 12.
enum class VendorOpcode : std::uint8_t { act = 0xc0, put = 0xc1, get = 0xc2 };
static_assert(data_direction(0xc1) == DataDirection::host_to_controller);
static_assert(data_direction(0xc2) == DataDirection::controller_to_host);
constexpr bool is_vendor_opcode(std::uint8_t opc) noexcept { return opc >= admin_opcode_vendor_first; }

enum class VendorFunction : std::uint8_t {
  epoch_state = 0x01,      // get: EpochStateData
  announce_epoch = 0x02,   // act: epoch in dword 13
  seal_epoch = 0x03,       // act: epoch in dword 13
  changed_since = 0x04,    // get: a bit a region; epoch in dword 13, first region in dwords 14 and 15
  allocated = 0x05,        // get: a bit a region; first region in dwords 14 and 15
  create_snapshot = 0x10,  // put: SnapshotHeader and what follows it
};
inline constexpr std::uint32_t vendor_data_bytes_max = 128 * 1024;

// What a namespace's identify data (NVM command set) has in its vendor specific bytes.
struct VendorNamespace {
  static constexpr std::uint64_t magic_value = 0x524f444e45564648;  // "HFVENDOR"
  static constexpr std::uint32_t has_epochs = 1u << 0;
  static constexpr std::uint32_t has_snapshots = 1u << 1;
  le64 magic;
  le32 features;
  le32 rsvd12;
};
static_assert(Wire<VendorNamespace> && sizeof(VendorNamespace) == 16);
HF_FIELD(VendorNamespace, features, 8);

struct EpochStateData {
  le32 current;
  le32 sealed;
  le64 region_bytes;
  le64 regions;
  std::uint8_t rsvd24[8];
};
static_assert(Wire<EpochStateData> && sizeof(EpochStateData) == 32);
HF_FIELD(EpochStateData, sealed, 4);
HF_FIELD(EpochStateData, region_bytes, 8);
HF_FIELD(EpochStateData, regions, 16);

// Followed by the name, then by the attributes, each an AttributeHeader, its key and its value; then zeroes up
// to the next dword.
struct SnapshotHeader {
  std::uint8_t uuid[16];
  le16 name_bytes;
  le16 attributes;
  le32 rsvd20;
};
static_assert(Wire<SnapshotHeader> && sizeof(SnapshotHeader) == 24);
HF_FIELD(SnapshotHeader, name_bytes, 16);
HF_FIELD(SnapshotHeader, attributes, 18);
struct AttributeHeader {
  le16 key_bytes;
  le16 rsvd2;
  le32 value_bytes;
};
static_assert(Wire<AttributeHeader> && sizeof(AttributeHeader) == 8);
HF_FIELD(AttributeHeader, value_bytes, 4);

struct SnapshotData {
  std::string name;
  Uuid uuid;
  std::map<std::string, std::string> attributes;
  bool operator==(const SnapshotData&) const = default;
};
// Whole dwords. Errors: invalid_argument when it does not fit into one command.
Result<std::vector<std::byte>> encode(const SnapshotData& snapshot);
// Errors: invalid_argument, saying what is wrong. What name, keys and values may be is the device's affair.
Result<SnapshotData> parse_snapshot(std::span<const std::byte> data);

// Status of our commands: to_nvme() and to_errc(), and codes of our own (status code type 7h) for errors that
// have none there.
CommandStatus vendor_status(Errc code) noexcept;
Errc vendor_errc(const CommandStatus& status) noexcept;

}  // namespace holdfast::nvme
