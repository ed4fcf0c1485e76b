// Submission queue entries by their offsets, and the numbers of the specifications that cases name.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "cli/conformance/bytes.h"

namespace holdfast::cli::conformance {

// Opcodes (NVMe Base 2.0, sections 5 and 7; NVM Command Set 1.0, section 3).
namespace admin {
inline constexpr std::uint8_t get_log_page = 0x02, identify = 0x06, abort = 0x08, set_features = 0x09,
                              get_features = 0x0a, async_event = 0x0c, keep_alive = 0x18, fabrics = 0x7f;
}
namespace io {
inline constexpr std::uint8_t flush = 0x00, write = 0x01, read = 0x02, write_uncorrectable = 0x04,
                              compare = 0x05, write_zeroes = 0x08, dataset_management = 0x09, verify = 0x0c,
                              resv_register = 0x0d, resv_report = 0x0e, resv_acquire = 0x11,
                              resv_release = 0x15, copy = 0x19;
}
namespace fabrics {
inline constexpr std::uint8_t property_set = 0x00, connect = 0x01, property_get = 0x04, disconnect = 0x08;
}
namespace prop {
inline constexpr std::uint32_t cap = 0x00, vs = 0x08, cc = 0x14, csts = 0x1c, nssr = 0x20;
}

// Status codes: type in bits 10:8, code in bits 7:0 (NVMe Base 2.0, section 3.3.3.2).
namespace sc {
inline constexpr std::uint16_t success = 0x000, invalid_opcode = 0x001, invalid_field = 0x002,
                               id_conflict = 0x003, transfer_error = 0x004, internal = 0x006,
                               abort_requested = 0x007, failed_fused = 0x009, missing_fused = 0x00a,
                               invalid_nsid = 0x00b, sequence_error = 0x00c, sgl_length = 0x00f,
                               sgl_type = 0x011, sgl_offset = 0x016, keep_alive_invalid = 0x01a,
                               sgl_granularity = 0x01e, transient_transport = 0x022, lba_range = 0x080,
                               resv_conflict = 0x083, invalid_queue_id = 0x101, invalid_queue_size = 0x102,
                               aer_limit = 0x105, invalid_log = 0x109, not_saveable = 0x10d,
                               not_changeable = 0x10e, not_ns_specific = 0x10f, connect_format = 0x180,
                               connect_busy = 0x181, connect_parameters = 0x182, connect_host = 0x184,
                               invalid_queue_type = 0x185, conflicting_attributes = 0x180,
                               command_size = 0x183, compare_failure = 0x285;
// "invalid field in command (0x002)"
std::string text(std::uint16_t status);
}  // namespace sc

inline constexpr std::uint32_t nsid_all = 0xffffffff;
inline constexpr std::uint16_t cntlid_dynamic = 0xffff;
inline constexpr std::string_view discovery_nqn = "nqn.2014-08.org.nvmexpress.discovery";

// A command, and the data that goes with it.
class Command {
 public:
  explicit Command(std::uint8_t opcode) noexcept {
    put8(sqe_, 0, opcode);
    put8(sqe_, 1, 0x40);  // PSDT: SGLs
  }
  Command& flags(unsigned v) noexcept { return set8(1, v); }
  Command& cid(std::uint16_t v) noexcept {
    put16(sqe_, 2, v);
    return *this;
  }
  Command& nsid(std::uint32_t v) noexcept { return set32(4, v); }
  // Command dwords 2 to 15.
  Command& dw(unsigned number, std::uint32_t v) noexcept { return set32(number * std::size_t{4}, v); }
  Command& set8(std::size_t at, unsigned v) noexcept {
    put8(sqe_, at, v);
    return *this;
  }
  Command& set32(std::size_t at, std::uint32_t v) noexcept {
    put32(sqe_, at, v);
    return *this;
  }
  Command& set64(std::size_t at, std::uint64_t v) noexcept {
    put64(sqe_, at, v);
    return *this;
  }
  Command& sgl(std::uint64_t address, std::uint32_t length, std::uint8_t type) noexcept {
    put64(sqe_, 24, address);
    put32(sqe_, 32, length);
    return set8(39, type);
  }
  // The controller sends so many bytes.
  Command& reads(std::uint32_t bytes) noexcept { return sgl(0, bytes, sgl_transport); }
  // The host sends the data when it is asked for (R2T), or in the capsule.
  Command& sends(Bytes data) noexcept {
    sgl(0, static_cast<std::uint32_t>(data.size()), sgl_transport);
    data_ = std::move(data);
    return *this;
  }
  Command& sends_in_capsule(Bytes data) noexcept {
    sgl(0, static_cast<std::uint32_t>(data.size()), sgl_in_capsule);
    data_ = std::move(data);
    in_capsule_ = true;
    return *this;
  }
  // The bytes without an SGL of their own.
  Command& capsule_data(Bytes data) noexcept {
    data_ = std::move(data);
    in_capsule_ = true;
    return *this;
  }

  // SGL identifiers (NVMe Base 2.0, section 4.1.2; NVMe/TCP 1.0, section 3.3.2): transport data block, and data
  // block with an offset into the capsule.
  static constexpr std::uint8_t sgl_transport = 0x5a, sgl_in_capsule = 0x01;

  View sqe() const noexcept { return sqe_; }
  std::uint16_t id() const noexcept { return u16(sqe_, 2); }
  const Bytes& data() const noexcept { return data_; }
  bool in_capsule() const noexcept { return in_capsule_; }

 private:
  std::array<std::uint8_t, 64> sqe_{};
  Bytes data_;
  bool in_capsule_ = false;
};

// A fabrics command; parameters from byte 40 on.
Command fabrics_command(std::uint8_t fctype);

struct ConnectParameters {
  std::uint16_t recfmt = 0, qid = 0, sqsize = 31;
  std::uint8_t cattr = 0;  // bit 2: SQ flow control disabled
  std::uint32_t kato = 0;  // ms
  std::uint16_t cntlid = cntlid_dynamic;
  std::array<std::uint8_t, 16> hostid{};
  std::string subnqn, hostnqn;
};
Command connect_command(const ConnectParameters& p);

// Read, write and their like: NLB is zero based on the wire, `blocks` is not.
Command io_command(std::uint8_t opcode, std::uint32_t nsid, std::uint64_t slba, std::uint32_t blocks);

}  // namespace holdfast::cli::conformance
