// The epochs and snapshots of a remote namespace, with our own target: every request arrives as it was made, also
// when its connection is lost; a target without them is told from one that has them.
#include "nvmf/initiator/remote_epochs.h"

#include <gtest/gtest.h>

#include "base/units.h"
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
constexpr std::uint64_t region_blocks = 1 * MiB / 512;

struct Fixture {
  explicit Fixture(const std::string& uri, Nanos grace = 10s, bool digests = false)
      : target_node(world.add_node("target")),
        host_node(world.add_node("host")),
        process(target_node.start(2)),
        exported(process.cores()),
        target(process.cores(), TargetConfig()),
        home(host_node.start(2).core(0)),
        devices(host_node.process()->cores()) {
    register_builtin_schemes(exported, process.cores(), "target");
    InitiatorConfig config;
    config.hostnqn = "nqn.2019-05.io.openebs:host";
    config.grace = grace;
    config.keep_alive = 2s;
    config.header_digest = config.data_digest = digests;
    register_nvmf_scheme(devices, host_node.process()->cores(), config);
    const Status started = world.run(process.core(0), start(uri));
    if (!started.ok()) panic("the target does not start");
    auto made = world.run(home, devices.create("nvmf://" + target_node.ipv4() + "/" + nqn));
    if (!made.ok()) panic("no device");
    device = made.value();
  }
  ~Fixture() {
    world.run(home, devices.close());
    world.run(process.core(0), target.close());
    world.run(process.core(0), exported.close());
    world.run_for(1s);
  }
  Task<Status> start(std::string uri) {
    HF_CO_TRY(BlockDevice * local, co_await exported.create(uri));
    SubsystemConfig subsystem;
    subsystem.nqn = nqn;
    subsystem.serial = "1";
    HF_CO_CHECK(co_await target.add_subsystem(subsystem));
    NamespaceConfig space;
    space.uuid = local->identity().uuid;
    HF_CO_CHECK(co_await target.add_namespace(nqn, space, *local));
    const Endpoint at{"0.0.0.0", nvmf_port_default};
    HF_CO_CHECK(co_await target.listen(at));
    co_return Status();
  }
  template <class T>
  T run(Task<T> task) {
    return world.run(home, std::move(task));
  }
  Errc write(std::uint64_t block) {
    auto channel = run(device->open_channel(home));
    if (!channel.ok()) return channel.code();
    std::vector<std::byte> data(512, std::byte{1});
    const IoVec vec{data.data(), data.size()};
    const Errc code = run(channel.value()->write(Lba{block}, IoVecs(&vec, 1), Durable::no)).code();
    run(channel.value()->close());
    return code;
  }

  sim::World world{1};
  sim::Node& target_node;
  sim::Node& host_node;
  sim::Process& process;
  DeviceRegistry exported;
  Target target;
  sim::SimReactor& home;
  DeviceRegistry devices;
  BlockDevice* device = nullptr;
};

TEST(RemoteEpochs, AreThoseOfTheTarget) {
  Fixture f("malloc:///m0?size_mb=100&epochs=true");
  EpochClient* epochs = f.device->epochs();
  ASSERT_NE(epochs, nullptr);
  EXPECT_EQ(f.device->snapshots(), nullptr);
  EXPECT_TRUE(f.run(epochs->announce(4)).ok());
  EXPECT_EQ(f.run(epochs->announce(3)).code(), Errc::invalid_argument);
  EXPECT_TRUE(f.run(epochs->seal(2)).ok());
  const EpochState expected{4, 2, 1 * MiB, 100};
  EXPECT_EQ(f.run(epochs->state()).value(), expected);
  EXPECT_EQ(f.write(66 * region_blocks), Errc::ok);
  const auto changed = f.run(epochs->changed_since(3, 1, 99));
  ASSERT_TRUE(changed.ok());
  EXPECT_EQ(changed.value().words, (std::vector<std::uint64_t>{0, 2})) << "region 66 is bit 65";
  EXPECT_EQ(f.run(epochs->changed_since(4, 0, 100)).value().words, (std::vector<std::uint64_t>{0, 0}));
  EXPECT_EQ(f.run(epochs->allocated(66, 1)).value().words, (std::vector<std::uint64_t>{1})) << "no bit of 67";
  EXPECT_EQ(f.run(epochs->allocated(0, 0)).value().count, 0u);
  EXPECT_EQ(f.run(epochs->allocated(101, 1)).code(), Errc::out_of_range);
}

TEST(RemoteEpochs, ADeviceWithoutThemHasNone) {
  Fixture f("malloc:///m0?size_mb=8");
  EXPECT_EQ(f.device->epochs(), nullptr);
  EXPECT_EQ(f.device->snapshots(), nullptr);
}

TEST(RemoteEpochs, OutliveTheConnection) {
  Fixture f("malloc:///m0?size_mb=100&epochs=true");
  EpochClient* epochs = f.device->epochs();
  for (std::uint32_t epoch = 1; epoch <= 20; ++epoch) {
    f.world.after(Nanos(epoch * 37'000), [&f] { f.world.net().cut(f.host_node, f.target_node); });
    EXPECT_TRUE(f.run(epochs->announce(epoch)).ok()) << epoch;
    EXPECT_TRUE(f.run(epochs->seal(epoch - 1)).ok()) << epoch;
    const EpochState expected{epoch, epoch - 1, 1 * MiB, 100};
    EXPECT_EQ(f.run(epochs->state()).value(), expected);
  }
}

// Damage to a header costs the connection, to data the command: both are asked again.
TEST(RemoteEpochs, OutliveDamagedBytes) {
  Fixture f("malloc:///m0?size_mb=100&epochs=true", 300s, true);
  EpochClient* epochs = f.device->epochs();
  ASSERT_TRUE(f.run(epochs->announce(1)).ok());
  ASSERT_EQ(f.write(66 * region_blocks), Errc::ok);
  sim::LinkOptions link;
  link.damage_per_mille = 20;
  f.world.net().set_default_link(link);
  for (unsigned i = 0; i < 500; ++i) {
    const auto changed = f.run(epochs->changed_since(0, 1, 99));
    ASSERT_TRUE(changed.ok()) << i << ": " << changed.error().message();
    ASSERT_EQ(changed.value().words, (std::vector<std::uint64_t>{0, 2})) << i;
  }
  EXPECT_GT(f.world.net().damaged(), 20u);
  f.world.net().set_default_link(sim::LinkOptions());
}

TEST(RemoteEpochs, EndWithTheDevice) {
  Fixture f("malloc:///m0?size_mb=100&epochs=true", 500ms);
  EpochClient* epochs = f.device->epochs();
  f.world.net().partition(f.host_node, f.target_node);
  EXPECT_FALSE(f.run(epochs->announce(1)).ok());
  EXPECT_FALSE(f.run(epochs->announce(1)).ok());
  f.world.net().heal_all();
  f.world.run_for(30s);
  EXPECT_TRUE(f.run(epochs->announce(1)).ok()) << "it recovers";
}

}  // namespace
}  // namespace holdfast::nvmf
