// One device with several paths, each to a scripted target of its own with the same namespace.
#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "nvmf/initiator/initiator.h"
#include "nvmf/initiator/remote_device.h"
#include "nvmf/initiator/testing/fake_target.h"
#include "rt/when_all.h"
#include "sim/net.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::nvmf {
namespace {

constexpr std::uint16_t port = 8420;
constexpr auto read_opcode = static_cast<std::uint8_t>(nvme::IoOpcode::read);
constexpr auto write_opcode = static_cast<std::uint8_t>(nvme::IoOpcode::write);

struct Observer final : DeviceObserver {
  void on_device_event(BlockDevice&, DeviceEvent event) noexcept override { seen.push_back(event); }
  bool saw(DeviceEvent event) const { return std::find(seen.begin(), seen.end(), event) != seen.end(); }
  std::vector<DeviceEvent> seen;
};

struct Fixture {
  explicit Fixture(unsigned paths = 2) : world(1), host_node(world.add_node("host")) {
    Prng prng(7);
    const Uuid uuid = Uuid::random(prng);
    for (unsigned i = 0; i < paths; ++i) {
      nodes.push_back(&world.add_node("target" + std::to_string(i)));
      targets.push_back(std::make_unique<test::FakeTarget>(nodes.back()->start().core(0), 1024));
      targets.back()->uuid = uuid;
      targets.back()->ana = true;
      listen(i);
    }
    host = &host_node.start();
    config.hostnqn = "nqn.2014-08.org.nvmexpress:uuid:host";
    config.grace = 5s;
    config.keep_alive = 2s;
    config.io_timeout = 1s;
    config.connect_timeout = 1s;
  }
  ~Fixture() {
    if (channel) world.run(home(), channel->close());
    channel.reset();
    if (device) world.run(home(), device->close());
    device.reset();
    for (std::size_t i = 0; i < nodes.size(); ++i)
      world.run(nodes[i]->process()->core(0), targets[i]->close());
    world.run_for(1s);
  }
  sim::SimReactor& home() { return host->core(0); }
  void listen(unsigned i) {
    auto& target = *targets[i];
    auto begin = [&target]() -> Task<void> {
      target.listen(Endpoint{"0.0.0.0", port});
      co_return;
    };
    world.run(nodes[i]->process()->core(0), begin());
  }
  Status open() {
    RemoteConfig remote;
    for (const sim::Node* node : nodes) remote.more.push_back(Endpoint{node->ipv4(), port});
    remote.host = remote.more.front();
    remote.more.erase(remote.more.begin());
    remote.nqn = "nqn.2019-05.io.openebs:volume-1";
    remote.config = config;
    complete_identity(remote.config);
    auto opened = world.run(home(), RemoteDevice::open(host->cores(), remote, "nvmf://x"));
    if (!opened.ok()) return opened.error();
    device = std::move(opened).value();
    device->subscribe(observer);
    auto got = world.run(home(), device->open_channel(home()));
    if (!got.ok()) return got.error();
    channel = std::move(got).value();
    world.run_for(100ms);  // the other paths
    return Status();
  }
  Status read(std::uint64_t lba = 0) {
    std::vector<std::byte> data(4096);
    const IoVec vec{data.data(), data.size()};
    return world.run(home(), channel->read(Lba{lba}, IoVecs(&vec, 1)));
  }
  Status write(std::uint64_t lba = 0) {
    std::vector<std::byte> data(4096, std::byte{7});
    const IoVec vec{data.data(), data.size()};
    return world.run(home(), channel->write(Lba{lba}, IoVecs(&vec, 1), Durable::no));
  }
  void set_ana(unsigned i, nvme::AnaState state) {
    targets[i]->ana_state = state;
    nvme::AsyncEvent event{};
    event.type = nvme::AsyncEventType::notice;
    event.info = static_cast<std::uint8_t>(nvme::AsyncNotice::ana_change);
    event.lid = static_cast<std::uint8_t>(nvme::LogPage::ana);
    auto raise = [this, i, event]() -> Task<void> {
      targets[i]->raise(event);
      co_return;
    };
    world.run(nodes[i]->process()->core(0), raise());
    world.run_for(20ms);
  }
  unsigned reads(unsigned i) { return targets[i]->commands[read_opcode]; }
  const host::PathGroup& paths() const { return RemoteDevice::from(*device)->paths(); }

