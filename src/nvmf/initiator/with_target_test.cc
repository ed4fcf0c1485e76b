// The initiator against our own target in the simulated world: data, faults of the network, of the target's
// process and of its disk.
#include <algorithm>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "block/builtin.h"
#include "block/registry.h"
#include "nvmf/initiator/initiator.h"
#include "nvmf/initiator/remote_device.h"
#include "nvmf/target/target.h"
#include "rt/cross_core.h"
#include "rt/scope.h"
#include "sim/disk.h"
#include "sim/net.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::nvmf {
namespace {

constexpr std::uint16_t port = 8420;
constexpr std::uint64_t disk_bytes = 16 << 20;
const std::string nqn = "nqn.2019-05.io.openebs:replica-1";

struct Observer final : DeviceObserver {
  void on_device_event(BlockDevice&, DeviceEvent event) noexcept override { seen.push_back(event); }
  bool saw(DeviceEvent event) const { return std::find(seen.begin(), seen.end(), event) != seen.end(); }
  std::vector<DeviceEvent> seen;
};

std::vector<std::byte> pattern(std::size_t bytes, std::uint64_t seed) {
  Prng prng(seed);
  std::vector<std::byte> out(bytes);
  for (auto& b : out) b = static_cast<std::byte>(prng.next());
  return out;
}

// What runs in the target's process.
struct Exporter {
  explicit Exporter(sim::Process& process)
      : registry(process.cores()), target(process.cores(), TargetConfig()) {
    register_builtin_schemes(registry, process.cores());
  }
  Task<Status> start(std::string uri) {
    HF_CO_TRY(device, co_await registry.create(std::move(uri)));
    HF_CO_CHECK(co_await add());
    for (const Endpoint& at : addresses) HF_CO_CHECK(co_await target.listen(at));
    co_return Status();
  }
  Task<Status> add() {
    SubsystemConfig subsystem;
    subsystem.nqn = nqn;
    subsystem.serial = "1";
    HF_CO_CHECK(co_await target.add_subsystem(subsystem));
    NamespaceConfig space;
    space.uuid = Uuid::from_name("replica-1");
    co_return co_await target.add_namespace(nqn, space, *device);
  }
  Task<void> stop() {
    co_await target.close();
    co_await registry.close();
  }
  DeviceRegistry registry;
  Target target;
  BlockDevice* device = nullptr;
  std::vector<Endpoint> addresses{{"0.0.0.0", port}, {"::", port}};
};

struct Fixture {
  explicit Fixture(std::uint64_t seed, unsigned cores = 1, std::string device_uri = "aio:///dev/sda")
      : world(seed),
        host_node(world.add_node("host")),
        target_node(world.add_node("target")),
        uri(device_uri) {
    sim::DiskOptions disk;
    disk.size_bytes = disk_bytes;
    target_node.add_disk("/dev/sda", disk);
    host = &host_node.start(cores);
    start_target();
    config.hostnqn = "nqn.2014-08.org.nvmexpress:uuid:host";
    config.grace = 60s;
    config.keep_alive = 2s;
    config.io_timeout = 20s;
    config.connect_timeout = 2s;
  }
  ~Fixture() {
    close_device();
    if (exporter) world.run(target_home(), exporter->stop());
    exporter.reset();
    world.run_for(1s);  // what is still on the wire
  }

  void close_device() {
    for (auto& channel : channels) {
      if (channel) world.run(home(), channel->close());
    }
    channels.clear();
    if (device) world.run(home(), device->close());
    device.reset();
  }
  Task<void> restarted() {
    const Status started = co_await exporter->start(uri);
    EXPECT_TRUE(started.ok());
  }

