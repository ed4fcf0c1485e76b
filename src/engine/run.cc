#include "engine/run.h"

#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "engine/engine.h"
#include "engine/frontend.h"
#include "rt/scope.h"
#include "rt/wait.h"

namespace holdfast::engine {
namespace {

// Set when the process is asked to stop.
class Asked final : StopCallback {
 public:
  Asked(Reactor& home, StopToken stop) : event_(home) { stop.subscribe(*this); }
  Task<Wake> wait() { return event_.wait(); }

 private:
  void on_stop() noexcept override { event_.set(); }
  Event event_;
};

// The libraries that listen for us do not say why they could not; the reactor does.
Task<Status> check_address(Reactor& home, Endpoint at, const char* flags) {
  auto listener = home.listen(at);
  if (!listener.ok()) co_return listener.error().with_context(flags);
  co_await listener.value()->close();
  co_return Status();
}

Task<Status> check_addresses(Reactor& home, const Options& o) {
  // A host without IPv6 has no "::", and gRPC takes it for every IPv4 address then.
  if (o.grpc.address != "::") HF_CO_CHECK(co_await check_address(home, o.grpc, "--grpc-ip, --grpc-port"));
  if (o.metrics.port != 0) {
    HF_CO_CHECK(co_await check_address(home, o.metrics, "--metrics-ip, --metrics-port"));
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
  Asked asked(home, stop);
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
  co_await asked.wait();
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
