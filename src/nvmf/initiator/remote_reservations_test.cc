// The reservations of a remote namespace, with our own target: requests arrive as they were made, and what
// the target answers comes back; conflicts of I/O have a code of their own.
#include <gtest/gtest.h>

#include "block/builtin.h"
#include "block/registry.h"
#include "nvmf/initiator/initiator.h"
#include "nvmf/target/target.h"
#include "sim/net.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::nvmf {
namespace {

const std::string nqn = "nqn.2019-05.io.openebs:replica-1";

struct Observer final : DeviceObserver {
  void on_device_event(BlockDevice&, DeviceEvent event) noexcept override { events.push_back(event); }
  std::vector<DeviceEvent> events;
};

struct Host {
  Host(sim::Node& node, const std::string& name)
      : home(node.start(2).core(0)), devices(node.process()->cores()) {
    InitiatorConfig config;
    config.hostnqn = "nqn.2019-05.io.openebs:" + name;
    register_nvmf_scheme(devices, node.process()->cores(), config);
  }
  sim::SimReactor& home;
  DeviceRegistry devices;
  BlockDevice* device = nullptr;
};

struct Fixture {
  explicit Fixture(bool reserved = true)
      : target_node(world.add_node("target")),
        process(target_node.start(2)),
        exported(process.cores(), &store),
        target(process.cores(), TargetConfig()),
        a(world.add_node("a"), "a"),
        b(world.add_node("b"), "b") {
    register_builtin_schemes(exported, process.cores(), "target");
    const Status started = world.run(process.core(0), start(reserved));
    if (!started.ok()) panic("the target does not start");
    for (Host* h : {&a, &b}) {
      auto made = world.run(h->home, h->devices.create("nvmf://" + target_node.ipv4() + "/" + nqn));
      if (!made.ok()) panic("no device");
      h->device = made.value();
    }
  }
  ~Fixture() {
    for (Host* h : {&a, &b}) world.run(h->home, h->devices.close());
    world.run(process.core(0), target.close());
    world.run(process.core(0), exported.close());
    world.run_for(1s);
  }
  Task<Status> start(bool reserved) {
    HF_CO_TRY(BlockDevice * device, co_await exported.create("malloc:///m0?size_mb=8"));
    ReservationGuard* guard = nullptr;
    if (reserved) {
      HF_CO_TRY(guard, co_await exported.guard(*device));
    }
    SubsystemConfig subsystem;
    subsystem.nqn = nqn;
    subsystem.serial = "1";
    HF_CO_CHECK(co_await target.add_subsystem(subsystem));
    NamespaceConfig space;
    space.uuid = device->identity().uuid;
    HF_CO_CHECK(co_await target.add_namespace(nqn, space, *device, guard));
    const Endpoint at{"0.0.0.0", nvmf_port_default};
    HF_CO_CHECK(co_await target.listen(at));
    co_return Status();
  }
  Errc add(Host& h, std::uint64_t key, PersistChange persist = PersistChange::keep) {
    RegisterRequest r;
    r.new_key = key;
    r.persist = persist;
    return world.run(h.home, h.device->reservations()->register_key(r)).code();
  }
  Errc acquire(Host& h, std::uint64_t key, std::uint64_t prey = 0) {
    AcquireRequest r;
    r.action = prey == 0 ? AcquireAction::acquire : AcquireAction::preempt_and_abort;
    r.key = key;
    r.preempt_key = prey;
    r.type = ReservationType::exclusive_access;
    return world.run(h.home, h.device->reservations()->acquire(r)).code();
  }
  Errc write(Host& h) {
    auto channel = world.run(h.home, h.device->open_channel(h.home));
    if (!channel.ok()) return channel.code();
    std::vector<std::byte> data(512);
    const IoVec vec{data.data(), data.size()};
    const Errc code = world.run(h.home, channel.value()->write(Lba{0}, IoVecs(&vec, 1), Durable::no)).code();
    world.run(h.home, channel.value()->close());
    return code;
  }

