#include "nvmf/initiator/initiator.h"

#include <utility>

#include "nvmf/initiator/remote_device.h"

namespace holdfast::nvmf {
namespace {

Task<Result<std::unique_ptr<BlockDevice>>> create(const Cores& cores, InitiatorConfig defaults,
                                                  const Uri& uri) {
  HF_CO_TRY(RemoteConfig remote, parse_remote(uri, defaults));
  co_return co_await RemoteDevice::open(cores, std::move(remote), uri.text);
}

Result<std::string> device_name(const InitiatorConfig& defaults, const Uri& uri) {
  HF_TRY(const RemoteConfig remote, parse_remote(uri, defaults));
  return remote.device_name();
}

}  // namespace

void register_nvmf_scheme(DeviceRegistry& registry, const Cores& cores, InitiatorConfig defaults) {
  complete_identity(defaults);
  for (const char* scheme : {"nvmf", "nvmf+tcp"}) {
    DeviceRegistry::Scheme makes;
    makes.create = [&cores, defaults](const Uri& uri) { return create(cores, defaults, uri); };
    makes.name = [defaults](const Uri& uri) { return device_name(defaults, uri); };
    registry.add_scheme(scheme, std::move(makes));
  }
}

}  // namespace holdfast::nvmf