  sim::World world;
  sim::Node& host_node;
  std::vector<sim::Node*> nodes;
  std::vector<std::unique_ptr<test::FakeTarget>> targets;
  sim::Process* host = nullptr;
  InitiatorConfig config;
  Observer observer;
  std::unique_ptr<BlockDevice> device;
  std::unique_ptr<Channel> channel;
};

TEST(Paths, IoGoesWhereAnaPrefersIt) {
  Fixture f;
  f.targets[0]->ana_state = nvme::AnaState::non_optimized;
  ASSERT_TRUE(f.open().ok());
  for (unsigned i = 0; i < 10; ++i) ASSERT_TRUE(f.read().ok());
  EXPECT_EQ(f.reads(0), 0u);
  EXPECT_EQ(f.reads(1), 10u);
  f.set_ana(1, nvme::AnaState::inaccessible);
  for (unsigned i = 0; i < 10; ++i) ASSERT_TRUE(f.read().ok());
  EXPECT_EQ(f.reads(0), 10u);
  f.set_ana(1, nvme::AnaState::optimized);
  for (unsigned i = 0; i < 10; ++i) ASSERT_TRUE(f.read().ok());
  EXPECT_EQ(f.reads(0), 10u);
  EXPECT_EQ(f.reads(1), 20u);
}

TEST(Paths, EqualPathsShareTheWork) {
  Fixture f;
  ASSERT_TRUE(f.open().ok());
  std::vector<std::byte> data(4096);
  const IoVec vec{data.data(), data.size()};
  for (unsigned round = 0; round < 10; ++round) {
    std::vector<Task<Status>> many;
    for (unsigned i = 0; i < 10; ++i) many.push_back(f.channel->read(Lba{0}, IoVecs(&vec, 1)));
    auto all = [&]() -> Task<void> { co_await when_all(std::span<Task<Status>>(many)); };
    f.world.run(f.home(), all());
    for (auto& one : many) EXPECT_TRUE(one.take().ok());
  }
  EXPECT_EQ(f.reads(0), 50u);
  EXPECT_EQ(f.reads(1), 50u);
}

TEST(Paths, ALostPathIsLeftAtOnceAndUsedAgain) {
  Fixture f;
  ASSERT_TRUE(f.open().ok());
  f.world.net().refuse(*f.nodes[0], true);
  f.world.net().cut(f.host_node, *f.nodes[0]);
  const Nanos began = f.world.now();
  for (unsigned i = 0; i < 10; ++i) ASSERT_TRUE(f.read().ok());
  EXPECT_LT(f.world.now() - began, Nanos(50ms));
  EXPECT_EQ(f.paths().flow(), host::IoFlow::flowing);
  EXPECT_TRUE(f.observer.seen.empty());
  f.world.net().refuse(*f.nodes[0], false);
  EXPECT_TRUE(f.world.run_until([&] { return f.paths().path(0).reconnects() == 1; }, f.world.now() + 5s));
  f.world.run_for(10ms);
  const unsigned before = f.reads(0);
  for (unsigned i = 0; i < 10; ++i) ASSERT_TRUE(f.read().ok());
  EXPECT_GT(f.reads(0), before);
}

TEST(Paths, OpensWithOnePathAndTakesTheOtherLater) {
  Fixture f;
  f.world.net().refuse(*f.nodes[0], true);
  ASSERT_TRUE(f.open().ok());
  ASSERT_TRUE(f.read().ok());
  f.world.net().refuse(*f.nodes[0], false);
  f.world.run_for(5s);
  EXPECT_EQ(f.paths().path(0).state(), host::ControllerState::live);
  for (unsigned i = 0; i < 10; ++i) ASSERT_TRUE(f.read().ok());
  EXPECT_GT(f.reads(0), 0u);
}

TEST(Paths, AllPathsLostIsTheGracePeriod) {
  Fixture f;
  f.config.grace = 2s;
  ASSERT_TRUE(f.open().ok());
  for (const sim::Node* node : f.nodes) {
    f.world.net().refuse(*node, true);
    f.world.net().cut(f.host_node, *node);
  }
  const Nanos began = f.world.now();
  EXPECT_EQ(f.read().code(), Errc::not_connected);
  EXPECT_GE(f.world.now() - began, Nanos(1900ms));
  EXPECT_LT(f.world.now() - began, Nanos(2500ms));
  EXPECT_TRUE(f.observer.saw(DeviceEvent::failed));
  f.world.net().refuse(*f.nodes[1], false);
  EXPECT_TRUE(f.world.run_until([&] { return f.observer.saw(DeviceEvent::recovered); }, f.world.now() + 20s));
  EXPECT_TRUE(f.read().ok());
}

TEST(Paths, AnotherNamespaceIsNoPath) {
  Fixture f;
  Prng prng(8);
  f.targets[1]->uuid = Uuid::random(prng);
  const Status opened = f.open();
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  const unsigned other = f.paths().path(0).state() == host::ControllerState::live ? 1u : 0u;
  EXPECT_NE(f.paths().path(other).state(), host::ControllerState::live);
  for (unsigned i = 0; i < 10; ++i) ASSERT_TRUE(f.read().ok());
  EXPECT_EQ(f.reads(other), 0u);
  EXPECT_EQ(f.reads(1 - other), 10u);
}

// The write may have reached the lost target: done elsewhere at once, acknowledged after KATO.
TEST(Paths, AWriteOfALostPathWaitsForItsFenceElsewhere) {
  Fixture f;
  f.targets[1]->ana_state = nvme::AnaState::non_optimized;
  ASSERT_TRUE(f.open().ok());
  f.targets[0]->hook = [](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    return c.qid() != 0 && sqe.opc == write_opcode;  // never answered
  };
  const Nanos began = f.world.now();
  f.world.after(10ms, [&] { f.world.net().partition(f.host_node, *f.nodes[0]); });
  ASSERT_TRUE(f.write().ok());
  EXPECT_EQ(f.targets[1]->commands[write_opcode], 1u);
  // The keep alive is missed after half of KATO at the earliest.
  EXPECT_GE(f.world.now() - began, f.config.keep_alive);
  EXPECT_TRUE(f.observer.seen.empty());
  f.world.net().heal_all();
}

struct StatusCase {
  nvme::CommandStatus status;
  Errc outcome;
  Nanos least, most;
};

TEST(Paths, RetriesHonourDelaysAndDoNotRetry) {
  const StatusCase cases[] = {
      {nvme::CommandStatus(nvme::StatusCode::internal_path_error, false, 0), Errc::ok, 90ms, 200ms},
      {nvme::CommandStatus(nvme::StatusCode::internal_path_error, false, 1), Errc::ok, 700ms, 900ms},
      {nvme::CommandStatus(nvme::StatusCode::internal_path_error, true, 0), Errc::not_connected, 0ms, 50ms},
      {nvme::CommandStatus(nvme::StatusCode::command_interrupted, false, 1), Errc::ok, 700ms, 900ms},
      {nvme::CommandStatus(nvme::StatusCode::command_interrupted, true, 1), Errc::resource_exhausted, 0ms,
       50ms},
      {nvme::CommandStatus(nvme::StatusCode::namespace_not_ready, false, 1), Errc::ok, 700ms, 900ms},
      {nvme::CommandStatus(nvme::StatusCode::unrecovered_read_error, false, 1), Errc::io_error, 0ms, 50ms},
  };
  for (const StatusCase& c : cases) {
    Fixture f(1);
    f.targets[0]->crdt1 = 7;
    ASSERT_TRUE(f.open().ok());
    unsigned answered = 0;
    f.targets[0]->hook = [&](test::FakeConnection& to, const nvme::Sqe& sqe, std::span<const std::byte>) {
      if (to.qid() == 0 || sqe.opc != read_opcode || answered++ > 0) return false;
      to.respond(sqe.cid, c.status);
      return true;
    };
    const Nanos began = f.world.now();
    EXPECT_EQ(f.read().code(), c.outcome) << nvme::name(c.status.code);
    EXPECT_GE(f.world.now() - began, c.least) << nvme::name(c.status.code);
    EXPECT_LE(f.world.now() - began, c.most) << nvme::name(c.status.code);
  }
}

// With another path there is nothing to wait for.
TEST(Paths, APathErrorGoesToTheOtherPathAtOnce) {
  Fixture f;
  f.targets[1]->ana_state = nvme::AnaState::non_optimized;
  ASSERT_TRUE(f.open().ok());
  f.targets[0]->hook = [](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    if (c.qid() == 0 || sqe.opc != read_opcode) return false;
    c.respond(sqe.cid, nvme::StatusCode::internal_path_error);
    return true;
  };
  const Nanos began = f.world.now();
  EXPECT_TRUE(f.read().ok());
  EXPECT_LT(f.world.now() - began, Nanos(50ms));
  EXPECT_EQ(f.reads(1), 1u);
}

TEST(Paths, AChangeOfAnaThatTakesTooLongResetsThePath) {
  Fixture f(1);
  f.config.grace = 60s;
  f.targets[0]->anatt = 3;
  ASSERT_TRUE(f.open().ok());
  f.set_ana(0, nvme::AnaState::change);
  f.world.run_for(2s);
  EXPECT_EQ(f.targets[0]->accepted, 2u);
  f.world.run_for(3s);
  EXPECT_GE(f.targets[0]->accepted, 4u);
  f.targets[0]->ana_state = nvme::AnaState::optimized;
  EXPECT_TRUE(f.read().ok());
}

TEST(Paths, ACommandThatNoPathTakesEnds) {
  Fixture f;
  f.targets[1]->mdts = 1;  // 8 KiB
  f.world.net().refuse(*f.nodes[1], true);
  ASSERT_TRUE(f.open().ok());
  f.targets[0]->hook = [](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    return c.qid() != 0 && sqe.opc == write_opcode;  // never answered
  };
  std::vector<std::byte> data(65536);
  const IoVec vec{data.data(), data.size()};
  std::optional<Errc> ended;
  auto writer = [&]() -> Task<void> {
    const Status s = co_await f.channel->write(Lba{0}, IoVecs(&vec, 1), Durable::no);
    ended = s.code();
  };
  f.world.spawn(f.home(), writer());
  f.world.after(10ms, [&] {
    f.world.net().refuse(*f.nodes[0], true);
    f.world.net().cut(f.host_node, *f.nodes[0]);
    f.world.net().refuse(*f.nodes[1], false);
  });
  ASSERT_TRUE(f.world.run_until([&] { return ended.has_value(); }, f.world.now() + 20s));
  EXPECT_EQ(*ended, Errc::not_connected);
  EXPECT_EQ(f.paths().flow(), host::IoFlow::flowing);
}

// After 1.5 s the first target says of the first write that its queue was deleted; a reset is not answered.
Nanos time_of_a_write_whose_queue_is_deleted(Fixture& f) {
  bool armed = true, first = true;
  f.targets[0]->hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    if (!armed) return false;
    if (c.qid() == 0) return sqe.opc == static_cast<std::uint8_t>(nvme::AdminOpcode::fabrics);  // no reset
    if (sqe.opc != write_opcode || !std::exchange(first, false)) return false;
    f.world.after(
        1500ms, [&c, cid = sqe.cid.get()] { c.respond(cid, nvme::StatusCode::aborted_sq_deletion); },
        &f.nodes[0]->process()->core(0));
    return true;
  };
  const Nanos began = f.world.now();
  EXPECT_TRUE(f.write().ok());
  const Nanos took = f.world.now() - began;
  armed = false;
  f.targets[0]->hook = {};
  return took;
}

