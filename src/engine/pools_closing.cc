// The end of pools: exported, destroyed, or that of the engine.
#include <algorithm>
#include <functional>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "engine/pool_messages.h"
#include "engine/pools.h"

namespace holdfast::engine {
namespace {

// Whether all disks answer, and none is the pool's first any more, without whose finished label there is no pool: what
// an engine leaves that ended while it erased a pool, or before it forgot it.
Task<bool> is_erased(DeviceRegistry& devices, const Pools::Known& known) {
  const std::vector<std::string> disks = known.disks;
  const Uuid uuid = known.uuid;
  for (const auto& disk : disks) {
    const auto label = co_await pool::Pool::probe(devices, disk);
    if (!label.ok()) co_return false;
    const auto& found = label.value();
    if (found && found->pool_uuid == uuid && found->disk_index == 0 && !found->unfinished) co_return false;
  }
  co_return true;
}

}  // namespace

Task<Status> Pools::release(Known& known, bool erase) {
  if (known.pool == nullptr) {
    if (!erase) co_return co_await forget(known);
    const bool erased = co_await is_erased(devices_, known);
    if (erased) co_return co_await forget(known);
    co_return Error(
        Errc::failed_precondition,
        fmt::format("pool '{}' is not open ({}), so it cannot be destroyed; export it to forget it here",
                    known.name, known.reason));
  }
  HF_CO_CHECK(co_await close(known, erase));
  co_return co_await forget(known);
}

Task<Status> Pools::close(Known& known, bool erase) {
  const auto volumes = known.pool->specs();
  for (const auto& volume : volumes) HF_CO_CHECK(not_in_use(known, volume));
  // Nobody looks at the devices while they go.
  std::vector<KeyedLocks::Lock> locks;
  for (const auto& volume : volumes) {
    const std::string device = device_name(known, volume);
    if (device.empty()) continue;
    HF_CO_TRY(auto lock, co_await locks_.acquire(Exports::lock_key(device)));
    locks.push_back(std::move(lock));
  }
  Status done;
  for (const auto& volume : volumes) {
    if (done.ok()) done = co_await end_export(known, volume);
  }
  if (done.ok()) {
    // Whoever lists the pools meanwhile does not meet one that is half gone.
    std::unique_ptr<pool::Pool> pool = std::move(known.pool);
    known.reason = "it was closed";
    done = co_await end(*pool, erase);
    // Else it is closed, and opened again by itself.
    if (done.code() == Errc::busy) known.pool = std::move(pool);
  }
  if (!done.ok() && known.pool != nullptr) co_await share_all(known);
  co_return done;
}

Task<Status> Pools::end(pool::Pool& pool, bool erase) {
  if (erase) co_return co_await pool.destroy();
  co_return co_await pool.close();
}

Task<void> Pools::close_one(Known& known) {
  std::unique_ptr<pool::Pool> pool = std::move(known.pool);
  const Status closed = co_await end(*pool, false);
  if (closed.ok()) co_return;
  if (closed.code() == Errc::busy) {  // as it was: what lies on it ends first
    known.pool = std::move(pool);
    co_return;
  }
  HF_LOG(error, "pool", "not closed cleanly; it recovers when it is opened", {"pool", known.name},
         {"error", closed.error()});
}

Task<void> Pools::stop(Between between) {
  stop_.request_stop();
  co_await scope_.join();
  // A pool may lie on a replica of another, which is closed after it.
  const auto is_open = [](const auto& known) { return known.second->pool != nullptr; };
  std::ptrdiff_t open = std::count_if(known_.begin(), known_.end(), is_open), before = open + 1;
  for (;;) {
    // Nexuses, and what BdevRpc made (inject devices, nexuses by their URIs), may lie on each other.
    for (std::size_t devices = 0; devices != devices_.entries().size();) {
      devices = devices_.entries().size();
      co_await between.let_go();
      std::function<bool(const BlockDevice&)> spares = [this, &between](const BlockDevice& d) {
        return is_volume(d) || between.is_theirs(d);
      };
      co_await devices_.close_unused(std::move(spares));
    }
    if (open == 0 || open >= before) break;
    for (const auto& [name, known] : known_) {
      if (known->pool != nullptr) scope_.spawn(close_one(*known));
    }
    co_await scope_.join();
    before = std::exchange(open, std::count_if(known_.begin(), known_.end(), is_open));
  }
  for (const auto& [name, known] : known_) {
    if (known->pool != nullptr) HF_LOG(error, "pool", "a pool that is in use is not closed", {"pool", name});
  }
  known_.clear();
}

}  // namespace holdfast::engine
