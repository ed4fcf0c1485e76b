// Discovery logs followed as they change: against our own target, which tells of changes, and against scripted
// services that do not.
#include "nvmf/initiator/discovery_watch.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "nvmf/initiator/testing/fake_target.h"
#include "nvmf/target/target.h"
#include "sim/net.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::nvmf {
namespace {

constexpr std::uint16_t port = 8009;

std::string subsystem(unsigned i) { return "nqn.2019-05.io.openebs:s" + std::to_string(i); }

struct Seen final : DiscoveryObserver {
  void on_entries(const std::vector<DiscoveryEntry>& entries) noexcept override {
    ++tellings;
    nqns.clear();
    for (const DiscoveryEntry& e : entries) nqns.push_back(e.subnqn);
    std::sort(nqns.begin(), nqns.end());
  }
  void on_service_lost(const Endpoint&, const Error&) noexcept override { ++losses; }
  bool has(std::vector<unsigned> wanted) const {
    std::vector<std::string> names;
    for (const unsigned i : wanted) names.push_back(subsystem(i));
    return nqns == names;
  }
  std::vector<std::string> nqns;
  unsigned tellings = 0, losses = 0;
};

// A machine whose target has some subsystems.
struct Service {
  explicit Service(sim::Node& n) : node(n) { start(); }
  void start() {
    target = std::make_unique<Target>(node.start().cores(), TargetConfig());
    auto listen = [this]() -> Task<void> {
      const Endpoint any{"0.0.0.0", port};
      const auto at = co_await target->listen(any);
      EXPECT_TRUE(at.ok());
    };
    node.world().run(home(), listen());
  }
  void stop() {
    if (!target) return;
    node.world().run(home(), target->close());
    target.reset();
  }
  void crash(sim::CrashKind kind) {
    node.crash(kind);
    sim::bury(target.release());
  }
  void add(unsigned i) {
    SubsystemConfig config;
    config.nqn = subsystem(i);
    config.serial = "1";
    EXPECT_TRUE(node.world().run(home(), target->add_subsystem(config)).ok());
  }
  void remove(unsigned i) {
    EXPECT_TRUE(node.world().run(home(), target->remove_subsystem(subsystem(i))).ok());
  }
  sim::SimReactor& home() { return node.process()->core(0); }
  Referral referral() { return Referral{Endpoint{node.ipv4(), port}, std::string(nvme::discovery_nqn)}; }

  sim::Node& node;
  std::unique_ptr<Target> target;
};

struct Fixture {
  explicit Fixture(std::uint64_t seed, unsigned count = 1) : world(seed), host(world.add_node("host")) {
    for (unsigned i = 0; i < count; ++i)
      services.push_back(std::make_unique<Service>(world.add_node("service" + std::to_string(i))));
    home = &host.start().core(0);
    config.hostnqn = "nqn.2014-08.org.nvmexpress:uuid:host";
    config.connect_timeout = config.admin_timeout = 500ms;
    config.keep_alive = 2s;
    options.at = Endpoint{services.front()->node.ipv4(), port};
  }
  ~Fixture() {
    stop.request_stop();
    EXPECT_TRUE(world.run_until([&] { return !running; }, world.now() + 10s));
    for (auto& s : services) s->stop();
    world.run_for(1s);
  }
  void watch() {
    running = true;
    world.spawn(*home, follow());
  }
  Task<void> follow() {
    const Status ended = co_await watch_discovery(*home, options, config, seen, stop.token());
    end = ended.code();
    running = false;
  }
  bool soon(const std::vector<unsigned>& wanted, Nanos within = 500ms) {
    return world.run_until([&] { return seen.tellings > 0 && seen.has(wanted); }, world.now() + within);
  }
  Service& service(unsigned i) { return *services[i]; }

  sim::World world;
  sim::Node& host;
  sim::SimReactor* home = nullptr;
  std::vector<std::unique_ptr<Service>> services;
  DiscoveryWatchOptions options;
  InitiatorConfig config;
  Seen seen;
  StopSource stop;
  bool running = false;
  Errc end = Errc::ok;
};

TEST(DiscoveryWatch, HearsOfChangesAtOnce) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    Fixture f(seed);
    f.service(0).add(1);
    f.watch();
    EXPECT_TRUE(f.soon({1}));
    f.service(0).add(2);
    EXPECT_TRUE(f.soon({1, 2}));
    f.service(0).remove(1);
    EXPECT_TRUE(f.soon({2}));
    const unsigned tellings = f.seen.tellings;
    f.world.run_for(1min);  // kept alive
    EXPECT_EQ(f.seen.tellings, tellings);
    EXPECT_EQ(f.seen.losses, 0u);
    for (unsigned i = 3; i < 20; ++i) {
      f.service(0).add(i);
      f.world.run_for(Nanos(f.world.random().below(40'000'000)));
    }
    std::vector<std::string> all;
    for (const SubsystemInfo& s : f.service(0).target->subsystems()) all.push_back(s.nqn);
    EXPECT_TRUE(f.world.run_until([&] { return f.seen.nqns == all; }, f.world.now() + 1s));
    EXPECT_EQ(f.service(0).target->discovery_controllers().size(), 1u);
  }
}

