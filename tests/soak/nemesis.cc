#include "soak/nemesis.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <thread>
#include <tuple>

namespace holdfast::soak {

namespace {

constexpr std::size_t everything = 1000;  // a victim that is no single engine
constexpr std::size_t no_engine = 0;

}  // namespace

Nemesis::Nemesis(cluster::Rig& rig, const testing_support::Network& network, std::vector<std::string> volumes,
                 User* user, std::uint64_t seed)
    : rig_(rig), network_(network), volumes_(std::move(volumes)), user_(user), prng_(seed) {}

void Nemesis::strike() {
  std::vector<Fault> faults{draw()};
  Fault second = draw();
  const bool twice = prng_.chance(1, 3);
  const bool first_whole = prng_.chance(1, 3);
  const Time calm(prng_.below(2000));
  if (twice && second.victim != faults.front().victim && second.victim != everything &&
      faults.front().victim != everything) {
    faults.push_back(std::move(second));
  }
  if (first_whole || !bearable(faults)) wait_whole();
  if (!bearable(faults)) faults.resize(1);
  if (testing::Test::HasFailure()) return;
  carry_out(faults);
  check_alive();
  std::this_thread::sleep_for(calm);
  ++strikes_;
}

Nemesis::Fault Nemesis::draw() {
  const std::size_t i = 1 + prng_.below(rig_.engines());
  const std::size_t j = 1 + (i + prng_.below(rig_.engines() - 1)) % rig_.engines();
  const std::uint64_t what = prng_.below(100);
  const Time from(prng_.below(1000));
  // Mostly short; sometimes longer than it takes to be given up.
  const Time lasts(prng_.chance(1, 4) ? prng_.between(8000, 20000) : prng_.between(200, 6000));
  Fault fault = what < 25   ? kill_engine(i)
                : what < 45 ? hold_engine(i)
                : what < 55 ? kill_agent()
                : what < 60 ? hold_agent()
                : what < 70 ? isolate(i)
                : what < 78 ? cut_from_agent(i)
                : what < 84 ? cut_from_host(i)
                : what < 95 ? cut_apart(i, j)
                            : power_cut();
  fault.from = from;
  fault.to = from + lasts;
  return fault;
}

Nemesis::Fault Nemesis::kill_engine(std::size_t i) {
  return {.what = cluster::Rig::node(i) + " is killed",
          .victim = i,
          .begin = [this, i] { rig_.engine(i).kill(); },
          .end = [this, i] { EXPECT_TRUE(rig_.engine(i).start()); }};
}

Nemesis::Fault Nemesis::hold_engine(std::size_t i) {
  return {.what = cluster::Rig::node(i) + " stands still",
          .victim = i,
          .begin = [this, i] { rig_.engine(i).signal(SIGSTOP); },
          .end = [this, i] { rig_.engine(i).signal(SIGCONT); }};
}

Nemesis::Fault Nemesis::kill_agent() {
  return {.what = "the agent is killed",
          .victim = no_engine,
          .begin = [this] { rig_.agent().kill(); },
          .end = [this] { EXPECT_TRUE(rig_.agent().start()); }};
}

Nemesis::Fault Nemesis::hold_agent() {
  return {.what = "the agent stands still",
          .victim = no_engine,
          .begin = [this] { rig_.agent().signal(SIGSTOP); },
          .end = [this] { rig_.agent().signal(SIGCONT); }};
}

// Without a network there are no links to cut, and what would be cut off stands still.
Nemesis::Fault Nemesis::isolate(std::size_t i) {
  if (!network_.lacks().empty()) return hold_engine(i);
  return {.what = cluster::Rig::node(i) + " is cut off from everything",
          .victim = i,
          .begin = [this, i] { network_.isolate(i); },
          .end = [this, i] { network_.rejoin(i); }};
}

Nemesis::Fault Nemesis::cut_from_agent(std::size_t i) {
  if (!network_.lacks().empty()) return hold_engine(i);
  return {.what = cluster::Rig::node(i) + " is cut off from the agent and its store",
          .victim = i,
          .begin = [this, i] { network_.cut(i, network_.agent()); },
          .end = [this, i] { network_.mend(i, network_.agent()); }};
}

Nemesis::Fault Nemesis::cut_from_host(std::size_t i) {
  if (!network_.lacks().empty()) return hold_engine(i);
  return {.what = cluster::Rig::node(i) + " is cut off from the host",
          .victim = i,
          .begin = [this, i] { network_.cut(i, testing_support::Network::host); },
          .end = [this, i] { network_.mend(i, testing_support::Network::host); }};
}

Nemesis::Fault Nemesis::cut_apart(std::size_t i, std::size_t j) {
  if (!network_.lacks().empty()) return hold_engine(i);
  return {.what = cluster::Rig::node(i) + " and " + cluster::Rig::node(j) + " are cut apart",
          .victim = i,
          .begin = [this, i, j] { network_.cut(i, j); },
          .end = [this, i, j] { network_.mend(i, j); }};
}

Nemesis::Fault Nemesis::power_cut() {
  return {.what = "all engines and the agent are killed",
          .victim = everything,
          .begin =
              [this] {
                for (std::size_t i = 1; i <= rig_.engines(); ++i) rig_.engine(i).kill();
                rig_.agent().kill();
              },
          .end =
              [this] {
                EXPECT_TRUE(rig_.agent().start());
                for (std::size_t i = 1; i <= rig_.engines(); ++i) EXPECT_TRUE(rig_.engine(i).start());
              }};
}

void Nemesis::carry_out(const std::vector<Fault>& faults) {
  std::vector<std::tuple<Time, const Fault*, bool>> steps;
  for (const Fault& f : faults) {
    steps.emplace_back(f.from, &f, true);
    steps.emplace_back(f.to, &f, false);
  }
  std::stable_sort(steps.begin(), steps.end(),
                   [](const auto& a, const auto& b) { return std::get<Time>(a) < std::get<Time>(b); });
  const auto begun = Clock::now();
  for (const auto& [at, fault, begins] : steps) {
    std::this_thread::sleep_until(begun + at);
    tell(fault->what + (begins ? "" : ": over"));
    (begins ? fault->begin : fault->end)();
  }
}

bool Nemesis::bearable(const std::vector<Fault>& faults) {
  const auto struck = [&](const std::string& node) {
    const std::size_t i = cluster::Rig::number_of(node);
    return std::any_of(faults.begin(), faults.end(), [&](const Fault& f) { return f.victim == i; });
  };
  return std::all_of(volumes_.begin(), volumes_.end(), [&](const std::string& id) {
    const auto children = rig_.children_of(id);
    return std::any_of(children.begin(), children.end(),
                       [&](const auto& c) { return c.second == "Online" && !struck(c.first); });
  });
}

void Nemesis::wait_whole() {
  if (user_ != nullptr) user_->hold();
  tell("until all volumes are whole");
  for (const std::string& id : volumes_) {
    rig_.wait("volume " + id + " to be whole", [&] {
      const std::size_t wanted = rig_.get_volume(id)["spec"].value("num_replicas", std::size_t{0});
      return wanted > 0 && rig_.healthy(id, wanted);
    });
  }
  if (user_ != nullptr) user_->resume();
}

void Nemesis::check_alive() {
  EXPECT_TRUE(rig_.agent().running()) << "the agent ended by itself";
  for (std::size_t i = 1; i <= rig_.engines(); ++i) {
    const auto ended = rig_.engine(i).wait_exit(Time(0));
    EXPECT_FALSE(ended.has_value()) << cluster::Rig::node(i) << " ended by itself: " << ended.value_or(0);
  }
}

}  // namespace holdfast::soak
