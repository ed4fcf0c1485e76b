#include "engine/io_statistics.h"

#include <optional>

#include <fmt/format.h>

#include "base/utf8.h"
#include "engine/naming.h"
#include "engine/pool_messages.h"

namespace holdfast::engine {

IoStats IoBaselines::since_reset(const std::string& device, const IoStats& now) {
  const auto found = at_reset_.find(device);
  if (found == at_reset_.end()) return now;
  const IoStats& then = found->second;
  // A device that has counted less is a younger one of the same name, and will have counted more one day.
  if (now.read_ops < then.read_ops || now.write_ops < then.write_ops || now.unmap_ops < then.unmap_ops ||
      now.read_bytes < then.read_bytes || now.write_bytes < then.write_bytes ||
      now.unmapped_bytes < then.unmapped_bytes) {
    at_reset_.erase(found);
    return now;
  }
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

std::uint64_t ticks(Nanos t) { return static_cast<std::uint64_t>(t.count()); }

v1::IoStats message(const std::string& name, const Uuid& uuid, const IoStats& s, const IoLatencies& l) {
  constexpr std::uint64_t nanosecond_ticks = 1'000'000'000;
  v1::IoStats m;
  m.set_name(to_utf8(name));
  m.set_uuid(uuid.to_string());
  m.set_num_read_ops(s.read_ops);
  m.set_bytes_read(s.read_bytes);
  m.set_num_write_ops(s.write_ops);
  m.set_bytes_written(s.write_bytes);
  m.set_num_unmap_ops(s.unmap_ops);
  m.set_bytes_unmapped(s.unmapped_bytes);
  m.set_read_latency_ticks(ticks(l.read.sum));
  m.set_max_read_latency_ticks(ticks(l.read.max));
  m.set_min_read_latency_ticks(ticks(l.read.min));
  m.set_write_latency_ticks(ticks(l.write.sum));
  m.set_max_write_latency_ticks(ticks(l.write.max));
  m.set_min_write_latency_ticks(ticks(l.write.min));
  m.set_unmap_latency_ticks(ticks(l.unmap.sum));
  m.set_max_unmap_latency_ticks(ticks(l.unmap.max));
  m.set_min_unmap_latency_ticks(ticks(l.unmap.min));
  m.set_tick_rate(nanosecond_ticks);
  return m;
}

// What is being worked on for longer is left out: whoever counts the rest does not wait for it.
constexpr Nanos patience = 500ms;

Nanos wait_until(Engine& engine) { return engine.cores().home().now() + patience; }

// Nobody destroys the device meanwhile. Errors: not_found; resource_exhausted when it is being worked on.
Task<Result<IoStats>> counted(Engine& engine, std::string device, Nanos until) {
  HF_CO_TRY(const auto lock, co_await engine.locks().acquire(engine.lock_key(device), until));
  HF_CO_TRY(const IoStats now, co_await engine.devices().stats(device));
  co_return engine.baselines().since_reset(device, now);
}

// Nobody destroys the nexus meanwhile. None when it is gone. Errors: resource_exhausted.
Task<Result<IoLatencies>> nexus_latencies(Engine& engine, Uuid uuid, bool reset, Nanos until) {
  HF_CO_TRY(const auto lock, co_await engine.locks().acquire(Engine::lock_key(uuid), until));
  const auto found = engine.nexuses().find(uuid);
  if (!found.ok()) co_return IoLatencies();
  co_return co_await found.value()->latencies(reset);
}

// None when the pool is not open any more.
IoLatencies latencies_of(Engine& engine, const Uuid& pool, const Uuid& volume) {
  const Pools::Known* known = engine.pools().find(pool);
  return known == nullptr || known->pool == nullptr ? IoLatencies() : known->pool->latencies(volume);
}

// What is asked for by name and not there.
Status check_found(const char* what, const v1::ListStatsOption& request, int found) {
  if (!request.has_name() || found > 0) return Status();
  return Error(Errc::not_found,
               fmt::format("there is no {} '{}'", what, request.name().substr(0, name_bytes_max)));
}

template <class T>
bool is_worked_on(const Result<T>& counted) {
  return counted.code() == Errc::resource_exhausted;
}

bool wanted(const v1::ListStatsOption& request, const std::string& name) {
  return !request.has_name() || request.name() == name;
}

struct PoolVolumes {
  struct Volume {
    pool::VolumeSpec spec;
    std::string device;
  };
  std::string name;
  Uuid uuid;
  std::vector<Volume> volumes;
};

// A copy: pools and volumes may go while others are asked.
std::vector<PoolVolumes> open_pools(Engine& engine) {
  std::vector<PoolVolumes> pools;
  for (const Pools::Known* known : engine.pools().list()) {
    if (known->pool == nullptr) continue;
    PoolVolumes p;
    p.name = known->name;
    p.uuid = known->uuid;
    for (auto& spec : known->pool->specs()) {
      std::string device = device_name(*known, spec);
      p.volumes.push_back({std::move(spec), std::move(device)});
    }
    pools.push_back(std::move(p));
  }
  return pools;
}

// Errors: resource_exhausted.
Task<Status> reset_device(Engine& engine, std::string device, Nanos until) {
  HF_CO_TRY(const auto lock, co_await engine.locks().acquire(engine.lock_key(device), until));
  const auto now = co_await engine.devices().stats(device);
  if (now.ok()) engine.baselines().reset(device, now.value());
  co_return Status();
}

// Errors: resource_exhausted.
Task<Status> reset_latencies(Engine& engine, PoolVolumes pool, Nanos until) {
  HF_CO_TRY(const auto lock, co_await engine.locks().acquire(Pools::lock_key(pool.name), until));
  for (const auto& [spec, device] : pool.volumes) {
    const Pools::Known* known = engine.pools().find(pool.uuid);
    if (known != nullptr && known->pool != nullptr) co_await known->pool->reset_latencies(spec.uuid);
  }
  co_return Status();
}

}  // namespace

Task<Result<v1::PoolIoStatsResponse>> pools(Engine& engine, const v1::ListStatsOption& request) {
  v1::PoolIoStatsResponse reply;
  const auto all = open_pools(engine);
  const Nanos until = wait_until(engine);
  for (const auto& p : all) {
    if (!wanted(request, p.name)) continue;
    IoStats sum;
    IoLatencies latencies;
    std::optional<Error> left_out;
    for (const auto& [spec, device] : p.volumes) {
      const auto one = co_await counted(engine, device, until);
      if (is_worked_on(one)) left_out = one.error();
      if (!one.ok()) continue;
      sum += one.value();
      latencies += latencies_of(engine, p.uuid, spec.uuid);
    }
    if (left_out && request.has_name()) co_return *left_out;
    if (!left_out) *reply.add_stats() = message(p.name, p.uuid, sum, latencies);
  }
  HF_CO_CHECK(check_found("pool", request, reply.stats_size()));
  co_return reply;
}

Task<Result<v1::ReplicaIoStatsResponse>> replicas(Engine& engine, const v1::ListStatsOption& request) {
  v1::ReplicaIoStatsResponse reply;
  const auto all = open_pools(engine);
  const Nanos until = wait_until(engine);
  for (const auto& p : all) {
    for (const auto& [spec, device] : p.volumes) {
      if (is_snapshot(spec) || !wanted(request, spec.name)) continue;
      const auto one = co_await counted(engine, device, until);
      if (is_worked_on(one) && request.has_name()) co_return one.error();
      if (!one.ok()) continue;
      auto* r = reply.add_stats();
      const auto entity = text_of(spec.attributes, attribute::entity_id);
      if (!entity.empty()) r->set_entity_id(entity);
      *r->mutable_stats() =
          message(spec.name, spec.uuid, one.value(), latencies_of(engine, p.uuid, spec.uuid));
    }
  }
  HF_CO_CHECK(check_found("replica", request, reply.stats_size()));
  co_return reply;
}

Task<Result<v1::NexusIoStatsResponse>> nexuses(Engine& engine, const v1::ListStatsOption& request) {
  v1::NexusIoStatsResponse reply;
  std::vector<nexus::NexusParams> all;
  for (const nexus::Nexus* n : engine.nexuses().list()) all.push_back(n->params());
  const Nanos until = wait_until(engine);
  for (const auto& n : all) {
    if (!wanted(request, n.name)) continue;
    const auto one = co_await counted(engine, n.name, until);
    if (is_worked_on(one) && request.has_name()) co_return one.error();
    if (!one.ok()) continue;
    const auto latencies = co_await nexus_latencies(engine, n.uuid, false, until);
    if (is_worked_on(latencies) && request.has_name()) co_return latencies.error();
    if (!latencies.ok()) continue;
    *reply.add_stats() = message(n.name, n.uuid, one.value(), latencies.value());
  }
  HF_CO_CHECK(check_found("nexus", request, reply.stats_size()));
  co_return reply;
}

Task<Result<google::protobuf::Empty>> reset(Engine& engine, const google::protobuf::Empty&) {
  const auto& devices = engine.devices().entries();
  std::vector<std::string> names;
  for (const auto& [name, entry] : devices) names.push_back(name);
  engine.baselines().forget_unless([&](const std::string& name) { return devices.contains(name); });
  std::vector<Uuid> nexuses;
  for (const nexus::Nexus* n : engine.nexuses().list()) nexuses.push_back(n->params().uuid);
  const auto pools = open_pools(engine);
  const Nanos until = wait_until(engine);
  Status left_out;  // the first; the others are set back all the same
  const auto note = [&](Status done) {
    if (!done.ok() && left_out.ok()) left_out = std::move(done);
  };
  for (const auto& name : names) note(co_await reset_device(engine, name, until));
  for (const Uuid& uuid : nexuses) {
    const auto latencies = co_await nexus_latencies(engine, uuid, true, until);
    if (!latencies.ok()) note(latencies.error());
  }
  for (const auto& pool : pools) note(co_await reset_latencies(engine, pool, until));
  HF_CO_CHECK(std::move(left_out));
  co_return google::protobuf::Empty();
}

}  // namespace stats_operations
}  // namespace holdfast::engine
