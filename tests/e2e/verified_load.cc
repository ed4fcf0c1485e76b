#include "e2e/verified_load.h"

#include <utility>
#include <vector>

#include "base/prng.h"
#include "base/units.h"
#include "block/registry.h"
#include "nvmf/initiator/initiator.h"
#include "rt/scope.h"
#include "uring/runtime.h"

namespace holdfast::e2e {

namespace {

constexpr std::size_t place_bytes = Content::place_bytes;
constexpr std::uint64_t workers = 8;  // place i is worker (i % workers)'s
constexpr Nanos after_failure = 500ms;
constexpr int last_attempts = 240;  // of a read that finds out what a place holds in the end

}  // namespace

class Workers {
 public:
  Workers(VerifiedLoad& load, const Cores& cores)
      : load_(load), reactor_(cores.home()), registry_(cores), pace_(load.options_.pace) {
    nvmf::InitiatorConfig config;
    config.hostnqn = "nqn.2019-05.io.openebs:node-name:load";
    nvmf::register_nvmf_scheme(registry_, cores, config);
  }

  Task<void> run(std::string uri) {
    const Status done = co_await run_on_disk(std::move(uri));
    if (!done.ok()) fail(done.error().message());
    co_await registry_.close();
  }

 private:
  Task<Status> run_on_disk(std::string uri) {
    HF_CO_TRY(device_, co_await registry_.create(std::move(uri)));
    HF_CO_TRY(const std::unique_ptr<Channel> channel, co_await device_->open_channel(reactor_));
    TaskScope scope(reactor_);
    for (std::uint64_t i = 0; i < workers; ++i) scope.spawn(work(*channel, i));
    co_await scope.join();
    co_await channel->close();
    co_return Status();
  }

  Task<void> work(Channel& channel, std::uint64_t worker) {
    Prng prng(load_.options_.seed * workers + worker);
    while (!load_.stop_ && !load_.failed_) {
      const std::size_t place = worker + prng.below(places() / workers) * workers;
      bool answered = false;
      const bool writes = prng.chance(1, 2);
      if (writes && is_there(place)) answered = co_await write(channel, place);
      if (!writes && is_there(place)) answered = co_await check(channel, place);
      if (!answered || pace_ > 0ns) co_await reactor_.sleep(answered ? pace_ : after_failure);
    }
    for (std::size_t place = worker; place < places() && !load_.failed_; place += workers) {
      co_await check_at_last(channel, place);
    }
  }

  std::size_t places() const {
    const std::lock_guard lock(load_.mutex_);
    return load_.content_.places();
  }
  bool is_there(std::size_t place) const {
    return Content::offset(place) + place_bytes <= device_->geometry().size_bytes();
  }
  Lba lba(std::size_t place) const { return Lba{Content::offset(place) / device_->geometry().block_bytes}; }

  Task<void> check_at_last(Channel& channel, std::size_t place) {
    for (int i = 0; i < last_attempts; ++i) {
      bool answered = false;
      if (is_there(place)) answered = co_await check(channel, place);
      if (answered) co_return;
      co_await reactor_.sleep(after_failure);
    }
    fail("offset " + std::to_string(Content::offset(place)) +
         (is_there(place) ? " cannot be read: " + load_.outcome_.last_error : " is not there"));
  }

  Task<bool> write(Channel& channel, std::size_t place) {
    const std::vector<std::byte> data = begin_write(place);
    const IoVec vec{const_cast<std::byte*>(data.data()), data.size()};
    const Status done = co_await channel.write(lba(place), IoVecs(&vec, 1), Durable::no);
    const std::lock_guard lock(load_.mutex_);
    if (!done.ok()) {
      lose(done.error());
      co_return false;
    }
    ++load_.outcome_.writes;
    load_.content_.acknowledge(place);
    co_return true;
  }
  std::vector<std::byte> begin_write(std::size_t place) {
    const std::lock_guard lock(load_.mutex_);
    return load_.content_.begin_write(place);
  }

  Task<bool> check(Channel& channel, std::size_t place) {
    std::vector<std::byte> data(place_bytes);
    const IoVec vec{data.data(), data.size()};
    const Status done = co_await channel.read(lba(place), IoVecs(&vec, 1));
    const std::lock_guard lock(load_.mutex_);
    if (!done.ok()) {
      lose(done.error());
      co_return false;
    }
    ++load_.outcome_.reads;
    std::string wrong = load_.content_.read(place, data);
    if (!wrong.empty()) fail(std::move(wrong));
    co_return true;
  }

  void lose(const Error& why) {
    ++load_.outcome_.lost;
    load_.outcome_.last_error = why.message();
  }
  void fail(std::string what) {
    if (load_.outcome_.wrong.empty()) load_.outcome_.wrong = std::move(what);
    load_.failed_ = true;
  }

  VerifiedLoad& load_;
  Reactor& reactor_;
  DeviceRegistry registry_;
  const Nanos pace_;
  BlockDevice* device_ = nullptr;
};

VerifiedLoad::VerifiedLoad(std::string uri, Options options)
    : options_(options),
      content_(bytes_at_first / place_bytes),
      thread_([this, uri = std::move(uri)] { run(uri); }) {}

VerifiedLoad::~VerifiedLoad() { finish(); }

void VerifiedLoad::run(const std::string& uri) {
  uring::Runtime::Options options;
  options.memory_bytes = 32 * MiB;
  auto runtime = uring::Runtime::create(options);
  if (!runtime.ok()) {
    outcome_.wrong = runtime.error().message();
    failed_ = true;
    return;
  }
  Workers all(*this, runtime.value()->cores());
  runtime.value()->run(all.run(uri));
}

Content VerifiedLoad::content() const {
  const std::lock_guard lock(mutex_);
  return content_;
}

void VerifiedLoad::grow(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  content_.grow(bytes / place_bytes / workers * workers);
}

LoadOutcome VerifiedLoad::finish() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  return outcome_;
}

}  // namespace holdfast::e2e
