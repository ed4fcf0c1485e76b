#include "sim/control/faults.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace holdfast::sim {

using namespace control;

FaultPlan FaultPlan::draw(Prng& random) {
  const auto sometimes = [&] { return random.below(2) == 0; };
  FaultPlan p;
  p.interval = std::chrono::milliseconds(500 + random.below(8000));
  p.engine_crash = sometimes();
  p.engine_cut = sometimes();
  p.engine_slow = sometimes();
  p.data_cut = sometimes();
  p.lost_answers = sometimes();
  p.agent_crash = sometimes();
  p.agent_freeze = sometimes();
  p.store_down = sometimes();
  p.store_slow = sometimes();
  p.store_lossy = sometimes();
  p.watch_cut = sometimes();
  p.node_loss = random.below(4) == 0;
  p.pool_failed = sometimes();
  p.pool_stalled = sometimes();
  p.pool_full = sometimes();
  return p;
}

std::string FaultPlan::to_string() const {
  std::string text = fmt::format(" each {} ms", interval / 1ms);
  const auto add = [&](bool enabled, const char* fault) {
    if (enabled) text += fmt::format(", {}", fault);
  };
  add(engine_crash, "engine crashes");
  add(engine_cut, "engines cut off");
  add(engine_slow, "slow engines");
  add(data_cut, "data network cut");
  add(lost_answers, "lost answers");
  add(agent_crash, "agent crashes");
  add(agent_freeze, "agents stand still");
  add(store_down, "store down");
  add(store_slow, "store slow");
  add(store_lossy, "store answers lost");
  add(watch_cut, "watches end");
  add(node_loss, "a node is lost");
  add(pool_failed, "pools fail");
  add(pool_stalled, "pools stall");
  add(pool_full, "pools are full");
  return text;
}

Faults::Faults(ControlCluster& cluster, Users& users, FaultPlan plan, std::uint64_t seed)
    : cluster_(cluster), users_(users), plan_(plan), random_(seed) {
  const auto add = [&](bool enabled, void (Faults::*fault)()) {
    if (enabled) enabled_.push_back(fault);
  };
  add(plan.engine_crash, &Faults::crash_engine);
  add(plan.engine_cut, &Faults::cut_engine);
  add(plan.engine_slow, &Faults::slow_engine);
  add(plan.data_cut, &Faults::cut_data);
  add(plan.lost_answers, &Faults::lose_answers);
  add(plan.agent_crash, &Faults::crash_agent);
  add(plan.agent_freeze, &Faults::freeze_agent);
  add(plan.store_down, &Faults::store_down);
  add(plan.store_slow, &Faults::store_slow);
  add(plan.store_lossy, &Faults::store_lossy);
  add(plan.watch_cut, &Faults::cut_watches);
  add(plan.node_loss, &Faults::lose_node);
  add(plan.pool_failed, &Faults::fail_pool);
  add(plan.pool_stalled, &Faults::stall_pool);
  add(plan.pool_full, &Faults::fill_pool);
}

void Faults::later(Nanos low, Nanos high, std::function<void()> what) {
  cluster_.world().after(draw(low, high), [this, what = std::move(what)] {
    if (running_) what();
  });
}

void Faults::start() {
  running_ = true;
  if (!enabled_.empty()) later(Nanos(1), 2 * plan_.interval, [this] { strike(); });
}

void Faults::strike() {
  ++count_;
  (this->*enabled_[random_.below(enabled_.size())])();
  later(Nanos(1), 2 * plan_.interval, [this] { strike(); });
}

void Faults::heal() {
  running_ = false;
  cluster_.log("all is well again");
  cluster_.store_trouble() = StoreTrouble{.watches_cut = cluster_.store_trouble().watches_cut};
  std::vector<NodeId> machines;
  for (const auto& [id, m] : cluster_.fleet().machines()) machines.push_back(id);
  for (const NodeId& id : machines) {
    cluster_.engines().trouble(id) = fake::Trouble();
    cluster_.fleet().start(id, random_.below(2) == 0);
    for (const auto& [pool, state] : cluster_.fleet().machine(id).pools) cluster_.fleet().heal_pool(id, pool);
    for (const NodeId& other : machines) cluster_.fleet().cut(id, other, false);
  }
  for (unsigned i = 0; i < ControlCluster::agent_count; ++i) {
    if (!cluster_.agent_runs(i)) cluster_.start_agent(i);
  }
}

