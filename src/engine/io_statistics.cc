#include "engine/io_statistics.h"

#include <fmt/format.h>

#include "engine/naming.h"
#include "engine/pool_messages.h"

namespace holdfast::engine {

IoStats IoBaselines::since_reset(const std::string& device, const IoStats& now) const {
  const auto found = at_reset_.find(device);
  // A device that has counted less is a younger one of the same name.
  if (found == at_reset_.end() || now.read_ops < found->second.read_ops ||
      now.write_ops < found->second.write_ops || now.unmap_ops < found->second.unmap_ops) {
    return now;
  }
  const IoStats& then = found->second;
  IoStats s;
  s.read_ops = now.read_ops - then.read_ops;
  s.read_bytes = now.read_bytes - then.read_bytes;
  s.write_ops = now.write_ops - then.write_ops;
  s.write_bytes = now.write_bytes - then.write_bytes;
  s.unmap_ops = now.unmap_ops - then.unmap_ops;
  s.unmapped_bytes = now.unmapped_bytes - then.unmapped_bytes;
  s.errors = now.errors - std::min(now.errors, then.errors);
  return s;
}

namespace stats_operations {
namespace {

v1::IoStats message(const std::string& name, const Uuid& uuid, const IoStats& s) {
  constexpr std::uint64_t nanosecond_ticks = 1'000'000'000;
  v1::IoStats m;
  m.set_name(name);
  m.set_uuid(uuid.to_string());
  m.set_num_read_ops(s.read_ops);
  m.set_bytes_read(s.read_bytes);
  m.set_num_write_ops(s.write_ops);
  m.set_bytes_written(s.write_bytes);
  m.set_num_unmap_ops(s.unmap_ops);
  m.set_bytes_unmapped(s.unmapped_bytes);
  m.set_tick_rate(nanosecond_ticks);
  return m;
}

// Nobody destroys the device meanwhile. Errors: not_found.
Task<Result<IoStats>> counted(Engine& engine, std::string device) {
  HF_CO_TRY(const auto lock, co_await engine.locks().acquire(engine.lock_key(device)));
  HF_CO_TRY(const IoStats now, co_await engine.devices().stats(device));
  co_return engine.baselines().since_reset(device, now);
}

// What is asked for by name and not there.
Status check_found(const char* what, const v1::ListStatsOption& request, int found) {
  if (!request.has_name() || found > 0) return Status();
  return Error(Errc::not_found,
               fmt::format("there is no {} '{}'", what, request.name().substr(0, name_bytes_max)));
}

bool wanted(const v1::ListStatsOption& request, const std::string& name) {
  return !request.has_name() || request.name() == name;
}

struct PoolVolumes {
  std::string name;
  Uuid uuid;
  std::vector<pool::VolumeSpec> volumes;
};

// A copy: pools and volumes may go while others are asked.
std::vector<PoolVolumes> open_pools(Engine& engine) {
  std::vector<PoolVolumes> pools;
  for (const Pools::Known* known : engine.pools().list()) {
    if (known->pool == nullptr) continue;
    PoolVolumes p;
    p.name = known->name;
    p.uuid = known->uuid;
    for (auto& volume : known->pool->volumes()) p.volumes.push_back(std::move(volume.spec));
    pools.push_back(std::move(p));
  }
  return pools;
}

}  // namespace

Task<Result<v1::PoolIoStatsResponse>> pools(Engine& engine, const v1::ListStatsOption& request) {
  v1::PoolIoStatsResponse reply;
  const auto all = open_pools(engine);
  for (const auto& p : all) {
    if (!wanted(request, p.name)) continue;
    IoStats sum;
    for (const auto& spec : p.volumes) {
      const auto one = co_await counted(engine, spec.name);
      if (one.ok()) sum += one.value();
    }
    *reply.add_stats() = message(p.name, p.uuid, sum);
  }
  HF_CO_CHECK(check_found("pool", request, reply.stats_size()));
  co_return reply;
}

Task<Result<v1::ReplicaIoStatsResponse>> replicas(Engine& engine, const v1::ListStatsOption& request) {
  v1::ReplicaIoStatsResponse reply;
  const auto all = open_pools(engine);
  for (const auto& p : all) {
    for (const auto& spec : p.volumes) {
      if (is_snapshot(spec) || !wanted(request, spec.name)) continue;
      const auto one = co_await counted(engine, spec.name);
      if (!one.ok()) continue;
      auto* r = reply.add_stats();
      const auto entity = text_of(spec.attributes, attribute::entity_id);
      if (!entity.empty()) r->set_entity_id(entity);
      *r->mutable_stats() = message(spec.name, spec.uuid, one.value());
    }
  }
  HF_CO_CHECK(check_found("replica", request, reply.stats_size()));
  co_return reply;
}

Task<Result<v1::NexusIoStatsResponse>> nexuses(Engine& engine, const v1::ListStatsOption& request) {
  v1::NexusIoStatsResponse reply;
  std::vector<nexus::NexusParams> all;
  for (const nexus::Nexus* n : engine.nexuses().list()) all.push_back(n->params());
  for (const auto& n : all) {
    if (!wanted(request, n.name)) continue;
    const auto one = co_await counted(engine, n.name);
    if (one.ok()) *reply.add_stats() = message(n.name, n.uuid, one.value());
  }
  HF_CO_CHECK(check_found("nexus", request, reply.stats_size()));
  co_return reply;
}

Task<Result<google::protobuf::Empty>> reset(Engine& engine, const google::protobuf::Empty&) {
  std::vector<std::string> names;
  for (const auto& [name, entry] : engine.devices().entries()) names.push_back(name);
  engine.baselines().forget_all();
  for (const auto& name : names) {
    HF_CO_TRY(const auto lock, co_await engine.locks().acquire(engine.lock_key(name)));
    const auto now = co_await engine.devices().stats(name);
    if (now.ok()) engine.baselines().reset(name, now.value());
  }
  co_return google::protobuf::Empty();
}

}  // namespace stats_operations
}  // namespace holdfast::engine