TEST(DiscoveryWatch, ComesBackAfterAnOutageAndReadsAgain) {
  for (const auto kind : {sim::CrashKind::process, sim::CrashKind::power}) {
    Fixture f(7);
    f.service(0).add(1);
    f.watch();
    EXPECT_TRUE(f.soon({1}));
    f.service(0).crash(kind);
    f.world.run_for(20s);
    EXPECT_TRUE(f.seen.has({1})) << "that the service is gone says nothing about the subsystems";
    EXPECT_EQ(f.seen.losses, 1u) << "told once";
    f.service(0).start();
    f.service(0).add(2);
    EXPECT_TRUE(f.soon({2}, 10s));
    f.service(0).add(3);
    EXPECT_TRUE(f.soon({2, 3}));
  }
}

TEST(DiscoveryWatch, NoticesAServiceThatIsCutOff) {
  Fixture f(3);
  f.service(0).add(1);
  f.watch();
  EXPECT_TRUE(f.soon({1}));
  f.world.net().partition(f.host, f.service(0).node);
  f.service(0).add(2);
  EXPECT_TRUE(f.world.run_until([&] { return f.seen.losses == 1; }, f.world.now() + 5s));
  f.world.net().heal_all();
  EXPECT_TRUE(f.soon({1, 2}, 10s));
}

TEST(DiscoveryWatch, FollowsReferralsAsTheyComeAndGo) {
  Fixture f(5, 3);
  for (unsigned i = 0; i < 3; ++i) f.service(i).add(i);
  f.watch();
  EXPECT_TRUE(f.soon({0}));
  EXPECT_TRUE(f.service(0).target->add_referral(f.service(1).referral()).ok());
  EXPECT_TRUE(f.soon({0, 1}));
  EXPECT_TRUE(f.service(1).target->add_referral(f.service(2).referral()).ok());
  EXPECT_TRUE(f.service(2).target->add_referral(f.service(0).referral()).ok());  // a circle
  EXPECT_TRUE(f.soon({0, 1, 2}));
  f.service(2).add(7);
  EXPECT_TRUE(f.soon({0, 1, 2, 7})) << "told by the service that is two referrals away";
  EXPECT_EQ(f.service(0).target->discovery_controllers().size(), 1u);
  EXPECT_TRUE(f.service(0).target->remove_referral(f.service(1).referral()).ok());
  EXPECT_TRUE(f.soon({0}));
  f.world.run_for(1s);
  for (unsigned i = 1; i < 3; ++i) EXPECT_EQ(f.service(i).target->discovery_controllers().size(), 0u) << i;
}

TEST(DiscoveryWatch, ReferralsAreEntriesWhereTheyAreNotFollowed) {
  Fixture f(5, 2);
  EXPECT_TRUE(f.service(0).target->add_referral(f.service(1).referral()).ok());
  f.options.referrals = false;
  f.watch();
  const std::vector<std::string> referral{std::string(nvme::discovery_nqn)};
  EXPECT_TRUE(f.world.run_until([&] { return f.seen.nqns == referral; }, f.world.now() + 1s));
  EXPECT_EQ(f.service(1).target->discovery_controllers().size(), 0u);
}

TEST(DiscoveryWatch, EndsWithTheErrorOfItsFirstTry) {
  Fixture f(1);
  f.service(0).stop();
  f.watch();
  EXPECT_TRUE(f.world.run_until([&] { return !f.running; }, f.world.now() + 5s));
  EXPECT_EQ(f.end, Errc::not_connected);
  EXPECT_EQ(f.seen.tellings + f.seen.losses, 0u);
}

TEST(DiscoveryWatch, EndsWhenItIsStoppedAtAnyTime) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    Fixture f(seed, 2);
    f.service(0).add(1);
    EXPECT_TRUE(f.service(0).target->add_referral(f.service(1).referral()).ok());
    f.watch();
    f.world.run_for(Nanos(f.world.random().below(3'000'000)));
    f.stop.request_stop();
    EXPECT_TRUE(f.world.run_until([&] { return !f.running; }, f.world.now() + 1s));
    EXPECT_EQ(f.end, Errc::ok);
  }
}

