#include "sim/pool/run.h"

#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/log.h"
#include "sim/pool/crash_run.h"
#include "sim/pool/verifier.h"

namespace holdfast::sim {
namespace {

// Half of the long ones, with completion and without.
bool faults_in(std::uint64_t seed) { return (seed == 0 || seed > crash_sequences) && seed / 2 % 2 == 1; }

// Half of those with faults and of those without.
bool epochs_in(std::uint64_t seed) { return (seed == 0 || seed > crash_sequences) && seed / 4 % 2 == 1; }

// The making of the pool crashes, too, on one disk or on some.
bool made_watched(std::uint64_t seed) { return seed % 50 == 0; }
std::size_t disks_in(std::uint64_t seed) { return made_watched(seed) ? 1 + seed / 50 % 3 : 1; }

// The sequence of a seed: the short ones by number, then long random ones.
std::vector<CrashOp> sequence(std::uint64_t seed) {
  std::vector<CrashOp> ops;
  if (seed > 0 && seed <= crash_sequences) {
    std::uint64_t number = seed - 1;
    std::uint64_t many = crash_operations;
    std::size_t length = 1;
    for (; number >= many; many *= crash_operations, ++length) number -= many;
    for (; length > 0; --length, number /= crash_operations) {
      ops.insert(ops.begin(), static_cast<CrashOp>(number % crash_operations));
    }
    return ops;
  }
  Prng random(seed);
  if (faults_in(seed)) ops.assign(random.below(3), CrashOp::add_disk);
  for (std::uint64_t n = 4 + random.below(20); n > 0; --n) {
    const bool epoch = epochs_in(seed) && random.chance(1, 5);
    ops.push_back(epoch ? CrashOp::epoch : static_cast<CrashOp>(random.below(crash_op_count)));
  }
  return ops;
}

std::string text_of(const std::vector<CrashOp>& ops) {
  std::string text;
  for (const CrashOp op : ops) text += std::string(text.empty() ? "" : ", ") + name(op);
  return text;
}

class Campaign {
 public:
  Campaign(std::uint64_t seed, bool verbose)
      : seed_(seed),
        verbose_(verbose),
        short_(seed > 0 && seed <= crash_sequences),
        random_(seed),
        verifier_(seed) {}

  RunResult run() {
    first_life();
    if (result_.failures.empty() && next_) second_life();
    result_.states = verifier_.verified();
    return std::move(result_);
  }

 private:
  struct Next {
    Objects objects;
    std::vector<DiskImage> disks;
  };

  void first_life() {
    const std::vector<CrashOp> ops = sequence(seed_);
    CrashRun run(seed_, options_);
    Moment from = run.now() + 1;
    for (std::size_t i = 0; i < ops.size(); ++i) {
      // What comes before the last one was crashed as a shorter sequence.
      if (short_) from = run.now() + 1;
      run.run(ops[i]);
    }
    finish(run);
    if (made_watched(seed_) || run.made_in_trouble()) from = 1;
    crash_all(run, from, short_ ? 0 : 60, true);
    clear(run);
    tags_ = run.tags();
  }

  // After one of the crashes the pool is opened, used, and crashes again, from the first write of opening it on.
  void second_life() {
    CrashRun run(seed_ + 1'000'000'007, options_, std::move(next_->disks), next_->objects, tags_);
    for (std::uint64_t n = 1 + random_.below(2); n > 0; --n)
      run.run(static_cast<CrashOp>(random_.below(crash_op_count)));
    finish(run);
    crash_all(run, 1, short_ ? 12 : 40, false);
    clear(run);
  }

  void finish(CrashRun& run) {
    run.heal();
    result_.operations += run.operations();
    result_.faults += static_cast<unsigned>(run.disk_failures());
    result_.steps += run.world_steps();
    if (!run.failure().empty()) fail("while it ran: " + run.failure());
  }

  void clear(CrashRun& run) {
    if (!result_.failures.empty()) return;
    run.clear();
    if (!run.failure().empty()) fail("at the end: " + run.failure());
  }

  // Crashes at moments of the run, at most `most` of them chosen at random (0: at all).
  void crash_all(const CrashRun& run, Moment from, std::size_t most, bool keep_one) {
    std::vector<Moment> moments = run.moments(from);
    while (most != 0 && moments.size() > most)
      moments.erase(moments.begin() + static_cast<std::ptrdiff_t>(random_.below(moments.size())));
    std::uint64_t seen = 0;
    for (const Moment at : moments) {
      for (const Crash crash : crashes) {
        if (most != 0 && !random_.chance(1, 2)) continue;
        std::vector<CrashedDisk> disks;
        for (const CrashDisk* disk : run.disks()) disks.push_back(disk->crashed(at, crash, random_));
        Verifier::Expectation expected = expectation(run, at, crash);
        expected.keep = keep_one && random_.below(++seen) == 0;  // one of them at random goes on
        Verifier::Found found = verifier_.verify(disks, expected);
        if (!found.failure.empty()) {
          fail(fmt::format("crash at {} ({}){}: {}", at, name(crash), where(run, at), found.failure));
          return;
        }
        if (!found.disks.empty()) keep(std::move(found));
      }
    }
  }

  static Verifier::Expectation expectation(const CrashRun& run, Moment at, Crash crash) {
    Verifier::Expectation expected;
    expected.at = at;
    expected.crash = crash;
    expected.may_be_nothing = at < run.created();
    expected.by_force = run.made_in_trouble();
    for (const auto& step : run.steps()) {
      if (step->begun > at) break;
      if (step->ended <= at) expected.steps.clear();
      expected.steps.push_back(step.get());
    }
    return expected;
  }
  static std::string where(const CrashRun& run, Moment at) {
    std::string text;
    for (const auto& step : run.steps()) {
      if (step->begun <= at && !step->what.empty())
        text = (step->ended > at ? " during " : " after ") + step->what;
    }
    return text;
  }

  // The verifier's versions are gone with the next verification: they are copied.
  void keep(Verifier::Found&& found) {
    kept_versions_.clear();
    std::map<const Version*, const Version*> copies;
    for (auto& [object_name, object] : found.objects) {
      for (auto& history : *object.sectors) {
        const Version*& copy = copies[history.back()];
        if (copy == nullptr) copy = &kept_versions_.emplace_back(*history.back());
        history = {copy};
      }
    }
    next_ = Next{std::move(found.objects), std::move(found.disks)};
  }

  void fail(std::string why) {
    if (verbose_) fmt::print("{}\n", why);
    result_.failures.push_back(std::move(why));
  }

  const std::uint64_t seed_;
  const bool verbose_;
  const bool short_;
  const CrashRunOptions options_{.completion = !short_ && seed_ % 2 == 1,
                                 .faults = faults_in(seed_),
                                 .epochs = epochs_in(seed_),
                                 .disks = disks_in(seed_)};
  Prng random_;
  Verifier verifier_;
  RunResult result_;
  std::uint64_t tags_ = 0;
  std::optional<Next> next_;
  std::deque<Version> kept_versions_;
};

}  // namespace

RunResult run_pool_seed(std::uint64_t seed, bool verbose) {
  log::configure(verbose ? log::Level::info : log::Level::off, log::Format::text);
  Campaign campaign(seed, verbose);
  return campaign.run();
}

std::string describe_pool_seed(std::uint64_t seed) {
  return fmt::format("operations{}: {}\n", faults_in(seed) ? ", on disks that fail" : "",
                     text_of(sequence(seed)));
}

}  // namespace holdfast::sim
