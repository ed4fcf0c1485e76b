#include "engine/replica_record_service.h"

#include <map>

#include <fmt/format.h>

#include "base/units.h"
#include "base/utf8.h"
#include "engine/answer.h"
#include "engine/grpc_status.h"
#include "engine/nexus_messages.h"
#include "engine/pool_messages.h"
#include "engine/replica_operations.h"

namespace holdfast::engine {

namespace own = holdfast::v1;
using Context = grpc::ServerContext;

namespace {

// Of one answer, well below gRPC's 4 MiB; one record more may follow.
constexpr std::size_t answer_bytes_max = 1 << 20;
constexpr std::size_t record_overhead_bytes = 64;

own::ReplicaRecord message(const pool::VolumeSpec& spec, bool with_record) {
  own::ReplicaRecord m;
  m.set_uuid(spec.uuid.to_string());
  if (with_record) m.set_record(to_utf8(text_of(spec.attributes, attribute::record)));
  const auto digest = parse_number(text_of(spec.attributes, attribute::record_digest));
  if (digest.ok()) m.set_digest(digest.value());
  m.set_epoch(spec.epoch);
  m.set_sealed(spec.sealed);
  return m;
}

Task<Result<own::ReplicaRecord>> set(Engine& engine, const own::SetReplicaRecordRequest& request) {
  if (request.record().size() > pool::attribute_value_bytes_max) {
    co_return Error(Errc::invalid_argument,
                    fmt::format("record: {} bytes, at most {} are allowed", request.record().size(),
                                pool::attribute_value_bytes_max));
  }
  HF_CO_TRY(const Uuid uuid, to_uuid("uuid", request.uuid()));
  HF_CO_TRY(auto locked, co_await lock_volume(engine, "replica", uuid));
  if (is_snapshot(locked.volume.spec)) {
    co_return Error(Errc::invalid_argument,
                    fmt::format("uuid: {} is a snapshot, not a replica", request.uuid()));
  }
  pool::Attributes changes;
  const bool none = request.record().empty();
  changes[attribute::record] = request.record();
  changes[attribute::record_digest] = none ? std::string() : std::to_string(request.digest());
  HF_CO_CHECK(co_await locked.known->pool->set_attributes(uuid, std::move(changes)));
  HF_CO_TRY(const auto now, locked.known->pool->find(uuid));
  co_return message(now.spec, false);
}

Task<Result<own::ListReplicaRecordsResponse>> list(Engine& engine,
                                                   const own::ListReplicaRecordsRequest& request) {
  HF_CO_TRY(const auto after, to_uuid_if(!request.after().empty(), "after", request.after()));
  std::map<Uuid, pool::VolumeSpec> all;
  for (const Pools::Known* known : engine.pools().list()) {
    if (known->pool == nullptr) continue;
    for (auto& spec : known->pool->specs()) {
      if (!is_snapshot(spec) && (!after || *after < spec.uuid)) all.emplace(spec.uuid, std::move(spec));
    }
  }
  own::ListReplicaRecordsResponse reply;
  std::size_t bytes = 0;
  for (const auto& [uuid, spec] : all) {
    if (bytes >= answer_bytes_max) {
      reply.set_next(reply.records().rbegin()->uuid());
      break;
    }
    auto* record = reply.add_records();
    *record = message(spec, request.with_records());
    bytes += record->record().size() + record_overhead_bytes;
  }
  co_return reply;
}

}  // namespace

grpc::Status ReplicaRecordService::SetReplicaRecord(Context* context,
                                                    const own::SetReplicaRecordRequest* request,
                                                    own::ReplicaRecord* reply) {
  return answer(engine_, context, request, reply, pool_status, set);
}
grpc::Status ReplicaRecordService::ListReplicaRecords(Context* context,
                                                      const own::ListReplicaRecordsRequest* request,
                                                      own::ListReplicaRecordsResponse* reply) {
  return answer(engine_, context, request, reply, pool_status, list);
}

}  // namespace holdfast::engine