  sim::SimReactor& home() { return host->core(0); }
  sim::SimReactor& target_home() { return target_node.process()->core(0); }
  void start_target(std::vector<Endpoint> addresses = {}) {
    exporter = std::make_unique<Exporter>(target_node.start(2));
    if (!addresses.empty()) exporter->addresses = std::move(addresses);
    const Status started = world.run(target_home(), exporter->start(uri));
    ASSERT_TRUE(started.ok()) << started.error().message();
  }
  void crash_target(sim::CrashKind kind) {
    target_node.crash(kind);
    sim::bury(exporter.release());
  }
  Result<std::unique_ptr<BlockDevice>> connect(const std::string& address) {
    RemoteConfig remote;
    remote.host = Endpoint{address, port};
    remote.nqn = nqn;
    remote.config = config;
    complete_identity(remote.config);
    return world.run(home(), RemoteDevice::open(host->cores(), remote, "nvmf://x"));
  }
  // By both addresses of the target.
  void open_two_paths() {
    RemoteConfig remote;
    remote.host = Endpoint{target_node.ipv4(), port};
    remote.more.push_back(Endpoint{target_node.ipv6(), port});
    remote.nqn = nqn;
    remote.config = config;
    complete_identity(remote.config);
    auto opened = world.run(home(), RemoteDevice::open(host->cores(), remote, "nvmf://x"));
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    device = std::move(opened).value();
    device->subscribe(observer);
    world.run_for(1s);  // the other path
  }
  std::ptrdiff_t times(DeviceEvent event) const {
    return std::count(observer.seen.begin(), observer.seen.end(), event);
  }
  void open() {
    auto opened = connect(target_node.ipv4());
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    device = std::move(opened).value();
    device->subscribe(observer);
    for (unsigned core = 0; core < host->core_count(); ++core) {
      auto got = world.run(host->core(core), device->open_channel(host->core(core)));
      ASSERT_TRUE(got.ok()) << got.error().message();
      channels.push_back(std::move(got).value());
    }
  }
  Channel& channel() { return *channels.front(); }
  Status write(std::uint64_t lba, std::vector<std::byte>& data, Durable durable = Durable::no) {
    const IoVec vec{data.data(), data.size()};
    return world.run(home(), channel().write(Lba{lba}, IoVecs(&vec, 1), durable));
  }
  Status read(std::uint64_t lba, std::vector<std::byte>& data) {
    const IoVec vec{data.data(), data.size()};
    return world.run(home(), channel().read(Lba{lba}, IoVecs(&vec, 1)));
  }
  const host::Controller& controller() const { return RemoteDevice::from(*device)->controller(); }

