// NVMe status: status code type, status code and the flags around them, as a completion carries them.
// Source: NVM Express Base Specification 2.0, section 3.3.3.2 (completion queue entry: status field) and its
// figures "Status Code - Generic / Command Specific / Media and Data Integrity / Path Related"; the values
// 180h to 1BFh of type 1 are shared: the Fabrics meaning applies to Fabrics commands, the NVM one to NVM
// commands.
#pragma once

#include <cstdint>

#include "base/endian.h"

namespace holdfast::nvme {

// Status code type in bits 10:8, status code in bits 7:0. A peer may send values that have no name here.
enum class StatusCode : std::uint16_t {
  // Generic command status.
  success = 0x000,
  invalid_command_opcode = 0x001,
  invalid_field = 0x002,
  command_id_conflict = 0x003,
  data_transfer_error = 0x004,
  aborted_power_loss = 0x005,
  internal_error = 0x006,
  abort_requested = 0x007,
  aborted_sq_deletion = 0x008,
  aborted_failed_fused = 0x009,
  aborted_missing_fused = 0x00a,
  invalid_namespace = 0x00b,
  command_sequence_error = 0x00c,
  invalid_sgl_segment_descriptor = 0x00d,
  invalid_number_of_sgl_descriptors = 0x00e,
  data_sgl_length_invalid = 0x00f,
  metadata_sgl_length_invalid = 0x010,
  sgl_descriptor_type_invalid = 0x011,
  invalid_use_of_cmb = 0x012,
  prp_offset_invalid = 0x013,
  atomic_write_unit_exceeded = 0x014,
  operation_denied = 0x015,
  sgl_offset_invalid = 0x016,
  host_identifier_inconsistent = 0x018,
  keep_alive_timer_expired = 0x019,
  keep_alive_timeout_invalid = 0x01a,
  aborted_preempt_and_abort = 0x01b,
  sanitize_failed = 0x01c,
  sanitize_in_progress = 0x01d,
  sgl_data_block_granularity_invalid = 0x01e,
  command_not_supported_in_cmb = 0x01f,
  namespace_write_protected = 0x020,
  command_interrupted = 0x021,
  transient_transport_error = 0x022,
  command_prohibited_by_lockdown = 0x023,
  admin_command_media_not_ready = 0x024,
  command_set_combination_rejected = 0x02b,
  lba_out_of_range = 0x080,
  capacity_exceeded = 0x081,
  namespace_not_ready = 0x082,
  reservation_conflict = 0x083,
  format_in_progress = 0x084,
  // Command specific status.
  completion_queue_invalid = 0x100,
  invalid_queue_identifier = 0x101,
  invalid_queue_size = 0x102,
  abort_command_limit_exceeded = 0x103,
  async_event_limit_exceeded = 0x105,
  invalid_firmware_slot = 0x106,
  invalid_firmware_image = 0x107,
  invalid_interrupt_vector = 0x108,
  invalid_log_page = 0x109,
  invalid_format = 0x10a,
  feature_not_saveable = 0x10d,
  feature_not_changeable = 0x10e,
  feature_not_namespace_specific = 0x10f,
  namespace_insufficient_capacity = 0x115,
  namespace_identifier_unavailable = 0x116,
  namespace_already_attached = 0x118,
  namespace_is_private = 0x119,
  namespace_not_attached = 0x11a,
  thin_provisioning_not_supported = 0x11b,
  controller_list_invalid = 0x11c,
  ana_group_identifier_invalid = 0x124,
  // Command specific status of Fabrics commands.
  connect_incompatible_format = 0x180,
  connect_controller_busy = 0x181,
  connect_invalid_parameters = 0x182,
  connect_restart_discovery = 0x183,
  connect_invalid_host = 0x184,
  invalid_queue_type = 0x185,
  discover_restart = 0x190,
  authentication_required = 0x191,
  // Media and data integrity errors.
  write_fault = 0x280,
  unrecovered_read_error = 0x281,
  guard_check_error = 0x282,
  application_tag_check_error = 0x283,
  reference_tag_check_error = 0x284,
  compare_failure = 0x285,
  access_denied = 0x286,
  deallocated_or_unwritten_block = 0x287,
  // Path related status.
  internal_path_error = 0x300,
  ana_persistent_loss = 0x301,
  ana_inaccessible = 0x302,
  ana_transition = 0x303,
  controller_pathing_error = 0x360,
  host_pathing_error = 0x370,
  host_aborted_command = 0x371,
};
// The NVM command set's meaning of values that Fabrics commands use too.
inline constexpr StatusCode conflicting_attributes{0x180};
inline constexpr StatusCode invalid_protection_information{0x181};
inline constexpr StatusCode write_to_read_only_range{0x182};
inline constexpr StatusCode command_size_limit_exceeded{0x183};

// The enumerator's name, "?" for a value without one: for logs.
const char* name(StatusCode code) noexcept;

enum class StatusType : std::uint8_t { generic = 0, command_specific = 1, media = 2, path = 3, vendor = 7 };

// The upper 15 bits of the last two bytes of a completion, unpacked.
struct CommandStatus {
  StatusCode code = StatusCode::success;
  std::uint8_t crd = 0;         // command retry delay: 0 none, else CRDT1 to CRDT3 of the controller
  bool more : 1 = false;        // the error log page says more
  bool dnr : 1 = false;         // do not retry: the same command would fail again
  std::uint8_t unused : 6 = 0;  // four bytes without a hole, so that it is stored and loaded at once

  constexpr CommandStatus() noexcept = default;
  constexpr CommandStatus(StatusCode c, bool do_not_retry = false, std::uint8_t retry_delay = 0) noexcept
      : code(c), crd(retry_delay), dnr(do_not_retry) {}

  constexpr bool ok() const noexcept { return code == StatusCode::success; }
  constexpr StatusType type() const noexcept {
    return static_cast<StatusType>(static_cast<std::uint16_t>(code) >> 8);
  }
  // The field as a completion holds it: bit 0 (phase tag) is zero over fabrics, SC 8:1, SCT 11:9, CRD 13:12,
  // M 14, DNR 15.
  constexpr le16 pack() const noexcept {
    const unsigned v = (static_cast<unsigned>(code) & 0x7ffu) << 1 | (crd & 3u) << 12 |
                       static_cast<unsigned>(more) << 14 | static_cast<unsigned>(dnr) << 15;
    return le16(static_cast<std::uint16_t>(v));
  }
  static constexpr CommandStatus unpack(le16 field) noexcept {
    const unsigned v = field.get();
    CommandStatus s(static_cast<StatusCode>(v >> 1 & 0x7ffu), (v >> 15 & 1) != 0,
                    static_cast<std::uint8_t>(v >> 12 & 3));
    s.more = (v >> 14 & 1) != 0;
    return s;
  }
  constexpr bool operator==(const CommandStatus&) const = default;
};
static_assert(sizeof(CommandStatus) == 4);

// A failure that the same command would meet again.
constexpr CommandStatus permanent(StatusCode code) noexcept { return CommandStatus(code, true); }

}  // namespace holdfast::nvme
