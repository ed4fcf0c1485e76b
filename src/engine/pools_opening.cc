// Pools that are remembered are opened, and again when they can be.
#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "base/utf8.h"
#include "engine/pools.h"

namespace holdfast::engine {
namespace {

constexpr Nanos start_patience = 3s;  // how long an engine's start waits for its pools
constexpr Nanos retry_interval = 2s;

std::string joined(const std::vector<std::string>& parts) {
  return fmt::format("{}", fmt::join(parts, ", "));
}

// Not open; or it takes no changes any more although all of its disks answer: a write of the journal had failed.
bool is_to_heal(const Pools::Known& known) {
  if (known.pool == nullptr) return true;
  if (!known.status_changed) return false;
  const auto view = known.pool->view();
  if (view.status != pool::PoolStatus::faulted) return false;
  return std::all_of(view.disks.begin(), view.disks.end(),
                     [](const pool::DiskView& disk) { return disk.status != pool::PoolStatus::faulted; });
}

}  // namespace

Task<void> Pools::start() {
  const auto paths = co_await remembered_files();
  for (const auto& path : paths) co_await load(path);
  for (const auto& [name, known] : known_) {
    ++opening_;
    scope_.spawn(open_first_time(*known));
  }
  const Nanos until = home().now() + start_patience;
  while (opening_ > 0) {
    const Wake woken = co_await opened_.wait(until);
    if (woken == Wake::timed_out) break;
  }
  scope_.spawn(retry());
}

Task<void> Pools::open_first_time(Known& known) {
  const std::string name = known.name;
  {
    auto lock = co_await locks_.acquire(lock_key(name));
    if (lock.ok() && find(name) == &known && known.pool == nullptr && !stop_.stop_requested()) {
      const Status opened = co_await open(known);
      opened.ignore("the reason is kept, and shown");
    }
  }
  --opening_;
  opened_.wake_all();
}

Task<void> Pools::retry() {
  while (co_await home().sleep(retry_interval, stop_.token())) {
    std::vector<std::string> names;
    for (const auto& [name, known] : known_) {
      if (is_to_heal(*known)) names.push_back(name);
    }
    for (auto& name : names) scope_.spawn(heal(std::move(name)));  // a disk may take its time to fail
  }
}

Task<void> Pools::heal(std::string name) {
  const auto lock = locks_.try_acquire(lock_key(name));
  Known* known = find(name);
  if (!lock || known == nullptr || !is_to_heal(*known)) co_return;
  const Status opened = co_await reopen(*known);
  opened.ignore("the reason is kept, and shown");
}

Task<Status> Pools::open(Known& known) {
  auto opened = co_await open_members(known);
  if (!opened.ok()) {
    std::string reason = to_utf8(opened.error().message());  // names in labels may be anything
    if (reason != known.reason) {
      HF_LOG(warn, "pool", "a pool cannot be opened; it is tried again until it can", {"pool", known.name},
             {"disks", joined(known.disks)}, {"error", opened.error()});
    }
    known.reason = std::move(reason);
    co_return opened.error();
  }
  known.pool = std::move(opened).value();
  known.reason.clear();
  known.status_changed = false;
  co_await keep_members(known);
  HF_LOG(info, "pool", "opened", {"pool", known.name}, {"uuid", known.uuid.to_string()});
  co_await share_all(known);
  co_return Status();
}

// One that was being added when the pool ended, and is none of its disks, can be added again.
Task<void> Pools::keep_members(Known& known) {
  const pool::PoolView view = known.pool->view();
  const std::size_t others = std::erase_if(known.disks, [&view](const std::string& uri) {
    return std::none_of(view.disks.begin(), view.disks.end(), [&uri](const auto& d) { return d.uri == uri; });
  });
  if (others > 0) co_await try_to_remember(known);
}

// A disk that was to be added when the engine ended may be none of the pool's.
Task<Result<std::unique_ptr<pool::Pool>>> Pools::open_members(Known& known) {
  auto opened =
      co_await pool::Pool::open(devices_, known.disks, known.name, known.uuid, options_of(known), this);
  if (opened.ok() || known.disks.size() == 1) co_return opened;
  std::vector<std::string> labelled = co_await labelled_disks(known);
  if (labelled.empty() || labelled.size() == known.disks.size()) co_return opened;
  // The pool itself knows whether one is missing.
  auto without =
      co_await pool::Pool::open(devices_, labelled, known.name, known.uuid, options_of(known), this);
  if (!without.ok()) co_return opened;
  known.disks = std::move(labelled);
  co_await try_to_remember(known);
  co_return without;
}

Task<std::vector<std::string>> Pools::labelled_disks(const Known& known) {
  const std::vector<std::string> all = known.disks;
  const Uuid uuid = known.uuid;
  std::vector<std::string> found;
  std::set<Uuid> seen;  // one disk may have been named in two ways
  for (const auto& disk : all) {
    const auto label = co_await pool::Pool::probe(devices_, disk);
    if (!label.ok() || !label.value() || label.value()->pool_uuid != uuid) continue;
    if (seen.insert(label.value()->disk_uuid).second) found.push_back(disk);
  }
  co_return found;
}

Task<Status> Pools::reopen(Known& known) {
  if (known.pool != nullptr) HF_CO_CHECK(co_await close(known, false));
  co_return co_await open(known);
}

}  // namespace holdfast::engine
