#include "agent/run.h"

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "agent/backup.h"
#include "agent/registration_server.h"
#include "agent/rest_front.h"
#include "base/log.h"
#include "control/agent.h"
#include "control/grpc/engine_grpc.h"
#include "rpc/home_call.h"
#include "rpc/listen_check.h"
#include "rt/scope.h"
#include "rt/wait.h"
#include "store/embedded_server.h"
#include "store/etcd_client.h"
#include "store/tls_keys.h"

namespace holdfast::agent {
namespace {

Task<Status> check_addresses(Reactor& home, const Options& o) {
  HF_CO_CHECK(co_await rpc::check_can_listen(home, o.grpc, "--grpc-server-addr"));
  if (o.http) HF_CO_CHECK(co_await rpc::check_can_listen(home, *o.http, "--http"));
  if (o.https) HF_CO_CHECK(co_await rpc::check_can_listen(home, *o.https, "--https"));
  co_return Status();
}

// start() -> Result<T> on a helper thread.
template <class T>
Task<Result<T>> blocking(Reactor& home, std::function<Result<T>()> start) {
  std::optional<Result<T>> result;
  std::function<void()> work = [&] { result.emplace(start()); };
  co_await home.run_blocking(std::move(work));
  co_return std::move(*result);
}

using Embedded = std::unique_ptr<store::EmbeddedServer>;

// Nothing when an etcd is used.
Task<Result<Embedded>> start_store(Reactor& home, const Options& options) {
  if (options.embedded_path.empty()) co_return Embedded();
  store::EmbeddedOptions settings;
  settings.path = options.embedded_path;
  settings.listen = options.store_listen.to_string();
  settings.seed = home.random().next() | 1;
  rpc::TlsPaths paths = options.store_listen_tls;
  HF_CO_TRY(settings.tls, co_await store::load_tls_keys(home, std::move(paths), "--store-listen-cert"));
  std::function<Result<Embedded>()> start = [&settings] {
    return store::EmbeddedServer::start(std::move(settings));
  };
  auto started = co_await blocking<Embedded>(home, std::move(start));
  if (!started.ok()) co_return started.error().with_context("--store");
  HF_LOG(info, "agent", "embedded store served", {"file", options.embedded_path},
         {"at", started.value()->address()});
  co_return std::move(started).value();
}

Task<Result<std::unique_ptr<store::EtcdClient>>> open_store(Reactor& home, const Options& options,
                                                            const Embedded& embedded) {
  store::EtcdOptions settings;
  settings.endpoints = options.store_endpoints;
  const bool with_tls = !options.store_listen_tls.certificate.empty();
  if (embedded != nullptr) settings.endpoints = {(with_tls ? "https://" : "http://") + embedded->address()};
  settings.call_timeout = options.store_timeout;
  rpc::TlsPaths paths = options.store_tls;
  HF_CO_TRY(settings.tls, co_await store::load_tls_keys(home, std::move(paths), "--store-cert"));
  if (settings.tls) settings.tls->peer_name = options.store_name;
  auto client = store::EtcdClient::create(home, std::move(settings));
  if (!client.ok()) co_return client.error().with_context("--store");
  co_return std::move(client).value();
}

// What others reach the agent by. Their threads wait for the home reactor, so they start and end beside it.
struct Fronts {
  std::unique_ptr<RestFront> rest;
  std::unique_ptr<RegistrationServer> registration;
};

Task<Result<Fronts>> start_fronts(Reactor& home, const Options& options, const std::string& version,
                                  rpc::HomePort& port, control::rest::Home& rest_home,
                                  control::Service& service) {
  std::function<Result<Fronts>()> start = [&]() -> Result<Fronts> {
    Fronts fronts;
    HF_TRY(fronts.rest, RestFront::start(options, version, rest_home));
    RegistrationServer::Settings settings{options.grpc, options.control.agent, std::nullopt};
    HF_TRY(fronts.registration, RegistrationServer::start(std::move(settings), port, service));
    return fronts;
  };
  auto fronts = co_await blocking<Fronts>(home, std::move(start));
  co_return fronts;
}

// New calls are refused from now on; those under way get a moment to end before their callers are cut off.
Task<void> end_fronts(rpc::HomePort& port, Fronts fronts) {
  constexpr Nanos patience = 2s;
  constexpr Nanos look = 5ms;
  TaskScope scope(port.home());
  scope.spawn(port.close());
  for (Nanos waited{0}; port.gate().inside() > 0 && waited < patience; waited += look) {
    co_await port.home().sleep(look);
  }
  std::function<void()> end = [&fronts] {
    fronts.rest.reset();
    fronts.registration.reset();
  };
  co_await port.home().run_blocking(std::move(end));
  co_await scope.join();
}

Task<Status> serve(Reactor& home, const Options& options, const std::string& version, control::Agent& agent,
                   StopToken stop) {
  rpc::HomePort port(home);
  control::rest::Home rest_home(port, agent);
  auto fronts = co_await start_fronts(home, options, version, port, rest_home, agent);
  if (!fronts.ok()) {
    co_await port.close();
    co_return fronts.error();
  }
  HF_LOG(info, "agent", "serving", {"name", options.control.agent}, {"cluster", options.control.cluster},
         {"version", version}, {"engines_register_at", options.grpc.to_string()});
  Event never(home);
  co_await never.wait(no_deadline, stop);
  HF_LOG(info, "agent", "stopping: no new calls; a second signal ends at once");
  Fronts running = std::move(fronts).value();
  co_await end_fronts(port, std::move(running));
  co_return Status();
}

Task<Status> run_with_store(Reactor& home, const Options& options, const std::string& version, store::Kv& kv,
                            StopToken stop) {
  control::GrpcDirectory engines(home);
  control::Agent agent(home, kv, engines, options.control);
  StopSource end_of_agent;
  TaskScope scope(home);
  scope.spawn(agent.run(end_of_agent.token()));
  Status served = co_await serve(home, options, version, agent, stop);
  end_of_agent.request_stop();
  co_await scope.join();
  co_return served;
}

Task<Status> run_on_store(Reactor& home, const Options& options, const std::string& version,
                          const Embedded& embedded, StopToken stop) {
  HF_CO_TRY(const auto kv, co_await open_store(home, options, embedded));
  std::string cluster = options.control.cluster;
  BackupRequest request = options.backup;
  Task<Status> work = options.backup.any()
                          ? back_up_or_restore(home, *kv, std::move(cluster), std::move(request))
                          : run_with_store(home, options, version, *kv, stop);
  Status ended = co_await work;
  co_await kv->close();
  co_return ended;
}

}  // namespace

Task<Status> run_agent(Reactor& home, Options options, std::string version, StopToken stop) {
  for (const std::string& flag : options.without_effect)
    HF_LOG(warn, "agent", "a flag without effect: " + flag);
  if (!options.backup.any()) HF_CO_CHECK(co_await check_addresses(home, options));
  HF_CO_TRY(Embedded embedded, co_await start_store(home, options));
  Status ended = co_await run_on_store(home, options, version, embedded, stop);
  std::function<void()> close_store = [&embedded] { embedded.reset(); };
  co_await home.run_blocking(std::move(close_store));
  if (ended.ok()) HF_LOG(info, "agent", "stopped cleanly");
  co_return ended;
}

}  // namespace holdfast::agent
