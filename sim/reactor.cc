#include "sim/reactor.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "rt/wait.h"
#include "sim/disk.h"
#include "sim/net.h"
#include "sim/node.h"

namespace holdfast::sim {

namespace {

// 2026-01-01T00:00:00Z: when every world begins.
constexpr std::int64_t epoch_ns = 1'767'225'600'000'000'000;
constexpr Nanos message_delay_max = 15us;
constexpr Nanos file_delay_max = 2ms;

Nanos random_delay(Prng& random, Nanos max) {
  return Nanos(random.below(static_cast<std::uint64_t>(max.count()) + 1));
}

}  // namespace

SimReactor::SimReactor(World& world, Node& node, unsigned core, std::size_t buffer_budget_bytes)
    : world_(world),
      node_(node),
      core_(core),
      id_(world.next_reactor_id()),
      random_(world.fork_random()),
      buffers_(*this, buffer_budget_bytes) {
  world_.attach(*this);
}

SimReactor::~SimReactor() {
  HF_ASSERT(!dead_ && !has_ready() && timers_.empty() && !world_.has_events_on(*this));
  world_.detach(*this);
}

void SimReactor::die() noexcept {
  dead_ = true;
  world_.detach(*this);
  buffers_.forget_memory();
}

WallTime SimReactor::wall_now() const noexcept { return WallTime(epoch_ns + world_.now().count()); }

// Touching another core's reactor is a data race on a real machine.
void SimReactor::assert_here() const noexcept {
  HF_ASSERT(world_.current() == this || world_.current() == nullptr);
}

void SimReactor::post(std::coroutine_handle<> h) noexcept {
  assert_here();
  next_.push_back({h, nullptr});
}

void SimReactor::defer(Message& m) noexcept {
  assert_here();
  deferred_.push_back(&m);
}

void SimReactor::send(Message& m) noexcept {
  const SimReactor* from = world_.current();
  Nanos& last = last_from_[from == nullptr ? ~0u : from->id()];
  last = std::max(last, world_.now() + random_delay(random_, message_delay_max));
  auto run = [&m] { m.run(); };
  world_.at(last, run, this);
}

void SimReactor::arm(Timer& t, Nanos when) noexcept {
  assert_here();
  timers_.arm(t, when);
}

void SimReactor::disarm(Timer& t) noexcept {
  if (!t.armed()) return;
  assert_here();
  timers_.disarm(t);
}

void SimReactor::complete(IoOp& op, std::int64_t result) noexcept {
  if (dead_) return bury(&op);
  op.result = result;
  next_.push_back({op.waiter, nullptr});
}

Nanos SimReactor::next_timer() const noexcept {
  const Nanos first = timers_.next();
  return first == no_deadline ? first : std::max(first, frozen_until_);
}

Nanos SimReactor::next_time() const noexcept {
  if (has_ready()) return std::min(std::max(frozen_until_, world_.now()), next_timer());
  return next_timer();
}

void SimReactor::begin_turn() {
  turn_.swap(next_);
  for (Message* m : ripe_) turn_.push_back({nullptr, m});
  ripe_.clear();
  ripe_.swap(deferred_);
}

void SimReactor::run_one(Prng& random) noexcept {
  while (turn_.empty()) begin_turn();
  Item& chosen = turn_[random.below(turn_.size())];
  const Item item = chosen;
  chosen = turn_.back();
  turn_.pop_back();
  if (item.message != nullptr) {
    item.message->run();
  } else {
    item.handle.resume();
  }
}

void SimReactor::fire_timer() noexcept {
  if (Timer* t = timers_.pop_due(world_.now())) t->fire();
}

Task<Result<std::unique_ptr<File>>> SimReactor::open_file(std::string path, OpenOptions options) {
  co_await sleep(random_delay(random_, file_delay_max));
  SimDisk* disk = node_.find_disk(path);
  if (disk == nullptr) co_return Error(Errc::not_found, "'" + path + "' does not exist");
  co_return disk->open(*this, path, options);
}

Task<Status> SimReactor::replace_file(std::string path, std::string content) {
  co_await sleep(random_delay(random_, file_delay_max));
  if (node_.files_fail()) co_return Error(Errc::io_error, "'" + path + "' cannot be written");
  node_.files()[path] = content;
  co_await sleep(random_delay(random_, file_delay_max));
  co_return Status();
}

Task<Result<std::string>> SimReactor::read_file(std::string path) {
  co_await sleep(random_delay(random_, file_delay_max));
  const auto found = node_.files().find(path);
  if (found == node_.files().end()) co_return Error(Errc::not_found, "'" + path + "' does not exist");
  co_return std::string(found->second);
}

Task<Status> SimReactor::remove_file(std::string path) {
  co_await sleep(random_delay(random_, file_delay_max));
  if (node_.files_fail()) co_return Error(Errc::io_error, "'" + path + "' cannot be removed");
  node_.files().erase(path);
  co_return Status();
}

Task<Result<std::unique_ptr<Stream>>> SimReactor::connect(Endpoint to, Nanos deadline, StopToken stop) {
  return world_.net().connect(*this, std::move(to), deadline, stop);
}

Result<std::unique_ptr<Listener>> SimReactor::listen(const Endpoint& at) {
  return world_.net().listen(*this, at);
}

std::unique_ptr<Stream> SimReactor::adopt(std::unique_ptr<PendingStream> accepted) {
  return world_.net().adopt(*this, std::move(accepted));
}

Task<Result<std::vector<Endpoint>>> SimReactor::resolve(Endpoint name) {
  co_await sleep(random_delay(random_, file_delay_max));
  co_return world_.net().resolve(name);
}

Task<void> SimReactor::run_blocking(std::function<void()> work) {
  co_await sleep(random_delay(random_, file_delay_max));
  work();
  co_await sleep(random_delay(random_, file_delay_max));
}

}  // namespace holdfast::sim
