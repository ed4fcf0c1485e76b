#include "engine/exports.h"

#include <algorithm>
#include <utility>

#include "engine/naming.h"

namespace holdfast::engine {
namespace {

// A subsystem of ours has one namespace.
constexpr std::uint32_t nsid = 1;

}  // namespace

Exports::~Exports() { HF_ASSERT(exports_.empty()); }

Task<Status> Exports::share(BlockDevice& device, Request request) {
  const Gate::Hold hold = sharing_.enter();
  if (!hold) co_return Error(Errc::failed_precondition, "this engine is stopping");
  if (const auto known = exports_.find(device.name()); known != exports_.end()) {
    co_return co_await update_hosts(known->second, std::move(request.allowed_hosts));
  }
  Uuid uuid = device.identity().uuid;
  if (request.is_nexus) uuid = nexus_identity(device.name(), uuid);
  Export made;
  HF_CO_TRY(made.claim, devices_.claim(device, "the NVMe/TCP target", DeviceUse::exported));
  HF_CO_TRY(ReservationGuard * guard, co_await devices_.guard(device));
  made.nqn = subsystem_nqn(device.name(), uuid);
  made.uri = share_uri(addresses_.front(), made.nqn, request.is_nexus ? nullptr : &uuid);
  made.allowed_hosts = request.allowed_hosts;
  made.is_nexus = request.is_nexus;
  nvmf::SubsystemConfig subsystem;
  subsystem.nqn = made.nqn;
  subsystem.serial = serial_number(uuid);
  subsystem.model = model_number;
  subsystem.allowed_hosts = std::move(request.allowed_hosts);
  subsystem.cntlid_min = request.cntlid_min;
  subsystem.cntlid_max = request.cntlid_max;
  subsystem.ana_reporting = request.is_nexus;
  HF_CO_CHECK(co_await target_.add_subsystem(std::move(subsystem)));
  nvmf::NamespaceConfig space;
  space.nsid = nsid;
  space.uuid = uuid;
  const Status added = co_await target_.add_namespace(made.nqn, space, device, guard);
  if (!added.ok()) {
    const Status undone = co_await target_.remove_subsystem(made.nqn);
    undone.ignore("the error that matters is that of the namespace");
    co_return added.error();
  }
  exports_.emplace(device.name(), std::move(made));
  co_return Status();
}

Task<Status> Exports::update_hosts(Export& known, std::vector<std::string> allowed_hosts) {
  if (known.allowed_hosts == allowed_hosts) co_return Status();
  HF_CO_CHECK(co_await target_.set_allowed_hosts(known.nqn, allowed_hosts));
  known.allowed_hosts = std::move(allowed_hosts);
  co_return Status();
}

Task<Status> Exports::unshare(std::string device_name) {
  const auto known = exports_.find(device_name);
  if (known == exports_.end()) co_return Status();
  HF_CO_CHECK(co_await target_.remove_subsystem(known->second.nqn));
  exports_.erase(device_name);
  co_return Status();
}

Task<Status> Exports::set_ana(std::string device_name, nvme::AnaState state) {
  const auto known = exports_.find(device_name);
  if (known == exports_.end()) {
    co_return Error(Errc::failed_precondition, "'" + device_name + "' is not exported");
  }
  HF_CO_CHECK(co_await target_.set_ana_state(known->second.nqn, nsid, state));
  known->second.ana = state;
  co_return Status();
}

const Exports::Export* Exports::find(std::string_view device_name) const {
  const auto known = exports_.find(device_name);
  return known == exports_.end() ? nullptr : &known->second;
}

std::string Exports::other_user(std::string_view device_name) const {
  const auto entry = devices_.entries().find(device_name);
  if (entry == devices_.entries().end()) return {};
  for (const auto& [use, by] : entry->second.users) {
    if (use != DeviceUse::exported) return by;
  }
  return {};
}

bool Exports::has_hosts() const {
  return std::any_of(exports_.begin(), exports_.end(), [&](const auto& e) {
    const auto subsystem = target_.subsystem(e.second.nqn);
    return subsystem.ok() && !subsystem.value().controllers.empty();
  });
}

Task<void> Exports::let_hosts_leave(Reactor& home, Nanos patience) const {
  constexpr Nanos look = 10ms;
  for (Nanos waited{0}; waited < patience && has_hosts(); waited += look) co_await home.sleep(look);
}

Task<void> Exports::close() {
  co_await sharing_.close();  // a pool may be exporting its replicas again
  while (!exports_.empty()) {
    const std::string name = exports_.begin()->first;
    const Status removed = co_await target_.remove_subsystem(exports_.begin()->second.nqn);
    removed.ignore("it is gone either way");
    exports_.erase(name);
  }
}

}  // namespace holdfast::engine
