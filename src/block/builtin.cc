#include "block/builtin.h"

#include "block/file_device.h"
#include "block/inject_device.h"
#include "block/memory_devices.h"

namespace holdfast {

void register_builtin_schemes(DeviceRegistry& registry, const Cores& cores, std::string host) {
  registry.add_scheme("malloc", malloc_scheme(cores));
  registry.add_scheme("null", null_scheme(cores));
  registry.add_scheme("aio", file_scheme(cores, host));
  registry.add_scheme("uring", file_scheme(cores, std::move(host)));
  registry.add_scheme("inject", inject_scheme(registry));
}

}  // namespace holdfast
