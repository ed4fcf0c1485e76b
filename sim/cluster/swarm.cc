#include "sim/cluster/swarm.h"

#include <fmt/format.h>

#include "base/prng.h"

namespace holdfast::sim {

namespace {

Nanos between(Prng& p, Nanos low, Nanos high) {
  return Nanos(p.between(static_cast<std::uint64_t>(low.count()), static_cast<std::uint64_t>(high.count())));
}

void draw_cluster(Swarm& s, Prng& p) {
  s.remote_replicas = p.chance(1, 3) ? 2 : 3;
  s.local_child = p.chance(1, 3);
  s.replica_cores = static_cast<unsigned>(p.between(1, 2));
  s.nexus_cores = static_cast<unsigned>(p.between(1, 2));
  s.host_cores = static_cast<unsigned>(p.between(1, 2));
  s.block_bytes = p.chance(1, 3) ? 4096 : 512;
  s.volume_bytes = p.between(4, 24) * 64 * KiB;
  s.digests = p.chance(1, 4);
  s.disk.sector_bytes = s.block_bytes;
  s.disk.volatile_cache = p.chance(1, 2);
  s.disk.discarded = static_cast<DiskOptions::Discarded>(p.below(3));
  s.disk.can_discard = p.chance(3, 4);
  s.disk.can_write_zeroes = p.chance(3, 4);
  s.disk.tail_per_mille = static_cast<unsigned>(p.below(20));
  s.link.latency_max = between(p, 20us, 400us);
  s.link.bytes_per_second = p.between(50, 1000) * 1'000'000;
  if (p.chance(1, 3)) s.link.bytes_per_second = p.between(2, 20) * 1'000'000;  // rebuilds take their time
  if (p.chance(1, 4)) s.link.spike_per_mille = static_cast<unsigned>(p.between(1, 5));
}

void draw_options(Swarm& s, Prng& p) {
  s.nexus.child_latency_budget = p.chance(1, 2) ? 3s : between(p, 300ms, 3s);
  s.nexus.hold_timeout = p.chance(1, 2) ? 30s : between(p, 1s, 30s);
  s.nexus.settle_interval = between(p, 100ms, 5s);
  s.nexus.reopen_interval = p.chance(1, 2) ? Nanos(0) : between(p, 100ms, 2s);
  s.nexus.rebuild.window_bytes = static_cast<std::uint32_t>(64 * KiB << p.below(3));
  s.nexus.rebuild.windows_in_flight = static_cast<unsigned>(p.between(1, 4));
  s.child.grace = p.chance(1, 3) ? Nanos(0) : between(p, 100ms, 5s);
  s.child.io_timeout = between(p, 1s, 10s);
  s.child.keep_alive = between(p, 2s, 10s);
  s.child.connect_timeout = 3s;
  s.child.backoff_failed = 1s;
  s.host.grace = p.chance(1, 4) ? between(p, 1s, 10s) : 300s;
  s.host.io_timeout = p.chance(1, 4) ? between(p, 5s, 20s) : 120s;
  s.host.keep_alive = between(p, 2s, 10s);
  s.child.header_digest = s.child.data_digest = s.digests;
  s.host.header_digest = s.host.data_digest = s.digests;
}

void draw_workload(Swarm& s, Prng& p) {
  s.operations = static_cast<unsigned>(p.between(100, 300));
  s.queue_depth = static_cast<unsigned>(p.between(1, 16));
  const std::uint64_t most = s.volume_bytes / s.block_bytes / 2;
  s.operation_blocks_max = static_cast<unsigned>(std::min<std::uint64_t>(p.between(1, 128), most));
  s.read_weight = static_cast<unsigned>(p.between(1, 10));
  s.write_weight = static_cast<unsigned>(p.between(2, 10));
  s.zeroes_weight = static_cast<unsigned>(p.below(3));
  s.deallocate_weight = static_cast<unsigned>(p.below(3));
  s.flush_weight = static_cast<unsigned>(p.below(3));
  if (p.chance(1, 2)) s.hot_blocks = p.between(8, most);
}

void draw_faults(Swarm& s, Prng& p) {
  s.fault_interval = between(p, 50ms, 3s);
  // One run in 16 has no fault at all: the rest must be right by itself.
  if (p.chance(1, 16)) return;
  const unsigned likely = static_cast<unsigned>(p.between(1, 3));
  const auto draw = [&] { return p.chance(likely, 5); };
  s.replica_crash = draw();
  s.power_loss = s.replica_crash && p.chance(1, 2);
  s.nexus_crash = draw();
  s.partition = draw();
  s.cut = draw();
  s.refuse = draw();
  s.freeze = draw();
  s.disk_errors = draw();
  s.disk_stall = draw();
  s.disk_slow = draw();
  s.disk_dies = p.chance(1, 8);
  s.store_outage = draw();
  s.child_operations = draw();
}

// Most runs last for a couple of dozen faults; the operations come evenly or in bursts.
void draw_pace(Swarm& s, Prng& p) {
  s.bursts = p.chance(1, 2);
  const std::uint64_t pauses = std::max(1u, s.operations / s.queue_depth / (s.bursts ? 16 : 2));
  const Nanos whole = s.fault_interval * p.between(2, 40);
  s.pause_max = std::max<Nanos>(1ms, 2 * whole / pauses);
  if (p.chance(1, 8)) s.pause_max = 1ms;
}

// Little is written and hardly ever flushed, in windows that a slow rebuild has copied, or will copy: what the last
// copy loses then, another one may have.
void draw_lone_copy(Swarm& s, Prng& p) {
  s.lone_copy = true;
  s.remote_replicas = static_cast<unsigned>(p.between(2, 3));
  s.local_child = false;
  s.disk.volatile_cache = true;
  s.link.bytes_per_second = p.between(1, 8) * 1'000'000;
  s.nexus.settle_interval = between(p, 500ms, 10s);
  s.nexus.rebuild.windows_in_flight = static_cast<unsigned>(p.between(1, 2));
  s.child.grace = p.chance(1, 2) ? 20s : between(p, 100ms, 5s);
  s.operations = static_cast<unsigned>(p.between(60, 200));
  s.queue_depth = static_cast<unsigned>(p.between(1, 3));
  s.operation_blocks_max = static_cast<unsigned>(p.between(1, 8));
  s.flush_weight = 0;
  s.hot_blocks = 0;
  s.replica_crash = s.power_loss = true;
  s.nexus_crash = s.partition = s.cut = s.refuse = s.freeze = s.disk_dies = false;
  s.disk_errors = s.disk_stall = s.disk_slow = s.store_outage = s.child_operations = false;
  s.fault_interval = between(p, 200ms, 1s);
  draw_pace(s, p);
}

// P9: the store is not in the way of I/O.
void draw_store_only(Swarm& s, Prng& p) {
  s.store_only = s.store_outage = true;
  s.link = LinkOptions();
  s.disk.tail_per_mille = 0;
  s.queue_depth = std::min(s.queue_depth, 8u);
  s.operation_blocks_max = std::min(s.operation_blocks_max, 32u);
  s.host.grace = 300s;
  s.host.io_timeout = 120s;
  s.replica_crash = s.power_loss = s.nexus_crash = s.partition = s.cut = s.refuse = s.freeze = false;
  s.disk_errors = s.disk_stall = s.disk_slow = s.disk_dies = s.child_operations = false;
  s.damage_per_mille = 0;
  s.fault_interval = between(p, 200ms, 1s);
  draw_pace(s, p);
}

double ms(Nanos n) { return static_cast<double>(n.count()) / 1e6; }

Swarm draw_any(std::uint64_t seed) {
  Swarm s;
  s.seed = seed;
  Prng p(seed ^ 0x5eed5eed5eed5eed);
  draw_cluster(s, p);
  draw_options(s, p);
  draw_workload(s, p);
  draw_faults(s, p);
  draw_pace(s, p);
  if (s.digests && p.chance(2, 3))
    s.damage_per_mille = static_cast<unsigned>(p.chance(1, 4) ? p.between(1, 30) : p.between(1, 5));
  return s;
}

}  // namespace

Swarm Swarm::draw(std::uint64_t seed) {
  Swarm s = draw_any(seed);
  Prng p(seed ^ 0x10ec0b710ec0b7);
  if (seed % 8 == 7) draw_lone_copy(s, p);
  if (seed % 16 == 13) draw_store_only(s, p);
  if (seed % 16 == 5) s.nexus_end = true;
  if (seed % 8 == 2) s.hold_per_mille = static_cast<unsigned>(p.between(1, 1000));
  return s;
}

Swarm Swarm::draw_epochs(std::uint64_t seed) {
  Swarm s = draw_any(seed);
  Prng p(seed ^ 0xe90c45e90c45);
  s.epochs = true;
  s.remote_replicas = 3;
  s.local_child = p.chance(1, 6);
  s.volume_bytes = p.between(16, 64) * 64 * KiB;
  s.operation_blocks_max = std::min(s.operation_blocks_max, static_cast<unsigned>(64 * KiB / s.block_bytes));
  if (p.chance(2, 3)) s.hot_blocks = 3 * 64 * KiB / s.block_bytes;
  s.nexus.settle_interval = p.chance(1, 2) ? between(p, 10ms, 150ms) : between(p, 150ms, 2s);
  s.nexus_crash = true;
  s.replica_crash = p.chance(3, 4);
  s.power_loss = s.replica_crash && p.chance(1, 2);
  s.disk_dies = false;
  if (p.chance(1, 2))
    s.partition = s.freeze = s.refuse = s.child_operations = false;  // crashes, and little else
  s.disk_stall = p.chance(1, 2);  // a write that takes longer than an epoch
  draw_pace(s, p);
  if (p.chance(1, 3)) {
    s.pools = true;
    s.local_child = false;
    s.volume_bytes = p.between(4, 12) * MiB;
    s.cluster_bytes = static_cast<std::uint32_t>(64 * KiB << p.below(5));
    if (s.hot_blocks > 0) s.hot_blocks = 3 * MiB / s.block_bytes;
    // A pool that could not write its journal waits for a person.
    s.disk_errors = false;
  }
  if (seed % 8 == 3) {
    draw_lone_copy(s, p);
    s.nexus_crash = p.chance(1, 2);
  }
  if (s.pools && seed % 4 == 1) s.snapshots = 3;
  if (seed % 16 == 5) s.nexus_end = true;
  if (seed % 8 == 2) s.hold_per_mille = static_cast<unsigned>(p.between(1, 1000));
  return s;
}

std::string Swarm::to_string() const {
  std::string text = fmt::format(
      "seed {}: {} remote replicas{}{}, cores replica/nexus/host {}/{}/{}, blocks of {}, volume {}, {}{}\n",
      seed, remote_replicas,
      pools    ? " of pools"
      : epochs ? " with epochs"
               : "",
      local_child ? " and a local one" : "", replica_cores, nexus_cores, host_cores, block_bytes,
      format_size(volume_bytes), disk.volatile_cache ? "volatile caches" : "no caches",
      digests ? ", digests" : "");
  text += fmt::format("  disks: discarded reads as {}, discard {}, write zeroes {}, tail {} per mille\n",
                      static_cast<int>(disk.discarded), disk.can_discard, disk.can_write_zeroes,
                      disk.tail_per_mille);
  text += fmt::format(
      "  nexus: latency budget {} ms, hold {} ms, settle {} ms, reopen {} ms, windows {} of {}\n",
      ms(nexus.child_latency_budget), ms(nexus.hold_timeout), ms(nexus.settle_interval),
      ms(nexus.reopen_interval), nexus.rebuild.windows_in_flight, format_size(nexus.rebuild.window_bytes));
  text += fmt::format("  children: grace {} ms, time-out {} ms; host: grace {} ms, time-out {} ms\n",
                      ms(child.grace), ms(child.io_timeout), ms(host.grace), ms(host.io_timeout));
  text += fmt::format(
      "  {} operations, {} at once{}, up to {} blocks, pause up to {} ms, r/w/z/d/f {}/{}/{}/{}/{}, hot {}\n",
      operations, queue_depth, bursts ? " in bursts" : "", operation_blocks_max, ms(pause_max), read_weight,
      write_weight, zeroes_weight, deallocate_weight, flush_weight, hot_blocks);
  text += fmt::format("  a fault every {} ms:", ms(fault_interval));
  const auto fault = [&](bool on, const char* what) { text += on ? std::string(" ") + what : ""; };
  fault(replica_crash, "replica-crash");
  fault(power_loss, "power-loss");
  fault(nexus_crash, "nexus-crash");
  fault(partition, "partition");
  fault(cut, "cut");
  fault(refuse, "refuse");
  fault(freeze, "freeze");
  fault(disk_errors, "disk-errors");
  fault(disk_stall, "disk-stall");
  fault(disk_slow, "disk-slow");
  fault(disk_dies, "disk-dies");
  fault(store_outage, "store-outage");
  fault(child_operations, "child-operations");
  fault(lone_copy, "lone-copy");
  fault(nexus_end, "nexus-end");
  fault(store_only, "store-only");
  if (snapshots > 0) text += fmt::format(" snapshots ({})", snapshots);
  if (hold_per_mille > 0) text += fmt::format(" held sends ({} per mille)", hold_per_mille);
  if (damage_per_mille > 0) text += fmt::format(" damage ({} per mille)", damage_per_mille);
  return text + "\n";
}

}  // namespace holdfast::sim
