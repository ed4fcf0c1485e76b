// Data and command dwords of the reservation commands, and the log page of their notifications.
// Source: NVM Express Base Specification 2.0, sections 7.2 to 7.5, 5.16.1.24 and 8.19.
#pragma once

#include <cstdint>

#include "base/endian.h"

namespace holdfast::nvme {

// Reservation Register: CDW10 carries the action 2:0, IEKEY, and the change of persistence 31:30.
struct ReservationRegisterData {
  le64 crkey, nrkey;
};
static_assert(Wire<ReservationRegisterData> && sizeof(ReservationRegisterData) == 16);

// Reservation Acquire: CDW10 carries the action 2:0, IEKEY, and the type 15:8.
struct ReservationAcquireData {
  le64 crkey, prkey;
};
static_assert(Wire<ReservationAcquireData> && sizeof(ReservationAcquireData) == 16);

// Reservation Release: as Acquire.
struct ReservationReleaseData {
  le64 crkey;
};
static_assert(Wire<ReservationReleaseData> && sizeof(ReservationReleaseData) == 8);

constexpr std::uint8_t reservation_action(std::uint32_t cdw10) noexcept {
  return static_cast<std::uint8_t>(cdw10 & 7);
}
constexpr std::uint8_t reservation_type(std::uint32_t cdw10) noexcept {
  return static_cast<std::uint8_t>(cdw10 >> 8);
}
constexpr std::uint8_t reservation_persistence(std::uint32_t cdw10) noexcept {
  return static_cast<std::uint8_t>(cdw10 >> 30);
}
inline constexpr std::uint32_t cdw10_ignore_existing_key = 1u << 3;

// Reservation Report: CDW10 is the number of dwords minus one.
inline constexpr std::uint32_t cdw11_extended_data = 1u << 0;

// The extended data structure: this header, then an entry for each registrant.
struct ReservationStatusHeader {
  le32 gen;
  std::uint8_t rtype;
  le16 regctl;  // entries that there are, whether or not the host has room for them
  std::uint8_t rsvd7[2];
  std::uint8_t ptpls;
  std::uint8_t rsvd10[54];
};
static_assert(Wire<ReservationStatusHeader> && sizeof(ReservationStatusHeader) == 64);
HF_FIELD(ReservationStatusHeader, regctl, 5);
HF_FIELD(ReservationStatusHeader, ptpls, 9);

struct RegisteredController {
  static constexpr std::uint16_t cntlid_dynamic = 0xffff;
  static constexpr std::uint8_t rcsts_holder = 1;

  le16 cntlid;
  std::uint8_t rcsts;
  std::uint8_t rsvd3[5];
  le64 rkey;
  std::uint8_t hostid[16];
  std::uint8_t rsvd32[32];
};
static_assert(Wire<RegisteredController> && sizeof(RegisteredController) == 64);
HF_FIELD(RegisteredController, rkey, 8);
HF_FIELD(RegisteredController, hostid, 16);

// Log page 80h: the oldest notification that was not read.
struct ReservationNotificationLog {
  le64 count;              // of notifications so far; 0: there is none to read
  std::uint8_t type;       // 1 registration preempted, 2 reservation released, 3 reservation preempted
  std::uint8_t available;  // further ones
  std::uint8_t rsvd10[2];
  le32 nsid;
  std::uint8_t rsvd16[48];
};
static_assert(Wire<ReservationNotificationLog> && sizeof(ReservationNotificationLog) == 64);
HF_FIELD(ReservationNotificationLog, nsid, 12);

// RESCAP: persistence through power loss, the six types, and that IEKEY is as in revision 1.3 and later.
inline constexpr std::uint8_t rescap_persist = 1u << 0;
inline constexpr std::uint8_t rescap_all_types = 0x7e;
inline constexpr std::uint8_t rescap_iekey = 1u << 7;

// Feature 82h: bit n masks the notification of type n.
inline constexpr std::uint32_t reservation_mask_known = 0xe;
// Feature 83h.
inline constexpr std::uint32_t reservation_persists = 1u << 0;

}  // namespace holdfast::nvme
