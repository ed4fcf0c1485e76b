#include "e2e/verified_load.h"

#include <array>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "block/registry.h"
#include "e2e/remote_disk.h"
#include "nvmf/initiator/initiator.h"
#include "rt/scope.h"
#include "uring/runtime.h"

namespace holdfast::e2e {
namespace {

constexpr std::size_t place_bytes = 64 * KiB;
constexpr std::uint64_t workers = 8, places = 32;  // of each worker: 16 MiB in all

class Load {
 public:
  Load(const Cores& cores, std::chrono::milliseconds time)
      : reactor_(cores.home()), registry_(cores), until_(reactor_.now() + time) {
    nvmf::InitiatorConfig config;
    config.hostnqn = "nqn.2019-05.io.openebs:node-name:load";
    nvmf::register_nvmf_scheme(registry_, cores, config);
  }

  Task<void> run(std::string uri) {
    const Status done = co_await run_on_disk(std::move(uri));
    if (!done.ok()) fail(done.error().message());
    co_await registry_.close();
  }
  LoadOutcome outcome;

 private:
  Task<Status> run_on_disk(std::string uri) {
    HF_CO_TRY(BlockDevice * device, co_await registry_.create(std::move(uri)));
    block_bytes_ = device->geometry().block_bytes;
    HF_CO_TRY(const std::unique_ptr<Channel> channel, co_await device->open_channel(reactor_));
    TaskScope scope(reactor_);
    for (std::uint64_t i = 0; i < workers; ++i) scope.spawn(work(*channel, i));
    co_await scope.join();
    co_await channel->close();
    co_return Status();
  }

  Task<void> work(Channel& channel, std::uint64_t worker) {
    Prng prng(worker);
    std::array<std::uint32_t, places> generations{};
    while (reactor_.now() < until_ && outcome.wrong.empty()) {
      const std::uint64_t place = prng.below(places);
      const std::uint64_t offset = (worker * places + place) * place_bytes;
      if (prng.chance(1, 2)) {
        co_await write(channel, offset, generations[place] + 1);
        ++generations[place];
      } else {
        co_await check(channel, offset, generations[place]);
      }
    }
    for (std::uint64_t place = 0; place < places && outcome.wrong.empty(); ++place) {
      co_await check(channel, (worker * places + place) * place_bytes, generations[place]);
    }
  }

  Task<void> write(Channel& channel, std::uint64_t offset, std::uint32_t generation) {
    std::vector<std::byte> data = pattern(offset, generation, place_bytes);
    const IoVec vec{data.data(), data.size()};
    const Status done = co_await channel.write(Lba{offset / block_bytes_}, IoVecs(&vec, 1), Durable::no);
    ++outcome.operations;
    if (!done.ok()) fail("write: " + done.error().message());
  }

  Task<void> check(Channel& channel, std::uint64_t offset, std::uint32_t generation) {
    std::vector<std::byte> data(place_bytes);
    const IoVec vec{data.data(), data.size()};
    const Status done = co_await channel.read(Lba{offset / block_bytes_}, IoVecs(&vec, 1));
    ++outcome.operations;
    if (!done.ok()) co_return fail("read: " + done.error().message());
    const std::vector<std::byte> wanted =
        generation == 0 ? std::vector<std::byte>(place_bytes) : pattern(offset, generation, place_bytes);
    if (data != wanted) {
      fail("offset " + std::to_string(offset) + " is not what generation " + std::to_string(generation) +
           " wrote");
    }
  }

  void fail(std::string what) {
    if (outcome.wrong.empty()) outcome.wrong = std::move(what);
  }

  Reactor& reactor_;
  DeviceRegistry registry_;
  const Nanos until_;
  std::uint32_t block_bytes_ = 512;
};

}  // namespace

LoadOutcome run_verified_load(const std::string& uri, std::chrono::milliseconds time) {
  uring::Runtime::Options options;
  options.memory_bytes = 32 * MiB;
  auto runtime = uring::Runtime::create(options);
  if (!runtime.ok()) return {0, runtime.error().message()};
  Load load(runtime.value()->cores(), time);
  runtime.value()->run(load.run(uri));
  return load.outcome;
}

}  // namespace holdfast::e2e
