#include "engine/metrics.h"

#include <chrono>
#include <ctime>
#include <fstream>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "engine/pool_metrics.h"
#include "http/metric_families.h"
#include "nexus/types.h"
#include "rt/cross_core.h"

namespace holdfast::engine {
namespace {

constexpr auto scrape_patience = std::chrono::seconds(5);

double thread_cpu_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

struct CoreSample {
  double cpu_seconds = 0;
  double busy_seconds = 0;
  Reactor::Sends sends;
  std::size_t buffer_budget = 0;
  std::size_t buffer_used = 0;
  std::size_t buffer_taken = 0;
  std::size_t buffer_waiters = 0;
};

Task<void> collect_cores(Engine& engine, MetricFamilies& f) {
  std::vector<CoreSample> samples(engine.cores().count());
  auto take = [&samples](Reactor& r) -> Task<void> {
    CoreSample& s = samples[r.core()];
    s.cpu_seconds = thread_cpu_seconds();
    s.busy_seconds = std::chrono::duration<double>(r.busy()).count();
    s.sends = r.sends();
    s.buffer_budget = r.buffers().budget_bytes();
    s.buffer_used = r.buffers().used_bytes();
    s.buffer_taken = r.buffers().slab_bytes();
    s.buffer_waiters = r.buffers().waiting();
    co_return;
  };
  co_await run_on_all(engine.cores().home(), engine.cores(), take);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const CoreSample& s = samples[i];
    const std::string core = std::to_string(i);
    f.counter("holdfast_core_cpu_seconds_total", "CPU time of an I/O core's thread, polling included",
              {{"core", core}}, s.cpu_seconds);
    f.counter("holdfast_core_busy_seconds_total", "Time in which an I/O core had something to do",
              {{"core", core}}, s.busy_seconds);
    f.counter("holdfast_core_sends_total", "Sends over network connections that ended", {{"core", core}},
              as_double(s.sends.ended));
    f.counter("holdfast_core_sends_without_copy_total",
              "Of these, those whose data the network card took from the I/O buffers", {{"core", core}},
              as_double(s.sends.without_copy));
    f.gauge("holdfast_buffer_budget_bytes", "I/O buffer memory that a core may use", {{"core", core}},
            as_double(s.buffer_budget));
    f.gauge("holdfast_buffer_used_bytes", "I/O buffer memory in use now", {{"core", core}},
            as_double(s.buffer_used));
    f.gauge("holdfast_buffer_reserved_bytes", "I/O buffer memory taken from the system", {{"core", core}},
            as_double(s.buffer_taken));
    f.gauge("holdfast_buffer_waiters", "Operations that wait for I/O buffer memory", {{"core", core}},
            as_double(s.buffer_waiters));
  }
}

void add_io(MetricFamilies& f, std::string_view device, std::string_view product, const IoStats& s) {
  const MetricFamilies::Labels labels = {{"device", device}, {"product", product}};
  f.counter("holdfast_device_reads_total", "Read operations that ended", labels, as_double(s.read_ops));
  f.counter("holdfast_device_read_bytes_total", "Bytes read", labels, as_double(s.read_bytes));
  f.counter("holdfast_device_writes_total", "Write operations that ended", labels, as_double(s.write_ops));
  f.counter("holdfast_device_written_bytes_total", "Bytes written", labels, as_double(s.write_bytes));
  f.counter("holdfast_device_unmaps_total", "Deallocate operations that ended", labels,
            as_double(s.unmap_ops));
  f.counter("holdfast_device_unmapped_bytes_total", "Bytes deallocated", labels, as_double(s.unmapped_bytes));
  f.counter("holdfast_device_errors_total", "Operations that ended with an error", labels,
            as_double(s.errors));
}

Task<void> collect_devices(Engine& engine, MetricFamilies& f) {
  std::vector<std::string> names;
  for (const auto& [name, entry] : engine.devices().entries()) names.push_back(name);
  for (const auto& name : names) {
    // Held meanwhile, so that it is not destroyed; what is being worked on now is left out.
    const auto lock = engine.locks().try_acquire(engine.lock_key(name));
    const BlockDevice* device = engine.devices().find(name);
    if (!lock || device == nullptr) continue;
    const std::string product = device->identity().product_name;
    f.gauge("holdfast_device_size_bytes", "Capacity", {{"device", name}, {"product", product}},
            as_double(device->geometry().size_bytes()));
    const auto stats = co_await engine.devices().stats(name);
    if (stats.ok()) add_io(f, name, product, stats.value());
  }
}

void add_child(MetricFamilies& f, std::string_view nexus, const nexus::ChildView& child) {
  f.gauge(
      "holdfast_nexus_child_state", "1 for the state and reason that the child has now",
      {{"nexus", nexus}, {"child", child.uri}, {"state", name(child.state)}, {"reason", name(child.reason)}},
      1);
  if (!child.rebuild) return;
  const MetricFamilies::Labels labels = {{"nexus", nexus}, {"child", child.uri}};
  const auto& r = *child.rebuild;
  f.gauge("holdfast_nexus_rebuild_progress_ratio", "How much of what has to be copied is done, 0 to 1",
          labels, static_cast<double>(r.progress_percent) / 100);
  f.gauge("holdfast_nexus_rebuild_copied_bytes", "Bytes that this rebuild has copied", labels,
          as_double(r.blocks_transferred * r.block_size));
  f.gauge("holdfast_nexus_rebuild_remaining_bytes", "Bytes that this rebuild still has to copy", labels,
          as_double(r.blocks_remaining * r.block_size));
}

void add_counters(MetricFamilies& f, std::string_view nexus, const nexus::NexusCounters& c) {
  const MetricFamilies::Labels labels = {{"nexus", nexus}};
  f.counter("holdfast_nexus_retired_children_total", "Children taken out of service", labels,
            as_double(c.retired_children));
  f.counter("holdfast_nexus_held_writes_total", "Writes whose answer waited for a membership change", labels,
            as_double(c.held_writes));
  f.gauge("holdfast_nexus_held_writes", "Writes whose answer waits for a membership change now", labels,
          as_double(c.held_writes_now));
  f.counter("holdfast_nexus_hold_timeouts_total", "Operations given back because they waited too long",
            labels, as_double(c.hold_timeouts));
  f.counter("holdfast_nexus_read_failovers_total", "Reads that a second child answered", labels,
            as_double(c.read_failovers));
  f.counter("holdfast_nexus_read_repairs_total", "Ranges written back to a child with a medium error", labels,
            as_double(c.read_repairs));
  f.counter("holdfast_nexus_membership_swaps_total", "Changes of the membership record", labels,
            as_double(c.membership_swaps));
  f.counter("holdfast_nexus_membership_retries_total", "Attempts to change the membership record that failed",
            labels, as_double(c.membership_retries));
  f.counter("holdfast_nexus_rebuilds_completed_total", "Rebuilds that ended well", labels,
            as_double(c.rebuilds_completed));
  f.counter("holdfast_nexus_rebuilds_failed_total", "Rebuilds that failed", labels,
            as_double(c.rebuilds_failed));
}

Task<void> collect_nexuses(Engine& engine, MetricFamilies& f) {
  std::vector<Uuid> uuids;
  for (const nexus::Nexus* n : engine.nexuses().list()) uuids.push_back(n->params().uuid);
  for (const Uuid& uuid : uuids) {
    auto lock = engine.locks().try_acquire(Engine::lock_key(uuid));
    auto found = engine.nexuses().find(uuid);
    if (!found.ok()) continue;
    const auto view = found.value()->view();
    const std::string id = uuid.to_string();
    f.gauge("holdfast_nexus_info", "1, with what identifies the nexus",
            {{"nexus", view.name}, {"uuid", id}, {"state", name(view.state)}}, 1);
    f.gauge("holdfast_nexus_size_bytes", "Capacity", {{"nexus", view.name}}, as_double(view.capacity_bytes));
    f.gauge("holdfast_nexus_epoch", "Epoch of the membership record", {{"nexus", view.name}},
            as_double(view.epoch));
    f.gauge("holdfast_nexus_rebuilds", "Rebuilds that have not ended", {{"nexus", view.name}}, view.rebuilds);
    for (const auto& child : view.children) add_child(f, view.name, child);
    if (!lock) continue;  // an operation holds it now: what takes no waiting has to do
    const auto counters = co_await found.value()->counters();
    add_counters(f, view.name, counters);
  }
}

Task<void> collect_target(Engine& engine, MetricFamilies& f) {
  const nvmf::TargetStats s = co_await engine.target().stats();
  f.gauge("holdfast_target_connections", "NVMe/TCP connections now", {}, as_double(s.connections));
  f.counter("holdfast_target_connections_accepted_total", "NVMe/TCP connections ever", {},
            as_double(s.connections_accepted));
  f.counter("holdfast_target_connections_refused_total", "Connections closed because there were too many", {},
            as_double(s.connections_refused));
  f.counter("holdfast_target_connections_terminated_total", "Connections whose peer broke the protocol", {},
            as_double(s.connections_terminated));
  f.counter("holdfast_target_connections_stalled_total", "Connections whose peer did not go on", {},
            as_double(s.connections_stalled));
  f.counter("holdfast_target_commands_total", "Commands served", {}, as_double(s.commands));
  f.counter("holdfast_target_commands_failed_total", "Commands that ended with an error status", {},
            as_double(s.commands_failed));
  f.counter("holdfast_target_read_bytes_total", "Bytes sent to hosts", {}, as_double(s.read_bytes));
  f.counter("holdfast_target_written_bytes_total", "Bytes received from hosts", {}, as_double(s.write_bytes));
}

void collect_process(Engine& engine, MetricFamilies& f) {
  f.gauge("holdfast_build_info", "1, with the version of the engine",
          {{"version", engine.version()}, {"node", engine.options().node_name}}, 1);
  // statm: size and resident set in pages (proc(5)).
  std::ifstream statm("/proc/self/statm");
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  if (statm >> size >> resident) {
    f.gauge("process_resident_memory_bytes", "Resident memory", {},
            as_double(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE)));
  }
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  f.counter("process_cpu_seconds_total", "CPU time of the process", {},
            static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9);
}

Task<std::string> collect(Engine& engine) {
  MetricFamilies f;
  collect_process(engine, f);
  co_await collect_cores(engine, f);
  co_await collect_devices(engine, f);
  co_await collect_nexuses(engine, f);
  co_await collect_pools(engine, f);
  co_await collect_target(engine, f);
  f.gauge("holdfast_exports", "Devices and nexuses exported over NVMe/TCP", {},
          as_double(engine.exports().size()));
  co_return f.text();
}

}  // namespace

std::string render_metrics(Engine& engine) {
  const auto work = [&engine] { return collect(engine); };
  return rpc::ask_home<std::string>(engine.port(), scrape_patience, work).value_or("");
}

}  // namespace holdfast::engine
