// The discovery client against scripted services: long logs, logs that change, referrals, nonsense.
#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "nvmf/initiator/initiator.h"
#include "nvmf/initiator/testing/fake_target.h"
#include "sim/net.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::nvmf {
namespace {

constexpr std::uint16_t port = 8009;

// A discovery service on a machine of its own.
struct Service {
  explicit Service(sim::Node& on) : node(on), target(on.start().core(0), 8) {
    target.hook = [this](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
      return answer(c, sqe);
    };
  }
  bool answer(test::FakeConnection& c, const nvme::Sqe& sqe) {
    constexpr auto get_log = static_cast<std::uint8_t>(nvme::AdminOpcode::get_log_page);
    if (c.qid() != 0 || sqe.opc != get_log) return false;
    ++reads;
    if (changes > 0 && reads % 2 == 0) {
      --changes;
      ++genctr;
    }
    nvme::DiscoveryLogHeader header{};
    header.genctr = genctr;
    header.numrec = claimed != 0 ? claimed : entries.size();
    header.recfmt = format;
    std::vector<std::byte> log(sizeof header + (entries.size() + 8) * sizeof(nvme::DiscoveryLogEntry));
    store(log, header);
    for (std::size_t i = 0; i < entries.size(); ++i)
      store(std::span(log).subspan(sizeof header + i * sizeof entries[i]), entries[i]);
    const std::size_t offset = std::min<std::size_t>(sqe.cdw12.get(), log.size());
    log.erase(log.begin(), log.begin() + static_cast<std::ptrdiff_t>(offset));
    log.resize(sqe.sgl1.length);
    c.data(sqe.cid, 0, log, nvme::flag_last_pdu | nvme::flag_success);
    return true;
  }
  void add(nvme::SubsystemType type, const std::string& address, const std::string& nqn) {
    nvme::DiscoveryLogEntry e{};
    e.trtype = static_cast<std::uint8_t>(nvme::TransportType::tcp);
    e.subtype = static_cast<std::uint8_t>(type);
    nvme::set_ascii(e.trsvcid, std::to_string(port));
    nvme::set_ascii(e.traddr, address);
    nvme::nqn_to_field(nqn, e.subnqn);
    entries.push_back(e);
  }
  void refer_to(const std::string& address) {
    add(nvme::SubsystemType::referral, address, std::string(nvme::discovery_nqn));
  }

  sim::Node& node;
  test::FakeTarget target;
  std::vector<nvme::DiscoveryLogEntry> entries;
  std::uint64_t genctr = 1;
  std::uint64_t claimed = 0;
  std::uint16_t format = 0;
  unsigned changes = 0;
  unsigned reads = 0;
};

struct Fixture {
  explicit Fixture(unsigned services) : world(1), host(world.add_node("host")) {
    for (unsigned i = 0; i < services; ++i) {
      all.push_back(std::make_unique<Service>(world.add_node("service" + std::to_string(i))));
      Service& s = *all.back();
      auto listen = [&s]() -> Task<void> {
        s.target.listen(Endpoint{"0.0.0.0", port});
        co_return;
      };
      world.run(s.node.process()->core(0), listen());
    }
    home = &host.start().core(0);
    config.hostnqn = "nqn.2014-08.org.nvmexpress:uuid:host";
    config.connect_timeout = 500ms;
  }
  ~Fixture() {
    for (auto& s : all) world.run(s->node.process()->core(0), s->target.close());
    world.run_for(1s);
  }
  Endpoint at(unsigned service) { return Endpoint{all[service]->node.ipv4(), port}; }
  Result<std::vector<DiscoveryEntry>> discover_one() {
    return world.run(*home, discover(*home, at(0), config));
  }
  Result<std::vector<DiscoveryEntry>> follow() {
    return world.run(*home, discover_all(*home, at(0), config));
  }

  sim::World world;
  sim::Node& host;
  sim::SimReactor* home = nullptr;
  std::vector<std::unique_ptr<Service>> all;
  InitiatorConfig config;
};

std::string subsystem(unsigned i) { return "nqn.2019-05.io.openebs:s" + std::to_string(i); }

TEST(Discovery, ReadsALongLogInParts) {
  for (const unsigned count : {0u, 1u, 4u, 5u, 23u}) {
    Fixture f(1);
    for (unsigned i = 0; i < count; ++i) f.all[0]->add(nvme::SubsystemType::nvm, "10.0.0.9", subsystem(i));
    const auto found = f.discover_one();
    ASSERT_TRUE(found.ok()) << found.error().message();
    ASSERT_EQ(found.value().size(), count);
    for (unsigned i = 0; i < count; ++i) {
      EXPECT_EQ(found.value()[i].subnqn, subsystem(i));
      EXPECT_EQ(found.value()[i].address, (Endpoint{"10.0.0.9", port}));
    }
  }
}

TEST(Discovery, ReadsAgainWhatChangedMeanwhile) {
  Fixture f(1);
  f.all[0]->add(nvme::SubsystemType::nvm, "10.0.0.9", subsystem(0));
  f.all[0]->changes = 2;
  const auto found = f.discover_one();
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_EQ(found.value().size(), 1u);
  EXPECT_GT(f.all[0]->reads, 3u);
}

TEST(Discovery, RefusesNonsense) {
  const auto expect = [](const std::function<void(Service&)>& spoil, Errc code) {
    Fixture f(1);
    f.all[0]->add(nvme::SubsystemType::nvm, "10.0.0.9", subsystem(0));
    spoil(*f.all[0]);
    const auto found = f.discover_one();
    EXPECT_EQ(found.code(), code);
  };
  expect([](Service& s) { s.claimed = 1'000'000'000; }, Errc::protocol);
  expect([](Service& s) { s.format = 1; }, Errc::protocol);
  expect([](Service& s) { s.changes = 1000; }, Errc::busy);
}

TEST(Discovery, FollowsReferralsOnceAndNotInCircles) {
  Fixture f(3);
  for (unsigned i = 0; i < 3; ++i) {
    f.all[i]->add(nvme::SubsystemType::nvm, "10.0.0.9", subsystem(i));
    f.all[i]->add(nvme::SubsystemType::nvm, "10.0.0.9", subsystem(7));  // told by all of them
    for (unsigned to = 0; to < 3; ++to) f.all[i]->refer_to(f.at(to).address);
  }
  const auto found = f.follow();
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_EQ(found.value().size(), 4u);
  for (const auto& service : f.all) EXPECT_EQ(service->target.accepted, 1u);
}

TEST(Discovery, FollowsNoMoreThanSixteenReferralsNorNames) {
  Fixture f(1);
  f.all[0]->add(nvme::SubsystemType::nvm, "10.0.0.9", subsystem(0));
  f.all[0]->refer_to("storage.example");
  for (unsigned i = 0; i < 40; ++i) f.all[0]->refer_to("10.1.0." + std::to_string(i));
  const Nanos began = f.world.now();
  const auto found = f.follow();
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_EQ(found.value().size(), 1u);
  EXPECT_LT(f.world.now() - began, Nanos(16 * f.config.connect_timeout + 1s));
}

}  // namespace
}  // namespace holdfast::nvmf
