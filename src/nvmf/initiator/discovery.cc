#include <algorithm>
#include <memory>
#include <utility>

#include "base/log.h"
#include "nvme/fabrics.h"
#include "nvmf/initiator/discovery_log.h"
#include "nvmf/initiator/initiator.h"
#include "nvmf/initiator/session.h"

namespace holdfast::nvmf {
namespace {

Task<Result<std::vector<DiscoveryEntry>>> ask(Reactor& reactor, Endpoint at, std::string service,
                                              InitiatorConfig config, StopToken stop) {
  complete_identity(config);
  config.keep_alive = Nanos{0};
  const std::string where = "discovery service at " + at.to_string();
  HF_CO_TRY(const std::vector<Endpoint> addresses, co_await host::resolve_host(reactor, at));
  const Nanos deadline = reactor.now() + config.connect_timeout;
  Error last(Errc::not_found);
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const Nanos until = host::share_until(reactor.now(), deadline, addresses.size() - i);
    auto opened =
        co_await host::AdminSession::open(reactor, addresses[i], service, config, nullptr, until, stop);
    if (!opened.ok()) {
      last = opened.error();
      continue;
    }
    const std::unique_ptr<host::AdminSession> session = std::move(opened).value();
    host::Admin admin = session->admin();
    auto entries = co_await host::read_discovery_log(admin);
    co_await session->close();
    if (entries.ok()) co_return entries;
    co_return entries.error().with_context(where);
  }
  co_return last.with_context(where);
}

}  // namespace

Task<Result<std::vector<DiscoveryEntry>>> discover(Reactor& reactor, Endpoint at, InitiatorConfig config,
                                                   StopToken stop) {
  return ask(reactor, std::move(at), std::string(nvme::discovery_nqn), std::move(config), stop);
}

Task<Result<std::vector<DiscoveryEntry>>> discover_all(Reactor& reactor, Endpoint at, InitiatorConfig config,
                                                       StopToken stop) {
  HF_CO_TRY(const std::vector<DiscoveryEntry> first, co_await discover(reactor, at, config, stop));
  std::vector<DiscoveryEntry> all;
  std::vector<DiscoveryEntry> services;  // told of; the first `asked` of them were asked
  std::size_t asked = 0;
  const auto take = [&](const std::vector<DiscoveryEntry>& entries) {
    for (const DiscoveryEntry& e : entries) {
      auto& list = e.type == nvme::SubsystemType::referral ? services : all;
      if (!host::has_way(list, e) && list.size() < host::discovery_entries_max) list.push_back(e);
    }
  };
  take(first);
  for (; asked < services.size() && asked < host::discovery_services_max && !stop.stop_requested(); ++asked) {
    const DiscoveryEntry service = services[asked];
    if (!host::is_usable_referral(service) || service.address == at) continue;
    const auto found = co_await ask(reactor, service.address, host::service_nqn(service), config, stop);
    if (found.ok()) {
      take(found.value());
    } else {
      HF_LOG(warn, "nvmf", "referral not followed", {"error", found.error()});
    }
  }
  if (asked < services.size())
    HF_LOG(warn, "nvmf", "too many referrals", {"from", at.to_string()}, {"left", services.size() - asked});
  co_return all;
}

}  // namespace holdfast::nvmf
