#include "engine/snapshot_rebuild_operations.h"

#include <fmt/format.h>

#include "engine/naming.h"
#include "engine/nexus_messages.h"
#include "engine/pool_messages.h"

namespace holdfast::engine::snapshot_rebuild_operations {

using google::protobuf::Empty;

namespace {

Error bad(std::string text) { return Error(Errc::invalid_argument, std::move(text)); }

v1::SnapshotRebuild message(const SnapshotRebuildView& view) {
  v1::SnapshotRebuild m;
  m.set_uuid(view.params.uuid.to_string());
  m.set_replica_uuid(view.params.replica.to_string());
  m.set_snapshot_uuid(view.params.snapshot.to_string());
  m.set_replica_uri(view.params.replica_uri);
  m.set_snapshot_uri(view.params.snapshot_uri);
  switch (view.state) {
    case SnapshotRebuildState::running:
      m.set_status(v1::SnapshotRebuild::Running);
      break;
    case SnapshotRebuildState::successful:
      m.set_status(v1::SnapshotRebuild::Successful);
      break;
    case SnapshotRebuildState::failed:
      m.set_status(v1::SnapshotRebuild::Failed);
      break;
  }
  m.set_total(view.total_bytes);
  m.set_rebuilt(view.rebuilt_bytes);
  m.set_remaining(view.total_bytes - view.rebuilt_bytes);
  *m.mutable_start_timestamp() = to_message(view.start);
  if (view.end != WallTime{}) *m.mutable_end_timestamp() = to_message(view.end);
  m.set_target_remote(view.params.replica_uri.starts_with("nvmf"));
  return m;
}

// The URI of a request, or that of a volume of this engine.
Result<std::string> uri_or_local(Engine& engine, const char* what, const std::string& uri, const Uuid& uuid) {
  if (!uri.empty()) return uri;
  const auto found = engine.pools().find_volume(uuid);
  if (!found) {
    return Error(Errc::not_found, fmt::format("there is no {} {} on this engine, and no URI of it is given",
                                              what, uuid.to_string()));
  }
  HF_TRY(const BlockDevice* device, Pools::device_of(*found->known, found->volume.spec));
  return local_uri(device->name(), uuid);
}

Result<Uuid> uuid_or_nil(const char* field, const std::string& text) {
  if (text.empty()) return Uuid();
  return to_uuid(field, text);
}

Result<SnapshotRebuildParams> to_params(Engine& engine, const v1::CreateSnapshotRebuildRequest& request) {
  if (request.use_bitmap() || request.has_bitmap()) return bad("bitmap: not supported");
  if (request.resume())
    return bad("resume: not supported; a new job looks at everything and writes what differs");
  SnapshotRebuildParams params;
  HF_TRY(params.uuid, to_uuid("uuid", request.uuid()));
  if (params.uuid.is_nil()) return bad("uuid: the nil UUID names nothing");
  HF_TRY(params.replica, uuid_or_nil("replica_uuid", request.replica_uuid()));
  HF_TRY(params.snapshot, uuid_or_nil("snapshot_uuid", request.snapshot_uuid()));
  HF_TRY(params.replica_uri, uri_or_local(engine, "replica", request.replica_uri(), params.replica));
  HF_TRY(params.snapshot_uri, uri_or_local(engine, "snapshot", request.snapshot_uri(), params.snapshot));
  return params;
}

std::string lock_key(const Uuid& job) { return "snapshot rebuild " + job.to_string(); }

}  // namespace

Task<Result<v1::SnapshotRebuild>> create(Engine& engine, const v1::CreateSnapshotRebuildRequest& request) {
  HF_CO_TRY(auto params, to_params(engine, request));
  HF_CO_TRY(const auto lock, co_await engine.locks().acquire(lock_key(params.uuid)));
  HF_CO_TRY(const auto view, co_await engine.snapshot_rebuilds().create(std::move(params)));
  co_return message(view);
}

Task<Result<v1::ListSnapshotRebuildResponse>> list(Engine& engine,
                                                   const v1::ListSnapshotRebuildRequest& request) {
  HF_CO_TRY(const auto uuid, to_uuid_if(request.has_uuid(), "uuid", request.uuid()));
  HF_CO_TRY(const auto replica,
            to_uuid_if(request.has_replica_uuid(), "replica_uuid", request.replica_uuid()));
  HF_CO_TRY(const auto snapshot,
            to_uuid_if(request.has_snapshot_uuid(), "snapshot_uuid", request.snapshot_uuid()));
  v1::ListSnapshotRebuildResponse reply;
  for (const auto& view : engine.snapshot_rebuilds().list()) {
    if (uuid && *uuid != view.params.uuid) continue;
    if (replica && *replica != view.params.replica) continue;
    if (snapshot && *snapshot != view.params.snapshot) continue;
    *reply.add_rebuilds() = message(view);
  }
  co_return reply;
}

Task<Result<Empty>> destroy(Engine& engine, const v1::DestroySnapshotRebuildRequest& request) {
  HF_CO_TRY(const Uuid uuid, to_uuid("uuid", request.uuid()));
  HF_CO_TRY(const auto lock, co_await engine.locks().acquire(lock_key(uuid)));
  HF_CO_CHECK(co_await engine.snapshot_rebuilds().destroy(uuid));
  co_return Empty();
}

}  // namespace holdfast::engine::snapshot_rebuild_operations
