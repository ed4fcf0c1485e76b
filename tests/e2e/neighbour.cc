#include "e2e/neighbour.h"

#include <utility>

#include "base/prng.h"
#include "block/registry.h"
#include "nvmf/initiator/initiator.h"
#include "rt/scope.h"
#include "uring/runtime.h"

namespace holdfast::e2e {
namespace {

constexpr unsigned in_flight = 8;
constexpr std::size_t operation_bytes = 4096;

}  // namespace

Neighbour::Neighbour(std::string uri) : uri_(std::move(uri)) {
  thread_ = std::thread([this] {
    uring::Runtime::Options options;
    options.memory_bytes = 32 * MiB;
    auto runtime = std::move(uring::Runtime::create(options)).value();
    if (!runtime->run(live(runtime->cores())).ok()) ++errors_;
  });
}

Neighbour::~Neighbour() {
  stop_ = true;
  thread_.join();
}

Task<Status> Neighbour::live(const Cores& cores) {
  DeviceRegistry registry(cores);
  nvmf::InitiatorConfig config;
  config.hostnqn = "nqn.2019-05.io.openebs:node-name:neighbour";
  nvmf::register_nvmf_scheme(registry, cores, config);
  Result<BlockDevice*> device = co_await registry.create(uri_);
  if (!device.ok()) {
    co_await registry.close();
    co_return device.error();
  }
  auto channel = co_await device.value()->open_channel(cores.home());
  if (channel.ok()) {
    const std::uint64_t blocks = device.value()->geometry().block_count;
    TaskScope scope(cores.home());
    for (unsigned i = 0; i < in_flight; ++i) scope.spawn(work(cores.home(), *channel.value(), blocks, i));
    co_await scope.join();
    co_await channel.value()->close();
  }
  co_await registry.close();
  co_return channel.ok() ? Status() : Status(channel.error());
}

Task<void> Neighbour::work(Reactor& reactor, Channel& channel, std::uint64_t blocks, std::uint64_t seed) {
  Prng prng(seed);
  const Buffer buffer = co_await reactor.buffers().acquire(operation_bytes);
  const IoVec vec = buffer.vec();
  while (!stop_.load(std::memory_order_relaxed)) {
    const Lba at{prng.below(blocks / 8) * 8};
    const Status read = co_await channel.read(at, IoVecs(&vec, 1));
    const Status written = co_await channel.write(at, IoVecs(&vec, 1), Durable::no);
    if (!read.ok() || !written.ok()) {
      ++errors_;
      co_return;
    }
    operations_.fetch_add(2, std::memory_order_relaxed);
  }
}

}  // namespace holdfast::e2e