TEST(Paths, ALateWriteWhoseQueueWasDeletedWaitsForItsFence) {
  Fixture f;
  f.targets[1]->ana_state = nvme::AnaState::non_optimized;
  ASSERT_TRUE(f.open().ok());
  EXPECT_GE(time_of_a_write_whose_queue_is_deleted(f), Nanos(1500ms) + f.config.keep_alive);
}

TEST(Paths, AnAnaChangeDuringAReconnectIsSeen) {
  Fixture f;
  for (auto& t : f.targets) t->ana_state = nvme::AnaState::non_optimized;
  ASSERT_TRUE(f.open().ok());
  bool once = true;
  f.targets[0]->hook = [&](test::FakeConnection&, const nvme::Sqe& sqe, std::span<const std::byte>) {
    const auto cmd = nvme::as<nvme::ConnectCmd>(sqe);
    const bool connects = sqe.opc == static_cast<std::uint8_t>(nvme::AdminOpcode::fabrics) &&
                          cmd.fctype == static_cast<std::uint8_t>(nvme::FabricsType::connect);
    if (connects && cmd.qid.get() == 1 && std::exchange(once, false)) {
      f.targets[0]->ana_state = nvme::AnaState::optimized;
      f.targets[0]->raise({nvme::AsyncEventType::notice,
                           static_cast<std::uint8_t>(nvme::AsyncNotice::ana_change),
                           static_cast<std::uint8_t>(nvme::LogPage::ana)});
    }
    return false;
  };
  f.world.net().cut(f.host_node, *f.nodes[0]);
  f.world.run_for(3s);
  const unsigned before = f.reads(0);
  for (unsigned i = 0; i < 10; ++i) ASSERT_TRUE(f.read().ok());
  EXPECT_EQ(f.reads(0), before + 10);
}

