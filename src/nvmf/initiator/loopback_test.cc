// Initiator and target over real sockets on the loopback, each with two cores of one process.
#include <vector>

#include <gtest/gtest.h>

#include "block/builtin.h"
#include "block/registry.h"
#include "nvmf/initiator/initiator.h"
#include "nvmf/initiator/remote_device.h"
#include "nvmf/target/target.h"
#include "rt/cross_core.h"
#include "rt/when_all.h"
#include "uring/runtime.h"

namespace holdfast::nvmf {
namespace {

const std::string nqn = "nqn.2019-05.io.openebs:loop";

Task<Status> write_and_read(Channel& channel, std::uint64_t first, std::size_t bytes, std::byte fill) {
  std::vector<std::byte> data(bytes, fill);
  std::vector<std::byte> back(bytes);
  const IoVec from{data.data(), data.size()};
  const IoVec into{back.data(), back.size()};
  HF_CO_CHECK(co_await channel.write(Lba{first}, IoVecs(&from, 1), Durable::no));
  HF_CO_CHECK(co_await channel.read(Lba{first}, IoVecs(&into, 1)));
  if (data != back) co_return Error(Errc::miscompare);
  co_return Status();
}

// 16 at a time, on the channel's core.
Task<Status> exercise(BlockDevice& device, Reactor& core) {
  HF_CO_TRY(const std::unique_ptr<Channel> channel, co_await device.open_channel(core));
  Status outcome;
  for (const std::size_t bytes :
       {std::size_t{512}, std::size_t{4096}, std::size_t{65536}, std::size_t{2} << 20}) {
    std::vector<Task<Status>> tasks;
    for (std::uint64_t i = 0; i < 16 && outcome.ok(); ++i) {
      const std::uint64_t first = (core.core() * 16 + i) * 4096;
      tasks.push_back(write_and_read(*channel, first, bytes, static_cast<std::byte>(i + bytes)));
    }
    co_await when_all(std::span<Task<Status>>(tasks));
    for (auto& task : tasks) {
      Status one = task.take();
      if (!one.ok() && outcome.ok()) outcome = std::move(one);
    }
  }
  co_await channel->close();
  co_return outcome;
}

Task<Status> use(const Cores& cores, std::string uri) {
  DeviceRegistry registry(cores);
  register_nvmf_scheme(registry, cores, InitiatorConfig());
  HF_CO_TRY(BlockDevice * device, co_await registry.create(uri));
  Status outcome;
  for (Reactor* core : cores) {
    auto there = [device, core]() -> Task<Status> { return exercise(*device, *core); };
    Status one = co_await run_on(cores.home(), *core, there);
    if (!one.ok() && outcome.ok()) outcome = std::move(one);
  }
  EXPECT_EQ(registry.find(uri), device);
  co_await registry.close();
  co_return outcome;
}

Task<Status> serve_and_use(const Cores& cores, Endpoint at, std::string parameters) {
  DeviceRegistry registry(cores);
  register_builtin_schemes(registry, cores);
  const TargetConfig config;
  Target target(cores, config);
  HF_CO_TRY(BlockDevice * device, co_await registry.create("malloc:///m0?size_mb=128"));
  SubsystemConfig subsystem;
  subsystem.nqn = nqn;
  subsystem.serial = "1";
  NamespaceConfig space;
  space.uuid = device->identity().uuid;
  HF_CO_CHECK(co_await target.add_subsystem(subsystem));
  HF_CO_CHECK(co_await target.add_namespace(nqn, space, *device));
  HF_CO_TRY(const Endpoint bound, co_await target.listen(at));
  const std::string uri =
      "nvmf://" + bound.to_string() + "/" + nqn + "?uuid=" + space.uuid.to_string() + parameters;
  Status outcome = co_await use(cores, uri);
  co_await target.close();
  co_await registry.close();
  co_return outcome;
}

TEST(Loopback, ReadsWhatItWroteOnTwoCores) {
  const std::pair<Endpoint, const char*> cases[] = {
      {{"127.0.0.1", 0}, ""}, {{"127.0.0.1", 0}, "&hdgst&ddgst"}, {{"::1", 0}, "&queue_depth=4"}};
  for (const auto& [at, parameters] : cases) {
    SCOPED_TRACE(at.address + parameters);
    uring::Runtime::Options options;
    options.cores = 2;
    auto runtime = uring::Runtime::create(options);
    ASSERT_TRUE(runtime.ok()) << runtime.error().message();
    const Cores& cores = runtime.value()->cores();
    const Status done = runtime.value()->run(serve_and_use(cores, at, parameters));
    EXPECT_TRUE(done.ok()) << done.error().message();
  }
}

}  // namespace
}  // namespace holdfast::nvmf
