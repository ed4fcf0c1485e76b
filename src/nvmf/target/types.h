// What the target is told and what it tells: configuration, and snapshots for diagnostics and metrics.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "base/uuid.h"
#include "nvme/fabrics.h"
#include "nvme/log_page.h"
#include "rt/io.h"
#include "rt/time.h"

namespace holdfast::nvmf {

// "nqn.2019-05.io.openebs:<name>": the names that OpenEBS hosts know.
std::string subsystem_nqn(std::string_view name);
// "DCS" and 17 hexadecimal digits, the same for a UUID in every run (it fills the 20 bytes of the serial).
std::string subsystem_serial(const Uuid& uuid);

// Limits that every subsystem shares. The values are what a controller identifies itself with.
inline constexpr std::uint32_t transfer_bytes_max = 1 << 20;     // MDTS
inline constexpr std::uint32_t capsule_data_bytes = 8192;        // in-capsule data, admin queues included
inline constexpr std::uint32_t nsid_max = 1024;                  // NN
inline constexpr std::uint32_t async_event_requests_max = 4;     // AERL + 1
inline constexpr std::uint32_t fused_bytes_max = 64 << 10;       // NACWU
inline constexpr std::uint32_t copy_ranges_max = 128;            // MSRC + 1
inline constexpr std::uint32_t copy_range_bytes_max = 16 << 20;  // MSSRL: at most 65535 blocks
inline constexpr std::uint32_t copy_bytes_max = 64 << 20;        // MCL

struct TargetConfig {
  std::uint32_t queue_entries_max = 1024;  // of one queue; at most 4096
  std::uint16_t io_queues_max = 64;        // of one controller
  // Further ones are refused; first of all the oldest that has not connected to a queue makes room. Also
  // bounded by what their fixed memory needs: half of the buffer budget.
  std::uint32_t connections_max = 4096;
  std::uint32_t connections_per_peer_max = 2048;  // from one address
  // Receive buffer of an I/O queue while the buffers are less than a quarter used; else, and of other
  // connections, it is small.
  std::size_t staging_bytes = 128 * KiB;
  // Data buffers that one connection may hold; its commands wait for each other beyond. 0: a quarter of the
  // core's buffer budget. Never less than transfer_bytes_max. When many hold much, each gets less: no more
  // than half of what is free.
  std::size_t connection_buffer_bytes_max = 0;
  std::uint32_t h2c_data_bytes_max = 1 << 20;     // MAXH2CDATA: a multiple of 4, at least 4096
  std::array<std::uint16_t, 3> crdt{10, 10, 10};  // command retry delay times 1 to 3, units of 100 ms
  Nanos connect_timeout{10s};                     // from accept to a successful Connect
  // A peer that does not take what is sent, finish the PDU that it began, or send what it was asked for
  // (64 KiB of it, or the rest). What was asked for later is due later, as long as the rest comes: a sixteenth
  // of all of it in this time. While the target does not read the time stands still.
  Nanos stall_timeout{60s};
  Nanos shortage_timeout{5s};       // the same, of a peer that holds buffers while others wait for memory
  Nanos association_timeout{120s};  // a controller that is not enabled: Fabrics hosts count on 2 min
  std::string firmware = "0.1.0";   // at most 8 characters
};

struct SubsystemConfig {
  std::string nqn;
  std::string serial;  // at most 20 ASCII characters
  std::string model = "Holdfast NVMe controller";
  std::vector<std::string> allowed_hosts;  // host NQNs; empty: any host
  std::uint16_t cntlid_min = 1;            // the window from which controllers get their identifiers
  std::uint16_t cntlid_max = 0xffef;
  bool ana_reporting = true;
};

// Another discovery service, which hosts that read the discovery log are told of.
struct Referral {
  Endpoint at;  // not a wildcard
  std::string nqn = std::string(nvme::discovery_nqn);
  bool operator==(const Referral&) const = default;
};

inline bool is_wildcard(const Endpoint& at) { return at.address == "0.0.0.0" || at.address == "::"; }

struct NamespaceConfig {
  std::uint32_t nsid = 1;  // 1 to nsid_max
  Uuid uuid;               // also the NGUID
  nvme::AnaState ana_state = nvme::AnaState::optimized;
};

struct QueueInfo {
  std::uint16_t qid = 0;
  std::uint32_t entries = 0;
  unsigned core = 0;
  Endpoint host;  // the peer's address
};
struct ControllerInfo {
  std::uint16_t cntlid = 0;
  std::string host_nqn;
  Uuid host_id;
  bool enabled = false;
  std::uint32_t keep_alive_ms = 0;
  std::vector<QueueInfo> queues;
};
struct NamespaceInfo {
  std::uint32_t nsid = 0;
  Uuid uuid;
  std::string device;
  std::uint64_t size_bytes = 0;
  nvme::AnaState ana_state = nvme::AnaState::optimized;
};
struct SubsystemInfo {
  std::string nqn;
  std::string serial;
  std::string model;
  std::vector<std::string> allowed_hosts;
  std::vector<NamespaceInfo> namespaces;
  std::vector<ControllerInfo> controllers;
};

// Counters since the target started, summed over the cores.
struct TargetStats {
  std::uint64_t connections = 0;  // at present
  std::uint64_t connections_accepted = 0;
  std::uint64_t connections_refused = 0;     // over the limits, or ended before Connect to make room
  std::uint64_t connections_terminated = 0;  // for a malformed PDU
  std::uint64_t connections_stalled = 0;     // closed by connect_timeout or stall_timeout
  std::uint64_t commands = 0;
  std::uint64_t commands_failed = 0;
  std::uint64_t read_bytes = 0, write_bytes = 0;

  TargetStats& operator+=(const TargetStats& o) noexcept;
};

}  // namespace holdfast::nvmf
