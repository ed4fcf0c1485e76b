#include "engine/pool_metrics.h"

#include <chrono>

#include <fmt/format.h>

#include "base/utf8.h"
#include "engine/io_statistics.h"
#include "engine/pool_messages.h"

namespace holdfast::engine {
namespace {

namespace v1 = mayastor::v1;

double seconds(Nanos time) { return std::chrono::duration<double>(time).count(); }

// The names that dashboards of existing clusters know (a pool is a "diskpool" there).
void add_known_names(MetricFamilies& f, const std::string& node, const v1::Pool& pool) {
  const MetricFamilies::Labels labels = {{"node", node}, {"name", pool.name()}};
  f.gauge("diskpool_total_size_bytes", "Capacity of the pool", labels, as_double(pool.capacity()));
  f.gauge("diskpool_used_size_bytes", "Allocated or set aside, metadata included", labels,
          as_double(pool.used()));
  f.gauge("diskpool_committed_size_bytes", "Promised to replicas, and held by snapshots", labels,
          as_double(pool.committed()));
  f.gauge("diskpool_status", "0 unknown, 1 online, 2 degraded, 3 faulted", labels, pool.state());
}

void add_disk(MetricFamilies& f, const std::string& pool, const pool::DiskView& disk) {
  const MetricFamilies::Labels labels = {{"pool", pool}, {"disk", disk.device}};
  f.gauge("holdfast_pool_disk_capacity_bytes", "Of the disk, taken in by the pool", labels,
          as_double(disk.capacity_bytes));
  f.gauge("holdfast_pool_disk_size_bytes", "Of the disk; more than its capacity when it has grown", labels,
          as_double(disk.size_bytes));
  f.gauge("holdfast_pool_disk_used_bytes", "Allocated on the disk", labels, as_double(disk.used_bytes));
  f.gauge("holdfast_pool_disk_online", "1 while the disk works", labels,
          disk.status == pool::PoolStatus::online ? 1 : 0);
  f.counter("holdfast_pool_disk_read_errors_total", "Reads that the disk failed", labels,
            as_double(disk.read_errors));
  f.counter("holdfast_pool_disk_write_errors_total", "Writes that the disk failed", labels,
            as_double(disk.write_errors));
  f.counter("holdfast_pool_disk_stalls_total", "Operations that took the disk longer than --disk-stall-time",
            labels, as_double(disk.stalls));
}

void add_pool(MetricFamilies& f, const pool::PoolView& view) {
  const MetricFamilies::Labels labels = {{"pool", view.name}};
  f.gauge("holdfast_pool_reserved_bytes", "Set aside for replicas that are not thin, not allocated yet",
          labels, as_double(view.reserved_bytes));
  f.gauge("holdfast_pool_partial_clusters", "Clusters that are only partly written", labels,
          as_double(view.partial_clusters));
  f.gauge("holdfast_pool_journal_size_bytes", "Room for the journal", labels, as_double(view.journal_bytes));
  f.gauge("holdfast_pool_journal_used_bytes", "Journal since the last checkpoint", labels,
          as_double(view.journal_used_bytes));
  f.counter("holdfast_pool_journal_commits_total", "Writes of the journal since the pool was opened", labels,
            as_double(view.commits));
  f.counter("holdfast_pool_journal_commit_seconds_total", "Time that these took, together", labels,
            seconds(view.commit_time));
  f.gauge("holdfast_pool_checkpoint_seconds", "Time that the last checkpoint took", labels,
          seconds(view.checkpoint_time));
  for (const auto& disk : view.disks) add_disk(f, view.name, disk);
}

// `prefix`: diskpool, replica or volume (docs/reference/metrics.md).
void add_io(MetricFamilies& f, const char* prefix, const MetricFamilies::Labels& labels,
            const v1::IoStats& s) {
  const auto counter = [&](const char* what, const char* help, std::uint64_t n) {
    f.counter(fmt::format("{}_{}", prefix, what).c_str(), help, labels, as_double(n));
  };
  constexpr std::uint64_t ticks_per_us = 1000;
  counter("num_read_ops", "Read operations", s.num_read_ops());
  counter("bytes_read", "Bytes read", s.bytes_read());
  counter("num_write_ops", "Write operations", s.num_write_ops());
  counter("bytes_written", "Bytes written", s.bytes_written());
  counter("read_latency_us", "Time of all reads, together", s.read_latency_ticks() / ticks_per_us);
  counter("write_latency_us", "Time of all writes, together", s.write_latency_ticks() / ticks_per_us);
}

void add_replica(MetricFamilies& f, const pool::PoolView& view, const pool::VolumeView& volume) {
  const std::string& name = volume.spec.name;
  const char* kind = "replica";
  if (is_snapshot(volume.spec)) kind = "snapshot";
  if (is_clone(volume.spec)) kind = "clone";
  const MetricFamilies::Labels labels = {{"pool", view.name}, {"replica", name}, {"kind", kind}};
  f.gauge("holdfast_replica_allocated_bytes", "Allocated, shared with others or not", labels,
          as_double(volume.usage.allocated));
  f.gauge("holdfast_replica_exclusive_bytes",
          "Allocated and shared with nobody: what its deletion gives back", labels,
          as_double(volume.usage.exclusive));
}

void add_pool_io(MetricFamilies& f, const std::string& node, const v1::PoolIoStatsResponse& pools) {
  for (const auto& s : pools.stats()) add_io(f, "diskpool", {{"node", node}, {"name", s.name()}}, s);
}

// The device's name: two pools may have replicas of one name.
std::string series_name(Engine& engine, const v1::IoStats& s) {
  const auto uuid = Uuid::parse(s.uuid());
  if (!uuid.ok()) return s.name();
  for (const Pools::Known* known : engine.pools().list()) {
    const BlockDevice* device = known->pool == nullptr ? nullptr : known->pool->device(uuid.value());
    if (device != nullptr) return to_utf8(device->name());
  }
  return s.name();
}

void add_replica_io(MetricFamilies& f, const std::string& node, Engine& engine,
                    const v1::ReplicaIoStatsResponse& replicas) {
  for (const auto& r : replicas.stats()) {
    const std::string name = series_name(engine, r.stats());
    add_io(f, "replica", {{"node", node}, {"name", name}, {"pv_name", r.entity_id()}}, r.stats());
  }
}

// A nexus has the name of its volume.
void add_volume_io(MetricFamilies& f, const std::string& node, const v1::NexusIoStatsResponse& nexuses) {
  for (const auto& s : nexuses.stats()) add_io(f, "volume", {{"node", node}, {"pv_name", s.name()}}, s);
}

}  // namespace

Task<void> collect_pools(Engine& engine, MetricFamilies& f) {
  const std::string node = engine.options().node_name;
  for (const Pools::Known* known : engine.pools().list()) {
    add_known_names(f, node, pool_message(*known));
    if (known->pool == nullptr) continue;
    const auto view = known->pool->view();
    add_pool(f, view);
    for (const auto& volume : known->pool->volumes()) add_replica(f, view, volume);
  }
  const v1::ListStatsOption all;
  const auto pools = co_await stats_operations::pools(engine, all);
  if (pools.ok()) add_pool_io(f, node, pools.value());
  const auto replicas = co_await stats_operations::replicas(engine, all);
  if (replicas.ok()) add_replica_io(f, node, engine, replicas.value());
  const auto nexuses = co_await stats_operations::nexuses(engine, all);
  if (nexuses.ok()) add_volume_io(f, node, nexuses.value());
}

}  // namespace holdfast::engine
