// Submission queue entry, the opcodes, and the fields of the NVM command set.
// Source: NVM Express Base Specification 2.0, section 3.3.3.1 (submission queue entry), section 5 (admin
// opcodes); NVM Command Set Specification 1.0, section 3.
#pragma once

#include <bit>
#include <cstdint>

#include "base/endian.h"
#include "nvme/sgl.h"

namespace holdfast::nvme {

// 80h to BFh belong to the I/O command set, C0h to FFh to the vendor: ours are defined where they are used.
enum class AdminOpcode : std::uint8_t {
  delete_io_sq = 0x00,
  create_io_sq = 0x01,
  get_log_page = 0x02,
  delete_io_cq = 0x04,
  create_io_cq = 0x05,
  identify = 0x06,
  abort = 0x08,
  set_features = 0x09,
  get_features = 0x0a,
  async_event_request = 0x0c,
  namespace_management = 0x0d,
  firmware_commit = 0x10,
  firmware_download = 0x11,
  namespace_attachment = 0x15,
  keep_alive = 0x18,
  fabrics = 0x7f,
};
inline constexpr std::uint8_t admin_opcode_vendor_first = 0xc0;

enum class IoOpcode : std::uint8_t {
  flush = 0x00,
  write = 0x01,
  read = 0x02,
  write_uncorrectable = 0x04,
  compare = 0x05,
  write_zeroes = 0x08,
  dataset_management = 0x09,
  verify = 0x0c,
  reservation_register = 0x0d,
  reservation_report = 0x0e,
  reservation_acquire = 0x11,
  reservation_release = 0x15,
  copy = 0x19,
  fabrics = 0x7f,
};

// The direction that the two low bits of every opcode name.
enum class DataDirection : std::uint8_t {
  none = 0,
  host_to_controller = 1,
  controller_to_host = 2,
  both = 3
};
constexpr DataDirection data_direction(std::uint8_t opc) noexcept {
  return static_cast<DataDirection>(opc & 3);
}

// A namespace identifier that means every namespace (where a command allows it).
inline constexpr std::uint32_t nsid_all = 0xffffffff;

struct Sqe {
  std::uint8_t opc;    // AdminOpcode or IoOpcode, by the queue it arrives on
  std::uint8_t flags;  // FUSE 1:0, PSDT 7:6
  le16 cid;            // command identifier, unique among the commands in flight of one queue
  le32 nsid;
  le32 cdw2, cdw3;
  le64 mptr;           // metadata pointer
  SglDescriptor sgl1;  // data pointer
  le32 cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;

  constexpr std::uint8_t fuse() const noexcept { return flags & 3; }
  static constexpr std::uint8_t fuse_first = 1, fuse_second = 2;
  // 01b: SGL, no metadata or a metadata buffer. The only value that fabrics allows.
  constexpr std::uint8_t psdt() const noexcept { return static_cast<std::uint8_t>(flags >> 6); }
  static constexpr std::uint8_t psdt_sgl = 0x40;
};
static_assert(Wire<Sqe> && sizeof(Sqe) == 64);
HF_FIELD(Sqe, cid, 2);
HF_FIELD(Sqe, nsid, 4);
HF_FIELD(Sqe, mptr, 16);
HF_FIELD(Sqe, sgl1, 24);
HF_FIELD(Sqe, cdw10, 40);
HF_FIELD(Sqe, cdw15, 60);

// Read, write, compare and write zeroes in command dwords 10 to 12 (NVM Command Set 1.0, sections 3.2 ff).
struct IoRange {
  std::uint64_t slba;
  std::uint32_t blocks;  // NLB + 1: 1 to 65536
};
constexpr IoRange io_range(const Sqe& sqe) noexcept {
  return {sqe.cdw10.get() | std::uint64_t{sqe.cdw11.get()} << 32, (sqe.cdw12.get() & 0xffffu) + 1};
}
// Whether dwords 10 to 12 of an I/O command say that (of copy: the destination, not how much).
constexpr bool has_io_range(std::uint8_t opc) noexcept {
  switch (static_cast<IoOpcode>(opc)) {
    case IoOpcode::write:
    case IoOpcode::read:
    case IoOpcode::write_uncorrectable:
    case IoOpcode::compare:
    case IoOpcode::write_zeroes:
    case IoOpcode::verify:
    case IoOpcode::copy:
      return true;
    case IoOpcode::flush:
    case IoOpcode::dataset_management:
    case IoOpcode::reservation_register:
    case IoOpcode::reservation_report:
    case IoOpcode::reservation_acquire:
    case IoOpcode::reservation_release:
    case IoOpcode::fabrics:
      break;
  }
  return false;
}
constexpr void set_io_range(Sqe& sqe, std::uint64_t slba, std::uint32_t blocks) noexcept {
  sqe.cdw10 = static_cast<std::uint32_t>(slba);
  sqe.cdw11 = static_cast<std::uint32_t>(slba >> 32);
  sqe.cdw12 = (sqe.cdw12.get() & 0xffff0000u) | ((blocks - 1) & 0xffffu);
}
// Bits of command dword 12.
inline constexpr std::uint32_t cdw12_limited_retry = 1u << 31;
inline constexpr std::uint32_t cdw12_fua = 1u << 30;
inline constexpr std::uint32_t cdw12_prinfo = 0xfu
                                              << 26;   // protection information: no namespace of ours has it
inline constexpr std::uint32_t cdw12_deac = 1u << 25;  // write zeroes: the blocks may be deallocated

// Dataset management (NVM Command Set 1.0, section 3.2.3).
inline constexpr std::uint32_t dsm_ranges_max = 256;
inline constexpr std::uint32_t cdw11_dsm_deallocate = 1u << 2;
struct DsmRange {
  le32 cattr;  // context attributes: hints
  le32 nlb;    // blocks, not zero based
  le64 slba;
};
static_assert(Wire<DsmRange> && sizeof(DsmRange) == 16);
HF_FIELD(DsmRange, nlb, 4);
HF_FIELD(DsmRange, slba, 8);

// Copy (NVM Command Set 1.0, section 3.2.2): the destination in dwords 10 and 11, in dword 12 the number of
// source ranges less one 7:0 and the format of their descriptors 11:8.
inline constexpr std::uint32_t cdw12_copy_ranges = 0xffu;
inline constexpr std::uint32_t cdw12_copy_format = 0xfu << 8;
struct CopyRange {  // descriptor format 0
  le64 rsvd0;
  le64 slba;
  le16 nlb;  // blocks - 1
  std::uint8_t rsvd18[6];
  le32 eilbrt;
  le16 elbat, elbatm;
};
static_assert(Wire<CopyRange> && sizeof(CopyRange) == 32);
HF_FIELD(CopyRange, slba, 8);
HF_FIELD(CopyRange, nlb, 16);
HF_FIELD(CopyRange, eilbrt, 24);

}  // namespace holdfast::nvme
