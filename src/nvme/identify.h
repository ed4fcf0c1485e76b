// Identify data structures.
// Source: NVM Express Base Specification 2.0, section 5.17 (identify); NVM Command Set Specification 1.0,
// section 4.1.5 (namespace, and the I/O command set specific structures). Bytes 1792 on are for Fabrics
// only.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/endian.h"

namespace holdfast::nvme {

// Controller or Namespace Structure: which one Identify asks for, in command dword 10 bits 7:0.
enum class Cns : std::uint8_t {
  namespace_nvm = 0x00,
  controller = 0x01,
  active_namespaces = 0x02,
  namespace_descriptors = 0x03,
  nvm_set_list = 0x04,
  namespace_csi = 0x05,
  controller_csi = 0x06,
  active_namespaces_csi = 0x07,
  namespace_independent = 0x08,
  allocated_namespaces = 0x10,
  allocated_namespace = 0x11,
  attached_controllers = 0x12,
  controllers = 0x13,
  command_sets = 0x1c,
};
inline constexpr std::uint32_t identify_bytes = 4096;  // every structure's size

// Command set identifier, in Identify command dword 11 bits 31:24.
enum class Csi : std::uint8_t { nvm = 0, key_value = 1, zoned = 2 };

// What Identify carries in command dwords 10 and 11.
struct IdentifyArgs {
  Cns cns;
  std::uint16_t cntid;
  std::uint8_t csi;

