// What the initiator learns about a controller and its namespace, checked and in our terms.
// Source: NVMe Base 2.0 section 5.17; NVM Command Set 1.0 section 4.1.5.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "block/block_device.h"
#include "nvme/log_page.h"
#include "nvmf/initiator/admin.h"
#include "nvmf/initiator/config.h"

namespace holdfast::nvmf::host {

struct ControllerInfo {
  std::uint16_t cntlid = 0;
  std::string serial, model, firmware;
  Uuid run;                                 // of the subsystem; nil when the target does not tell
  std::uint32_t transfer_bytes_max = 0;     // one command's data
  std::uint32_t in_capsule_bytes = 0;       // data that an I/O command capsule may carry
  std::uint32_t queue_entries = 0;          // of an I/O queue
  std::uint32_t event_requests = 1;         // asynchronous event requests to keep outstanding
  std::uint32_t events = 0;                 // notices that the controller can send (OAES)
  std::uint64_t zeroes_blocks_max = 0;      // of one write zeroes
  std::uint32_t deallocate_blocks_max = 0;  // of one range of dataset management
  std::array<Nanos, 4> retry_delays{};      // by the CRD field of a status; [0] is not used
  Nanos ana_transition_max{0};              // ANATT; 0: the controller does not say
  bool delays_retries = false;              // it has retry delays
  Nanos keep_alive_unit{0};                 // KAS: to which the controller rounds the keep alive time-out up
  bool keep_alive = false;
  bool traffic_keeps_alive = false;  // TBKAS
  bool ana = false;
  bool reservations = false;
  bool write_zeroes = false, deallocate = false, compare = false, volatile_cache = false;
};

struct NamespaceInfo {
  std::uint32_t nsid = 0;
  Uuid uuid;   // by UUID descriptor, else NGUID; nil when the namespace has neither
  Uuid nguid;  // nil: none
  std::uint32_t ana_group = 0;
  bool zeroes_may_deallocate = false;      // write zeroes honours DEAC
  bool epochs = false, snapshots = false;  // a target of ours that has these commands for the namespace
  Geometry geometry;
  Capabilities capabilities;
};

// Errors: those of Admin; not_supported (a discovery controller, no SGLs, entry sizes that are not NVMe's).
Task<Result<ControllerInfo>> identify_controller(Admin& admin, const nvme::Cap& cap,
                                                 const InitiatorConfig& config);
// The namespace that `remote` names. Errors: those of Admin; not_found (no such namespace, other UUID),
// not_supported (metadata, a block size that is not 512 to 4096).
Task<Result<NamespaceInfo>> identify_namespace(Admin& admin, const ControllerInfo& controller,
                                               const RemoteConfig& remote);
// The ANA state of the group. optimized when the log does not have it. Errors: those of Admin; protocol.
Task<Result<nvme::AnaState>> read_ana_state(Admin& admin, std::uint32_t group);

}  // namespace holdfast::nvmf::host
