// Target: exports block devices over NVMe/TCP. NVMe Base 2.0, NVM Command Set 1.0, NVMe/TCP 1.0.
//
// Connections are accepted on the home core and spread over the cores in turn. Subsystems and controllers
// live on the home core; an I/O queue lives on its connection's core, with a channel to each device there,
// and shares nothing with other cores on its way. A discovery subsystem that lists everything is always
// there.
//
// Every function is called on the home core. Devices belong to the caller and outlive their namespaces.
// Errors name the thing: invalid_argument, not_found, already_exists, busy (port), failed_precondition (the
// subsystem is being removed, or the target closes). Shutdown: close(), then the destructor.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "block/reservation_guard.h"
#include "nvmf/target/types.h"
#include "rt/reactor.h"
#include "rt/scope.h"
#include "rt/wait.h"

namespace holdfast::nvmf {

namespace target {
class CoreContext;
class Registry;
class Subsystem;
}  // namespace target

class Target {
 public:
  // `cores` outlives the target.
  Target(const Cores& cores, TargetConfig config);
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;
  ~Target();

  // Accepts connections at `at`, which is told back with the port that was given for port 0. Every subsystem
  // is reachable at every listener.
  Task<Result<Endpoint>> listen(Endpoint at);
  std::vector<Endpoint> listeners() const;

  Task<Status> add_subsystem(SubsystemConfig config);
  // Disconnects its hosts, waits for their commands, closes the channels. The devices are free afterwards.
  Task<Status> remove_subsystem(std::string nqn);
  // Hosts are told (namespace attribute notice). When the device changes its size they are told too. `guard`
  // has the device's reservations and outlives the namespace; without one hosts cannot reserve it.
  Task<Status> add_namespace(std::string nqn, NamespaceConfig config, BlockDevice& device,
                             ReservationGuard* guard = nullptr);
  // New commands fail; waits for those under way, and closes the channels. The device is free afterwards. To
  // be called when a device raises DeviceEvent::removed: until then its commands fail with the device's
  // error.
  Task<Status> remove_namespace(std::string nqn, std::uint32_t nsid);
  // Empty: any host. Controllers of hosts that are not allowed any more are gone when it returns.
  Task<Status> set_allowed_hosts(std::string nqn, std::vector<std::string> host_nqns);
  // When it returns, every command that arrives is answered by the new state; hosts are told (ANA notice).
  Task<Status> set_ana_state(std::string nqn, std::uint32_t nsid, nvme::AnaState state);

  // Other discovery services in this one's log; hosts that stay connected to it are told.
  Status add_referral(Referral referral);
  Status remove_referral(const Referral& referral);
  std::vector<Referral> referrals() const;

  // Without the discovery subsystem; sorted by NQN.
  std::vector<SubsystemInfo> subsystems() const;
  Result<SubsystemInfo> subsystem(const std::string& nqn) const;
  // The hosts that read the discovery log at present.
  std::vector<ControllerInfo> discovery_controllers() const;
  Task<TargetStats> stats();

  // Stops accepting, waits for changes under way, disconnects everybody, waits for their commands.
  Task<void> close();

 private:
  Result<target::Subsystem*> find(const std::string& nqn, const Gate::Hold& hold);
  Task<void> accept_on(Listener& listener);
  Task<void> hand_over(std::unique_ptr<PendingStream> accepted, target::CoreContext& to);

  const Cores& cores_;
  const TargetConfig config_;
  std::unique_ptr<target::Registry> registry_;
  std::vector<std::unique_ptr<target::CoreContext>> contexts_;  // by core
  std::vector<std::unique_ptr<Listener>> listeners_;
  TaskScope scope_;
  Gate operations_;  // held by every change under way, so that close() comes after it
  std::size_t next_core_ = 0;
};

}  // namespace holdfast::nvmf