std::string Faults::any_machine() {
  const auto& machines = cluster_.fleet().machines();
  return std::next(machines.begin(), static_cast<int>(random_.below(machines.size())))->first;
}

void Faults::crash_engine() {
  const NodeId id = any_machine();
  const bool clean = random_.below(4) == 0;
  cluster_.log(fmt::format("{} {}", id, clean ? "is stopped" : "crashes"));
  if (!cluster_.fleet().machine(id).running) return;
  if (clean) {
    cluster_.fleet().stop_cleanly(id);
  } else {
    cluster_.fleet().crash(id);
  }
  later(100ms, 40s, [this, id, imports = random_.below(2) == 0] {
    if (!cluster_.fleet().machines().contains(id)) return;
    cluster_.log(fmt::format("{} is started", id));
    cluster_.fleet().start(id, imports);
  });
}

void Faults::cut_engine() {
  const NodeId id = any_machine();
  cluster_.log(fmt::format("{} is cut off from the agents", id));
  cluster_.engines().trouble(id).cut = true;
  later(1s, 30s, [this, id] { cluster_.engines().trouble(id).cut = false; });
}

void Faults::slow_engine() {
  const NodeId id = any_machine();
  const Nanos delay = draw(10ms, random_.below(4) == 0 ? Nanos(40s) : Nanos(3s));
  cluster_.log(fmt::format("{} is slow: {} ms", id, delay / 1ms));
  cluster_.engines().trouble(id).slow = delay;
  later(1s, 20s, [this, id] { cluster_.engines().trouble(id).slow = Nanos(0); });
}

std::optional<PoolId> Faults::any_pool(const NodeId& node) {
  const auto& pools = cluster_.fleet().machine(node).pools;
  if (pools.empty()) return std::nullopt;
  return std::next(pools.begin(), static_cast<int>(random_.below(pools.size())))->first;
}

void Faults::fail_pool() {
  const NodeId id = any_machine();
  const auto pool = any_pool(id);
  if (!pool) return;
  cluster_.log(fmt::format("the disks of {} fail", *pool));
  cluster_.fleet().set_pool_failed(id, *pool, true);
  later(1s, 40s, [this, id, pool] { cluster_.fleet().heal_pool(id, *pool); });
}

void Faults::stall_pool() {
  const NodeId id = any_machine();
  const auto pool = any_pool(id);
  if (!pool) return;
  cluster_.log(fmt::format("the disks of {} stall", *pool));
  cluster_.fleet().set_pool_stalled(id, *pool, true);
  later(1s, 40s, [this, id, pool] { cluster_.fleet().heal_pool(id, *pool); });
}

void Faults::fill_pool() {
  const NodeId id = any_machine();
  const auto pool = any_pool(id);
  if (!pool) return;
  const std::uint64_t left = random_.below(256) << 20;
  cluster_.log(fmt::format("{} has {} MiB left", *pool, left >> 20));
  cluster_.fleet().set_pool_room(id, *pool, left);
  later(1s, 40s, [this, id, pool] { cluster_.fleet().heal_pool(id, *pool); });
}

void Faults::cut_data() {
  const NodeId a = any_machine(), b = any_machine();
  if (a == b) return;
  cluster_.log(fmt::format("{} and {} do not reach each other", a, b));
  cluster_.fleet().cut(a, b, true);
  later(1s, 30s, [this, a, b] { cluster_.fleet().cut(a, b, false); });
}

