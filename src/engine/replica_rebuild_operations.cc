#include "engine/replica_rebuild_operations.h"

#include <set>
#include <vector>

#include <fmt/format.h>

#include "engine/naming.h"
#include "engine/nexus_messages.h"
#include "engine/nexus_operations.h"
#include "engine/replica_operations.h"

namespace holdfast::engine::replica_rebuild_operations {

using google::protobuf::Empty;

namespace {

constexpr std::size_t endpoint_bytes_max = 512;

own::ReplicaRebuild message(const ReplicaRebuildView& view) {
  own::ReplicaRebuild m;
  m.set_replica_uuid(view.params.replica.to_string());
  m.set_source_uuid(view.params.source.to_string());
  m.set_source_endpoint(view.params.endpoint);
  switch (view.state) {
    case ReplicaRebuildState::running:
      m.set_status(own::ReplicaRebuild::RUNNING);
      break;
    case ReplicaRebuildState::successful:
      m.set_status(own::ReplicaRebuild::SUCCESSFUL);
      break;
    case ReplicaRebuildState::failed:
      m.set_status(own::ReplicaRebuild::FAILED);
      break;
  }
  m.set_error(view.error);
  m.set_snapshots(static_cast<std::uint32_t>(view.snapshots));
  for (const auto& copied : view.copied) {
    auto* c = m.add_copied();
    c->set_snapshot_uuid(copied.uuid.to_string());
    c->set_snapshot_name(copied.name);
    c->set_copied(copied.bytes);
  }
  m.set_in_sync_through(view.in_sync_through);
  *m.mutable_start() = to_message(view.start);
  if (view.end != WallTime{}) *m.mutable_end() = to_message(view.end);
  return m;
}

Result<std::vector<ReplicaRebuildParams::Wanted>> to_wanted(const own::RebuildReplicaRequest& request) {
  constexpr int wanted_max = 4096;
  if (request.snapshots_size() > wanted_max)
    return Error(Errc::invalid_argument, fmt::format("snapshots: {} are allowed", wanted_max));
  std::vector<ReplicaRebuildParams::Wanted> all;
  std::set<Uuid> sources, copies;
  for (const auto& s : request.snapshots()) {
    ReplicaRebuildParams::Wanted& one = all.emplace_back();
    HF_TRY(one.source, to_uuid("snapshots.source_uuid", s.source_uuid()));
    HF_TRY(one.uuid, to_uuid("snapshots.uuid", s.uuid()));
    one.name = s.name();
    if (one.uuid.is_nil()) return Error(Errc::invalid_argument, "snapshots.uuid: the nil UUID names nothing");
    if (!one.name.empty()) HF_CHECK(check_name("snapshots.name", one.name));
    if (!sources.insert(one.source).second || !copies.insert(one.uuid).second)
      return Error(Errc::invalid_argument, fmt::format("snapshots: {} is given twice", s.source_uuid()));
  }
  return all;
}

std::string lock_key(const Uuid& replica) { return "rebuild of replica " + replica.to_string(); }

}  // namespace

Task<Result<own::ReplicaRebuild>> create(Engine& engine, const own::RebuildReplicaRequest& request) {
  ReplicaRebuildParams params;
  HF_CO_TRY(params.replica, to_uuid("replica_uuid", request.replica_uuid()));
  HF_CO_TRY(params.source, to_uuid("source_uuid", request.source_uuid()));
  params.endpoint = request.source_endpoint();
  if (params.endpoint.empty() || params.endpoint.size() > endpoint_bytes_max) {
    co_return Error(Errc::invalid_argument, "source_endpoint: give HOST:PORT of the engine with the source");
  }
  HF_CO_TRY(params.wanted, to_wanted(request));
  HF_CO_TRY(const auto lock, co_await engine.locks().acquire(lock_key(params.replica)));
  HF_CO_TRY(const auto view, co_await engine.replica_rebuilds().create(std::move(params)));
  co_return message(view);
}

Task<Result<own::ListReplicaRebuildsResponse>> list(Engine& engine,
                                                    const own::ListReplicaRebuildsRequest& request) {
  HF_CO_TRY(const auto replica,
            to_uuid_if(request.has_replica_uuid(), "replica_uuid", request.replica_uuid()));
  own::ListReplicaRebuildsResponse reply;
  for (const auto& view : engine.replica_rebuilds().list()) {
    if (!replica || *replica == view.params.replica) *reply.add_rebuilds() = message(view);
  }
  co_return reply;
}

Task<Result<Empty>> destroy(Engine& engine, const own::DestroyReplicaRebuildRequest& request) {
  HF_CO_TRY(const Uuid replica, to_uuid("replica_uuid", request.replica_uuid()));
  HF_CO_TRY(const auto lock, co_await engine.locks().acquire(lock_key(replica)));
  HF_CO_CHECK(co_await engine.replica_rebuilds().destroy(replica));
  co_return Empty();
}

Task<Result<v1::Nexus>> add_child(Engine& engine, const own::AddChildNexusRequest& request) {
  v1::AddChildNexusRequest plain;
  plain.set_uuid(request.uuid());
  plain.set_uri(request.uri());
  plain.set_norebuild(request.norebuild());
  HF_CO_TRY(auto reply, co_await nexus_operations::add_child(engine, plain, request.in_sync_through()));
  co_return std::move(*reply.mutable_nexus());
}

Task<Result<own::Epochs>> epochs(Engine& engine, const own::GetEpochsRequest& request) {
  HF_CO_TRY(const Uuid uuid, to_uuid("uuid", request.uuid()));
  HF_CO_TRY(const auto locked, co_await lock_volume(engine, "replica or snapshot", uuid));
  own::Epochs reply;
  reply.set_current(locked.volume.spec.epoch);
  reply.set_sealed(locked.volume.spec.sealed);
  co_return reply;
}

Task<Result<own::ListRegionEpochsResponse>> region_epochs(Engine& engine,
                                                          const own::ListRegionEpochsRequest& request) {
  constexpr std::size_t runs_max = 16384;  // of 20 bytes at most: well below gRPC's 4 MiB
  HF_CO_TRY(const Uuid uuid, to_uuid("uuid", request.uuid()));
  HF_CO_TRY(const auto locked, co_await lock_volume(engine, "replica", uuid));
  HF_CO_TRY(const auto runs, locked.known->pool->region_epochs(uuid, request.first(), runs_max));
  own::ListRegionEpochsResponse reply;
  for (const auto& run : runs) {
    auto* r = reply.add_runs();
    r->set_first(run.first);
    r->set_count(run.count);
    r->set_epoch(run.epoch);
  }
  if (runs.size() == runs_max) reply.set_next_first(runs.back().first + runs.back().count);
  co_return reply;
}

}  // namespace holdfast::engine::replica_rebuild_operations
