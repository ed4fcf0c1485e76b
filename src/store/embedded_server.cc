#include "store/embedded_server.h"

#include <chrono>
#include <utility>

#include <fmt/format.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "base/assert.h"
#include "base/prng.h"
#include "rpc/channel.h"
#include "store/embedded_services.h"
#include "store/sqlite_table.h"

namespace holdfast::store {

struct EmbeddedServer::Parts {
  Parts(std::unique_ptr<StoreWorker> w, std::uint64_t cluster_id, std::uint64_t seed)
      : worker(std::move(w)), random(seed), shared{*worker, cluster_id, cluster_id, [this] {
                                                     return new_id();
                                                   }} {}
  LeaseId new_id() noexcept { return static_cast<LeaseId>(random.next() >> 1); }

  std::unique_ptr<StoreWorker> worker;
  Prng random;  // worker's thread
  EmbeddedShared shared;
  EmbeddedKv kv{shared};
  EmbeddedLease lease{shared};
  EmbeddedWatch watch{shared};
  EmbeddedMaintenance maintenance{shared};
  std::unique_ptr<grpc::Server> server;
};

namespace {

void set_limits(grpc::ServerBuilder& builder, std::size_t request_bytes) {
  // As etcd: what is a little too large gets a text that says so, what is much larger ends earlier.
  constexpr std::size_t beside = 512 * 1024;
  builder.SetMaxReceiveMessageSize(static_cast<int>(request_bytes + beside));
  builder.SetMaxSendMessageSize(-1);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 4096);
  // Clients ask silent connections whether they live: watches are silent for long.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 2000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Two stores on one port would share its clients.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

std::string with_port(const std::string& listen, int port) {
  return listen.substr(0, listen.rfind(':') + 1) + std::to_string(port);
}

}  // namespace

Result<std::unique_ptr<EmbeddedServer>> EmbeddedServer::start(EmbeddedOptions options) {
  HF_ASSERT(options.seed != 0);
  Prng seeds(options.seed);
  HF_TRY(auto table, SqliteTable::open(options.path, seeds.next()));
  const std::uint64_t cluster_id = table->cluster_id();
  StoreWorker::Options worker_options;
  worker_options.limits = options.limits;
  worker_options.retain = options.retain;
  HF_TRY(auto worker, StoreWorker::start(std::move(table), worker_options));
  auto parts = std::make_unique<Parts>(std::move(worker), cluster_id, seeds.next());
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(options.listen,
                           rpc::server_credentials(options.tls.has_value() ? &*options.tls : nullptr), &port);
  builder.RegisterService(&parts->kv);
  builder.RegisterService(&parts->lease);
  builder.RegisterService(&parts->watch);
  builder.RegisterService(&parts->maintenance);
  set_limits(builder, options.limits.request_bytes);
  parts->server = builder.BuildAndStart();
  if (parts->server == nullptr || port == 0) {
    return Error(Errc::busy,
                 fmt::format("the store cannot listen on {}: is the port in use?", options.listen));
  }
  std::string address = with_port(options.listen, port);
  return std::unique_ptr<EmbeddedServer>(new EmbeddedServer(std::move(parts), std::move(address)));
}

EmbeddedServer::EmbeddedServer(std::unique_ptr<Parts> parts, std::string address)
    : parts_(std::move(parts)), address_(std::move(address)) {}

EmbeddedServer::~EmbeddedServer() {
  // Watches never end by themselves.
  parts_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  parts_->server->Wait();
  parts_->server.reset();
}

}  // namespace holdfast::store
