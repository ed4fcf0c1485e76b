#include "nvme/errc_status.h"

namespace holdfast::nvme {
namespace {

constexpr std::uint8_t crd_path = 1;
constexpr std::uint8_t crd_occupied = 2;
constexpr std::uint8_t crd_medium = 3;

constexpr CommandStatus retryable(StatusCode code, std::uint8_t crd) noexcept {
  return CommandStatus(code, false, crd);
}

CommandStatus medium_error(IoKind kind) noexcept {
  switch (kind) {
    case IoKind::read:
    case IoKind::compare:
      return retryable(StatusCode::unrecovered_read_error, crd_medium);
    case IoKind::write:
      return retryable(StatusCode::write_fault, crd_medium);
    case IoKind::other:
      return retryable(StatusCode::internal_error, crd_medium);
  }
  return StatusCode::internal_error;
}

Errc by_type(StatusType type) noexcept {
  switch (type) {
    case StatusType::generic:
    case StatusType::command_specific:
    case StatusType::media:
    case StatusType::vendor:
      return Errc::io_error;
    case StatusType::path:
      return Errc::not_connected;
  }
  return Errc::io_error;
}

}  // namespace

CommandStatus to_nvme(Errc code, IoKind kind) noexcept {
  switch (code) {
    case Errc::ok:
      return StatusCode::success;
    case Errc::io_error:
      return medium_error(kind);
    case Errc::miscompare:
      return permanent(StatusCode::compare_failure);
    case Errc::out_of_space:
      return retryable(StatusCode::capacity_exceeded, crd_occupied);
    case Errc::out_of_range:
      return permanent(StatusCode::lba_out_of_range);
    // Path related: a multipath host goes on over another path, a single path host waits and tries again.
    case Errc::not_connected:
    case Errc::timed_out:
    case Errc::fenced:
      return retryable(StatusCode::internal_path_error, crd_path);
    case Errc::cancelled:
      return StatusCode::abort_requested;
    case Errc::reservation_conflict:
      return retryable(StatusCode::reservation_conflict, crd_occupied);
    case Errc::read_only:
      return permanent(StatusCode::namespace_write_protected);
    case Errc::not_supported:
      return permanent(StatusCode::invalid_command_opcode);
    case Errc::invalid_argument:
      return permanent(StatusCode::invalid_field);
    case Errc::not_found:
      return permanent(StatusCode::invalid_namespace);
    case Errc::busy:
      return retryable(StatusCode::namespace_not_ready, crd_path);
    case Errc::resource_exhausted:
      return retryable(StatusCode::command_interrupted, crd_path);
    case Errc::protocol:
    case Errc::already_exists:
    case Errc::failed_precondition:
    case Errc::bad_format:
    case Errc::internal:
      return StatusCode::internal_error;
  }
  return StatusCode::internal_error;
}

Errc to_errc(const CommandStatus& status) noexcept {
  switch (status.code) {
    case StatusCode::success:
      return Errc::ok;
    case StatusCode::compare_failure:
      return Errc::miscompare;
    case StatusCode::capacity_exceeded:
    case StatusCode::namespace_insufficient_capacity:
      return Errc::out_of_space;
    case StatusCode::lba_out_of_range:
      return Errc::out_of_range;
    case StatusCode::reservation_conflict:
      return Errc::reservation_conflict;
    case StatusCode::namespace_write_protected:
      return Errc::read_only;
    case StatusCode::invalid_command_opcode:
    case StatusCode::command_prohibited_by_lockdown:
      return Errc::not_supported;
    case StatusCode::invalid_namespace:
    case StatusCode::namespace_not_attached:
    case StatusCode::connect_invalid_parameters:
      return Errc::not_found;
    case StatusCode::namespace_not_ready:
    case StatusCode::format_in_progress:
    case StatusCode::sanitize_in_progress:
    case StatusCode::connect_controller_busy:
    case StatusCode::admin_command_media_not_ready:
      return Errc::busy;
    case StatusCode::command_interrupted:
    case StatusCode::abort_command_limit_exceeded:
    case StatusCode::async_event_limit_exceeded:
      return Errc::resource_exhausted;
    case StatusCode::abort_requested:
    case StatusCode::aborted_preempt_and_abort:
    case StatusCode::host_aborted_command:
      return Errc::cancelled;
    case StatusCode::access_denied:
    case StatusCode::operation_denied:
    case StatusCode::connect_invalid_host:
    case StatusCode::authentication_required:
      return Errc::failed_precondition;
    // The queue went away under the command: it may or may not have happened.
    case StatusCode::aborted_sq_deletion:
    case StatusCode::aborted_power_loss:
    case StatusCode::keep_alive_timer_expired:
    case StatusCode::transient_transport_error:
    case StatusCode::internal_path_error:
    case StatusCode::ana_persistent_loss:
    case StatusCode::ana_inaccessible:
    case StatusCode::ana_transition:
    case StatusCode::controller_pathing_error:
    case StatusCode::host_pathing_error:
      return Errc::not_connected;
    case StatusCode::invalid_field:
    case StatusCode::invalid_sgl_segment_descriptor:
    case StatusCode::invalid_number_of_sgl_descriptors:
    case StatusCode::data_sgl_length_invalid:
    case StatusCode::metadata_sgl_length_invalid:
    case StatusCode::sgl_descriptor_type_invalid:
    case StatusCode::sgl_offset_invalid:
    case StatusCode::sgl_data_block_granularity_invalid:
    case StatusCode::prp_offset_invalid:
    case StatusCode::invalid_use_of_cmb:
    case StatusCode::command_not_supported_in_cmb:
    case StatusCode::invalid_queue_identifier:
    case StatusCode::invalid_queue_size:
    case StatusCode::completion_queue_invalid:
    case StatusCode::invalid_interrupt_vector:
    case StatusCode::invalid_queue_type:
    case StatusCode::invalid_log_page:
    case StatusCode::invalid_format:
    case StatusCode::feature_not_saveable:
    case StatusCode::feature_not_changeable:
    case StatusCode::feature_not_namespace_specific:
    case StatusCode::controller_list_invalid:
    case StatusCode::ana_group_identifier_invalid:
    case StatusCode::atomic_write_unit_exceeded:
    case StatusCode::host_identifier_inconsistent:
    case StatusCode::keep_alive_timeout_invalid:
    case StatusCode::thin_provisioning_not_supported:
    case StatusCode::command_set_combination_rejected:
    case StatusCode::connect_incompatible_format:
      return Errc::invalid_argument;
    case StatusCode::namespace_identifier_unavailable:
    case StatusCode::namespace_already_attached:
    case StatusCode::namespace_is_private:
      return Errc::failed_precondition;
    case StatusCode::command_id_conflict:
    case StatusCode::command_sequence_error:
    case StatusCode::aborted_failed_fused:
    case StatusCode::aborted_missing_fused:
      return Errc::protocol;
    case StatusCode::data_transfer_error:
    case StatusCode::internal_error:
    case StatusCode::sanitize_failed:
    case StatusCode::invalid_firmware_slot:
    case StatusCode::invalid_firmware_image:
    case StatusCode::connect_restart_discovery:
    case StatusCode::discover_restart:
    case StatusCode::write_fault:
    case StatusCode::unrecovered_read_error:
    case StatusCode::guard_check_error:
    case StatusCode::application_tag_check_error:
    case StatusCode::reference_tag_check_error:
    case StatusCode::deallocated_or_unwritten_block:
      return Errc::io_error;
  }
  return by_type(status.type());
}

Errc to_errc_of_io(const CommandStatus& status) noexcept {
  if (status.code == write_to_read_only_range) return Errc::read_only;
  const bool wrong = status.code == conflicting_attributes || status.code == command_size_limit_exceeded ||
                     status.code == invalid_protection_information;
  return wrong ? Errc::invalid_argument : to_errc(status);
}

}  // namespace holdfast::nvme
