#include "engine/fault_injections.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "block/inject_device.h"

namespace holdfast::engine::fault_injections {

using google::protobuf::Empty;

namespace {

// An inject device that nobody destroys meanwhile.
struct Locked {
  KeyedLocks::Lock lock;
  Gate::Hold kept;  // a nexus destroys what it made of its children without the lock
  InjectDevice* device;
  Locked(KeyedLocks::Lock l, Gate::Hold k, InjectDevice& d) noexcept
      : lock(std::move(l)), kept(std::move(k)), device(&d) {}
};

InjectDevice* find(Engine& engine, const std::string& name) {
  return dynamic_cast<InjectDevice*>(engine.devices().find(name));
}

// The inject device itself, or the one before the device named.
Task<Result<Locked>> lock(Engine& engine, const InjectionUri& wanted) {
  const std::string& target = wanted.target;
  const std::string name = find(engine, target) != nullptr ? target : wanted.inject_device;
  HF_CO_TRY(auto held, co_await engine.locks().acquire(engine.lock_key(name)));
  if (InjectDevice* device = find(engine, name))
    co_return Locked(std::move(held), engine.devices().keep(*device), *device);
  if (engine.devices().find(target) == nullptr)
    co_return Error(Errc::not_found, fmt::format("there is no device '{}'", target));
  co_return Error(Errc::failed_precondition,
                  fmt::format("no inject device stands before '{}': create one and use it instead", target));
}

auto position(const std::vector<InjectDevice::Listed>& all, const std::string& uri) {
  return std::find_if(all.begin(), all.end(), [&uri](const auto& l) { return l.uri == uri; });
}

}  // namespace

Task<Result<Empty>> add(Engine& engine, const v1::AddFaultInjectionRequest& request) {
  HF_CO_TRY(const auto wanted, parse_injection(request.uri()));
  HF_CO_TRY(const auto locked, co_await lock(engine, wanted));
  const auto there = co_await locked.device->list();
  if (position(there, request.uri()) != there.end()) {
    co_return Error(Errc::already_exists, fmt::format("'{}' is being injected already", request.uri()));
  }
  co_await locked.device->add(wanted.injection, request.uri());
  co_return Empty();
}

Task<Result<Empty>> remove(Engine& engine, const v1::RemoveFaultInjectionRequest& request) {
  HF_CO_TRY(const auto wanted, parse_injection(request.uri()));
  HF_CO_TRY(const auto locked, co_await lock(engine, wanted));
  const auto there = co_await locked.device->list();
  const auto found = position(there, request.uri());
  if (found == there.end())
    co_return Error(Errc::not_found, fmt::format("'{}' is not being injected", request.uri()));
  HF_CO_CHECK(co_await locked.device->remove(found->id));
  co_return Empty();
}

Task<Result<v1::ListFaultInjectionsReply>> list(Engine& engine, const v1::ListFaultInjectionsRequest&) {
  v1::ListFaultInjectionsReply reply;
  std::vector<std::string> names;
  for (const auto& [name, entry] : engine.devices().entries()) {
    if (find(engine, name) != nullptr) names.push_back(name);
  }
  for (const auto& name : names) {
    HF_CO_TRY(const auto held, co_await engine.locks().acquire(engine.lock_key(name)));
    InjectDevice* device = find(engine, name);
    if (device == nullptr) continue;
    const Gate::Hold kept = engine.devices().keep(*device);
    const auto all = co_await device->list();
    for (const auto& listed : all) {
      auto* i = reply.add_injections();
      i->set_uri(listed.uri);
      i->set_device_name(name);
      i->set_is_active(listed.active);
    }
  }
  co_return reply;
}

}  // namespace holdfast::engine::fault_injections
