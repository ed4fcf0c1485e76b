// Where the parameter is that a refused command is refused for (NVMe Base 2.0, section 5.16.1.2, "Parameter
// Error Location").
#include <cstddef>

#include "nvmf/target/registry.h"

namespace holdfast::nvmf::target {

using nvme::AdminOpcode;
using nvme::IoOpcode;
using nvme::Sqe;
using nvme::StatusCode;

namespace {

constexpr std::uint16_t no_parameter = 0xffff;

constexpr std::uint16_t at_byte(std::size_t offset, unsigned bit = 0) {
  return static_cast<std::uint16_t>(offset | bit << 8);
}

// The field that tells the command's variants apart is wrong, as far as the opcode tells.
std::uint16_t invalid_field_at(bool is_admin, const Sqe& sqe) noexcept {
  if (sqe.psdt() != Sqe::psdt_sgl >> 6) return at_byte(offsetof(Sqe, flags), 6);
  if (is_admin) {
    switch (static_cast<AdminOpcode>(sqe.opc)) {
      case AdminOpcode::identify:
      case AdminOpcode::get_features:
        return at_byte(offsetof(Sqe, cdw10));
      case AdminOpcode::get_log_page:
        return at_byte(offsetof(Sqe, cdw12));  // the offset
      case AdminOpcode::set_features:
        return at_byte(offsetof(Sqe, cdw11));
      default:
        return no_parameter;
    }
  }
  switch (static_cast<IoOpcode>(sqe.opc)) {
    case IoOpcode::read:
    case IoOpcode::write:
    case IoOpcode::compare:
    case IoOpcode::copy:
      return at_byte(offsetof(Sqe, cdw12));  // the number of blocks; the descriptor format
    default:
      return no_parameter;
  }
}

std::uint16_t location_of(bool is_admin, const Sqe& sqe, StatusCode code) noexcept {
  switch (code) {
    case StatusCode::invalid_command_opcode:
      return at_byte(offsetof(Sqe, opc));
    case StatusCode::invalid_namespace:
      return at_byte(offsetof(Sqe, nsid));
    case StatusCode::lba_out_of_range:  // of dataset management: in its data
      return nvme::has_io_range(sqe.opc) ? at_byte(offsetof(Sqe, cdw10)) : no_parameter;
    case StatusCode::invalid_log_page:
      return at_byte(offsetof(Sqe, cdw10));
    case StatusCode::data_sgl_length_invalid:
      return at_byte(offsetof(Sqe, sgl1) + offsetof(nvme::SglDescriptor, length));
    case StatusCode::sgl_descriptor_type_invalid:
      return at_byte(offsetof(Sqe, sgl1) + offsetof(nvme::SglDescriptor, id), 4);
    case StatusCode::sgl_offset_invalid:
      return at_byte(offsetof(Sqe, sgl1));
    case StatusCode::feature_not_saveable:
      return at_byte(offsetof(Sqe, cdw10) + 3, 7);
    case StatusCode::feature_not_changeable:
      return at_byte(offsetof(Sqe, cdw10));
    case StatusCode::feature_not_namespace_specific:
      return at_byte(offsetof(Sqe, nsid));
    case StatusCode::invalid_field:
      return invalid_field_at(is_admin, sqe);
    default:
      return no_parameter;
  }
}

}  // namespace

ErrorReport::ErrorReport(std::uint16_t queue, const Sqe& sqe, nvme::CommandStatus s,
                         std::uint64_t block) noexcept
    : qid(queue),
      cid(sqe.cid),
      status(s),
      location(location_of(queue == 0, sqe, s.code)),
      lba(block),
      nsid(sqe.nsid) {}

}  // namespace holdfast::nvmf::target