// A service that answers as its test says (target.hook), and a watch of it.
struct FakeService {
  void watch() {
    world.run(node.process()->core(0), listen());
    home = &host.start().core(0);
    world.spawn(*home, follow());
  }
  void end() {
    stop.request_stop();
    EXPECT_TRUE(world.run_until([this] { return !running; }, world.now() + 1s));
    world.run(node.process()->core(0), target.close());
    world.run_for(1s);
  }

  sim::World world{1};
  sim::Node& node = world.add_node("service");
  sim::Node& host = world.add_node("host");
  test::FakeTarget target{node.start().core(0), 8};
  DiscoveryWatchOptions options;
  Seen seen;

 private:
  Task<void> listen() {
    target.listen(Endpoint{"0.0.0.0", port});
    co_return;
  }
  Task<void> follow() {
    options.at = Endpoint{node.ipv4(), port};
    const Status ended = co_await watch_discovery(*home, options, config, seen, stop.token());
    EXPECT_TRUE(ended.ok());
    running = false;
  }

  sim::SimReactor* home = nullptr;
  InitiatorConfig config;
  StopSource stop;
  bool running = true;
};

// It has no notices (OAES), so it is asked again and again.
TEST(DiscoveryWatch, AsksAServiceThatDoesNotTell) {
  FakeService f;
  std::uint64_t subsystems = 1;
  unsigned reads = 0;
  f.target.hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    if (sqe.opc != static_cast<std::uint8_t>(nvme::AdminOpcode::get_log_page)) return false;
    ++reads;
    std::vector<std::byte> log(sqe.sgl1.length);
    nvme::DiscoveryLogHeader header{};
    header.genctr = header.numrec = subsystems;
    nvme::DiscoveryLogEntry entry{};
    entry.trtype = static_cast<std::uint8_t>(nvme::TransportType::tcp);
    entry.subtype = static_cast<std::uint8_t>(nvme::SubsystemType::nvm);
    const bool of_entries = sqe.cdw12.get() != 0;
    if (!of_entries) store(log, header);
    for (unsigned i = 0; of_entries && i * sizeof entry < log.size(); ++i) {
      nvme::nqn_to_field(subsystem(i), entry.subnqn);
      nvme::set_ascii(entry.traddr, "10.0.0." + std::to_string(i));
      store(std::span(log).subspan(i * sizeof entry), entry);
    }
    c.data(sqe.cid, 0, log, nvme::flag_last_pdu | nvme::flag_success);
    return true;
  };
  f.options.poll = 5s;
  f.watch();
  f.world.run_for(1s);
  EXPECT_TRUE(f.seen.has({0}));
  subsystems = 3;
  const unsigned reads_before = reads;
  f.world.run_for(3s);
  EXPECT_EQ(reads, reads_before) << "not before its time";
  f.world.run_for(2s);
  EXPECT_TRUE(f.seen.has({0, 1, 2}));
  EXPECT_EQ(f.seen.tellings, 2u);
  f.end();
}

// It announces a change whenever it is asked, and its log differs each time that it is read.
TEST(DiscoveryWatch, AServiceThatTellsWithoutEndIsHeardNowAndThen) {
  FakeService f;
  unsigned told = 0, reads = 0;
  f.target.hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    switch (static_cast<nvme::AdminOpcode>(sqe.opc)) {
      case nvme::AdminOpcode::identify: {
        nvme::IdentifyController id{};
        id.oaes = nvme::oaes_discovery_change;
        std::vector<std::byte> page(nvme::identify_bytes);
        store(page, id);
        c.data(sqe.cid, 0, page, nvme::flag_last_pdu | nvme::flag_success);
        return true;
      }
      case nvme::AdminOpcode::async_event_request: {
        ++told;
        const nvme::AsyncEvent event{nvme::AsyncEventType::notice,
                                     static_cast<std::uint8_t>(nvme::AsyncNotice::discovery_log_change),
                                     static_cast<std::uint8_t>(nvme::LogPage::discovery)};
        c.respond(sqe.cid, {}, event.pack());
        return true;
      }
      case nvme::AdminOpcode::get_log_page: {
        ++reads;
        std::vector<std::byte> log(sqe.sgl1.length);
        nvme::DiscoveryLogHeader header{};
        header.genctr = reads;
        store(log, header);
        c.data(sqe.cid, 0, log, nvme::flag_last_pdu | nvme::flag_success);
        return true;
      }
      default:
        return false;
    }
  };
  f.watch();
  f.world.run_for(10s);
  EXPECT_GT(told, 300u);
  EXPECT_LT(told, 4000u) << "of tens of thousands";
  EXPECT_GT(reads, 20u);
  EXPECT_LT(reads, 500u) << "of thousands";
  EXPECT_EQ(f.seen.losses, 0u);
  f.end();
}

}  // namespace
}  // namespace holdfast::nvmf
