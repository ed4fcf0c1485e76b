#include <algorithm>

#include <fmt/format.h>

#include "sim/paths/paths.h"

namespace holdfast::sim {
namespace {

const std::string nqn = "nqn.2019-05.io.openebs:paths";

}  // namespace

Nanos PathsRun::draw(Nanos low, Nanos high) {
  return Nanos(
      random_.between(static_cast<std::uint64_t>(low.count()), static_cast<std::uint64_t>(high.count())));
}

void PathsRun::end_after(Nanos low, Nanos high, std::function<void()> end) {
  world_.after(draw(low, high), std::move(end));
}

void PathsRun::choose_faults() {
  const std::pair<bool, Fault> all[] = {
      {swarm_.cut, &PathsRun::cut},       {swarm_.partition, &PathsRun::partition},
      {swarm_.refuse, &PathsRun::refuse}, {swarm_.crash, &PathsRun::crash},
      {swarm_.freeze, &PathsRun::freeze}, {swarm_.stall, &PathsRun::stall},
      {swarm_.ana, &PathsRun::ana},       {swarm_.path_errors, &PathsRun::path_errors},
  };
  for (const auto& [on, fault] : all) {
    if (on) enabled_.push_back(fault);
  }
}

// Each fault at any time, on any target: that nothing is lost does not depend on one path being well.
void PathsRun::strike() {
  if (!faulty_ || over() || enabled_.empty()) return;
  world_.after(draw(swarm_.fault_interval / 4, swarm_.fault_interval * 7 / 4), [this] { strike(); });
  const Fault fault = enabled_[random_.below(enabled_.size())];
  ++faults_;
  (this->*fault)(*targets_[random_.below(targets_.size())]);
}

void PathsRun::cut(TargetSide& side) {
  note("fault: cut");
  if (random_.chance(1, 2)) {
    world_.net().cut(host_node_, *side.node);
  } else {
    world_.net().cut_one();
  }
}

void PathsRun::partition(TargetSide& side) {
  Node& node = *side.node;
  note("fault: partition from " + node.name());
  world_.net().partition(host_node_, node);
  end_after(1ms, 6s, [this, &node] { world_.net().heal(host_node_, node); });
}

void PathsRun::refuse(TargetSide& side) {
  Node& node = *side.node;
  note("fault: " + node.name() + " refuses");
  world_.net().refuse(node, true);
  world_.net().cut(host_node_, node);
  end_after(10ms, 3s, [this, &node] { world_.net().refuse(node, false); });
}

// How long the target, or its port, stands still from now on. A target that stands still for longer than KATO executes
// what it held only then: nothing at the host can know. Faults of that kind stay shorter, and what they held is
// done before the next one; those in a row would be one that is longer. Zero: it is too early for another one.
Nanos PathsRun::stand_still(TargetSide& side) {
  const Nanos third = swarm_.config.keep_alive / 3;
  if (side.target == nullptr || world_.now() < side.steady_until) return Nanos{0};
  const Nanos still = draw(1ms, third);
  side.steady_until = world_.now() + still + third;
  return still;
}

void PathsRun::freeze(TargetSide& side) {
  const Nanos still = stand_still(side);
  if (still == Nanos{0}) return;
  note("fault: " + side.node->name() + " stands still");
  side.node->freeze(still);
}

void PathsRun::stall(TargetSide& side) {
  const Nanos still = stand_still(side);
  if (still == Nanos{0}) return;
  note("fault: the port of " + side.node->name() + " stalls");
  side.behavior.stalled_until = world_.now() + still;
}

void PathsRun::ana(TargetSide& side) {
  constexpr nvme::AnaState states[] = {nvme::AnaState::optimized, nvme::AnaState::optimized,
                                       nvme::AnaState::non_optimized, nvme::AnaState::inaccessible,
                                       nvme::AnaState::change};
  change_ana(side, states[random_.below(std::size(states))]);
}

void PathsRun::path_errors(TargetSide& side) {
  note("fault: path errors at " + side.node->name());
  side.behavior.path_error_per_mille = 200;
  end_after(10ms, 1s, [&side] { side.behavior.path_error_per_mille = 0; });
}

void PathsRun::crash(TargetSide& side) {
  if (side.target == nullptr) return;
  note("fault: " + side.node->name() + " crashes");
  side.node->crash(random_.chance(1, 2) ? CrashKind::process : CrashKind::power);
  bury(side.target.release());
  bury(side.device.release());
  end_after(5ms, 5s, [this, &side] {
    note(side.node->name() + " is back");
    start_target(side);
  });
}

void PathsRun::change_ana(TargetSide& side, nvme::AnaState state) {
  side.ana = state;
  if (side.target == nullptr || side.changing) return;
  note(fmt::format("ANA state of {}: {}", side.node->name(), static_cast<unsigned>(state)));
  side.changing = true;
  auto set = [](PathsRun& run, TargetSide& s, nvme::AnaState to) -> Task<void> {
    const Status done = co_await s.target->set_ana_state(nqn, 1, to);
    done.ignore("the subsystem may not be there yet: it starts with that state");
    s.changing = false;
    if (s.ana != to) run.change_ana(s, s.ana);
  };
  world_.spawn(side.node->process()->core(0), set(*this, side, state));
}

void PathsRun::heal() {
  note("healing");
  world_.net().heal_all();
  world_.net().set_damage(0);
  for (auto& side : targets_) {
    world_.net().refuse(*side->node, false);
    side->behavior.path_error_per_mille = 0;
    side->behavior.stalled_until = Nanos{0};
    change_ana(*side, nvme::AnaState::optimized);
  }
}

}  // namespace holdfast::sim
