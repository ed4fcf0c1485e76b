#include "sim/cluster/nemesis.h"

#include <algorithm>

#include <fmt/format.h>

#include "sim/cluster/engines.h"

namespace holdfast::sim {

Nemesis::Nemesis(Cluster& cluster) : cluster_(cluster), random_(cluster.world().fork_random()) {
  const Swarm& s = cluster.swarm();
  const auto enable = [&](bool on, Fault fault) {
    if (on) enabled_.push_back(fault);
  };
  enable(s.replica_crash, s.lone_copy ? &Nemesis::hunt_lone_copy : &Nemesis::crash_replica);
  enable(s.nexus_crash, &Nemesis::crash_nexus);
  enable(s.partition, &Nemesis::partition);
  enable(s.cut, &Nemesis::cut);
  enable(s.refuse, &Nemesis::refuse);
  enable(s.freeze, &Nemesis::freeze);
  enable(s.disk_errors, &Nemesis::disk_errors);
  enable(s.disk_stall, &Nemesis::disk_stall);
  enable(s.disk_slow, &Nemesis::disk_slow);
  enable(s.disk_dies, &Nemesis::disk_dies);
  enable(s.store_outage, &Nemesis::store_outage);
  enable(s.child_operations, &Nemesis::meddle);
  enable(s.nexus_end, &Nemesis::end_nexus);
  enable(s.snapshots > 0, &Nemesis::snapshot);
}

void Nemesis::start() {
  if (enabled_.empty()) return;
  running_ = true;
  cluster_.world().after(draw(Nanos(0), cluster_.swarm().fault_interval), [this] { strike(); });
}

void Nemesis::strike() {
  if (!running_) return;
  if (cluster_.world().now() >= calm_until_) {
    ++faults_;
    (this->*enabled_[random_.below(enabled_.size())])();
  }
  cluster_.world().after(draw(Nanos(0), 2 * cluster_.swarm().fault_interval), [this] { strike(); });
}

Nanos Nemesis::draw(Nanos low, Nanos high) {
  const auto a = static_cast<std::uint64_t>(low.count());
  return Nanos(random_.between(a, static_cast<std::uint64_t>(high.count())));
}

void Nemesis::end_after(Nanos low, Nanos high, std::function<void()> end) {
  const Nanos time = draw(low, high);
  troubled_until_ = std::max(troubled_until_, cluster_.world().now() + time);
  cluster_.world().after(time, std::move(end));
}

Replica& Nemesis::any_replica() {
  auto& all = cluster_.replicas();
  return all[random_.below(all.size())];
}

Node& Nemesis::any_node() { return cluster_.world().node(random_.below(cluster_.world().node_count())); }

void Nemesis::crash_replica() {
  Replica& r = any_replica();
  if (r.local || r.node->process() == nullptr) return;
  crash(r, cluster_.swarm().power_loss && random_.chance(1, 2), 8s);
}

void Nemesis::crash(Replica& r, bool power, Nanos longest) {
  cluster_.crash_replica(r, power ? CrashKind::power : CrashKind::process);
  end_after(10ms, longest, [this, &r] { cluster_.start_replica(r); });
}

// One after the other, until one copy is left; and that one when others are being rebuilt. Whoever is rebuilt is
// left alone.
void Nemesis::hunt_lone_copy() {
  NexusEngine* engine = cluster_.nexus();
  if (engine == nullptr || !engine->up()) return;
  std::vector<Replica*> in_sync;
  for (Replica& r : cluster_.replicas()) {
    if (engine->uses(r)) in_sync.push_back(&r);
  }
  if (in_sync.empty()) return;
  const bool alone = in_sync.size() == 1;
  if (alone && engine->volume()->view().rebuilds == 0) return;
  Replica& r = *in_sync[random_.below(in_sync.size())];
  if (r.node->process() == nullptr) return;
  crash(r, alone || random_.chance(1, 4), 500ms);
}

void Nemesis::crash_nexus() {
  if (cluster_.nexus_node().process() == nullptr) return;
  const bool power = cluster_.swarm().power_loss && random_.chance(1, 4);
  cluster_.crash_nexus(power ? CrashKind::power : CrashKind::process);
  end_after(50ms, 8s, [this] { cluster_.start_nexus(); });
}

void Nemesis::partition() {
  Node& a = any_node();
  Node& b = any_node();
  if (&a == &b) return;
  SimNet& net = cluster_.world().net();
  const bool one_way = random_.chance(1, 3);
  cluster_.note(fmt::format("partition: {} {} {}", a.name(), one_way ? "->" : "<->", b.name()));
  if (one_way) {
    net.block(a, b);
  } else {
    net.partition(a, b);
  }
  end_after(10ms, 10s, [this, &net, &a, &b] {
    cluster_.note(fmt::format("healed: {} {}", a.name(), b.name()));
    net.heal(a, b);
  });
}

void Nemesis::cut() {
  cluster_.note("a connection is cut");
  cluster_.world().net().cut_one();
}

void Nemesis::refuse() {
  Node& node = any_node();
  cluster_.note(node.name() + " refuses connections");
  cluster_.world().net().refuse(node, true);
  end_after(10ms, 3s, [this, &node] { cluster_.world().net().refuse(node, false); });
}

void Nemesis::freeze() {
  Node& node = any_node();
  const Nanos time = draw(1ms, 5s);
  cluster_.note(fmt::format("{} is frozen for {} ms", node.name(), time.count() / 1'000'000));
  node.freeze(time);
  troubled_until_ = std::max(troubled_until_, cluster_.world().now() + time);
}

void Nemesis::disk_errors() {
  Replica& r = any_replica();
  if (r.dead) return;
  DiskFaults& faults = disk_of(r).faults();
  cluster_.note(fmt::format("disk errors on {}", r.node->name()));
  faults.read_error_per_mille = static_cast<unsigned>(random_.below(300));
  faults.write_error_per_mille = static_cast<unsigned>(random_.below(300));
  faults.sync_error_per_mille = static_cast<unsigned>(random_.below(300));
  faults.out_of_space = random_.chance(1, 8);
  end_after(10ms, 5s, [this, &r] {
    DiskFaults& now = disk_of(r).faults();
    now.read_error_per_mille = now.write_error_per_mille = now.sync_error_per_mille = 0;
    now.out_of_space = false;
  });
}

void Nemesis::disk_stall() {
  Replica& r = any_replica();
  const Nanos time = draw(10ms, 8s);
  cluster_.note(fmt::format("the disk of {} stalls for {} ms", r.node->name(), time.count() / 1'000'000));
  const Nanos end = cluster_.world().now() + time;
  disk_of(r).faults().stalled_until = end;
  troubled_until_ = std::max(troubled_until_, end);
}

void Nemesis::disk_slow() {
  Replica& r = any_replica();
  cluster_.note(fmt::format("the disk of {} is slow", r.node->name()));
  disk_of(r).faults().slowdown = static_cast<unsigned>(random_.between(10, 2000));
  end_after(100ms, 5s, [this, &r] { disk_of(r).faults().slowdown = 1; });
}

// At most one a run, and never the last good copy: only while the mirror is whole and nothing else is wrong,
// and the mirror is given time to notice.
void Nemesis::disk_dies() {
  constexpr Nanos quiet = 20s;
  const Nanos now = cluster_.world().now();
  auto& all = cluster_.replicas();
  if (std::any_of(all.begin(), all.end(), [](const Replica& r) { return r.dead; })) return;
  if (!cluster_.whole() || now < troubled_until_) return;
  Replica& r = any_replica();
  cluster_.note(fmt::format("the disk of {} dies", r.node->name()));
  r.dead = true;
  disk_of(r).faults().failed = true;
  calm_until_ = now + quiet;
}

void Nemesis::store_outage() {
  cluster_.note("the membership store is out");
  cluster_.store().set_out(true);
  end_after(10ms, 5s, [this] { cluster_.store().set_out(false); });
}

void Nemesis::end_nexus() { cluster_.end_nexus(draw(50ms, 8s)); }

void Nemesis::snapshot() {
  NexusEngine* engine = cluster_.nexus();
  if (engine != nullptr && engine->up()) cluster_.world().spawn(engine->home(), engine->take_snapshot());
}

void Nemesis::meddle() {
  NexusEngine* engine = cluster_.nexus();
  if (engine == nullptr || !engine->up()) return;
  cluster_.world().spawn(engine->home(), engine->meddle());
}

}  // namespace holdfast::sim
