#include "nvmf/target/subsystem.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "nvme/errc_status.h"
#include "rt/cross_core.h"

namespace holdfast::nvmf::target {

Subsystem::Namespace::Namespace(Subsystem& s, const NamespaceConfig& c, BlockDevice& d, ReservationGuard* g)
    : subsystem(s),
      config(c),
      device(d),
      guard(g),
      geometry(d.geometry()),
      capabilities(d.capabilities()),
      fence_turn(s.registry().home(), 1),
      uses(s.registry().home()) {
  if (guard != nullptr) guard->subscribe(*this);
}

Subsystem::Namespace::~Namespace() {
  if (guard != nullptr) guard->unsubscribe(*this);
}

void Subsystem::Namespace::on_reservation_notice(const Uuid& host, ReservationNotice notice) noexcept {
  for (auto& [cntlid, controller] : subsystem.controllers_) {
    if (controller->host_id() == host) controller->reservation_changed(config.nsid, notice);
  }
}

void Subsystem::Namespace::on_device_event(BlockDevice& /*from*/, DeviceEvent event) noexcept {
  switch (event) {
    case DeviceEvent::resized:
      subsystem.registry_.scope().spawn(subsystem.refresh(config.nsid));
      return;
    // Commands fail with the device's error from now on; whoever owns the device removes the namespace.
    case DeviceEvent::removed:
    case DeviceEvent::failed:
      return subsystem.device_failed(*this, true);
    case DeviceEvent::recovered:
      return subsystem.device_failed(*this, false);
    // A target whose reservations are kept by another one has no guard to tell its own hosts by.
    case DeviceEvent::reservations_changed:
      return;
  }
}

Subsystem::Subsystem(Registry& registry, SubsystemConfig config)
    : registry_(registry),
      run_(registry.next_run()),
      config_(std::move(config)),
      views_(registry.cores().count()),
      controller_gone_(registry.home()),
      gate_(registry.home()),
      lock_(registry.home(), 1),
      next_cntlid_(config_.cntlid_min) {}

Subsystem::~Subsystem() { HF_ASSERT(controllers_.empty()); }

bool Subsystem::allows(std::string_view host_nqn) const noexcept {
  const auto& hosts = config_.allowed_hosts;
  return hosts.empty() || std::find(hosts.begin(), hosts.end(), host_nqn) != hosts.end();
}

const Subsystem::Namespace* Subsystem::find(std::uint32_t nsid) const noexcept {
  const auto it = namespaces_.find(nsid);
  return it == namespaces_.end() ? nullptr : it->second.get();
}

Subsystem::Namespace* Subsystem::find(std::uint32_t nsid) noexcept {
  const auto it = namespaces_.find(nsid);
  return it == namespaces_.end() ? nullptr : it->second.get();
}

template <class F>
Task<void> Subsystem::for_each_view(std::uint32_t nsid, F& f) {
  for (auto& view : views_) {
    if (!view) continue;
    auto there = [&]() -> Task<void> {
      if (NamespaceView* ns = view->find(nsid)) f(*ns);
      co_return;
    };
    co_await run_on(registry_.home(), view->core(), there);
  }
}

Task<void> Subsystem::add_to_view(SubsystemView& view, Namespace& ns) {
  auto there = [&]() -> Task<void> {
    SubsystemView::Added added;
    added.nsid = ns.config.nsid;
    added.incarnation = ns.incarnation;
    added.geometry = ns.geometry;
    added.capabilities = ns.capabilities;
    added.state = ns.config.ana_state;
    added.guard = ns.guard;
    return view.add(added, ns.device);
  };
  co_await run_on(registry_.home(), view.core(), there);
}

Task<void> Subsystem::remove_from_views(std::uint32_t nsid) {
  for (auto& view : views_) {
    if (!view) continue;
    auto there = [&]() -> Task<void> { return view->remove(nsid); };
    co_await run_on(registry_.home(), view->core(), there);
  }
}

// The view of a core, made when the core gets its first I/O queue. lock_ is held.
Task<SubsystemView*> Subsystem::view_on(Reactor& core) {
  std::unique_ptr<SubsystemView>& slot = views_[core.core()];
  if (!slot) {
    auto view = std::make_unique<SubsystemView>(core);
    for (auto& [nsid, ns] : namespaces_) co_await add_to_view(*view, *ns);
    slot = std::move(view);
    co_await join_fences(*slot);
    co_return slot.get();
  }
  SubsystemView& known = *slot;
  for (auto& entry : namespaces_) {
    auto there = [&]() -> Task<void> { return known.open_again(entry.first, entry.second->device); };
    co_await run_on(registry_.home(), known.core(), there);
  }
  co_return slot.get();
}

Task<Status> Subsystem::add_namespace(NamespaceConfig config, BlockDevice& device, ReservationGuard* guard) {
  const Gate::Hold hold = gate_.enter();
  if (!hold) co_return Error(Errc::failed_precondition, config_.nqn + " is being removed");
  const Semaphore::Permit lock = co_await lock_.acquire();
  if (config.nsid == 0 || config.nsid > nsid_max) {
    co_return Error(Errc::invalid_argument, "namespace identifier " + std::to_string(config.nsid) +
                                                " is not between 1 and " + std::to_string(nsid_max));
  }
  if (find(config.nsid) != nullptr) {
    co_return Error(Errc::already_exists, config_.nqn + " has a namespace " + std::to_string(config.nsid));
  }
  auto added = std::make_unique<Namespace>(*this, config, device, guard);
  Namespace& ns = *added;
  ns.incarnation = ++namespaces_added_;
  device.subscribe(ns);  // before anything is waited for: no event is missed, and refresh() comes after us
  for (auto& view : views_) {
    if (view) co_await add_to_view(*view, ns);
  }
  namespaces_.emplace(config.nsid, std::move(added));
  ns.ana_changes = ++ana_changes_;
  tell_namespace_changed(config.nsid);
  if (ns.failed) tell_device_failed(ns);
  HF_LOG(info, "nvmf", "namespace added", {"nqn", config_.nqn}, {"nsid", config.nsid},
         {"device", device.name()});
  co_return Status();
}

Task<Status> Subsystem::remove_namespace(std::uint32_t nsid) {
  const Gate::Hold hold = gate_.enter();
  if (!hold) co_return Error(Errc::failed_precondition, config_.nqn + " is being removed");
  const Semaphore::Permit lock = co_await lock_.acquire();
  const auto it = namespaces_.find(nsid);
  if (it == namespaces_.end()) {
    co_return Error(Errc::not_found, config_.nqn + " has no namespace " + std::to_string(nsid));
  }
  const std::unique_ptr<Namespace> removed = std::move(it->second);
  namespaces_.erase(it);
  removed->device.unsubscribe(*removed);
  ++ana_changes_;
  tell_namespace_changed(nsid);
  co_await removed->uses.close();
  co_await remove_from_views(nsid);
  HF_LOG(info, "nvmf", "namespace removed", {"nqn", config_.nqn}, {"nsid", nsid});
  co_return Status();
}

Task<Status> Subsystem::set_ana_state(std::uint32_t nsid, nvme::AnaState state) {
  const Gate::Hold hold = gate_.enter();
  if (!hold) co_return Error(Errc::failed_precondition, config_.nqn + " is being removed");
  const Semaphore::Permit lock = co_await lock_.acquire();
  const auto it = namespaces_.find(nsid);
  if (it == namespaces_.end()) {
    co_return Error(Errc::not_found, config_.nqn + " has no namespace " + std::to_string(nsid));
  }
  Namespace& ns = *it->second;
  if (ns.config.ana_state == state) co_return Status();
  ns.config.ana_state = state;
  ns.ana_changes = ++ana_changes_;
  auto apply = [state](NamespaceView& view) { view.ana_state = state; };
  co_await for_each_view(nsid, apply);
  for (auto& [cntlid, controller] : controllers_) controller->ana_changed();
  co_return Status();
}

// The device below grew or shrank.
Task<void> Subsystem::refresh(std::uint32_t nsid) {
  const Gate::Hold hold = gate_.enter();
  if (!hold) co_return;
  const Semaphore::Permit lock = co_await lock_.acquire();
  const auto it = namespaces_.find(nsid);
  if (it == namespaces_.end()) co_return;
  Namespace& ns = *it->second;
  ns.geometry = ns.device.geometry();
  ns.capabilities = ns.device.capabilities();
  auto apply = [&ns](NamespaceView& view) {
    view.geometry = ns.geometry;
    view.capabilities = ns.capabilities;
  };
  co_await for_each_view(nsid, apply);
  tell_namespace_changed(nsid);
}

void Subsystem::device_failed(Namespace& ns, bool failed) {
  if (std::exchange(ns.failed, failed) == failed || !failed) return;
  if (find(ns.config.nsid) == &ns) tell_device_failed(ns);  // else it is being added
}

void Subsystem::tell_device_failed(const Namespace& ns) {
  for (auto& [cntlid, controller] : controllers_) controller->device_failed(ns.config.nsid);
}

std::uint8_t Subsystem::critical_warning(std::uint32_t nsid) const noexcept {
  const bool any = std::any_of(namespaces_.begin(), namespaces_.end(), [nsid](const auto& one) {
    return (nsid == nvme::nsid_all || nsid == one.first) && one.second->failed;
  });
  return any ? nvme::critical_reliability : 0;
}

void Subsystem::tell_namespace_changed(std::uint32_t nsid) {
  for (auto& [cntlid, controller] : controllers_) controller->namespace_changed(nsid);
}

// Through every core: a device may have refused a channel on one of them. Views stay while the caller's controller
// does.
Task<Status> Subsystem::flush() {
  Status outcome;  // of the first that fails
  for (const auto& view : views_) {
    if (view == nullptr) continue;
    auto there = [&]() -> Task<Status> { return view->flush(); };
    Status flushed = co_await run_on(registry_.home(), view->core(), there);
    if (!flushed.ok() && outcome.ok()) outcome = std::move(flushed);
  }
  co_return outcome;
}

// For the SMART log.
Task<IoStats> Subsystem::stats(std::uint32_t nsid) {
  IoStats sum;
  const Gate::Hold hold = gate_.enter();
  if (!hold) co_return sum;
  const Semaphore::Permit lock = co_await lock_.acquire();  // the devices stay
  for (auto& [id, ns] : namespaces_) {
    if (nsid != nvme::nsid_all && nsid != id) continue;
    const IoStats s = co_await ns->device.stats();
    sum += s;
  }
  co_return sum;
}

Task<nvme::CommandStatus> Subsystem::set_reservations_persist(std::uint32_t nsid, bool on) {
  using nvme::StatusCode;
  const Gate::Hold hold = gate_.enter();
  if (!hold) co_return nvme::permanent(StatusCode::invalid_namespace);
  const Semaphore::Permit lock = co_await lock_.acquire();  // the namespaces stay
  bool any = false;
  for (auto& [id, ns] : namespaces_) {
    if ((id != nsid && nsid != nvme::nsid_all) || ns->guard == nullptr) continue;
    any = true;
    const Status done = co_await ns->guard->set_persist(on);
    if (!done.ok()) co_return nvme::to_nvme(done.code(), nvme::IoKind::other);
  }
  if (any) co_return nvme::CommandStatus();
  const bool known = nsid == nvme::nsid_all || find(nsid) != nullptr;
  co_return nvme::permanent(known ? StatusCode::invalid_field : StatusCode::invalid_namespace);
}

Task<Status> Subsystem::set_allowed_hosts(std::vector<std::string> hosts) {
  const Gate::Hold hold = gate_.enter();
  if (!hold) co_return Error(Errc::failed_precondition, config_.nqn + " is being removed");
  for (const std::string& host : hosts) {
    if (!nvme::is_valid_nqn(host)) co_return Error(Errc::invalid_argument, "not a host NQN: " + host);
  }
  config_.allowed_hosts = std::move(hosts);
  registry_.discovery_changed();
  const auto unwanted = [this] {
    return std::any_of(controllers_.begin(), controllers_.end(),
                       [this](const auto& c) { return !allows(c.second->host_nqn()); });
  };
  for (auto& [cntlid, controller] : controllers_) {
    if (!allows(controller->host_nqn())) controller->end("the host is not allowed any more");
  }
  while (unwanted()) (void)co_await controller_gone_.wait();
  co_return Status();
}

void Subsystem::forget(Controller& controller) noexcept {
  controllers_.erase(controller.cntlid());
  controller_gone_.wake_all();
}

Task<void> Subsystem::close() {
  closing_ = true;
  for (auto& [cntlid, controller] : controllers_) controller->end("the subsystem is removed");
  co_await gate_.close();  // no Connect gets in from here on
  // A Connect that was already under way may have made one more.
  for (auto& [cntlid, controller] : controllers_) controller->end("the subsystem is removed");
  while (!controllers_.empty()) (void)co_await controller_gone_.wait();
  for (auto& [nsid, ns] : namespaces_) ns->device.unsubscribe(*ns);
  for (auto& view : views_) {
    if (!view) continue;
    auto there = [&]() -> Task<void> { return view->remove_all(); };
    co_await run_on(registry_.home(), view->core(), there);
  }
  namespaces_.clear();
}

SubsystemInfo Subsystem::info() const {
  SubsystemInfo out;
  out.nqn = config_.nqn;
  out.serial = config_.serial;
  out.model = config_.model;
  out.allowed_hosts = config_.allowed_hosts;
  for (const auto& [nsid, ns] : namespaces_) {
    NamespaceInfo n;
    n.nsid = nsid;
    n.uuid = ns->config.uuid;
    n.device = ns->device.name();
    n.size_bytes = ns->geometry.size_bytes();
    n.ana_state = ns->config.ana_state;
    out.namespaces.push_back(std::move(n));
  }
  for (const auto& [cntlid, controller] : controllers_) out.controllers.push_back(controller->info());
  return out;
}

}  // namespace holdfast::nvmf::target
