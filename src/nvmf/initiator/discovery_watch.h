// Follows discovery logs as they change: for whoever keeps a list of subsystems and of the ways to them.
//
// A service is kept connected, with keep alive, and tells when its log changed (discovery log page change
// event: NVMe Base 2.0, section 5.2; persistent discovery connections: section 3.1.2.3); one that has
// no such events is asked again every `poll`. A service that cannot be reached is tried again for ever, with
// back-off, and keeps its entries meanwhile: that it is gone says nothing about the subsystems.
#pragma once

#include <vector>

#include "nvmf/initiator/initiator.h"

namespace holdfast::nvmf {

class DiscoveryObserver {
 public:
  // The whole list: when it was read for the first time, and whenever it is another one.
  virtual void on_entries(const std::vector<DiscoveryEntry>& entries) noexcept = 0;
  // The service at `at` cannot be asked now. Once, until it answers again.
  virtual void on_service_lost(const Endpoint& at, const Error& why) noexcept = 0;

 protected:
  ~DiscoveryObserver() = default;
};

struct DiscoveryWatchOptions {
  Endpoint at;  // a name or an address, as for discover()
  // The services that it refers to are followed, too, as discover_all() asks them; their referrals are no
  // entries then.
  bool referrals = true;
  Nanos poll = 30s;  // of services that do not tell of changes
};

// Tells `observer` until the stop is requested. Errors: those of discover(), when the service at `at` cannot be
// asked the first time.
Task<Status> watch_discovery(Reactor& reactor, DiscoveryWatchOptions options, InitiatorConfig config,
                             DiscoveryObserver& observer, StopToken stop);

}  // namespace holdfast::nvmf
