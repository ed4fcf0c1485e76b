// The bytes in which the reservations of a device survive the loss of power. docs/format/reservations.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/endian.h"
#include "base/error.h"
#include "base/uuid.h"
#include "block/reservation.h"

namespace holdfast {

// Version 1: this header, then `registrants` entries, and nothing behind them.
struct ReservationRecordHeader {
  static constexpr std::uint64_t magic_value = 0x3156'5352'5448'4c48;  // "HLHTRSV1"
  static constexpr std::uint32_t version_value = 1;

  le64 magic;
  le32 version;
  le32 crc32c;            // over the whole record with this field zero
  std::uint8_t uuid[16];  // of the device: a file that was moved to another one is refused
  le32 generation;
  le32 registrants;
  std::uint8_t type;  // ReservationType
  std::uint8_t rsvd[23];
};
static_assert(Wire<ReservationRecordHeader> && sizeof(ReservationRecordHeader) == 64);
HF_FIELD(ReservationRecordHeader, version, 8);
HF_FIELD(ReservationRecordHeader, uuid, 16);
HF_FIELD(ReservationRecordHeader, registrants, 36);
HF_FIELD(ReservationRecordHeader, type, 40);

struct ReservationRecordEntry {
  static constexpr std::uint8_t flag_holder = 1;

  std::uint8_t host[16];
  le64 key;
  std::uint8_t flags;
  std::uint8_t rsvd[7];
};
static_assert(Wire<ReservationRecordEntry> && sizeof(ReservationRecordEntry) == 32);
HF_FIELD(ReservationRecordEntry, key, 16);
HF_FIELD(ReservationRecordEntry, flags, 24);

std::string to_record(const Uuid& device, const ReservationReport& state);
// Errors: bad_format, saying what is wrong. What is given back persists, and keeps the rules that
// ReservationState asserts.
Result<ReservationReport> parse_reservation_record(const Uuid& device, std::string_view record);

}  // namespace holdfast
