// Features of Get Features and Set Features.
// Source: NVM Express Base Specification 2.0, section 5.27.1 (feature specific information).
#pragma once

#include <cstdint>

#include "base/endian.h"
#include "nvme/sqe.h"

namespace holdfast::nvme {

enum class Feature : std::uint8_t {
  arbitration = 0x01,
  power_management = 0x02,
  temperature_threshold = 0x04,
  error_recovery = 0x05,
  volatile_write_cache = 0x06,
  number_of_queues = 0x07,
  write_atomicity = 0x0a,
  async_event_config = 0x0b,
  timestamp = 0x0e,
  keep_alive_timer = 0x0f,
  host_behavior_support = 0x16,
  command_set_profile = 0x19,
  host_identifier = 0x81,
  reservation_mask = 0x82,
  reservation_persistence = 0x83,
};

// Features 82h and 83h of a Get or Set Features command.
constexpr bool is_reservation_feature(const Sqe& sqe) noexcept {
  const auto feature = static_cast<Feature>(sqe.cdw10.get() & 0xff);
  return feature == Feature::reservation_mask || feature == Feature::reservation_persistence;
}

// Select field of Get Features, command dword 10 bits 10:8.
enum class FeatureSelect : std::uint8_t { current = 0, standard = 1, saved = 2, capabilities = 3 };
// DW0 of Get Features with FeatureSelect::capabilities.
inline constexpr std::uint32_t feature_saveable = 1u << 0;
inline constexpr std::uint32_t feature_namespace_specific = 1u << 1;
inline constexpr std::uint32_t feature_changeable = 1u << 2;

// Number of queues: zero based, submission 15:0, completion 31:16.
constexpr std::uint32_t pack_queue_counts(std::uint32_t submission, std::uint32_t completion) noexcept {
  return ((submission - 1) & 0xffffu) | (completion - 1) << 16;
}

// The data of the timestamp feature.
struct Timestamp {
  std::uint8_t milliseconds[6];  // since 1970, little-endian; before the host set it: since the last reset
  std::uint8_t attributes;       // origin 3:1: 0 a reset, 1 the host
  std::uint8_t rsvd7;
};
static_assert(Wire<Timestamp> && sizeof(Timestamp) == 8);
inline constexpr std::uint8_t timestamp_by_host = 1u << 1;

// The 512 bytes of host behavior support.
struct HostBehavior {
  std::uint8_t acre;  // 1: the host honours command retry delays
  std::uint8_t etdas, lbafee;
  std::uint8_t rsvd3[509];
};
static_assert(Wire<HostBehavior> && sizeof(HostBehavior) == 512);

}  // namespace holdfast::nvme
