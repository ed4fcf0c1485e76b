// What tests against a FakeTarget share: a simulated host, and a machine with the target.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "nvmf/initiator/initiator.h"
#include "nvmf/initiator/remote_device.h"
#include "nvmf/initiator/testing/fake_target.h"
#include "sim/net.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::nvmf::test {

using holdfast::test::FakeConnection;
using holdfast::test::FakeTarget;

inline constexpr std::uint16_t port = 8420;
inline const std::string nqn = "nqn.2019-05.io.openebs:volume-1";

struct DeviceEvents final : DeviceObserver {
  void on_device_event(BlockDevice&, DeviceEvent event) noexcept override { seen.push_back(event); }
  bool saw(DeviceEvent event) const { return std::find(seen.begin(), seen.end(), event) != seen.end(); }
  std::vector<DeviceEvent> seen;
};

inline std::vector<std::byte> pattern(std::size_t bytes, std::uint64_t seed) {
  Prng prng(seed);
  std::vector<std::byte> out(bytes);
  for (auto& b : out) b = static_cast<std::byte>(prng.next());
  return out;
}

// A host with `cores` cores, and a machine with a fake target.
struct FakeTargetFixture {
  explicit FakeTargetFixture(std::uint64_t seed = 1, unsigned cores = 1)
      : world(seed), host_node(world.add_node("host")), target_node(world.add_node("target")) {
    host = &host_node.start(cores);
    target = std::make_unique<FakeTarget>(target_node.start().core(0), 4096);
    Prng prng(7);
    target->uuid = Uuid::random(prng);
    config.hostnqn = "nqn.2014-08.org.nvmexpress:uuid:host";
    config.grace = 3s;
    config.keep_alive = 2s;
    config.io_timeout = 1s;
    config.abort_timeout = 300ms;
    config.connect_timeout = 1s;
    listen();
  }
  ~FakeTargetFixture() {
    if (channel) close_channel();
    if (device) close_device();
    if (target) run_target(target->close());
    world.run_for(1s);  // what is still on the wire
  }

  sim::SimReactor& home() { return host->core(0); }
  void listen() { run_target(listen_task()); }
  Task<void> listen_task() {
    target->listen(Endpoint{"0.0.0.0", port});
    co_return;
  }
  void run_target(Task<void> task) { world.run(target_node.process()->core(0), std::move(task)); }
  RemoteConfig remote() {
    RemoteConfig r;
    r.host = Endpoint{target_node.ipv4(), port};
    r.nqn = nqn;
    r.config = config;
    complete_identity(r.config);
    return r;
  }
  Status open() {
    auto opened = world.run(home(), RemoteDevice::open(host->cores(), remote(), "nvmf://x"));
    if (!opened.ok()) return opened.error();
    device = std::move(opened).value();
    device->subscribe(observer);
    auto got = world.run(home(), device->open_channel(home()));
    if (!got.ok()) return got.error();
    channel = std::move(got).value();
    return Status();
  }
  void close_channel() {
    world.run(home(), channel->close());
    channel.reset();
  }
  void close_device() {
    world.run(home(), device->close());
    device.reset();
  }
  Status write(std::uint64_t lba, std::vector<std::byte>& data) {
    const IoVec vec{data.data(), data.size()};
    return world.run(home(), channel->write(Lba{lba}, IoVecs(&vec, 1), Durable::no));
  }
  Status read(std::uint64_t lba, std::vector<std::byte>& data) {
    const IoVec vec{data.data(), data.size()};
    return world.run(home(), channel->read(Lba{lba}, IoVecs(&vec, 1)));
  }
  const host::Controller& controller() const { return RemoteDevice::from(*device)->controller(); }

  sim::World world;
  sim::Node& host_node;
  sim::Node& target_node;
  sim::Process* host = nullptr;
  std::unique_ptr<FakeTarget> target;
  InitiatorConfig config;
  DeviceEvents observer;
  std::unique_ptr<BlockDevice> device;
  std::unique_ptr<Channel> channel;
};

}  // namespace holdfast::nvmf::test