  sim::World world;
  sim::Node& host_node;
  sim::Node& target_node;
  std::string uri;
  sim::Process* host = nullptr;
  std::unique_ptr<Exporter> exporter;
  InitiatorConfig config;
  Observer observer;
  std::unique_ptr<BlockDevice> device;
  std::vector<std::unique_ptr<Channel>> channels;
};

TEST(WithTarget, MovesEverySizeWithAndWithoutDigests) {
  for (const bool header : {false, true}) {
    for (const bool data_digest : {false, true}) {
      Fixture f(1);
      f.config.header_digest = header;
      f.config.data_digest = data_digest;
      f.open();
      EXPECT_EQ(f.device->geometry().size_bytes(), disk_bytes);
      EXPECT_EQ(f.device->identity().uuid, Uuid::from_name("replica-1"));
      for (const std::size_t bytes : {512u, 1024u, 4096u, 8192u, 8704u, 131072u, 1048576u, 4194304u}) {
        auto data = pattern(bytes, bytes);
        ASSERT_TRUE(f.write(bytes / 512, data, Durable::yes).ok()) << bytes;
        std::vector<std::byte> back(bytes);
        ASSERT_TRUE(f.read(bytes / 512, back).ok()) << bytes;
        EXPECT_TRUE(data == back) << bytes;
        const IoVec vec{data.data(), data.size()};
        EXPECT_TRUE(f.world.run(f.home(), f.channel().compare(Lba{bytes / 512}, IoVecs(&vec, 1))).ok());
      }
    }
  }
}

TEST(WithTarget, ZeroesDeallocatesComparesFlushes) {
  Fixture f(2);
  f.open();
  auto data = pattern(65536, 1);
  ASSERT_TRUE(f.write(0, data).ok());
  EXPECT_TRUE(f.world.run(f.home(), f.channel().flush()).ok());
  EXPECT_TRUE(
      f.world.run(f.home(), f.channel().write_zeroes(BlockRange{Lba{8}, 16}, Unmap::yes, Durable::yes)).ok());
  EXPECT_TRUE(f.world.run(f.home(), f.channel().deallocate({Lba{64}, 8})).ok());
  std::vector<std::byte> back(data.size());
  ASSERT_TRUE(f.read(0, back).ok());
  std::fill_n(data.begin() + 8 * 512, 16 * 512, std::byte{0});
  std::copy_n(back.begin() + 64 * 512, 8 * 512, data.begin() + 64 * 512);
  EXPECT_TRUE(data == back);
  data[5] ^= std::byte{1};
  const IoVec vec{data.data(), data.size()};
  EXPECT_EQ(f.world.run(f.home(), f.channel().compare(Lba{0}, IoVecs(&vec, 1))).code(), Errc::miscompare);
}

TEST(WithTarget, ConnectsOverIpv6AndDiscovers) {
  Fixture f(3);
  auto opened = f.connect(f.target_node.ipv6());
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  f.device = std::move(opened).value();
  const Endpoint at{f.target_node.ipv4(), port};
  auto found = f.world.run(f.home(), discover(f.home(), at, f.config));
  ASSERT_TRUE(found.ok()) << found.error().message();
  const auto& entries = found.value();
  EXPECT_TRUE(std::any_of(entries.begin(), entries.end(), [](const DiscoveryEntry& e) {
    return e.subnqn == nqn && e.address.port == port && e.type == nvme::SubsystemType::nvm;
  }));
}

TEST(WithTarget, UnknownSubsystemIsNotFound) {
  Fixture f(4);
  RemoteConfig remote;
  remote.host = Endpoint{f.target_node.ipv4(), port};
  remote.nqn = "nqn.2019-05.io.openebs:none";
  remote.config = f.config;
  complete_identity(remote.config);
  const auto opened = f.world.run(f.home(), RemoteDevice::open(f.host->cores(), remote, "nvmf://x"));
  EXPECT_EQ(opened.code(), Errc::not_found);
  EXPECT_NE(opened.error().message().find(remote.nqn), std::string::npos) << opened.error().message();
}

// Several writers, each on blocks of its own, which it writes with ever new content and reads back. Every
// operation ends once, and an acknowledged write is what a later read finds, whatever happens to the
// connections meanwhile.
class Workload {
 public:
  static constexpr unsigned writers = 8;
  static constexpr std::uint64_t span_blocks = 64;

  Workload(Fixture& f, unsigned rounds) : f_(f), rounds_(rounds) {
    for (unsigned i = 0; i < writers; ++i) {
      sim::SimReactor& core = f.host->core(i % f.host->core_count());
      f.world.spawn(core, writer(i, core, *f.channels[i % f.host->core_count()]));
    }
  }
  bool done() const { return ended_ == writers; }
  unsigned operations() const { return operations_; }

