// Fabrics commands: Connect, Disconnect, Property Get and Set. They share opcode 7Fh; FCTYPE tells them
// apart. Source: NVM Express Base Specification 2.0, section 6 (which NVM Express over Fabrics 1.1 went into)
// and section 3.3.2.1 (capsules).
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/endian.h"
#include "base/error.h"
#include "nvme/cqe.h"
#include "nvme/sqe.h"

namespace holdfast::nvme {

enum class FabricsType : std::uint8_t {
  property_set = 0x00,
  connect = 0x01,
  property_get = 0x04,
  authentication_send = 0x05,
  authentication_receive = 0x06,
  disconnect = 0x08,
};

// What every fabrics command has in the place of the first dwords of a submission queue entry.
struct FabricsCmd {
  std::uint8_t opc, flags;
  le16 cid;
  std::uint8_t fctype;
  std::uint8_t rsvd5[35];
  std::uint8_t specific[24];
};
static_assert(Wire<FabricsCmd> && sizeof(FabricsCmd) == 64);
HF_FIELD(FabricsCmd, fctype, 4);
HF_FIELD(FabricsCmd, specific, 40);

struct ConnectCmd {
  std::uint8_t opc, flags;
  le16 cid;
  std::uint8_t fctype;
  std::uint8_t rsvd5[19];
  SglDescriptor sgl1;
  le16 recfmt;         // 0
  le16 qid;            // 0: the admin queue
  le16 sqsize;         // entries - 1
  std::uint8_t cattr;  // bit 2: SQ flow control disabled
  std::uint8_t rsvd47;
  le32 kato;  // keep alive timeout, milliseconds; 0: none
  std::uint8_t rsvd52[12];

  static constexpr std::uint8_t cattr_no_sq_flow_control = 1u << 2;
};
static_assert(Wire<ConnectCmd> && sizeof(ConnectCmd) == 64);
HF_FIELD(ConnectCmd, sgl1, 24);
HF_FIELD(ConnectCmd, recfmt, 40);
HF_FIELD(ConnectCmd, qid, 42);
HF_FIELD(ConnectCmd, sqsize, 44);
HF_FIELD(ConnectCmd, cattr, 46);
HF_FIELD(ConnectCmd, kato, 48);

inline constexpr std::size_t nqn_field_bytes = 256;
inline constexpr std::size_t nqn_length_max = 223;  // without the terminating zero
inline constexpr std::uint16_t cntlid_dynamic = 0xffff;
inline constexpr std::uint16_t cntlid_last = 0xffef;  // the largest that a controller may have
inline constexpr std::string_view discovery_nqn = "nqn.2014-08.org.nvmexpress.discovery";

struct ConnectData {
  std::uint8_t hostid[16];
  le16 cntlid;  // FFFFh: the controller chooses (dynamic model)
  std::uint8_t rsvd18[238];
  char subnqn[nqn_field_bytes];
  char hostnqn[nqn_field_bytes];
  std::uint8_t rsvd768[256];
};
static_assert(Wire<ConnectData> && sizeof(ConnectData) == 1024);
HF_FIELD(ConnectData, cntlid, 16);
HF_FIELD(ConnectData, subnqn, 256);
HF_FIELD(ConnectData, hostnqn, 512);

// DW0 of a refused Connect: where the parameter in error is.
struct ConnectError {
  std::uint16_t ipo;  // its offset in bytes
  bool in_data;       // in the Connect data, else in the command

  constexpr std::uint32_t pack() const noexcept { return ipo | std::uint32_t{in_data} << 16; }
  static constexpr ConnectError unpack(std::uint32_t dw0) noexcept {
    return {static_cast<std::uint16_t>(dw0), (dw0 >> 16 & 1) != 0};
  }
};

struct PropertyGetCmd {
  std::uint8_t opc, flags;
  le16 cid;
  std::uint8_t fctype;
  std::uint8_t rsvd5[35];
  std::uint8_t attrib;  // size in bits 2:0: 0 four bytes, 1 eight bytes
  std::uint8_t rsvd41[3];
  le32 ofst;
  std::uint8_t rsvd48[16];
};
static_assert(Wire<PropertyGetCmd> && sizeof(PropertyGetCmd) == 64);
HF_FIELD(PropertyGetCmd, attrib, 40);
HF_FIELD(PropertyGetCmd, ofst, 44);

struct PropertySetCmd {
  std::uint8_t opc, flags;
  le16 cid;
  std::uint8_t fctype;
  std::uint8_t rsvd5[35];
  std::uint8_t attrib;
  std::uint8_t rsvd41[3];
  le32 ofst;
  le64 value;
  std::uint8_t rsvd56[8];
};
static_assert(Wire<PropertySetCmd> && sizeof(PropertySetCmd) == 64);
HF_FIELD(PropertySetCmd, ofst, 44);
HF_FIELD(PropertySetCmd, value, 48);

struct DisconnectCmd {
  std::uint8_t opc, flags;
  le16 cid;
  std::uint8_t fctype;
  std::uint8_t rsvd5[35];
  le16 recfmt;  // 0
  std::uint8_t rsvd42[22];
};
static_assert(Wire<DisconnectCmd> && sizeof(DisconnectCmd) == 64);
HF_FIELD(DisconnectCmd, recfmt, 40);

// The same 64 bytes seen as one of the commands above, or the reverse.
template <Wire T>
requires(sizeof(T) == sizeof(Sqe)) constexpr T as(const Sqe& sqe) noexcept { return std::bit_cast<T>(sqe); }
template <Wire T>
requires(sizeof(T) == sizeof(Sqe)) constexpr Sqe to_sqe(const T& cmd) noexcept {
  return std::bit_cast<Sqe>(cmd);
}

// The text of a zero terminated NQN field. Errors: invalid_argument when it is empty, has no terminating zero
// within 224 bytes, or does not start with "nqn." (NVMe Base 2.0, section 4.5).
Result<std::string_view> nqn_from_field(const char (&field)[nqn_field_bytes]);
// Whether `nqn` may name a host or a subsystem: "nqn." first, 4 to 223 bytes, no control characters or
// spaces.
bool is_valid_nqn(std::string_view nqn) noexcept;
// Zero filled. The NQN must be valid.
void nqn_to_field(std::string_view nqn, char (&field)[nqn_field_bytes]) noexcept;

}  // namespace holdfast::nvme
