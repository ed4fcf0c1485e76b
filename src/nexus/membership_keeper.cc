#include "nexus/membership_keeper.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"

namespace holdfast::nexus {

MembershipKeeper::MembershipKeeper(Reactor& home, MembershipStore& store, std::string key,
                                   const NexusOptions& options, Wanted wanted)
    : home_(home),
      store_(store),
      key_(std::move(key)),
      options_(options),
      wanted_(std::move(wanted)),
      owner_(Uuid::random(home.random())),
      progress_(home),
      scope_(home) {}

MembershipKeeper::~MembershipKeeper() { HF_ASSERT(!running_); }

Task<Result<std::optional<Record>>> MembershipKeeper::load() {
  auto stored = co_await store_.load(key_);
  if (!stored.ok()) co_return stored.error().with_context(fmt::format("membership record '{}'", key_));
  std::optional<Record> found;
  if (auto& s = stored.value()) {
    revision_ = s->revision;
    epoch_ = s->record.epoch;
    found = std::move(s->record);
  }
  co_return found;
}

Task<Status> MembershipKeeper::persist(Nanos deadline, StopToken stop) {
  const std::uint64_t mine = ++asked_;
  if (!running_ && !fenced_ && !stop_.stop_requested()) {
    running_ = true;
    scope_.spawn(run());
  }
  while (done_ < mine) {
    if (fenced_) co_return Error(Errc::fenced, fmt::format("membership record '{}' has another owner", key_));
    if (stop_.stop_requested()) co_return Error(Errc::not_connected);
    if (stop.stop_requested()) co_return Error(Errc::cancelled);
    if (home_.now() >= deadline) {
      co_return Error(Errc::timed_out,
                      fmt::format("the store has not recorded the membership '{}' yet", key_));
    }
    co_await progress_.wait(deadline, stop);
  }
  co_return Status();
}

Task<void> MembershipKeeper::stop() {
  stop_.request_stop();
  progress_.wake_all();
  co_await scope_.join();
}

Task<void> MembershipKeeper::run() {
  Nanos pause = options_.retry_first;
  while (done_ < asked_ && !fenced_ && !stop_.stop_requested()) {
    const std::uint64_t target = asked_;
    const Outcome outcome = co_await attempt();
    if (outcome == Outcome::done) {
      done_ = target;
      ++swaps_;
      pause = options_.retry_first;
    } else if (outcome == Outcome::lost) {
      fenced_ = true;
    } else {
      ++retries_;
      co_await home_.sleep(pause, stop_.token());
      pause = std::min(pause * 2, options_.retry_longest);
    }
    progress_.wake_all();
  }
  running_ = false;
  progress_.wake_all();
}

Task<MembershipKeeper::Outcome> MembershipKeeper::attempt() {
  Record next = wanted_();
  next.epoch = std::max(next.epoch, epoch_ + 1);
  next.owner = owner_;
  const auto swapped = co_await store_.swap(key_, revision_, next);
  if (swapped.ok()) {
    revision_ = swapped.value();
    epoch_ = next.epoch;
    co_return Outcome::done;
  }
  if (swapped.code() == Errc::fenced) co_return co_await resolve_lost(std::move(next));
  HF_LOG(warn, "nexus", "membership change waits for the store", {"key", key_}, {"error", swapped.error()});
  co_return Outcome::again;
}

// The revision is not the one that we know: is the record somebody else's, or ours from a swap whose answer
// was lost?
Task<MembershipKeeper::Outcome> MembershipKeeper::resolve_lost(Record tried) {
  const auto stored = co_await store_.load(key_);
  if (!stored.ok() && stored.code() != Errc::bad_format) co_return Outcome::again;
  const bool ours = stored.ok() && stored.value() && stored.value()->record.owner == owner_;
  if (!ours) {
    HF_LOG(error, "nexus", "fenced: another owner changed the membership record", {"key", key_});
    co_return Outcome::lost;
  }
  revision_ = stored.value()->revision;
  epoch_ = stored.value()->record.epoch;
  co_return stored.value()->record == tried ? Outcome::done : Outcome::again;
}

}  // namespace holdfast::nexus
