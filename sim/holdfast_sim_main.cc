// holdfast-sim: runs simulated clusters from seeds.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/units.h"
#include "sim/cluster/fencing.h"
#include "sim/cluster/run.h"
#include "sim/control/run.h"
#include "sim/paths/run.h"
#include "sim/pool/run.h"

namespace {

using holdfast::sim::RunResult;

constexpr const char* usage =
    "holdfast-sim --seed N [--verbose]     one run: its options, history and outcome\n"
    "holdfast-sim --seeds A-B [--jobs N]   many runs; prints the seeds that fail\n"
    "holdfast-sim --forever [--jobs N]     random seeds until one fails\n"
    "     --first-failure                  with --seeds: stops at the first failing seed\n"
    "     --states-min N                   fails when fewer crashed states are visited\n"
    "     --scenario S                     what is run:\n"
    "       cluster                        a mirror on its machines (default)\n"
    "       paths                          one device with several paths\n"
    "       fencing                        a mirror that another nexus takes over\n"
    "       pool                           a pool that crashes at every step of its metadata (seeds 1 to "
    "1884:\n"
    "                                      all sequences of up to three operations); larger ones also have "
    "disks\n"
    "                                      that fail\n"
    "       epochs                         a mirror that crashes all the time and copies only what changed\n"
    "       control                        agents of the control plane, their store and engines that are "
    "models\n";

struct Scenario {
  std::string_view name;
  RunResult (*run)(std::uint64_t seed, bool verbose);
  std::string (*describe)(std::uint64_t seed);
};
constexpr Scenario scenarios[] = {
    {"cluster", holdfast::sim::run_seed, holdfast::sim::describe_seed},
    {"paths", holdfast::sim::run_paths_seed, holdfast::sim::describe_paths_seed},
    {"fencing", holdfast::sim::run_fencing_seed, holdfast::sim::describe_fencing_seed},
    {"pool", holdfast::sim::run_pool_seed, holdfast::sim::describe_pool_seed},
    {"epochs", holdfast::sim::run_epochs_seed, holdfast::sim::describe_epochs_seed},
    {"control", holdfast::sim::run_control_seed, holdfast::sim::describe_control_seed},
};

struct Options {
  std::optional<std::uint64_t> seed;
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  bool forever = false;
  bool verbose = false;
  bool first_failure = false;
  std::uint64_t jobs = 1;
  std::uint64_t states_min = 0;
  const Scenario* scenario = &scenarios[0];
};

[[noreturn]] void wrong_usage(std::string_view why) {
  fmt::print(stderr, "holdfast-sim: {}\n{}", why, usage);
  std::exit(2);
}

std::uint64_t number(std::string_view text) {
  auto n = holdfast::parse_number(text);
  if (!n.ok()) wrong_usage(n.error().message());
  return n.value();
}

Options parse(int argc, char** argv) {
  Options o;
  const auto value = [&](int& i) -> std::string_view {
    if (i + 1 >= argc) wrong_usage(fmt::format("{} needs a value", argv[i]));
    return argv[++i];
  };
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (arg == "--seed") {
      o.seed = number(value(i));
    } else if (arg == "--seeds") {
      const std::string_view range = value(i);
      const auto dash = range.find('-');
      if (dash == std::string_view::npos) wrong_usage("--seeds wants A-B");
      o.first = number(range.substr(0, dash));
      o.last = number(range.substr(dash + 1));
      if (o.last < o.first) wrong_usage("--seeds wants A-B with A <= B");
    } else if (arg == "--jobs") {
      o.jobs = std::clamp<std::uint64_t>(number(value(i)), 1, 64);
    } else if (arg == "--states-min") {
      o.states_min = number(value(i));
    } else if (arg == "--forever") {
      o.forever = true;
    } else if (arg == "--verbose") {
      o.verbose = true;
    } else if (arg == "--first-failure") {
      o.first_failure = true;
    } else if (arg == "--scenario") {
      const std::string_view name = value(i);
      const auto* found = std::find_if(std::begin(scenarios), std::end(scenarios),
                                       [&](const Scenario& s) { return s.name == name; });
      if (found == std::end(scenarios)) wrong_usage(fmt::format("unknown scenario '{}'", name));
      o.scenario = found;
    } else if (arg == "--help") {
      fmt::print("{}", usage);
      std::exit(0);
    } else {
      wrong_usage(fmt::format("unknown argument '{}'", arg));
    }
  }
  if (!o.seed && o.last == 0 && !o.forever) wrong_usage("nothing to do");
  return o;
}

bool run_one(const Scenario& scenario, std::uint64_t seed, bool verbose) {
  fmt::print("{}", scenario.describe(seed));
  std::fflush(stdout);
  const RunResult r = scenario.run(seed, verbose);
  for (const std::string& why : r.failures) fmt::print("FAILED: {}\n", why);
  fmt::print("seed {}: {}, {} operations ({} failed), {} faults, {} steps, {:.3f} virtual s, trace {:016x}\n",
             seed, r.failures.empty() ? "passed" : "FAILED", r.operations, r.operations_failed, r.faults,
             r.steps, r.virtual_seconds, r.trace);
  if (r.states > 0) fmt::print("{} crashed states\n", r.states);
  return r.failures.empty();
}

