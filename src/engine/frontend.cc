#include "engine/frontend.h"

#include <array>

#include "base/log.h"
#include "engine/bdev_service.h"
#include "engine/host_service.h"
#include "engine/metrics.h"
#include "engine/nexus_service.h"
#include "engine/pool_service.h"
#include "engine/replica_rebuild_service.h"
#include "engine/replica_record_service.h"
#include "engine/report_service.h"
#include "engine/snapshot_service.h"
#include "engine/test_service.h"

namespace holdfast::engine {

struct Frontend::Services {
  explicit Services(Engine& engine)
      : bdev(engine),
        nexus(engine),
        host(engine),
        pool(engine),
        replica(engine),
        pool_extras(engine),
        snapshot(engine),
        snapshot_rebuild(engine),
        replica_rebuild(engine),
        replica_record(engine),
        report(engine),
        stats(engine),
        test(engine) {}
  BdevService bdev;
  NexusService nexus;
  HostService host;
  PoolService pool;
  ReplicaService replica;
  PoolExtrasService pool_extras;
  SnapshotService snapshot;
  SnapshotRebuildService snapshot_rebuild;
  ReplicaRebuildService replica_rebuild;
  ReplicaRecordService replica_record;
  ReportService report;
  StatsService stats;
  TestService test;
  std::array<grpc::Service*, 13> all = {&bdev,
                                        &nexus,
                                        &host,
                                        &pool,
                                        &replica,
                                        &pool_extras,
                                        &snapshot,
                                        &snapshot_rebuild,
                                        &replica_rebuild,
                                        &replica_record,
                                        &report,
                                        &stats,
                                        &test};
};

Frontend::Frontend(Engine& engine) : engine_(engine), services_(std::make_unique<Services>(engine)) {}
Frontend::~Frontend() { HF_ASSERT(server_ == nullptr); }

Status Frontend::start() {
  const Options& o = engine_.options();
  // First what may fail, so that a control plane never hears of an engine that does not stay.
  if (o.metrics.port != 0) {
    HF_TRY(metrics_, MetricsServer::start(o.metrics, [this] { return render_metrics(engine_); }));
  }
  auto server = GrpcServer::start(o.grpc, services_->all);
  if (!server.ok()) {
    metrics_.reset();
    return server.error();
  }
  server_ = std::move(server).value();
  if (!o.registration.empty()) {
    registration_ = std::make_unique<Registration>(o.registration, engine_.introduction());
  }
  HF_LOG(info, "engine", "gRPC services ready", {"address", server_->local().to_string()});
  if (metrics_) HF_LOG(info, "engine", "metrics ready", {"address", o.metrics.to_string()});
  return Status();
}

void Frontend::stop() {
  if (registration_) registration_->deregister();
  registration_.reset();
  server_.reset();
  metrics_.reset();
}

}  // namespace holdfast::engine
