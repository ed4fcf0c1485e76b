// Log pages.
// Source: NVM Express Base Specification 2.0, section 5.16 (get log page), with 5.16.1.23 for the discovery
// log page and its entries.
#pragma once

#include <cstdint>

#include "base/endian.h"

namespace holdfast::nvme {

enum class LogPage : std::uint8_t {
  supported_pages = 0x00,
  error = 0x01,
  smart = 0x02,
  firmware_slot = 0x03,
  changed_namespaces = 0x04,
  command_effects = 0x05,
  ana = 0x0c,
  discovery = 0x70,
  reservation = 0x80,
};

// What Get Log Page carries in command dwords 10 to 14.
struct LogPageArgs {
  LogPage lid;
  std::uint8_t lsp;      // log specific parameter
  bool rae;              // retain the asynchronous event
  std::uint64_t bytes;   // (NUMD + 1) * 4
  std::uint64_t offset;  // bytes, a multiple of 4 by the specification
  bool offset_is_index;

  static constexpr LogPageArgs unpack(std::uint32_t cdw10, std::uint32_t cdw11, std::uint32_t cdw12,
                                      std::uint32_t cdw13, std::uint32_t cdw14) noexcept {
    const std::uint64_t numd = (cdw10 >> 16) | std::uint64_t{cdw11 & 0xffff} << 16;
    return {static_cast<LogPage>(cdw10 & 0xff),
            static_cast<std::uint8_t>(cdw10 >> 8 & 0x7f),
            (cdw10 >> 15 & 1) != 0,
            (numd + 1) * 4,
            cdw12 | std::uint64_t{cdw13} << 32,
            (cdw14 >> 23 & 1) != 0};
  }
};
inline constexpr std::uint8_t lsp_ana_groups_only = 1u << 0;  // ANA log: without the namespaces of each group

struct ErrorLogEntry {
  le64 error_count;  // 1 for the first error since the controller exists; 0: no entry
  le16 sqid, cmdid;
  le16 status_field;
  le16 parm_error_location;
  le64 lba;
  le32 nsid;
  std::uint8_t vs, trtype;
  std::uint8_t rsvd30[2];
  le64 cs;
  le16 ttsi;
  std::uint8_t rsvd42[22];
};
static_assert(Wire<ErrorLogEntry> && sizeof(ErrorLogEntry) == 64);
HF_FIELD(ErrorLogEntry, status_field, 12);
HF_FIELD(ErrorLogEntry, lba, 16);
HF_FIELD(ErrorLogEntry, nsid, 24);
HF_FIELD(ErrorLogEntry, cs, 32);

// A 128 bit counter.
struct Counter128 {
  le64 low, high;
};

struct SmartLog {
  std::uint8_t critical_warning;
  std::uint8_t temperature[2];                           // composite, kelvin, little-endian
  std::uint8_t avail_spare, spare_thresh, percent_used;  // percent
  std::uint8_t endu_grp_crit_warn;
  std::uint8_t rsvd7[25];
  Counter128 data_units_read, data_units_written;  // thousands of 512 bytes, rounded up
  Counter128 host_reads, host_writes;              // commands
  Counter128 ctrl_busy_time, power_cycles, power_on_hours, unsafe_shutdowns;
  Counter128 media_errors, num_err_log_entries;
  le32 warning_temp_time, critical_comp_time;
  le16 temp_sensor[8];
  le32 thermal[4];
  std::uint8_t rsvd232[280];
};
static_assert(Wire<SmartLog> && sizeof(SmartLog) == 512);
HF_FIELD(SmartLog, data_units_read, 32);
HF_FIELD(SmartLog, host_reads, 64);
HF_FIELD(SmartLog, media_errors, 160);
HF_FIELD(SmartLog, temp_sensor, 200);

// Critical warning: internal errors, or those of media, degrade the subsystem's reliability. The same bit of
// asynchronous event configuration asks for its event.
inline constexpr std::uint8_t critical_reliability = 1u << 2;

struct FirmwareSlotLog {
  std::uint8_t afi;  // active slot 2:0
  std::uint8_t rsvd1[7];
  char frs[7][8];
  std::uint8_t rsvd64[448];
};
static_assert(Wire<FirmwareSlotLog> && sizeof(FirmwareSlotLog) == 512);

// Ascending; FFFFFFFFh in the first place when more than 1024 changed.
struct ChangedNamespacesLog {
  le32 nsid[1024];
};
static_assert(Wire<ChangedNamespacesLog> && sizeof(ChangedNamespacesLog) == 4096);

inline constexpr std::uint32_t effects_supported = 1u << 0;       // CSUPP
inline constexpr std::uint32_t effects_content_change = 1u << 1;  // LBCC
struct CommandEffectsLog {
  le32 acs[256];   // by admin opcode
  le32 iocs[256];  // by I/O opcode
  std::uint8_t rsvd2048[2048];
};
static_assert(Wire<CommandEffectsLog> && sizeof(CommandEffectsLog) == 4096);

enum class AnaState : std::uint8_t {
  optimized = 0x1,
  non_optimized = 0x2,
  inaccessible = 0x3,
  persistent_loss = 0x4,
  change = 0xf,
};
struct AnaLogHeader {
  le64 chgcnt;
  le16 ngrps;
  std::uint8_t rsvd10[6];
};
static_assert(Wire<AnaLogHeader> && sizeof(AnaLogHeader) == 16);
// Followed by nnsids identifiers, unless the host asked for groups only.
struct AnaGroupDescriptor {
  le32 grpid, nnsids;
  le64 chgcnt;
  std::uint8_t state;  // AnaState
  std::uint8_t rsvd17[15];
};
static_assert(Wire<AnaGroupDescriptor> && sizeof(AnaGroupDescriptor) == 32);
HF_FIELD(AnaGroupDescriptor, chgcnt, 8);
HF_FIELD(AnaGroupDescriptor, state, 16);

enum class TransportType : std::uint8_t { rdma = 1, fibre_channel = 2, tcp = 3, loop = 0xfe };
enum class AddressFamily : std::uint8_t {
  pci = 0,
  ipv4 = 1,
  ipv6 = 2,
  infiniband = 3,
  fibre_channel = 4,
  loop = 0xfe
};
enum class SubsystemType : std::uint8_t { referral = 1, nvm = 2, current_discovery = 3 };

struct DiscoveryLogHeader {
  le64 genctr;  // +1 whenever the contents change
  le64 numrec;
  le16 recfmt;  // 0
  std::uint8_t rsvd18[1006];
};
static_assert(Wire<DiscoveryLogHeader> && sizeof(DiscoveryLogHeader) == 1024);
HF_FIELD(DiscoveryLogHeader, numrec, 8);
HF_FIELD(DiscoveryLogHeader, recfmt, 16);

struct DiscoveryLogEntry {
  std::uint8_t trtype;   // TransportType
  std::uint8_t adrfam;   // AddressFamily
  std::uint8_t subtype;  // SubsystemType
  std::uint8_t treq;     // secure channel 1:0: 0 not specified; bit 2: SQ flow control may be disabled
  le16 portid;
  le16 cntlid;  // FFFFh: dynamic controller model
  le16 asqsz;   // admin submission queue entries, at least 32
  le16 eflags;
  std::uint8_t rsvd12[20];
  char trsvcid[32];  // port, decimal; ASCII, filled up with spaces
  std::uint8_t rsvd64[192];
  char subnqn[256];
  char traddr[256];           // ASCII, filled up with spaces
  std::uint8_t tsas_sectype;  // 0: no security, 2: TLS 1.3
  std::uint8_t tsas_rsvd[255];
};
static_assert(Wire<DiscoveryLogEntry> && sizeof(DiscoveryLogEntry) == 1024);
HF_FIELD(DiscoveryLogEntry, portid, 4);
HF_FIELD(DiscoveryLogEntry, trsvcid, 32);
HF_FIELD(DiscoveryLogEntry, subnqn, 256);
HF_FIELD(DiscoveryLogEntry, traddr, 512);
HF_FIELD(DiscoveryLogEntry, tsas_sectype, 768);

inline constexpr std::uint8_t treq_no_sq_flow_control = 1u << 2;

}  // namespace holdfast::nvme