 private:
  Task<void> writer(unsigned id, sim::SimReactor& core, Channel& channel) {
    Prng prng(f_.world.seed() * 100 + id);
    std::vector<std::uint64_t> versions(span_blocks, 0);
    for (unsigned round = 0; round < rounds_; ++round) {
      const std::uint64_t count = 1 + (prng.chance(1, 4) ? prng.below(span_blocks) : prng.below(8));
      const std::uint64_t first = prng.below(span_blocks - std::min(count, span_blocks - 1));
      const std::uint64_t n = std::min(count, span_blocks - first);
      const std::uint64_t version = round + 1;
      std::vector<std::byte> data;
      for (std::uint64_t b = 0; b < n; ++b) {
        const auto block = pattern(512, content(id, first + b, version));
        data.insert(data.end(), block.begin(), block.end());
      }
      const IoVec vec{data.data(), data.size()};
      const Status wrote =
          co_await channel.write(Lba{id * span_blocks + first}, IoVecs(&vec, 1), Durable::no);
      ++operations_;
      EXPECT_TRUE(wrote.ok());
      if (!wrote.ok()) break;
      for (std::uint64_t b = 0; b < n; ++b) versions[first + b] = version;
      co_await check(id, channel, prng, versions);
      if (prng.chance(1, 3)) co_await core.sleep(Nanos(prng.below(20'000'000)));
    }
    ++ended_;
  }
  Task<void> check(unsigned id, Channel& channel, Prng& prng, const std::vector<std::uint64_t>& versions) {
    const std::uint64_t first = prng.below(span_blocks);
    const std::uint64_t n = 1 + prng.below(std::min<std::uint64_t>(32, span_blocks - first));
    std::vector<std::byte> back(n * 512);
    const IoVec vec{back.data(), back.size()};
    const Status got = co_await channel.read(Lba{id * span_blocks + first}, IoVecs(&vec, 1));
    ++operations_;
    EXPECT_TRUE(got.ok());
    if (!got.ok()) co_return;
    for (std::uint64_t b = 0; b < n; ++b) {
      const std::uint64_t version = versions[first + b];
      if (version == 0) continue;
      const auto want = pattern(512, content(id, first + b, version));
      const bool same =
          std::equal(want.begin(), want.end(), back.begin() + static_cast<std::ptrdiff_t>(b * 512));
      EXPECT_TRUE(same) << "seed " << f_.world.seed() << " writer " << id << " block " << first + b;
    }
  }
  static std::uint64_t content(std::uint64_t id, std::uint64_t block, std::uint64_t version) {
    return id << 48 | block << 32 | version;
  }

  Fixture& f_;
  const unsigned rounds_;
  unsigned ended_ = 0;
  unsigned operations_ = 0;
};

TEST(WithTarget, ManyInFlightOnTwoCores) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    Fixture f(seed, 2);
    f.config.data_digest = seed % 2 == 0;
    f.config.queue_depth = seed == 3 ? 2 : 128;
    f.open();
    Workload load(f, 40);
    ASSERT_TRUE(f.world.run_until([&] { return load.done(); }, f.world.now() + 100s)) << "seed " << seed;
    EXPECT_EQ(f.controller().reconnects(), 0u);
  }
}