TEST(Paths, ADeviceClosesWhileAPathHasNoAccess) {
  Fixture f;
  f.targets[1]->ana_state = nvme::AnaState::inaccessible;
  ASSERT_TRUE(f.open().ok());
  EXPECT_TRUE(f.write().ok());
  f.world.run(f.home(), f.channel->close());
  f.channel.reset();
  bool closed = false;
  auto close = [&]() -> Task<void> {
    co_await f.device->close();
    closed = true;
  };
  f.world.spawn(f.home(), close());
  EXPECT_TRUE(f.world.run_until([&] { return closed; }, f.world.now() + 5s));
  f.targets[1]->ana_state = nvme::AnaState::optimized;  // so that the fixture can end
  ASSERT_TRUE(f.world.run_until([&] { return closed; }, f.world.now() + 5s));
  f.device.reset();
}

TEST(Paths, ATimerThatLooksBackIsGivenTwoPeriods) {
  Fixture f;
  f.targets[0]->ctratt = nvme::ctratt_traffic_based_keep_alive;
  f.targets[1]->ana_state = nvme::AnaState::non_optimized;
  ASSERT_TRUE(f.open().ok());
  EXPECT_GE(time_of_a_write_whose_queue_is_deleted(f), Nanos(1500ms) + 2 * f.config.keep_alive);
}

