#include "engine/run.h"

#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "engine/engine.h"
#include "engine/frontend.h"
#include "rpc/listen_check.h"
#include "rt/scope.h"
#include "rt/wait.h"

namespace holdfast::engine {
namespace {

Task<Status> check_addresses(Reactor& home, const Options& o) {
  HF_CO_CHECK(co_await rpc::check_can_listen(home, o.grpc, "--grpc-ip, --grpc-port"));
  if (o.metrics.port != 0) {
    HF_CO_CHECK(co_await rpc::check_can_listen(home, o.metrics, "--metrics-ip, --metrics-port"));
  }
  co_return Status();
}

Task<Status> start_frontend(Reactor& home, Frontend& frontend) {
  std::optional<Status> started;
  std::function<void()> start = [&] { started.emplace(frontend.start()); };
  co_await home.run_blocking(std::move(start));
  co_return std::move(*started);
}

// New calls are refused from now on; those under way get a moment to end before their callers are cut off.
Task<void> let_calls_end(rpc::HomePort& port, TaskScope& scope) {
  constexpr Nanos patience = 2s;
  constexpr Nanos look = 5ms;
  scope.spawn(port.close());
  for (Nanos waited{0}; port.gate().inside() > 0 && waited < patience; waited += look) {
    co_await port.home().sleep(look);
  }
}

}  // namespace

Task<Status> run_engine(const Cores& cores, Options options, std::string version, const DataDir& data,
                        StopToken stop) {
  Reactor& home = cores.home();
  const Nanos began = home.now();
  HF_CO_CHECK(co_await check_addresses(home, options));
  StoreAccess access = options.store;
  HF_CO_TRY(auto store, co_await StoreMembership::open(home, std::move(access)));
  Engine engine(cores, std::move(options), std::move(version), data, std::move(store));
  HF_CO_CHECK(co_await engine.start());
  Frontend frontend(engine);
  Status started = co_await start_frontend(home, frontend);
  if (!started.ok()) {
    co_await engine.stop();
    co_return started;
  }
  HF_LOG(info, "engine", "ready", {"node", engine.options().node_name}, {"version", engine.version()},
         {"cores", cores.count()}, {"start_ms", (home.now() - began) / 1ms});
  Event never(home);
  co_await never.wait(no_deadline, stop);
  HF_LOG(info, "engine", "stopping: no new calls; a second signal ends at once");
  TaskScope ending(home);
  co_await let_calls_end(engine.port(), ending);
  std::function<void()> stop_frontend = [&] { frontend.stop(); };
  co_await home.run_blocking(std::move(stop_frontend));
  co_await ending.join();
  co_await engine.stop();
  HF_LOG(info, "engine", "stopped cleanly");
  co_return Status();
}

}  // namespace holdfast::engine
