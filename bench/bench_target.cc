// The target alone, without the engine around it: exports the devices of some URIs, to measure and profile
// the data path by itself.
//   bench-target PORT CORES SPIN_US URI...      subsystems nqn.2019-05.io.openebs:bench0, bench1, ...
// SIGUSR1: prints for how many nanoseconds the first core has been busy.
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/units.h"
#include "block/builtin.h"
#include "block/registry.h"
#include "nvmf/target/target.h"
#include "pool/pool_scheme.h"
#include "uring/runtime.h"

namespace {

using namespace holdfast;

struct Arguments {
  std::uint16_t port = 0;
  uring::Runtime::Options runtime;
  std::vector<std::string> uris;
};

uring::Runtime* running = nullptr;

class TellBusy final : public Message {
 public:
  void run() noexcept override {
    asked_ = false;
    std::printf("%lld\n", static_cast<long long>(running->home().busy().count()));
    std::fflush(stdout);
  }
  void ask() noexcept {
    if (!asked_.exchange(true)) running->home().send(*this);
  }

 private:
  std::atomic<bool> asked_{false};
};
TellBusy tell_busy;

Task<Status> export_devices(DeviceRegistry& registry, nvmf::Target& target, const Arguments& arguments) {
  Endpoint at{"127.0.0.1", arguments.port};
  HF_CO_TRY(const Endpoint bound, co_await target.listen(at));
  for (std::size_t i = 0; i < arguments.uris.size(); ++i) {
    HF_CO_TRY(BlockDevice * device, co_await registry.create(arguments.uris[i]));
    nvmf::SubsystemConfig subsystem;
    subsystem.nqn = nvmf::subsystem_nqn("bench" + std::to_string(i));
    subsystem.serial = nvmf::subsystem_serial(device->identity().uuid);
    nvmf::NamespaceConfig ns;
    ns.uuid = device->identity().uuid;
    const std::string nqn = subsystem.nqn;
    HF_CO_CHECK(co_await target.add_subsystem(std::move(subsystem)));
    HF_CO_CHECK(co_await target.add_namespace(nqn, ns, *device));
    std::printf("nvmf://%s/%s\n", bound.to_string().c_str(), nqn.c_str());
  }
  std::fflush(stdout);
  co_return Status();
}

Task<Status> serve(uring::Runtime& runtime, const Arguments& arguments) {
  DeviceRegistry registry(runtime.cores());
  register_builtin_schemes(registry, runtime.cores());
  registry.add_scheme("pool", pool::pool_scheme(registry));
  nvmf::Target target(runtime.cores(), nvmf::TargetConfig());
  Status exported = co_await export_devices(registry, target, arguments);
  if (exported.ok()) co_await runtime.home().sleep(std::chrono::hours(24), runtime.stop_token());
  co_await target.close();
  co_await registry.close();
  co_return exported;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: bench-target PORT CORES SPIN_US URI...\n");
    return 2;
  }
  log::configure(log::Level::warn, log::Format::text);
  Arguments arguments;
  arguments.port = static_cast<std::uint16_t>(std::atoi(argv[1]));
  arguments.runtime.cores = static_cast<unsigned>(std::atoi(argv[2]));
  arguments.runtime.spin_us = std::atoi(argv[3]);
  arguments.uris.assign(argv + 4, argv + argc);
  auto runtime = uring::Runtime::create(arguments.runtime);
  if (!runtime.ok()) {
    std::fprintf(stderr, "%s\n", runtime.error().message().c_str());
    return 1;
  }
  running = runtime.value().get();
  for (const int signal : {SIGTERM, SIGINT}) std::signal(signal, [](int) { running->stop(); });
  std::signal(SIGUSR1, [](int) { tell_busy.ask(); });
  const Status served = runtime.value()->run(serve(*runtime.value(), arguments));
  if (!served.ok()) std::fprintf(stderr, "%s\n", served.error().message().c_str());
  return served.ok() ? 0 : 1;
}