TEST(WithTarget, SurvivesCutConnections) {
  unsigned reconnects = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Fixture f(seed, 1 + seed % 2);
    f.config.keep_alive = 1s;
    f.config.header_digest = seed % 3 == 0;
    f.open();
    Workload load(f, 30);
    while (!load.done()) {
      f.world.run_for(Nanos(f.world.random().below(400'000'000)));
      if (f.world.random().chance(1, 2)) {
        f.world.net().cut_one();
      } else {
        f.world.net().cut(f.host_node, f.target_node);
      }
      f.world.run_until([&] { return load.done(); },
                        f.world.now() + Nanos(f.world.random().below(3'000'000'000)));
      ASSERT_LT(f.world.now(), Nanos(1000s)) << "seed " << seed;
    }
    reconnects += static_cast<unsigned>(f.controller().reconnects());
    EXPECT_FALSE(f.observer.saw(DeviceEvent::failed)) << "seed " << seed;
  }
  EXPECT_GT(reconnects, 10u);
}

// With both digests no damage goes unseen: to headers it costs the connection, to data the command.
TEST(WithTarget, SurvivesDamagedBytes) {
  unsigned damaged_runs = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Fixture f(seed, 1 + seed % 2);
    f.config.keep_alive = 1s;
    f.config.io_timeout = 2s;
    f.config.header_digest = f.config.data_digest = true;
    f.open();
    sim::LinkOptions link;
    link.damage_per_mille = 20;
    f.world.net().set_default_link(link);
    Workload load(f, 20);
    ASSERT_TRUE(f.world.run_until([&] { return load.done(); }, f.world.now() + 1000s)) << "seed " << seed;
    damaged_runs += f.controller().reconnects() > 0 ? 1 : 0;
    EXPECT_FALSE(f.observer.saw(DeviceEvent::failed)) << "seed " << seed;
    f.world.net().set_default_link(sim::LinkOptions());
  }
  EXPECT_GT(damaged_runs, 10u);
}

// What a partition holds back arrives when it heals: a write of an old connection must not undo a newer one.
TEST(WithTarget, SurvivesPartitions) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Fixture f(seed);
    f.config.keep_alive = 1s;
    f.open();
    Workload load(f, 20);
    while (!load.done()) {
      f.world.run_for(Nanos(f.world.random().below(200'000'000)));
      f.world.net().partition(f.host_node, f.target_node);
      f.world.run_for(Nanos(f.world.random().below(3'000'000'000)));
      f.world.net().heal_all();
      f.world.run_until([&] { return load.done(); },
                        f.world.now() + Nanos(f.world.random().below(3'000'000'000)));
      ASSERT_LT(f.world.now(), Nanos(1000s)) << "seed " << seed;
    }
    EXPECT_FALSE(f.observer.saw(DeviceEvent::failed)) << "seed " << seed;
  }
}

TEST(WithTarget, SurvivesRestartsOfTheTarget) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Fixture f(seed);
    f.config.keep_alive = 1s;
    f.open();
    Workload load(f, 20);
    for (unsigned restarts = 0; restarts < 3 && !load.done(); ++restarts) {
      f.world.run_for(Nanos(f.world.random().below(300'000'000)));
      f.crash_target(sim::CrashKind::process);
      f.world.run_for(Nanos(f.world.random().below(3'000'000'000)));
      f.start_target();
    }
    ASSERT_TRUE(f.world.run_until([&] { return load.done(); }, f.world.now() + 100s)) << "seed " << seed;
    EXPECT_FALSE(f.observer.saw(DeviceEvent::failed)) << "seed " << seed;
  }
}

TEST(WithTarget, GraceExceededThenRecovered) {
  Fixture f(1);
  f.config.grace = 2s;
  f.open();
  auto data = pattern(4096, 1);
  ASSERT_TRUE(f.write(0, data).ok());
  f.crash_target(sim::CrashKind::process);
  EXPECT_EQ(f.write(8, data).code(), Errc::not_connected);
  EXPECT_TRUE(f.observer.saw(DeviceEvent::failed));
  f.world.run_for(30s);
  f.start_target();
  ASSERT_TRUE(f.world.run_until([&] { return f.observer.saw(DeviceEvent::recovered); }, f.world.now() + 20s));
  std::vector<std::byte> back(4096);
  ASSERT_TRUE(f.read(0, back).ok());
  EXPECT_EQ(data, back);
}

// Each path learns by itself that its target was restarted; what was lost with the caches was lost once.
TEST(WithTarget, ARestartIsOneLossOfCachesHoweverManyPathsSeeIt) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    Fixture f(seed);
    f.config.fail_after_restart = true;
    f.open_two_paths();
    for (std::ptrdiff_t restarts = 1; restarts <= 2; ++restarts) {
      f.crash_target(sim::CrashKind::process);
      f.start_target();
      f.world.run_for(30s);
      EXPECT_EQ(f.times(DeviceEvent::failed), restarts) << "seed " << seed;
      EXPECT_EQ(f.times(DeviceEvent::recovered), restarts) << "seed " << seed;
    }
  }
}

TEST(WithTarget, TheFirstConnectionOfAPathMayBeToATargetThatWasRestarted) {
  Fixture f(1);
  f.config.fail_after_restart = true;
  f.crash_target(sim::CrashKind::process);
  f.start_target({{"0.0.0.0", port}});
  f.open_two_paths();
  f.crash_target(sim::CrashKind::process);
  f.start_target({{"::", port}});
  f.world.run_for(30s);
  EXPECT_EQ(f.times(DeviceEvent::failed), 1);
  EXPECT_EQ(f.times(DeviceEvent::recovered), 1);
}

// The machine says that nobody listens: no need to wait as long as for one that says nothing.
TEST(WithTarget, ARefusedConnectionShortensTheGracePeriod) {
  for (const bool refused : {true, false}) {
    Fixture f(1);
    f.config.grace = 20s;
    f.config.refused_grace = 500ms;
    f.open();
    auto data = pattern(4096, 1);
    ASSERT_TRUE(f.write(0, data).ok());
    f.crash_target(refused ? sim::CrashKind::process : sim::CrashKind::power);
    const Nanos began = f.world.now();
    EXPECT_EQ(f.write(8, data).code(), Errc::not_connected);
    const Nanos waited = f.world.now() - began;
    EXPECT_GE(waited, Nanos(refused ? 500ms : 20s));
    EXPECT_LT(waited, Nanos(refused ? 2s : 30s));
  }
}

// A write of unknown fate keeps close() from ending before the fence; another run of the target ends the
// wait.
TEST(WithTarget, CloseWaitsNoLongerThanForTheNextRunOfTheTarget) {
  for (const bool restarts : {true, false}) {
    Fixture f(1);
    f.config.grace = 500ms;
    f.config.keep_alive = 10s;
    f.open();
    auto data = pattern(4096, 1);
    f.target_node.disk("/dev/sda").faults().stalled_until = f.world.now() + 100s;
    f.world.after(100ms, [&] { f.crash_target(sim::CrashKind::process); });
    EXPECT_EQ(f.write(0, data).code(), Errc::not_connected);
    f.target_node.disk("/dev/sda").faults().stalled_until = f.world.now();
    const Nanos began = f.world.now();
    if (restarts) f.world.after(2s, [&] { f.exporter = std::make_unique<Exporter>(f.target_node.start(2)); });
    if (restarts) f.world.after(2s, [&] { f.world.spawn(f.target_home(), f.restarted()); });
    f.close_device();
    const Nanos waited = f.world.now() - began;
    EXPECT_GE(waited, Nanos(restarts ? 2s : 8s));
    EXPECT_LT(waited, Nanos(restarts ? 4s : 12s));
  }
}

TEST(WithTarget, ClosesWhileTheTargetIsGone) {
  for (const auto kind : {sim::CrashKind::process, sim::CrashKind::power}) {
    Fixture f(1);
    f.open();
    f.crash_target(kind);
    f.world.run_for(kind == sim::CrashKind::power ? 100ms : 10s);
    const Nanos began = f.world.now();
    f.close_device();
    EXPECT_LT(f.world.now() - began, Nanos(15s));
  }
}

TEST(WithTarget, StalledDiskTimesOutOnceAndComesBack) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    Fixture f(seed);
    f.config.io_timeout = 1s;
    f.config.abort_timeout = 500ms;
    f.open();
    auto data = pattern(4096, 1);
    ASSERT_TRUE(f.write(0, data).ok());
    f.target_node.disk("/dev/sda").faults().stalled_until = f.world.now() + 5s;
    const Nanos began = f.world.now();
    EXPECT_EQ(f.write(0, data).code(), Errc::timed_out);
    EXPECT_GE(f.world.now() - began, Nanos(1s));
    EXPECT_LT(f.world.now() - began, Nanos(5s));
    f.world.run_for(10s);
    std::vector<std::byte> back(4096);
    EXPECT_TRUE(f.read(0, back).ok()) << "seed " << seed;
    EXPECT_EQ(data, back);
  }
}

// The write that timed out lies in the disk's queue at the target. Nothing that is written later is undone by
// it.
TEST(WithTarget, LateWriteOfALostAssociationDoesNotUndoANewerOne) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Fixture f(seed);
    f.config.io_timeout = 30s;
    f.config.keep_alive = 1s;
    f.open();
    auto old_data = pattern(4096, 1);
    auto new_data = pattern(4096, 2);
    f.target_node.disk("/dev/sda").faults().stalled_until = f.world.now() + 6s;
    f.world.after(100ms, [&] { f.world.net().cut(f.host_node, f.target_node); });
    f.world.after(200ms, [&] { f.target_node.disk("/dev/sda").faults().stalled_until = f.world.now(); });
    ASSERT_TRUE(f.write(0, old_data).ok());
    ASSERT_TRUE(f.write(0, new_data).ok());
    f.world.run_for(20s);
    std::vector<std::byte> back(4096);
    ASSERT_TRUE(f.read(0, back).ok());
    EXPECT_EQ(back, new_data) << "seed " << seed;
  }
}

