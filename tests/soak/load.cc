#include "soak/load.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "base/units.h"
#include "block/registry.h"
#include "e2e/remote_disk.h"
#include "nvmf/initiator/initiator.h"
#include "rt/scope.h"
#include "uring/runtime.h"

namespace holdfast::soak {

namespace {

constexpr std::size_t place_bytes = 64 * KiB;
constexpr std::uint64_t workers = 8, places = 32;  // of each worker: 16 MiB in all
constexpr Nanos pace = 10ms;                       // leaves room for those who repair
constexpr Nanos after_failure = 500ms;
constexpr int last_attempts = 240;  // of a read that finds out what a place holds in the end

// What a read may give: the last generation that is known to be there, and those whose writes had no answer.
struct Place {
  std::vector<std::uint32_t> may_be{0};
  std::uint32_t written = 0;
};

std::string list(const std::vector<std::uint32_t>& generations) {
  std::string text;
  for (const std::uint32_t g : generations) text += (text.empty() ? "" : " or ") + std::to_string(g);
  return text;
}

}  // namespace

class Workers {
 public:
  Workers(Load& load, const Cores& cores, std::uint64_t seed)
      : load_(load), reactor_(cores.home()), registry_(cores), seed_(seed) {
    nvmf::InitiatorConfig config;
    config.hostnqn = "nqn.2019-05.io.openebs:node-name:soak";
    nvmf::register_nvmf_scheme(registry_, cores, config);
  }

  Task<void> run(std::string uri) {
    const Status done = co_await run_on_disk(std::move(uri));
    if (!done.ok()) fail(done.error().message());
    co_await registry_.close();
  }

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
    Prng prng(seed_ * workers + worker);
    std::array<Place, places> all;
    while (!load_.stop_ && !load_.failed_) {
      const std::uint64_t place = prng.below(places);
      const std::uint64_t offset = (worker * places + place) * place_bytes;
      bool answered = false;
      if (prng.chance(1, 2)) {
        answered = co_await write(channel, offset, all[place]);
      } else {
        answered = co_await check(channel, offset, all[place]);
      }
      co_await reactor_.sleep(answered ? pace : after_failure);
    }
    for (std::uint64_t place = 0; place < places && !load_.failed_; ++place) {
      co_await check_at_last(channel, (worker * places + place) * place_bytes, all[place]);
    }
  }

  Task<void> check_at_last(Channel& channel, std::uint64_t offset, Place& place) {
    for (int i = 0; i < last_attempts; ++i) {
      const bool answered = co_await check(channel, offset, place);
      if (answered) co_return;
      co_await reactor_.sleep(after_failure);
    }
    fail("offset " + std::to_string(offset) + " cannot be read: " + last_error_);
  }

  Task<bool> write(Channel& channel, std::uint64_t offset, Place& place) {
    const std::uint32_t generation = ++place.written;
    std::vector<std::byte> data = e2e::pattern(offset, generation, place_bytes);
    const IoVec vec{data.data(), data.size()};
    const Status done = co_await channel.write(Lba{offset / block_bytes_}, IoVecs(&vec, 1), Durable::no);
    ++load_.operations_;
    if (!done.ok()) {
      place.may_be.push_back(generation);
      lose(done.error());
      co_return false;
    }
    ++load_.outcome_.writes;
    place.may_be.assign(1, generation);
    co_return true;
  }

  Task<bool> check(Channel& channel, std::uint64_t offset, Place& place) {
    std::vector<std::byte> data(place_bytes);
    const IoVec vec{data.data(), data.size()};
    const Status done = co_await channel.read(Lba{offset / block_bytes_}, IoVecs(&vec, 1));
    ++load_.operations_;
    if (!done.ok()) {
      lose(done.error());
      co_return false;
    }
    ++load_.outcome_.reads;
    const auto found = std::find_if(place.may_be.begin(), place.may_be.end(),
                                    [&](std::uint32_t g) { return data == content(offset, g); });
    if (found == place.may_be.end()) {
      fail("offset " + std::to_string(offset) + " is not what generation " + list(place.may_be) +
           " wrote, but " + describe(data, offset, place.written));
    } else {
      place.may_be.assign(1, std::uint32_t(*found));
    }
    co_return true;
  }

  static std::vector<std::byte> content(std::uint64_t offset, std::uint32_t generation) {
    return generation == 0 ? std::vector<std::byte>(place_bytes)
                           : e2e::pattern(offset, generation, place_bytes);
  }

  // What is there instead, told block by block.
  static std::string describe(const std::vector<std::byte>& data, std::uint64_t offset, std::uint32_t last) {
    std::string text;
    std::string before;
    for (std::size_t at = 0; at < place_bytes; at += 4 * KiB) {
      std::string here = "something else";
      for (std::uint32_t g = 0; g <= last; ++g) {
        const std::vector<std::byte> wanted = content(offset, g);
        const auto begin = static_cast<std::ptrdiff_t>(at);
        if (std::equal(wanted.begin() + begin, wanted.begin() + begin + 4 * KiB, data.begin() + begin)) {
          here = "generation " + std::to_string(g);
        }
      }
      if (here != before) text += (text.empty() ? "" : "; ") + here + " from " + std::to_string(at);
      before = std::move(here);
    }
    return text;
  }

  void lose(const Error& why) {
    ++load_.outcome_.lost;
    last_error_ = why.message();
  }
  void fail(std::string what) {
    if (load_.outcome_.wrong.empty()) load_.outcome_.wrong = std::move(what);
    load_.failed_ = true;
  }

  Load& load_;
  Reactor& reactor_;
  DeviceRegistry registry_;
  const std::uint64_t seed_;
  std::uint32_t block_bytes_ = 512;
  std::string last_error_;
};

Load::Load(std::string uri, std::uint64_t seed)
    : thread_([this, uri = std::move(uri), seed] { run(uri, seed); }) {}

Load::~Load() { finish(); }

void Load::run(const std::string& uri, std::uint64_t seed) {
  uring::Runtime::Options options;
  options.memory_bytes = 32 * MiB;
  auto runtime = uring::Runtime::create(options);
  if (!runtime.ok()) {
    outcome_.wrong = runtime.error().message();
    failed_ = true;
    return;
  }
  Workers all(*this, runtime.value()->cores(), seed);
  runtime.value()->run(all.run(uri));
}

LoadOutcome Load::finish() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  return outcome_;
}

}  // namespace holdfast::soak
