#include "sim/control/run.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"
#include "sim/control/checks.h"
#include "sim/control/cluster.h"
#include "sim/control/faults.h"
#include "sim/control/users.h"

namespace holdfast::sim {

using namespace control;

namespace {

// What a run is made of, drawn from its seed.
struct Plan {
  explicit Plan(std::uint64_t seed) {
    Prng random(seed);
    engines = static_cast<unsigned>(3 + random.below(4));
    active = std::chrono::seconds(30 + random.below(90));
    pause = std::chrono::milliseconds(300 + random.below(3000));
    faults = FaultPlan::draw(random);
    // Guests that write between the steps of one operation. By the seed itself, so that the others stay what they are.
    if (seed % 8 == 7) guests_pause = 20ms;
  }
  std::string to_string() const {
    return fmt::format("{} engines, {} s, a request each {} ms, guests each {} ms at most, faults:{}",
                       engines, active / 1s, pause / 1ms, guests_pause / 1ms, faults.to_string());
  }
  unsigned engines;
  Nanos active;
  Nanos pause;
  Nanos guests_pause = 500ms;
  FaultPlan faults;
};

class Run {
 public:
  Run(std::uint64_t seed, bool verbose)
      : plan_(seed),
        cluster_(seed, plan_.engines, verbose),
        users_(cluster_, seed ^ 0x5eed),
        faults_(cluster_, users_, plan_.faults, seed ^ 0xfa17),
        random_(seed ^ 0x90e5) {
    if (!verbose) return;
    log::configure(log::Level::debug, log::Format::text);
    log::set_sink([this](log::Level, std::string_view, std::string_view line) {
      cluster_.log(fmt::format("    {}", line));
    });
  }
  ~Run() { log::set_sink({}); }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  RunResult result() {
    set_up();
    if (cluster_.failures().empty()) be_active();
    if (cluster_.failures().empty()) come_to_rest();
    if (cluster_.failures().empty()) tear_down();
    for (const std::string& why : cluster_.fleet().violations()) cluster_.fail(why);
    RunResult r;
    r.failures = cluster_.failures();
    r.trace = cluster_.world().trace();
    r.steps = cluster_.world().steps();
    r.virtual_seconds = static_cast<double>(cluster_.world().now().count()) / 1e9;
    r.operations = users_.asked();
    r.operations_failed = users_.refused();
    r.faults = faults_.count();
    return r;
  }

 private:
  static constexpr Nanos patience = 15min;

  World& world() { return cluster_.world(); }

  void set_up() {
    for (unsigned i = 0; i < ControlCluster::agent_count; ++i) cluster_.start_agent(i);
    const auto ready = [&] {
      const Agent* leader = cluster_.leader();
      return leader != nullptr && leader->specs().nodes.size() == plan_.engines;
    };
    for (int i = 0; i < 60 && !ready(); ++i) world().run_for(1s);
    if (!ready()) return cluster_.fail("no agent leads");
    users_.make_pools();
    for (int i = 0; i < 60 && users_.waiting() > 0; ++i) world().run_for(1s);
  }

  // A guest writes or reads somewhere.
  void use_volumes() {
    fake::Fleet& fleet = cluster_.fleet();
    for (auto& [node, m] : fleet.machines()) {
      for (auto& [id, nexus] : m.nexuses) {
        if (!nexus.shared) continue;
        const auto region = static_cast<unsigned>(random_.below(fake::region_count));
        const Status done = random_.below(3) == 0 ? fleet.read(m, id, region) : fleet.write(m, id, region);
        done.ignore("a guest tries again");
      }
    }
  }

  void be_active() {
    const Nanos end = world().now() + plan_.active;
    faults_.start();
    Nanos next_request = world().now();
    while (world().now() < end && cluster_.fleet().violations().empty() && cluster_.failures().empty()) {
      world().run_for(Nanos(random_.below(static_cast<std::uint64_t>(plan_.guests_pause.count()))));
      users_.waiting();
      use_volumes();
      if (world().now() < next_request) continue;
      users_.ask_something();
      next_request =
          world().now() + Nanos(random_.below(static_cast<std::uint64_t>(2 * plan_.pause.count())));
    }
    faults_.heal();
  }

  // Until nothing is to be done any more.
  void come_to_rest() {
    std::vector<std::string> wrong = {"nothing was checked"};
    const Nanos until = world().now() + patience;
    cluster_.log("quiet");
    for (unsigned round = 0; world().now() < until && !wrong.empty(); ++round) {
      if (!cluster_.fleet().violations().empty()) return;
      world().run_for(2s);
      use_volumes();
      if (users_.waiting() > 0) continue;
      if (round % 8 == 0) users_.lift_restrictions();
      if (users_.waiting() > 0) continue;
      wrong = differences(cluster_, users_);
    }
    for (std::string& why : wrong) cluster_.fail("after quiet: " + why);
    if (users_.waiting() > 0) cluster_.fail("a request has no end");
    if (wrong.empty()) check_service();
  }

  // Every volume that is published serves.
  void check_service() {
    fake::Fleet& fleet = cluster_.fleet();
    for (const auto& [id, v] : cluster_.leader()->specs().volumes) {
      if (!v.target) continue;
      auto& m = fleet.machine(v.target->node);
      for (unsigned region = 0; region < fake::region_count; ++region) {
        const Status read = fleet.read(m, v.target->nexus, region);
        const Status written = fleet.write(m, v.target->nexus, region);
        if (!read.ok() || !written.ok()) {
          cluster_.fail(fmt::format("volume {} does not serve: {}", id.to_string(),
                                    (read.ok() ? written : read).error().message()));
          return;
        }
      }
    }
  }

  // All that users made is deleted, and nothing is left.
  void tear_down() {
    const Nanos until = world().now() + patience;
    cluster_.log("everything is deleted");
    while (world().now() < until && users_.delete_everything()) world().run_for(2s);
    std::vector<std::string> left = {"nothing was checked"};
    while (world().now() < until && !left.empty()) {
      world().run_for(2s);
      left = leftovers(cluster_);
    }
    for (std::string& why : left) cluster_.fail("after everything was deleted: " + why);
  }

  const Plan plan_;
  ControlCluster cluster_;
  Users users_;
  Faults faults_;
  Prng random_;
};

}  // namespace

RunResult run_control_seed(std::uint64_t seed, bool verbose) { return Run(seed, verbose).result(); }

std::string describe_control_seed(std::uint64_t seed) {
  return fmt::format("seed {}: {}\n", seed, Plan(seed).to_string());
}

}  // namespace holdfast::sim
