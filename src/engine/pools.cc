#include "engine/pools.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "base/split.h"
#include "engine/pool_messages.h"

namespace holdfast::engine {

std::string text_of(const pool::Attributes& attributes, const char* key) {
  const auto found = attributes.find(key);
  return found == attributes.end() ? std::string() : found->second;
}

std::string disk_uri(std::string_view uri_or_path) {
  return uri_or_path.starts_with('/') ? fmt::format("aio://{}", uri_or_path) : std::string(uri_or_path);
}

Pools::Pools(DeviceRegistry& devices, Exports& exports, KeyedLocks& locks, std::string directory,
             const pool::PoolOptions& defaults)
    : devices_(devices),
      exports_(exports),
      locks_(locks),
      directory_(std::move(directory)),
      defaults_(defaults),
      opened_(devices.cores().home()),
      scope_(devices.cores().home()) {}

Pools::~Pools() { HF_ASSERT(known_.empty()); }

pool::PoolOptions Pools::options_of(const Known& known) const {
  pool::PoolOptions options = defaults_;
  options.snapshot_keys = attribute::of_snapshots;
  options.used_percent_warning = known.used_percent_warning;
  options.used_percent_critical = known.used_percent_critical;
  return options;
}

Task<void> Pools::share_all(Known& known) {
  const auto volumes = known.pool->specs();
  for (const auto& volume : volumes) {
    if (text_of(volume.attributes, attribute::shared).empty()) continue;
    const Status shared = co_await share_again(known, volume);
    if (shared.ok()) continue;
    HF_LOG(error, "pool", "a replica is not exported again", {"pool", known.name}, {"replica", volume.name},
           {"error", shared.error()});
  }
}

Task<Status> Pools::share_again(Known& known, const pool::VolumeSpec& volume) {
  HF_CO_TRY(BlockDevice * device, device_of(known, volume));
  Exports::Request how;
  how.allowed_hosts = split_at_commas(text_of(volume.attributes, attribute::allowed_hosts));
  co_return co_await exports_.share(*device, std::move(how));
}

Status Pools::not_in_use(const Known& known, const pool::VolumeSpec& volume) const {
  const std::string by = exports_.other_user(device_name(known, volume));
  if (by.empty()) return Status();
  return Error(Errc::busy,
               fmt::format("replica '{}' is in use by {}; release it there first", volume.name, by));
}

Task<Status> Pools::end_export(const Known& known, const pool::VolumeSpec& volume) {
  HF_CO_CHECK(not_in_use(known, volume));
  std::string device = device_name(known, volume);
  co_return co_await exports_.unshare(std::move(device));
}

Pools::Known* Pools::find(std::string_view uuid_or_name) const {
  if (const auto named = known_.find(uuid_or_name); named != known_.end()) return named->second.get();
  const auto uuid = Uuid::parse(uuid_or_name);
  return uuid.ok() ? find(uuid.value()) : nullptr;
}

Pools::Known* Pools::find(const Uuid& uuid) const {
  for (const auto& [name, known] : known_) {
    if (known->uuid == uuid) return known.get();
  }
  return nullptr;
}

std::vector<Pools::Known*> Pools::list() const {
  std::vector<Known*> all;
  for (const auto& [name, known] : known_) all.push_back(known.get());
  return all;
}

std::optional<Pools::Found> Pools::find_volume(const Uuid& uuid) const {
  for (const auto& [name, known] : known_) {
    if (known->pool == nullptr) continue;
    auto volume = known->pool->find(uuid);
    if (volume.ok()) return Found{known.get(), std::move(volume).value()};
  }
  return std::nullopt;
}

bool Pools::is_volume(const BlockDevice& device) const {
  for (const auto& [name, known] : known_) {
    if (known->pool != nullptr && known->pool->device(device.identity().uuid) == &device) return true;
  }
  return false;
}

Result<BlockDevice*> Pools::device_of(const Known& known, const pool::VolumeSpec& volume) {
  BlockDevice* device = known.pool->device(volume.uuid);
  if (device != nullptr) return device;
  return Error(Errc::failed_precondition,
               fmt::format("'{}' has no device, which was taken away: export pool '{}' and import it again",
                           volume.name, known.name));
}

const Pools::Known* Pools::closed_one() const {
  for (const auto& [name, known] : known_) {
    if (known->pool == nullptr) return known.get();
  }
  return nullptr;
}

void Pools::on_pool_event(pool::Pool& pool, pool::PoolEvent event) noexcept {
  const auto view = pool.view();
  const std::uint64_t percent = view.capacity_bytes == 0 ? 0 : view.used_bytes * 100 / view.capacity_bytes;
  switch (event) {
    case pool::PoolEvent::status_changed:
      for (const auto& [name, known] : known_) {
        if (known->pool.get() == &pool) known->status_changed = true;
      }
      if (view.status == pool::PoolStatus::online) {
        HF_LOG(info, "pool", "online again", {"pool", pool.name()});
      } else {
        HF_LOG(warn, "pool", "state changed", {"pool", pool.name()}, {"reason", view.status_reason});
      }
      return;
    case pool::PoolEvent::space_warning:
      HF_LOG(warn, "pool", "filling up", {"pool", pool.name()}, {"used_percent", percent});
      return;
    case pool::PoolEvent::space_critical:
      HF_LOG(error, "pool", "almost full", {"pool", pool.name()}, {"used_percent", percent});
      return;
    case pool::PoolEvent::space_ok:
      HF_LOG(info, "pool", "has room again", {"pool", pool.name()}, {"used_percent", percent});
      return;
  }
}

}  // namespace holdfast::engine
