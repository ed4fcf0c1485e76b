// New pools, those that disks hold already, and further disks.
#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "engine/foreign_data.h"
#include "engine/pools.h"

namespace holdfast::engine {
namespace {

// A disk of a pool that is closed just now is not free, either.
template <class KnownPools>
Status check_free(const KnownPools& all, const std::string& disk) {
  for (const auto& [name, known] : all) {
    if (std::find(known->disks.begin(), known->disks.end(), disk) == known->disks.end()) continue;
    return Error(Errc::invalid_argument, fmt::format("disk {} belongs to pool '{}'", disk, name));
  }
  return Status();
}

bool is_faulted(const Pools::Known& known) {
  return known.pool != nullptr && known.pool->view().status == pool::PoolStatus::faulted;
}

// Whether what a disk says of itself is what a request says of it.
Status check_label(const std::string& disk, const std::optional<pool::DiskLabel>& label,
                   const std::string& name, const std::optional<Uuid>& uuid) {
  if (!label) {
    return Error(Errc::invalid_argument,
                 fmt::format("disk {} holds no pool: name the disks of '{}'", disk, name));
  }
  if (label->pool == name && (!uuid || *uuid == label->pool_uuid)) return Status();
  return Error(
      Errc::invalid_argument,
      fmt::format(
          "disk {} holds the pool '{}' ({}), not '{}'{}: import it under its name, or overwrite it by "
          "'holdfast engine pool create --force'",
          disk, label->pool, label->pool_uuid.to_string(), name, uuid ? " (" + uuid->to_string() + ")" : ""));
}

using Labels = std::vector<std::pair<std::string, std::optional<pool::DiskLabel>>>;  // by disk

Task<Result<Labels>> read_labels(DeviceRegistry& devices, std::vector<std::string> disks) {
  Labels labels;
  for (const auto& disk : disks) {
    HF_CO_TRY(auto label, co_await pool::Pool::probe(devices, disk));
    labels.emplace_back(disk, std::move(label));
  }
  co_return labels;
}

// There is no pool on the disk: making or erasing one was cut off.
bool is_free(const pool::DiskLabel& label, const Labels& all) {
  return label.unfinished || std::any_of(all.begin(), all.end(), [&](const auto& other) {
           const auto& first = other.second;
           return first && first->unfinished && first->disk_index == 0 && first->instance == label.instance;
         });
}

}  // namespace

Status Pools::check_names(const std::string& name, const std::vector<std::string>& disks) const {
  if (known_.contains(name)) {
    return Error(Errc::already_exists, fmt::format("pool '{}' exists already", name));
  }
  std::set<std::string> seen;
  for (const auto& disk : disks) {
    if (!seen.insert(disk).second) {
      return Error(Errc::invalid_argument, fmt::format("disk {} is given twice", disk));
    }
    HF_CHECK(check_free(known_, disk));
  }
  return Status();
}

Result<Pools::Known*> Pools::add(std::unique_ptr<pool::Pool> opened, std::vector<std::string> disks) {
  auto known = std::make_unique<Known>();
  known->name = opened->name();
  known->uuid = opened->uuid();
  known->disks = std::move(disks);
  known->pool = std::move(opened);
  Known* added = known.get();
  known_.emplace(added->name, std::move(known));
  return added;
}

Task<Result<Pools::Known*>> Pools::create(pool::PoolParams params) {
  HF_CO_CHECK(check_names(params.name, params.disks));
  if (!params.force) {
    HF_CO_TRY(const Labels labels, co_await read_labels(devices_, params.disks));
    for (const auto& [disk, label] : labels) {
      if (label && is_free(*label, labels)) continue;
      if (label) {
        HF_CO_CHECK(check_label(disk, label, params.name, params.uuid));
        co_return co_await import(params.name, params.uuid, params.disks);
      }
      HF_CO_CHECK(co_await check_foreign_data(devices_, disk, "create"));
    }
  }
  const std::vector<std::string> disks = params.disks;
  const pool::PoolOptions options = options_of(Known());
  HF_CO_TRY(auto made, co_await pool::Pool::create(devices_, std::move(params), options, this));
  if (const Known* other = find(made->uuid()); other != nullptr) {  // made meanwhile, under another name
    const std::string text = fmt::format("uuid: pool '{}' has {}", other->name, other->uuid.to_string());
    const Status gone = co_await made->destroy();
    gone.ignore("the error that matters is that there is another pool");
    co_return Error(Errc::already_exists, text);
  }
  HF_CO_TRY(Known * known, add(std::move(made), disks));
  co_await try_to_remember(*known);
  co_return known;
}

Task<Result<Pools::Known*>> Pools::import(std::string name, std::optional<Uuid> uuid,
                                          std::vector<std::string> disks) {
  HF_CO_CHECK(check_names(name, disks));
  for (const auto& disk : disks) {
    HF_CO_TRY(const auto label, co_await pool::Pool::probe(devices_, disk));
    HF_CO_CHECK(check_label(disk, label, name, uuid));
  }
  const pool::PoolOptions options = options_of(Known());
  HF_CO_TRY(auto opened, co_await pool::Pool::open(devices_, disks, name, uuid, options, this));
  if (const Known* other = find(opened->uuid()); other != nullptr) {
    const std::string text =
        fmt::format("pool {} is known already, as '{}'", other->uuid.to_string(), other->name);
    const Status closed = co_await opened->close();
    closed.ignore("the error that matters is that the pool is known");
    co_return Error(Errc::already_exists, text);
  }
  HF_CO_TRY(Known * known, add(std::move(opened), std::move(disks)));
  co_await share_all(*known);
  co_await try_to_remember(*known);
  co_return known;
}

Task<Status> Pools::add_disk(Known& known, std::string disk, bool force) {
  const auto members = known.pool->view().disks;
  if (std::any_of(members.begin(), members.end(), [&disk](const auto& d) { return d.uri == disk; })) {
    co_return Error(Errc::already_exists,
                    fmt::format("disk {} is one of pool '{}' already", disk, known.name));
  }
  HF_CO_CHECK(check_free(known_, disk));
  const bool was_faulted = is_faulted(known);
  known.disks.push_back(disk);
  Status done = co_await remember(known);
  if (done.ok()) done = co_await known.pool->add_disk(disk, force);
  if (done.ok()) co_return done;
  // The journal could not be written: the pool tells when it is opened again whether the disk is one of it.
  if (!was_faulted && is_faulted(known)) co_return done;
  known.disks.pop_back();
  const Status back = co_await remember(known);
  back.ignore("a disk that is not a member is left out when the pool is opened");
  co_return done;
}

}  // namespace holdfast::engine