void Faults::lose_answers() {
  const NodeId id = any_machine();
  cluster_.log(fmt::format("{} loses requests and answers", id));
  fake::Trouble& trouble = cluster_.engines().trouble(id);
  trouble.lose_answer = trouble.lose_request = trouble.repeat = static_cast<unsigned>(2 + random_.below(6));
  if (random_.below(2) == 0) trouble.slow_answer = draw(10ms, 40s);
  later(1s, 20s, [this, id] {
    fake::Trouble& t = cluster_.engines().trouble(id);
    t.lose_answer = t.lose_request = t.repeat = 0;
    t.slow_answer = Nanos(0);
  });
}

void Faults::crash_agent() {
  const auto index = static_cast<unsigned>(random_.below(ControlCluster::agent_count));
  if (!cluster_.agent_runs(index)) return;
  cluster_.crash_agent(index);
  later(10ms, 15s, [this, index] {
    if (!cluster_.agent_runs(index)) cluster_.start_agent(index);
  });
}

void Faults::freeze_agent() {
  const auto index = static_cast<unsigned>(random_.below(ControlCluster::agent_count));
  if (!cluster_.agent_runs(index)) return;
  cluster_.log(fmt::format("agent {} stands still", index));
  cluster_.agent_node(index).freeze(draw(1s, 12s));
}

void Faults::store_down() {
  cluster_.log("the store is down");
  cluster_.store_trouble().down = true;
  later(100ms, 15s, [this] { cluster_.store_trouble().down = false; });
}

void Faults::store_slow() {
  cluster_.store_trouble().slow = draw(10ms, 1500ms);
  later(1s, 20s, [this] { cluster_.store_trouble().slow = Nanos(0); });
}

void Faults::store_lossy() {
  cluster_.log("the store loses requests and answers");
  cluster_.store_trouble().lose_answer = cluster_.store_trouble().lose_request =
      static_cast<unsigned>(2 + random_.below(8));
  later(1s, 20s,
        [this] { cluster_.store_trouble().lose_answer = cluster_.store_trouble().lose_request = 0; });
}

void Faults::cut_watches() { ++cluster_.store_trouble().watches_cut; }

// Every volume with a replica there keeps another one elsewhere that its record calls healthy: one that is being let
// go of does not count.
bool Faults::may_be_lost(const NodeId& node) {
  const Agent* leader = cluster_.leader();
  if (leader == nullptr || cluster_.fleet().machines().size() < 4) return false;
  const auto is_kept = [&](const Uuid& id) {
    const auto spec = leader->specs().replicas.find(id);
    return spec != leader->specs().replicas.end() && spec->second.owners.volume;
  };
  const StoreTrouble none;
  StoreRecords records(cluster_.store(), none);
  std::set<std::string> elsewhere;
  for (const auto& [id, m] : cluster_.fleet().machines()) {
    if (id == node) continue;
    for (const auto& [pool_id, pool] : m.pools) {
      for (const auto& [uuid, copy] : pool.copies) {
        if (is_kept(uuid)) elsewhere.insert(uuid.to_string());
      }
    }
  }
  for (const auto& [pool_id, pool] : cluster_.fleet().machine(node).pools) {
    for (const auto& [uuid, copy] : pool.copies) {
      if (copy.is_snapshot) continue;
      if (copy.volume.empty()) return false;
      if (cluster_.fleet().given_up(copy.volume)) continue;
      const auto record = records.load("/holdfast/v1/clusters/default/volume/" + copy.volume + "/membership");
      if (!record.ok() || !record.value()) return false;
      const auto& members = record.value()->record.children;
      const bool kept = std::any_of(members.begin(), members.end(), [&](const nexus::ChildRecord& c) {
        return c.healthy && elsewhere.contains(c.uuid);
      });
      if (!kept) return false;
    }
  }
  return true;
}

void Faults::lose_node() {
  const NodeId id = any_machine();
  if (!users_.lost().empty() || !may_be_lost(id)) return;
  cluster_.log(fmt::format("{} is lost for ever", id));
  cluster_.fleet().destroy(id);
  users_.lost(id);
}

}  // namespace holdfast::sim
