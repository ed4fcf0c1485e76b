#include "sim/cluster/run.h"

#include <fmt/format.h>

#include "base/log.h"
#include "sim/cluster/cluster.h"
#include "sim/cluster/engines.h"
#include "sim/cluster/nemesis.h"
#include "sim/cluster/workload.h"
#include "sim/net.h"

namespace holdfast::sim {

namespace {

// Virtual time that a healthy cluster may take. Generous: what is looked for is "never".
constexpr Nanos fault_limit = std::chrono::minutes(5);
constexpr Nanos drain_limit = std::chrono::minutes(15);
constexpr Nanos whole_limit = std::chrono::minutes(15);

std::string record_text(Cluster& cluster) {
  return cluster.record() == nullptr ? "none" : nexus::to_json(*cluster.record());
}

bool work(Cluster& cluster, Workload& workload, Nemesis& nemesis) {
  World& world = cluster.world();
  workload.start();
  nemesis.start();
  world.net().set_damage(cluster.swarm().damage_per_mille);
  const auto over = [&] { return workload.done() || !cluster.failures().empty(); };
  // Faults may hold up I/O for as long as they last, so they end at some time whatever the workload did.
  world.run_until(over, world.now() + fault_limit);
  nemesis.stop();
  cluster.heal();
  if (!world.run_until(over, world.now() + drain_limit)) {
    cluster.fail("operations of the host never ended; record: " + record_text(cluster));
  }
  return cluster.failures().empty();
}

bool become_whole(Cluster& cluster) {
  World& world = cluster.world();
  world.run_for(15s);  // what was planned to end by itself does
  cluster.heal();
  const auto over = [&] { return cluster.whole() || !cluster.failures().empty(); };
  if (!world.run_until(over, world.now() + whole_limit)) {
    cluster.fail("the mirror did not become whole; record: " + record_text(cluster));
  }
  return cluster.failures().empty();
}

// Nothing is written any more: a crash now would have nothing to copy.
bool become_sealed(Cluster& cluster) {
  const Swarm& s = cluster.swarm();
  if (!s.epochs || s.local_child || s.nexus_end) return true;  // a clean end may leave a seal unrecorded
  for (int second = 0; second < 120 && !cluster.unsealed().empty() && cluster.failures().empty(); ++second)
    cluster.world().run_for(1s);
  const std::string unsealed = cluster.unsealed();
  if (!unsealed.empty())
    cluster.fail("nothing was written for two minutes, and there is unsealed: " + unsealed);
  return cluster.failures().empty();
}

bool last_checks(Cluster& cluster) {
  World& world = cluster.world();
  bool read = false;
  bool over = false;
  auto all = [&]() -> Task<void> {
    for (int attempt = 0; attempt < 20 && !read; ++attempt) {
      read = co_await Workload::read_all(cluster);
      if (!read) co_await cluster.host().process().core(0).sleep(10s);
    }
    over = true;
  };
  world.spawn(cluster.host().process().core(0), all());
  world.run_until([&] { return over || !cluster.failures().empty(); }, world.now() + drain_limit);
  if (!read) cluster.fail("the healed volume cannot be read");
  if (cluster.failures().empty()) cluster.check_replicas();
  if (cluster.failures().empty() && cluster.swarm().pools) cluster.check_snapshots();
  return cluster.failures().empty();
}

RunResult run(const Swarm& swarm, bool verbose) {
  RunResult result;
  Cluster cluster(swarm, verbose);
  World& world = cluster.world();
  log::configure(log::Level::info, log::Format::text);
  log::set_sink([&](log::Level, std::string_view component, std::string_view line) {
    cluster.note(fmt::format("    {} | {}: {}", cluster.where(), component, line));
  });
  if (cluster.set_up()) {
    Workload workload(cluster);
    Nemesis nemesis(cluster);
    if (work(cluster, workload, nemesis) && become_whole(cluster) && become_sealed(cluster) &&
        last_checks(cluster)) {
      cluster.shut_down();
    }
    result.operations = workload.finished();
    result.operations_failed = workload.failed();
    result.faults = nemesis.faults();
    result.snapshots = cluster.snapshots_compared();
    result.copies = cluster.copies_checked();
  }
  log::set_sink({});
  result.failures = cluster.failures();
  result.damaged = world.net().damaged();
  result.trace = world.trace();
  result.steps = world.steps();
  result.virtual_seconds = static_cast<double>(world.now().count()) / 1e9;
  return result;
}

}  // namespace

RunResult run_seed(std::uint64_t seed, bool verbose) { return run(Swarm::draw(seed), verbose); }
std::string describe_seed(std::uint64_t seed) { return Swarm::draw(seed).to_string(); }
RunResult run_epochs_seed(std::uint64_t seed, bool verbose) { return run(Swarm::draw_epochs(seed), verbose); }
std::string describe_epochs_seed(std::uint64_t seed) { return Swarm::draw_epochs(seed).to_string(); }

}  // namespace holdfast::sim