  sim::World world{1};
  sim::Node& target_node;
  sim::Process& process;
  MemoryReservationStore store;
  DeviceRegistry exported;
  Target target;
  Host a, b;
};

TEST(RemoteReservations, AreThoseOfTheTarget) {
  Fixture f;
  EXPECT_NE(f.a.device->reservations()->host(), f.b.device->reservations()->host());
  EXPECT_EQ(f.acquire(f.a, 1), Errc::reservation_conflict) << "not registered";
  EXPECT_EQ(f.add(f.a, 0), Errc::invalid_argument);
  ASSERT_EQ(f.add(f.a, 1, PersistChange::on), Errc::ok);
  ASSERT_EQ(f.add(f.b, 2), Errc::ok);
  ASSERT_EQ(f.acquire(f.a, 1), Errc::ok);
  EXPECT_EQ(f.write(f.a), Errc::ok);
  EXPECT_EQ(f.write(f.b), Errc::reservation_conflict);
  auto report = f.world.run(f.b.home, f.b.device->reservations()->report());
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report.value().generation, 2u);
  EXPECT_EQ(report.value().type, ReservationType::exclusive_access);
  EXPECT_TRUE(report.value().persists);
  const std::vector<Registrant> both{{f.a.device->reservations()->host(), 1, true},
                                     {f.b.device->reservations()->host(), 2, false}};
  EXPECT_EQ(report.value().registrants, both);
  ASSERT_EQ(f.acquire(f.b, 2, 1), Errc::ok);
  EXPECT_EQ(f.write(f.a), Errc::reservation_conflict);
  EXPECT_EQ(f.write(f.b), Errc::ok);
  ReleaseRequest release;
  release.key = 2;
  release.type = ReservationType::exclusive_access;
  EXPECT_TRUE(f.world.run(f.b.home, f.b.device->reservations()->release(release)).ok());
  EXPECT_EQ(f.write(f.a), Errc::ok);
}

TEST(RemoteReservations, WhoLosesThemHearsOfIt) {
  Fixture f;
  Observer a, b;
  f.a.device->subscribe(a);
  f.b.device->subscribe(b);
  ASSERT_EQ(f.add(f.a, 1), Errc::ok);
  ASSERT_EQ(f.add(f.b, 2), Errc::ok);
  ASSERT_EQ(f.acquire(f.a, 1), Errc::ok);
  f.world.run_for(100ms);
  EXPECT_TRUE(a.events.empty() && b.events.empty()) << "nobody lost anything";
  using Events = std::vector<DeviceEvent>;
  ASSERT_EQ(f.acquire(f.b, 2, 1), Errc::ok);
  f.world.run_for(10ms);
  EXPECT_EQ(a.events, Events(1, DeviceEvent::reservations_changed));
  EXPECT_TRUE(b.events.empty()) << "who did it knows";
  // Again, because the log was read.
  ASSERT_EQ(f.add(f.a, 1), Errc::ok);
  ASSERT_EQ(f.acquire(f.a, 1, 2), Errc::ok);
  ASSERT_EQ(f.acquire(f.b, 2, 1), Errc::reservation_conflict);
  f.world.run_for(10ms);
  EXPECT_EQ(b.events, Events(1, DeviceEvent::reservations_changed));
  // What happens while the path is lost is looked for when it is back.
  f.world.net().cut(f.a.home.node(), f.target_node);
  f.world.run_for(5s);
  EXPECT_EQ(a.events, Events(2, DeviceEvent::reservations_changed));
}

TEST(RemoteReservations, ATargetWithoutThemSaysSo) {
  Fixture f(false);
  EXPECT_EQ(f.add(f.a, 1), Errc::not_supported);
  EXPECT_EQ(f.world.run(f.a.home, f.a.device->reservations()->report()).code(), Errc::not_supported);
}

}  // namespace
}  // namespace holdfast::nvmf