TEST(WithTarget, LossOfKeepAliveIsNoticedAndRepaired) {
  Fixture f(5);
  f.open();
  f.world.net().partition(f.host_node, f.target_node);
  f.world.run_for(5s);
  EXPECT_EQ(f.controller().state(), host::ControllerState::reconnecting);
  f.world.net().heal_all();
  ASSERT_TRUE(f.world.run_until([&] { return f.controller().reconnects() > 0; }, f.world.now() + 10s));
  std::vector<std::byte> back(4096);
  EXPECT_TRUE(f.read(0, back).ok());
}

TEST(WithTarget, FollowsResizeAndRemoval) {
  Fixture f(6, 2, "malloc:///m0?size_mb=8&blk_size=512");
  f.open();
  auto grow = [&]() -> Task<Status> {
    HF_CO_CHECK(co_await f.exporter->registry.create("malloc:///m0?size_mb=16&blk_size=512&resize"));
    co_return Status();
  };
  const Status grown = f.world.run(f.target_home(), grow());
  ASSERT_TRUE(grown.ok()) << grown.error().message();
  ASSERT_TRUE(f.world.run_until([&] { return f.observer.saw(DeviceEvent::resized); }, f.world.now() + 2s));
  EXPECT_EQ(f.device->geometry().size_bytes(), 16u << 20);
  auto data = pattern(4096, 1);
  EXPECT_TRUE(f.write(30000, data).ok());
  const Status gone = f.world.run(f.target_home(), f.exporter->target.remove_namespace(nqn, 1));
  ASSERT_TRUE(gone.ok());
  ASSERT_TRUE(f.world.run_until([&] { return f.observer.saw(DeviceEvent::removed); }, f.world.now() + 2s));
  EXPECT_EQ(f.write(0, data).code(), Errc::not_connected);
}

