// The NVMe-oF/TCP initiator for engines and tools: the nvmf URI schemes and the discovery client.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "block/registry.h"
#include "nvme/log_page.h"
#include "nvmf/initiator/config.h"
#include "rt/reactor.h"
#include "rt/stop.h"

namespace holdfast::nvmf {

// Teaches the registry "nvmf" and "nvmf+tcp":
//   nvmf://host[:8420]/nqn?uuid=U&nsid=N&hostnqn=NQN&hostid=U&hdgst&ddgst&queue_depth=N
//         &io_timeout_ms=N&kato_ms=N&grace_ms=N&refused_grace_ms=N&paths=host[:port],...
// The host is a name, an IPv4 address, or an IPv6 address in brackets; every parameter is optional and
// replaces the default of the same meaning. Devices are RemoteDevice. `cores` outlives the registry.
void register_nvmf_scheme(DeviceRegistry& registry, const Cores& cores, InitiatorConfig defaults);

// One subsystem, or referral, of a discovery service.
struct DiscoveryEntry {
  nvme::SubsystemType type = nvme::SubsystemType::nvm;
  nvme::TransportType transport = nvme::TransportType::tcp;
  Endpoint address;  // numeric; as the service tells it
  std::string subnqn;
  std::uint16_t port_id = 0;
  std::uint16_t cntlid = 0;

  bool operator==(const DiscoveryEntry&) const = default;
};

// Asks the discovery service at `at` (a name or an address; port 8420 or 8009) for what `config.hostnqn` may
// use. Entries of other transports than TCP are given too. Errors: not_found, not_connected, timed_out,
// protocol, cancelled.
Task<Result<std::vector<DiscoveryEntry>>> discover(Reactor& reactor, Endpoint at, InitiatorConfig config,
                                                   StopToken stop = StopToken());
// The same, with the referrals followed, of services at numeric TCP addresses, each once and at most 16 of
// them. What a referral leads to is missing when its service cannot be asked. Entries are told once;
// referrals are not among them. Errors: those of discover() of `at`.
Task<Result<std::vector<DiscoveryEntry>>> discover_all(Reactor& reactor, Endpoint at, InitiatorConfig config,
                                                       StopToken stop = StopToken());

}  // namespace holdfast::nvmf