  static constexpr IdentifyArgs unpack(std::uint32_t cdw10, std::uint32_t cdw11) noexcept {
    return {static_cast<Cns>(cdw10 & 0xff), static_cast<std::uint16_t>(cdw10 >> 16),
            static_cast<std::uint8_t>(cdw11 >> 24)};
  }
};

enum class ControllerType : std::uint8_t { not_reported = 0, io = 1, discovery = 2, administrative = 3 };

struct PowerState {
  le16 mp;  // maximum power
  std::uint8_t rsvd2, flags;
  le32 enlat, exlat;
  std::uint8_t rest[20];
};
static_assert(Wire<PowerState> && sizeof(PowerState) == 32);

struct IdentifyController {
  le16 vid, ssvid;
  char sn[20];  // ASCII, filled up with spaces, as mn and fr
  char mn[40];
  char fr[8];
  std::uint8_t rab;
  std::uint8_t ieee[3];
  std::uint8_t cmic;
  std::uint8_t mdts;  // largest transfer, 2^n memory pages of CAP.MPSMIN; 0: no limit
  le16 cntlid;
  le32 ver;
  le32 rtd3r, rtd3e;
  le32 oaes;
  le32 ctratt;
  le16 rrls;
  std::uint8_t rsvd102[9];
  std::uint8_t cntrltype;  // ControllerType
  std::uint8_t fguid[16];
  le16 crdt1, crdt2, crdt3;  // command retry delay times, units of 100 ms
  std::uint8_t rsvd134[119];
  std::uint8_t nvmsr, vwci, mec;
  le16 oacs;
  std::uint8_t acl, aerl;  // abort and asynchronous event limits, zero based
  std::uint8_t frmw, lpa, elpe, npss, avscc, apsta;
  le16 wctemp, cctemp;  // kelvin
  le16 mtfa;
  le32 hmpre, hmmin;
  std::uint8_t tnvmcap[16], unvmcap[16];
  le32 rpmbs;
  le16 edstt;
  std::uint8_t dsto, fwug;
  le16 kas;  // keep alive granularity, units of 100 ms; 0: keep alive is not supported
  le16 hctma, mntmt, mxtmt;
  le32 sanicap, hmminds;
  le16 hmmaxd, nsetidmax, endgidmax;
  std::uint8_t anatt;  // seconds that an ANA transition lasts at most
  std::uint8_t anacap;
  le32 anagrpmax, nanagrpid, pels;
  le16 domainid;
  std::uint8_t rsvd358[10];
  std::uint8_t megcap[16];
  std::uint8_t rsvd384[128];
  std::uint8_t sqes, cqes;  // required 3:0 and largest 7:4 entry sizes, 2^n
  le16 maxcmd;              // commands in flight per queue
  le32 nn;                  // largest nsid
  le16 oncs, fuses;
  std::uint8_t fna, vwc;
  le16 awun, awupf;
  std::uint8_t icsvscc, nwpc;
  le16 acwu, ocfs;
  le32 sgls, mnan;
  std::uint8_t maxdna[16];
  le32 maxcna;
  std::uint8_t rsvd564[204];
  char subnqn[256];
  std::uint8_t rsvd1024[768];
  le32 ioccsz;  // I/O command capsule, units of 16 bytes: 4 for the command, the rest is in-capsule data
  le32 iorcsz;  // I/O response capsule, units of 16 bytes
  le16 icdoff;  // in-capsule data offset, units of 16 bytes
  std::uint8_t fcatt;   // bit 0: static controller model
  std::uint8_t msdbd;   // SGL descriptors per capsule
  le16 ofcs;            // bit 0: Disconnect
  std::uint8_t dctype;  // discovery controller type
  std::uint8_t rsvd1807[241];
  PowerState psd[32];
  std::uint8_t vs[1024];
};
static_assert(Wire<IdentifyController> && sizeof(IdentifyController) == identify_bytes);

// What Holdfast's target says in IdentifyController::vs: which run of the subsystem this is. Another one than before
// means that the target was restarted, or made the subsystem again, and may have lost what its caches held.
struct TargetRun {
  static constexpr std::uint64_t magic_value = 0x315475526b636148;
  le64 magic;
  std::uint8_t run[16];  // UUID
};
static_assert(Wire<TargetRun> && sizeof(TargetRun) == 24);
HF_FIELD(IdentifyController, sn, 4);
HF_FIELD(IdentifyController, mn, 24);
HF_FIELD(IdentifyController, fr, 64);
HF_FIELD(IdentifyController, cmic, 76);
HF_FIELD(IdentifyController, mdts, 77);
HF_FIELD(IdentifyController, cntlid, 78);
HF_FIELD(IdentifyController, ver, 80);
HF_FIELD(IdentifyController, oaes, 92);
HF_FIELD(IdentifyController, ctratt, 96);
HF_FIELD(IdentifyController, cntrltype, 111);
HF_FIELD(IdentifyController, crdt1, 128);
HF_FIELD(IdentifyController, oacs, 256);
HF_FIELD(IdentifyController, aerl, 259);
HF_FIELD(IdentifyController, lpa, 261);
HF_FIELD(IdentifyController, wctemp, 266);
HF_FIELD(IdentifyController, tnvmcap, 280);
HF_FIELD(IdentifyController, kas, 320);
HF_FIELD(IdentifyController, anatt, 342);
HF_FIELD(IdentifyController, anagrpmax, 344);
HF_FIELD(IdentifyController, nanagrpid, 348);
HF_FIELD(IdentifyController, sqes, 512);
HF_FIELD(IdentifyController, maxcmd, 514);
HF_FIELD(IdentifyController, nn, 516);
HF_FIELD(IdentifyController, oncs, 520);
HF_FIELD(IdentifyController, vwc, 525);
HF_FIELD(IdentifyController, acwu, 532);
HF_FIELD(IdentifyController, sgls, 536);
HF_FIELD(IdentifyController, mnan, 540);
HF_FIELD(IdentifyController, subnqn, 768);
HF_FIELD(IdentifyController, ioccsz, 1792);
HF_FIELD(IdentifyController, msdbd, 1803);
HF_FIELD(IdentifyController, ofcs, 1804);
HF_FIELD(IdentifyController, psd, 2048);
HF_FIELD(IdentifyController, vs, 3072);

// CMIC
inline constexpr std::uint8_t cmic_multi_port = 1u << 0;
inline constexpr std::uint8_t cmic_multi_controller = 1u << 1;
inline constexpr std::uint8_t cmic_ana = 1u << 3;
// OAES, and the same bits in the asynchronous event configuration feature
inline constexpr std::uint32_t oaes_namespace_attribute = 1u << 8;
inline constexpr std::uint32_t oaes_firmware_activation = 1u << 9;
inline constexpr std::uint32_t oaes_ana_change = 1u << 11;
inline constexpr std::uint32_t oaes_discovery_change = 1u << 31;
// CTRATT
inline constexpr std::uint32_t ctratt_host_id_128 = 1u << 0;
inline constexpr std::uint32_t ctratt_traffic_based_keep_alive = 1u << 6;
// LPA
inline constexpr std::uint8_t lpa_smart_per_namespace = 1u << 0;
inline constexpr std::uint8_t lpa_command_effects = 1u << 1;
inline constexpr std::uint8_t lpa_extended_data = 1u << 2;
// ANACAP
inline constexpr std::uint8_t anacap_optimized = 1u << 0;
inline constexpr std::uint8_t anacap_non_optimized = 1u << 1;
inline constexpr std::uint8_t anacap_inaccessible = 1u << 2;
inline constexpr std::uint8_t anacap_persistent_loss = 1u << 3;
inline constexpr std::uint8_t anacap_change = 1u << 4;
// ONCS
inline constexpr std::uint16_t oncs_compare = 1u << 0;
inline constexpr std::uint16_t oncs_write_uncorrectable = 1u << 1;
inline constexpr std::uint16_t oncs_dataset_management = 1u << 2;
inline constexpr std::uint16_t oncs_write_zeroes = 1u << 3;
inline constexpr std::uint16_t oncs_save_features = 1u << 4;
inline constexpr std::uint16_t oncs_reservations = 1u << 5;
inline constexpr std::uint16_t oncs_timestamp = 1u << 6;
inline constexpr std::uint16_t oncs_verify = 1u << 7;
inline constexpr std::uint16_t oncs_copy = 1u << 8;
// OCFS
inline constexpr std::uint16_t ocfs_format_0 = 1u << 0;
// FUSES
inline constexpr std::uint16_t fuses_compare_and_write = 1u << 0;
// VWC
inline constexpr std::uint8_t vwc_present = 1u << 0;
inline constexpr std::uint8_t vwc_flush_all_supported = 3u << 1;  // flush takes nsid FFFFFFFFh
inline constexpr std::uint8_t vwc_flush_all_not_supported = 2u << 1;
// SGLS
inline constexpr std::uint32_t sgls_supported = 1u << 0;  // without an alignment requirement
inline constexpr std::uint32_t sgls_offset = 1u << 20;
inline constexpr std::uint32_t sgls_transport = 1u << 21;
// OFCS
inline constexpr std::uint16_t ofcs_disconnect = 1u << 0;

struct LbaFormat {
  le16 ms;             // metadata bytes
  std::uint8_t lbads;  // data bytes, 2^n
  std::uint8_t rp;     // relative performance 1:0
};
static_assert(Wire<LbaFormat> && sizeof(LbaFormat) == 4);

struct IdentifyNamespace {
  le64 nsze, ncap, nuse;  // blocks
  std::uint8_t nsfeat;
  std::uint8_t nlbaf;  // LBA formats - 1
  std::uint8_t flbas;  // format in use 3:0
  std::uint8_t mc, dpc, dps;
  std::uint8_t nmic;    // bit 0: shared between controllers
  std::uint8_t rescap;  // reservations
  std::uint8_t fpi;
  std::uint8_t dlfeat;  // what a deallocated block reads as
  le16 nawun, nawupf, nacwu, nabsn, nabo, nabspf;
  le16 noiob;  // optimal I/O boundary, blocks
  std::uint8_t nvmcap[16];
  le16 npwg, npwa, npdg, npda, nows;  // preferred write and deallocate sizes, zero based blocks
  le16 mssrl;
  le32 mcl;
  std::uint8_t msrc, rsvd81, nulbaf;
  std::uint8_t rsvd83[9];
  le32 anagrpid;
  std::uint8_t rsvd96[3];
  std::uint8_t nsattr;  // bit 0: write protected
  le16 nvmsetid, endgid;
  std::uint8_t nguid[16], eui64[8];
  LbaFormat lbaf[64];
  std::uint8_t vs[3712];
};
static_assert(Wire<IdentifyNamespace> && sizeof(IdentifyNamespace) == identify_bytes);
HF_FIELD(IdentifyNamespace, nsfeat, 24);
HF_FIELD(IdentifyNamespace, flbas, 26);
HF_FIELD(IdentifyNamespace, nmic, 30);
HF_FIELD(IdentifyNamespace, rescap, 31);
HF_FIELD(IdentifyNamespace, dlfeat, 33);
HF_FIELD(IdentifyNamespace, noiob, 46);
HF_FIELD(IdentifyNamespace, nvmcap, 48);
HF_FIELD(IdentifyNamespace, npwg, 64);
HF_FIELD(IdentifyNamespace, nows, 72);
HF_FIELD(IdentifyNamespace, mssrl, 74);
HF_FIELD(IdentifyNamespace, msrc, 80);
HF_FIELD(IdentifyNamespace, anagrpid, 92);
HF_FIELD(IdentifyNamespace, nsattr, 99);
HF_FIELD(IdentifyNamespace, nguid, 104);
HF_FIELD(IdentifyNamespace, eui64, 120);
HF_FIELD(IdentifyNamespace, lbaf, 128);
HF_FIELD(IdentifyNamespace, vs, 384);

inline constexpr std::uint8_t nsfeat_thin = 1u << 0;
inline constexpr std::uint8_t nsfeat_atomic_sizes = 1u << 1;   // NAWUN, NAWUPF, NACWU mean something
inline constexpr std::uint8_t nsfeat_optimal_sizes = 1u << 4;  // NPWG, NPWA, NPDG, NPDA, NOWS mean something
inline constexpr std::uint8_t nmic_shared = 1u << 0;
inline constexpr std::uint8_t dlfeat_reads_zero = 1u << 0;
inline constexpr std::uint8_t dlfeat_deac_supported = 1u << 3;  // write zeroes honours DEAC
inline constexpr std::uint8_t nsattr_write_protected = 1u << 0;

// CNS 05h, NVM command set.
struct IdentifyNamespaceNvm {
  le64 lbstm;
  std::uint8_t pic;
  std::uint8_t rsvd9[3];
  le32 elbaf[64];
  std::uint8_t rsvd268[3828];
};
static_assert(Wire<IdentifyNamespaceNvm> && sizeof(IdentifyNamespaceNvm) == identify_bytes);

// CNS 06h, NVM command set: limits of commands that transfer no data; 0 means no limit is reported.
struct IdentifyControllerNvm {
  std::uint8_t vsl;   // verify size limit
  std::uint8_t wzsl;  // write zeroes size limit, 2^n memory pages
  std::uint8_t wusl;  // write uncorrectable size limit
  std::uint8_t dmrl;  // dataset management ranges
  le32 dmrsl;         // blocks in one range
  le64 dmsl;          // blocks in one command
  std::uint8_t rsvd16[4080];
};
static_assert(Wire<IdentifyControllerNvm> && sizeof(IdentifyControllerNvm) == identify_bytes);
HF_FIELD(IdentifyControllerNvm, dmrsl, 4);
HF_FIELD(IdentifyControllerNvm, dmsl, 8);

// CNS 08h.
struct IdentifyNamespaceIndependent {
  std::uint8_t nsfeat, nmic, rescap, fpi;
  le32 anagrpid;
  std::uint8_t nsattr, rsvd9;
  le16 nvmsetid, endgid;
  std::uint8_t nstat;  // bit 0: ready
  std::uint8_t rsvd15[4081];
};
static_assert(Wire<IdentifyNamespaceIndependent> && sizeof(IdentifyNamespaceIndependent) == identify_bytes);
HF_FIELD(IdentifyNamespaceIndependent, anagrpid, 4);
HF_FIELD(IdentifyNamespaceIndependent, nstat, 14);

// CNS 02h and 07h: identifiers above the one asked for, ascending, filled up with zeroes.
struct NamespaceList {
  le32 nsid[1024];
};
static_assert(Wire<NamespaceList> && sizeof(NamespaceList) == identify_bytes);

// CNS 1Ch: the combinations of I/O command sets that may be in use together, each a set of bits by Csi.
struct CommandSetCombinations {
  le64 vector[512];
};
static_assert(Wire<CommandSetCombinations> && sizeof(CommandSetCombinations) == identify_bytes);

// CNS 12h and 13h.
struct ControllerList {
  le16 count;
  le16 cntlid[2047];
};
static_assert(Wire<ControllerList> && sizeof(ControllerList) == identify_bytes);

// CNS 03h: descriptors one after the other, each with `nidl` bytes behind this header; a zero type ends the
// list.
enum class NamespaceIdType : std::uint8_t { eui64 = 1, nguid = 2, uuid = 3, csi = 4 };
struct NamespaceIdDescriptor {
  std::uint8_t nidt;  // NamespaceIdType
  std::uint8_t nidl;  // 8, 16, 16, 1
  std::uint8_t rsvd2[2];
};
static_assert(Wire<NamespaceIdDescriptor> && sizeof(NamespaceIdDescriptor) == 4);

// Copies `text` into an ASCII field that is filled up with spaces; what does not fit is cut off.
template <std::size_t N>
constexpr void set_ascii(char (&field)[N], std::string_view text) noexcept {
  for (std::size_t i = 0; i < N; ++i) field[i] = i < text.size() ? text[i] : ' ';
}
// The text of such a field, without the spaces and zeroes at its end.
template <std::size_t N>
constexpr std::string_view ascii(const char (&field)[N]) noexcept {
  std::size_t n = N;
  while (n > 0 && (field[n - 1] == ' ' || field[n - 1] == '\0')) --n;
  return {field, n};
}

}  // namespace holdfast::nvme