TEST(WithTarget, WaitsForTheAnaGroup) {
  Fixture f(7);
  f.open();
  auto set = [&](nvme::AnaState state) {
    const Status s = f.world.run(f.target_home(), f.exporter->target.set_ana_state(nqn, 1, state));
    EXPECT_TRUE(s.ok());
  };
  set(nvme::AnaState::inaccessible);
  bool ended = false;
  auto data = pattern(4096, 1);
  const IoVec vec{data.data(), data.size()};
  auto writer = [&]() -> Task<void> {
    const Status s = co_await f.channel().write(Lba{0}, IoVecs(&vec, 1), Durable::no);
    EXPECT_TRUE(s.ok());
    ended = true;
  };
  f.world.spawn(f.home(), writer());
  f.world.run_for(3s);
  EXPECT_FALSE(ended);
  EXPECT_EQ(f.controller().ana_state(), nvme::AnaState::inaccessible);
  EXPECT_EQ(RemoteDevice::from(*f.device)->paths().flow(), host::IoFlow::waiting);
  set(nvme::AnaState::non_optimized);
  EXPECT_TRUE(f.world.run_until([&] { return ended; }, f.world.now() + 1s));
}

// As a mirror repeats a write at its last child. The first try lies in the disk's queue.
TEST(WithTarget, AWriteThatTimedOutUndoesNothingThatIsWrittenAfterIt) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Fixture f(seed);
    f.config.io_timeout = 1s;
    f.config.abort_timeout = 500ms;
    f.open();
    auto old_data = pattern(4096, 1);
    auto new_data = pattern(4096, 2);
    const Nanos began = f.world.now();
    f.target_node.disk("/dev/sda").faults().stalled_until = began + 3s;
    ASSERT_EQ(f.write(0, old_data).code(), Errc::timed_out);
    ASSERT_TRUE(f.write(0, old_data).ok());
    EXPECT_GE(f.world.now() - began, Nanos(1500ms) + f.config.keep_alive) << "seed " << seed;
    ASSERT_TRUE(f.write(0, new_data).ok());
    f.world.run_for(10s);
    std::vector<std::byte> back(4096);
    ASSERT_TRUE(f.read(0, back).ok());
    EXPECT_EQ(back, new_data) << "seed " << seed;
  }
}