// A batch of seeds runs in a process of its own: what crashed simulated processes leave behind goes with it,
// and an assertion of the product costs one batch, not the campaign.
class Campaign {
 public:
  Campaign(const Scenario& scenario, std::uint64_t jobs, bool first_failure)
      : scenario_(scenario), jobs_(jobs), first_failure_(first_failure) {}

  // The seeds from `first` on, `count` of them.
  void add(std::uint64_t first, std::uint64_t count) {
    while (running_.size() >= jobs_) reap();
    if (over()) return;
    std::fflush(stdout);
    int results[2];
    if (pipe(results) != 0) std::perror("pipe"), std::exit(1);
    const pid_t child = fork();
    if (child < 0) std::perror("fork"), std::exit(1);
    if (child == 0) {
      close(results[0]);
      work(first, count, results[1]);
    }
    close(results[1]);
    running_.push_back({child, first, count, results[0]});
  }
  void finish() {
    while (!running_.empty()) reap();
  }
  bool over() const { return first_failure_ && !failed_.empty(); }
  std::uint64_t passed() const { return passed_; }
  std::uint64_t states() const { return states_; }
  const std::vector<std::uint64_t>& failed() const { return failed_; }

 private:
  struct Batch {
    pid_t child;
    std::uint64_t first;
    std::uint64_t count;
    int results;
  };
  struct Outcome {  // of one seed, from the process that ran it
    bool passed = false;
    std::uint64_t states = 0;
  };

  [[noreturn]] void work(std::uint64_t first, std::uint64_t count, int results) {
    for (std::uint64_t seed = first; seed < first + count; ++seed) {
      const RunResult r = scenario_.run(seed, false);
      for (const std::string& why : r.failures) fmt::print("seed {} FAILED: {}\n", seed, why);
      std::fflush(stdout);
      const Outcome outcome{r.failures.empty(), r.states};
      if (write(results, &outcome, sizeof outcome) != sizeof outcome) _exit(1);
    }
    std::exit(0);
  }

  void reap() {
    int status = 0;
    const pid_t child = wait(&status);
    const auto it =
        std::find_if(running_.begin(), running_.end(), [&](const Batch& b) { return b.child == child; });
    if (it == running_.end()) return;
    const Batch batch = *it;
    running_.erase(it);
    std::uint64_t done = 0;
    for (Outcome o; read(batch.results, &o, sizeof o) == sizeof o; ++done) {
      states_ += o.states;
      if (o.passed) {
        ++passed_;
      } else {
        failed_.push_back(batch.first + done);
      }
    }
    close(batch.results);
    if (status == 0 && done == batch.count) return;
    // It died in the middle of a run: that one failed, the rest is run again.
    if (done < batch.count) {
      const std::uint64_t died = batch.first + done;
      fmt::print("seed {} FAILED: the process died (status {:#x})\n", died, status);
      failed_.push_back(died);
      if (done + 1 < batch.count) add(died + 1, batch.count - done - 1);
    } else {
      fmt::print("seeds {}-{} FAILED: the process ended badly (status {:#x})\n", batch.first,
                 batch.first + batch.count - 1, status);
      failed_.push_back(batch.first);
    }
  }

  const Scenario& scenario_;
  const std::uint64_t jobs_;
  const bool first_failure_;
  std::vector<Batch> running_;
  std::uint64_t passed_ = 0;
  std::uint64_t states_ = 0;
  std::vector<std::uint64_t> failed_;
};

int run_many(const Options& o) {
  constexpr std::uint64_t batch = 10;
  Campaign campaign(*o.scenario, o.jobs, o.first_failure || o.forever);
  const std::uint64_t first =
      o.forever ? static_cast<std::uint64_t>(std::time(nullptr)) * 1'000'000 : o.first;
  const std::uint64_t last = o.forever ? ~std::uint64_t{0} : o.last;
  std::uint64_t told = 0;
  for (std::uint64_t seed = first; seed <= last && !campaign.over(); seed += batch) {
    campaign.add(seed, std::min(batch, last - seed + 1));
    if (campaign.passed() / 1000 == told) continue;
    told = campaign.passed() / 1000;
    fmt::print("{} passed so far\n", campaign.passed());
    std::fflush(stdout);
  }
  campaign.finish();
  fmt::print("{} passed, {} failed\n", campaign.passed(), campaign.failed().size());
  if (campaign.states() > 0) fmt::print("{} crashed states visited\n", campaign.states());
  const bool enough = campaign.states() >= o.states_min;
  if (!enough) fmt::print("FAILED: at least {} are wanted\n", o.states_min);
  auto failed = campaign.failed();
  std::sort(failed.begin(), failed.end());
  for (const std::uint64_t seed : failed) {
    fmt::print("holdfast-sim --seed {} --verbose --scenario {}\n", seed, o.scenario->name);
  }
  return failed.empty() && enough ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  if (o.seed) return run_one(*o.scenario, *o.seed, o.verbose) ? 0 : 1;
  return run_many(o);
}
