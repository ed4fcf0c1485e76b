// Machines, what goes wrong with them, the course of time, and guests.
#include "control/testing/fleet.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/assert.h"

namespace holdfast::control::fake {

bool covers(const Content& have, const Content& wanted) noexcept {
  for (unsigned r = 0; r < region_count; ++r) {
    if (have[r] < wanted[r]) return false;
  }
  return true;
}

std::size_t Nexus::in_sync() const noexcept {
  return static_cast<std::size_t>(std::count_if(
      children.begin(), children.end(), [](const Child& c) { return c.open && c.in_sync && !c.suspended; }));
}

NexusStatus Nexus::status() const noexcept {
  if (stopped) return NexusStatus::shutdown;
  if (fenced || in_sync() == 0) return NexusStatus::faulted;
  return in_sync() == children.size() ? NexusStatus::online : NexusStatus::degraded;
}

Child* find_child(Nexus& n, const std::string& uri) noexcept {
  const auto found =
      std::find_if(n.children.begin(), n.children.end(), [&](const Child& c) { return c.uri == uri; });
  return found == n.children.end() ? nullptr : &*found;
}

Pool* Machine::open_pool(const PoolId& id) noexcept {
  if (!open.contains(id)) return nullptr;
  const auto found = pools.find(id);
  return found == pools.end() || found->second.failed ? nullptr : &found->second;
}

Copy* Machine::find(const Uuid& uuid, Pool** in) noexcept {
  if (!running) return nullptr;
  for (const PoolId& id : open) {
    Pool* pool = open_pool(id);
    if (pool == nullptr) continue;
    const auto found = pool->copies.find(uuid);
    if (found == pool->copies.end()) continue;
    if (in != nullptr) *in = pool;
    return &found->second;
  }
  return nullptr;
}

Error refused(const Machine& m, Kind kind, std::string text) {
  return refusal(kind, fmt::format("node {}: {}", m.node, text));
}

Uuid Fleet::next_uuid(const char* what) { return Uuid::from_name(fmt::format("{} {}", what, ++uuids_)); }

Machine& Fleet::add(const NodeId& node) {
  Machine& m = machines_[node];
  HF_ASSERT(m.node.empty());
  m.node = node;
  m.address = fmt::format("10.1.0.{}", machines_.size());
  m.nqn = "nqn.2019-05.io.openebs:node-name:" + node;
  start(node, false);
  return m;
}

Machine& Fleet::machine(const NodeId& node) {
  const auto found = machines_.find(node);
  HF_ASSERT(found != machines_.end());
  return found->second;
}

Machine* Fleet::machine_at(std::string_view address) noexcept {
  for (auto& [node, m] : machines_) {
    if (m.address == address) return &m;
  }
  return nullptr;
}

void Fleet::add_disk(const NodeId& node, const std::string& disk, std::uint64_t bytes) {
  machine(node).disks[disk].bytes = bytes;
}

void Fleet::crash(const NodeId& node) {
  Machine& m = machine(node);
  m.running = false;
  m.nexuses.clear();
  m.fills.clear();
  m.open.clear();
}

void Fleet::start(const NodeId& node, bool imports) {
  Machine& m = machine(node);
  if (m.running) return;
  m.running = true;
  ++m.runs;
  if (!imports) return;
  for (const auto& [id, pool] : m.pools) m.open.insert(id);
}

void Fleet::stop_cleanly(const NodeId& node) {
  Machine& m = machine(node);
  for (auto& [id, n] : m.nexuses) {
    record(n, true).ignore("its record reads unclean, then");
    release_children(m, n);
  }
  crash(node);
}

void Fleet::destroy(const NodeId& node) {
  crash(node);
  Machine& m = machine(node);
  for (auto& [id, pool] : m.pools) {
    for (const auto& [uuid, copy] : pool.copies) check_last_copy(copy, "lost with its machine");
  }
  m.pools.clear();
  m.disks.clear();
  machines_.erase(node);
}

void Fleet::set_pool_failed(const NodeId& node, const PoolId& pool, bool failed) {
  Machine& m = machine(node);
  const auto found = m.pools.find(pool);
  if (found != m.pools.end()) found->second.failed = failed;
}

void Fleet::set_pool_refusing(const NodeId& node, const PoolId& pool, bool refuses) {
  Machine& m = machine(node);
  const auto found = m.pools.find(pool);
  if (found != m.pools.end()) found->second.refuses = refuses;
}

void Fleet::set_pool_stalled(const NodeId& node, const PoolId& pool, bool stalled) {
  Machine& m = machine(node);
  const auto found = m.pools.find(pool);
  if (found != m.pools.end()) found->second.stalled = stalled;
}

void Fleet::set_pool_room(const NodeId& node, const PoolId& pool, std::uint64_t bytes) {
  Machine& m = machine(node);
  const auto found = m.pools.find(pool);
  if (found == m.pools.end()) return;
  found->second.capacity_bytes = std::min(found->second.capacity_bytes, found->second.used_bytes() + bytes);
}

void Fleet::heal_pool(const NodeId& node, const PoolId& pool) {
  const auto m = machines_.find(node);
  if (m == machines_.end() || !m->second.pools.contains(pool)) return;
  Pool& p = m->second.pools.at(pool);
  p.failed = p.stalled = false;
  p.capacity_bytes = 0;
  for (const std::string& disk : p.disks) p.capacity_bytes += m->second.disks.at(disk).bytes;
  p.capacity_bytes = p.capacity_bytes / p.cluster_bytes * p.cluster_bytes;
}

void Fleet::cut(const NodeId& a, const NodeId& b, bool cut) {
  if (cut) {
    cuts_.insert(std::minmax(a, b));
  } else {
    cuts_.erase(std::minmax(a, b));
  }
}

void Fleet::advance(Nanos now) {
  HF_ASSERT(now >= now_);
  now_ = now;
  for (auto& [node, m] : machines_) {
    for (auto& [id, n] : m.nexuses) advance_nexus(m, n);
    for (auto& [id, job] : m.fills) advance_fill(m, job);
  }
}

void Fleet::advance_nexus(Machine& m, Nexus& n) {
  if (n.stopped || n.fenced) return;
  for (Child& c : n.children) advance_child(m, n, c);
  if (n.unrecorded && !n.fenced) record(n, false).ignore("it is tried again");
}

void Fleet::advance_child(Machine& m, Nexus& n, Child& c) {
  if (!c.open || n.fenced) return;
  Copy* copy = reach(m, c.uri);
  if (copy != nullptr && !copy->holder.is_nil() && n.request.reservation_key != 0 && copy->holder != n.run) {
    n.fenced = true;
    return;
  }
  if (copy == nullptr) {
    if (!c.silent_since) c.silent_since = now_;
    if (now_ - *c.silent_since >= options_.silence) child_failed(n, c, ChildReason::io_failure);
    return;
  }
  c.silent_since.reset();
  if (c.suspended) c.suspended = false;
  if (c.rebuild && !c.rebuild->paused && c.rebuild->ends <= now_) finish_rebuild(m, n, c);
}

// ---- guests

bool Fleet::write_child(Machine& m, Nexus& n, Child& c, unsigned region, std::uint64_t number) {
  if (!c.open || c.suspended) return false;
  Pool* pool = nullptr;
  Copy* copy = reach(m, c.uri, &pool);
  if (copy == nullptr) {
    child_failed(n, c, ChildReason::io_failure);
    return false;
  }
  if (n.request.reservation_key != 0 && copy->holder != n.run) {
    n.fenced = true;
    return false;
  }
  if (!allocate(*pool, *copy, region)) {
    if (n.in_sync() > 1 || !c.in_sync) child_failed(n, c, ChildReason::out_of_space);
    return false;
  }
  // What is being rebuilt gets every write, too, wherever its copying is.
  copy->content[region] = number;
  return c.in_sync;
}

Status Fleet::write(Machine& m, const Uuid& nexus, unsigned region) {
  HF_ASSERT(region < region_count);
  const auto found = m.nexuses.find(nexus);
  if (!m.running || found == m.nexuses.end() || !found->second.shared)
    return Error(Errc::not_connected, "the target is not there");
  Nexus& n = found->second;
  advance_nexus(m, n);
  HF_CHECK(usable(n));
  if (n.in_sync() == 0) return Error(Errc::io_error, "no child in sync answers");
  const std::uint64_t number = ++writes_;
  std::size_t done = 0;
  for (Child& c : n.children) {
    done += write_child(m, n, c, region, number) ? 1 : 0;
    if (n.fenced) return usable(n);
  }
  // It may have failed while it was written to.
  if (done == 0 || n.in_sync() == 0) return Error(Errc::io_error, "no child in sync took the write");
  if (n.unrecorded) HF_CHECK(record(n, false));
  acknowledged_[n.request.name][region] = number;
  return Status();
}

Status Fleet::read(Machine& m, const Uuid& nexus, unsigned region) {
  HF_ASSERT(region < region_count);
  const auto found = m.nexuses.find(nexus);
  if (!m.running || found == m.nexuses.end() || !found->second.shared)
    return Error(Errc::not_connected, "the target is not there");
  Nexus& n = found->second;
  advance_nexus(m, n);
  HF_CHECK(usable(n));
  // What one child has only may be taken back by the next target, until the record says that the other one misses it.
  if (n.unrecorded) HF_CHECK(record(n, false));
  for (Child& c : n.children) {
    if (!c.open || !c.in_sync || c.suspended) continue;
    const Copy* copy = reach(m, c.uri);
    if (copy == nullptr) continue;
    std::uint64_t& told = acknowledged_[n.request.name][region];
    if (copy->content[region] < told) {
      violated(
          fmt::format("a read of volume {} through nexus {} on {} gave write {} of region {}, {} was "
                      "acknowledged",
                      n.request.name, nexus.to_string(), m.node, copy->content[region], region, told));
    }
    told = std::max(told, copy->content[region]);
    return Status();
  }
  return Error(Errc::io_error, "no child in sync answers");
}

std::size_t Fleet::good_copies(const std::string& volume, const Copy* except) const {
  const auto told = acknowledged_.find(volume);
  if (told == acknowledged_.end()) return 0;
  std::size_t good = 0;
  for (const auto& [node, m] : machines_) {
    for (const auto& [id, pool] : m.pools) {
      for (const auto& [uuid, copy] : pool.copies) {
        const bool counts = !copy.is_snapshot && copy.volume == volume && &copy != except;
        if (counts && covers(copy.content, told->second)) ++good;
      }
    }
  }
  return good;
}

void Fleet::check_last_copy(const Copy& copy, const char* what) {
  if (copy.is_snapshot || copy.volume.empty() || given_up(copy.volume)) return;
  const auto told = acknowledged_.find(copy.volume);
  if (told == acknowledged_.end() || !covers(copy.content, told->second)) return;
  if (told->second == Content{}) return;  // nothing was ever written
  if (good_copies(copy.volume, &copy) > 0) return;
  violated(fmt::format("replica {} of volume {}, the last one with all that was acknowledged, was {}",
                       copy.uuid.to_string(), copy.volume, what));
}

}  // namespace holdfast::control::fake