TEST(WithTarget, ARestartIsSeenByAPathThatMissedTheOneBefore) {
  Fixture f(1);
  f.config.fail_after_restart = true;
  f.open_two_paths();
  f.crash_target(sim::CrashKind::process);
  f.start_target({{"0.0.0.0", port}});
  f.world.run_for(30s);
  EXPECT_EQ(f.times(DeviceEvent::failed), 1);
  f.crash_target(sim::CrashKind::process);
  f.start_target({{"::", port}});
  f.world.run_for(30s);
  EXPECT_EQ(f.times(DeviceEvent::failed), 2);
  EXPECT_EQ(f.times(DeviceEvent::recovered), 2);
}

TEST(WithTarget, AWriteThatTimedOutDoesNotUndoANewOneOfAnyCore) {
  for (const unsigned core : {0u, 1u}) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      Fixture f(seed, 2);
      f.config.io_timeout = 1s;
      f.config.abort_timeout = 500ms;
      f.open();
      auto old_data = pattern(4096, 1);
      auto new_data = pattern(4096, 2);
      f.target_node.disk("/dev/sda").faults().stalled_until = f.world.now() + 3s;
      ASSERT_EQ(f.write(0, old_data).code(), Errc::timed_out);
      const IoVec vec{new_data.data(), new_data.size()};
      const Status wrote =
          f.world.run(f.host->core(core), f.channels[core]->write(Lba{0}, IoVecs(&vec, 1), Durable::no));
      ASSERT_TRUE(wrote.ok());
      f.world.run_for(10s);
      std::vector<std::byte> back(4096);
      ASSERT_TRUE(f.read(0, back).ok());
      EXPECT_EQ(back, new_data) << "core " << core << ", seed " << seed;
    }
  }
}

TEST(WithTarget, QueuesKeepLittleWhereMemoryIsNotPlenty) {
  Fixture f(1);
  BufferPool& pool = f.home().buffers();  // 16 MiB
  std::vector<Buffer> others;
  for (int i = 0; i < 5; ++i) others.push_back(pool.try_acquire(1 << 20));
  const std::size_t before = pool.used_bytes();
  auto opened = f.connect(f.target_node.ipv4());
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  f.device = std::move(opened).value();
  EXPECT_LE(pool.used_bytes() - before, 16u << 10);
}

// As when a pool is opened again after a flush of its disk failed.
TEST(WithTarget, ASubsystemThatIsMadeAgainMayHaveLostItsCaches) {
  Fixture f(1);
  f.config.fail_after_restart = true;
  f.open();
  auto data = pattern(4096, 1);
  ASSERT_TRUE(f.write(0, data).ok());
  auto again = [&f]() -> Task<Status> {
    HF_CO_CHECK(co_await f.exporter->target.remove_subsystem(nqn));
    co_return co_await f.exporter->add();
  };
  ASSERT_TRUE(f.world.run(f.target_home(), again()).ok());
  f.world.run_for(30s);
  EXPECT_EQ(f.times(DeviceEvent::failed), 1);
  EXPECT_EQ(f.times(DeviceEvent::recovered), 1);
  EXPECT_TRUE(f.write(0, data).ok());
}

}  // namespace
}  // namespace holdfast::nvmf