// As Linux's target: whatever the offset, the answer begins with the header.
TEST(Paths, AnaStatesOfATargetThatKnowsNoOffsets) {
  Fixture f;
  f.targets[0]->ana_state = nvme::AnaState::inaccessible;
  f.targets[0]->hook = [](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    if (c.qid() != 0 || sqe.opc != static_cast<std::uint8_t>(nvme::AdminOpcode::get_log_page)) return false;
    const bool ana = (sqe.cdw10.get() & 0xff) == static_cast<std::uint32_t>(nvme::LogPage::ana);
    if (!ana || sqe.cdw12.get() == 0) return false;
    std::vector<std::byte> log(sqe.sgl1.length);
    nvme::AnaLogHeader header{};
    header.chgcnt = 7;
    header.ngrps = 1;
    store(log, header);
    c.data(sqe.cid, 0, log, nvme::flag_last_pdu | nvme::flag_success);
    return true;
  };
  ASSERT_TRUE(f.open().ok());
  EXPECT_EQ(f.paths().path(0).ana_state(), nvme::AnaState::inaccessible);
  for (unsigned i = 0; i < 10; ++i) ASSERT_TRUE(f.read().ok());
  EXPECT_EQ(f.reads(0), 0u);
  EXPECT_EQ(f.reads(1), 10u);
  f.targets[0]->ana_state = nvme::AnaState::optimized;  // so that the fixture can end
}

TEST(Paths, AnAnaStateThatCouldNotBeReadOnceIsReadAgain) {
  Fixture f(1);
  ASSERT_TRUE(f.open().ok());
  f.set_ana(0, nvme::AnaState::inaccessible);
  unsigned failed = 0;
  f.targets[0]->hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    const bool log = c.qid() == 0 && sqe.opc == static_cast<std::uint8_t>(nvme::AdminOpcode::get_log_page);
    if (!log || failed > 0) return false;
    ++failed;
    c.respond(sqe.cid, nvme::StatusCode::internal_error);
    return true;
  };
  f.world.run_for(500ms);
  EXPECT_EQ(failed, 1u);
  f.targets[0]->ana_state = nvme::AnaState::optimized;  // and the notice is missed
  f.world.run_for(500ms);
  EXPECT_TRUE(f.read().ok());
  EXPECT_FALSE(f.observer.saw(DeviceEvent::failed));
}

}  // namespace
}  // namespace holdfast::nvmf
