// Completion queue entry and the asynchronous event in its first dword.
// Source: NVM Express Base Specification 2.0, section 3.3.3.2 and section 5.2 (asynchronous event request);
// over fabrics the phase tag is zero and SQHD is reserved where the host disabled SQ flow control.
#pragma once

#include <cstdint>

#include "base/endian.h"
#include "nvme/status.h"

namespace holdfast::nvme {

struct Cqe {
  le64 result;  // DW0 and DW1: command specific
  le16 sqhd;    // submission queue head: how far the controller has read
  le16 sqid;    // reserved over fabrics
  le16 cid;
  le16 status;  // CommandStatus::pack()
};
static_assert(Wire<Cqe> && sizeof(Cqe) == 16);
HF_FIELD(Cqe, sqhd, 8);
HF_FIELD(Cqe, cid, 12);
HF_FIELD(Cqe, status, 14);

enum class AsyncEventType : std::uint8_t {
  error = 0,
  smart = 1,
  notice = 2,
  immediate = 3,
  io_command_set = 6
};
// Information field of a notice.
enum class AsyncNotice : std::uint8_t {
  namespace_attribute_changed = 0x00,
  firmware_activation_starting = 0x01,
  ana_change = 0x03,
  discovery_log_change = 0xf0,
};

// Information field of an error event: an error that belongs to no command.
enum class AsyncError : std::uint8_t { persistent_internal = 0x03, transient_internal = 0x04 };
// Information field of a SMART event.
enum class AsyncHealth : std::uint8_t { reliability = 0x00, temperature = 0x01, spare = 0x02 };

// DW0 of the completion of an asynchronous event request.
struct AsyncEvent {
  AsyncEventType type;
  std::uint8_t info;  // an AsyncNotice, AsyncError or AsyncHealth, by the type
  std::uint8_t lid;   // log page that the host reads to clear the event

  constexpr std::uint32_t pack() const noexcept {
    return static_cast<std::uint32_t>(type) | std::uint32_t{info} << 8 | std::uint32_t{lid} << 16;
  }
  static constexpr AsyncEvent unpack(std::uint32_t dw0) noexcept {
    return {static_cast<AsyncEventType>(dw0 & 7), static_cast<std::uint8_t>(dw0 >> 8),
            static_cast<std::uint8_t>(dw0 >> 16)};
  }
};

}  // namespace holdfast::nvme
