#include "engine/pools.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include "base/log.h"
#include "base/utf8.h"
#include "engine/foreign_data.h"

namespace holdfast::engine {
namespace {

constexpr Nanos start_patience = 3s;  // how long an engine's start waits for its pools
constexpr Nanos retry_interval = 2s;

std::string joined(const std::vector<std::string>& parts) {
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t to = std::min(text.find(',', from), text.size());
    if (to > from) parts.push_back(text.substr(from, to - from));
    from = to + 1;
  }
  return parts;
}

std::string to_json(const Pools::Known& known) {
  holdfast::v1::PoolConfig config;
  config.set_name(known.name);
  config.set_uuid(known.uuid.to_string());
  for (const auto& disk : known.disks) config.add_disks(disk);
  config.mutable_thresholds()->set_warning(known.used_percent_warning);
  config.mutable_thresholds()->set_critical(known.used_percent_critical);
  std::string text;
  google::protobuf::util::JsonPrintOptions how;
  how.add_whitespace = true;
  how.preserve_proto_field_names = true;
  const auto printed = google::protobuf::util::MessageToJsonString(config, &text, how);
  HF_ASSERT(printed.ok());
  return text;
}

Result<std::unique_ptr<Pools::Known>> from_json(const std::string& text) {
  holdfast::v1::PoolConfig config;
  google::protobuf::util::JsonParseOptions how;
  how.ignore_unknown_fields = true;
  if (!google::protobuf::util::JsonStringToMessage(text, &config, how).ok() || config.name().empty() ||
      config.disks().empty()) {
    return Error(Errc::bad_format, "it does not name a pool and its disks");
  }
  auto known = std::make_unique<Pools::Known>();
  known->name = config.name();
  HF_TRY(known->uuid, Uuid::parse(config.uuid()));
  known->disks.assign(config.disks().begin(), config.disks().end());
  const auto& limits = config.thresholds();
  if (limits.warning() >= 1 && limits.warning() <= limits.critical() && limits.critical() <= 100) {
    known->used_percent_warning = limits.warning();
    known->used_percent_critical = limits.critical();
  }
  return known;
}

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

Task<std::vector<std::string>> Pools::remembered_files() {
  std::vector<std::string> paths;
  std::function<void()> look = [this, &paths] {
    std::error_code failure;
    for (const auto& entry : std::filesystem::directory_iterator(directory_, failure)) {
      if (entry.path().extension() == ".json") paths.push_back(entry.path());
    }
  };
  co_await home().run_blocking(std::move(look));
  std::sort(paths.begin(), paths.end());
  co_return paths;
}

Task<void> Pools::load(std::string path) {
  auto text = co_await home().read_file(path);
  Result<std::unique_ptr<Known>> known = text.ok() ? from_json(text.value()) : text.error();
  if (!known.ok()) {
    HF_LOG(error, "pool", "a remembered pool cannot be read: import it by hand", {"file", path},
           {"error", known.error()});
    co_return;
  }
  std::string name = known.value()->name;
  known.value()->reason = "it is being opened";
  known_.try_emplace(std::move(name), std::move(known).value());
}

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

Task<Status> Pools::reopen(Known& known) {
  if (known.pool != nullptr) HF_CO_CHECK(co_await close(known, false));
  co_return co_await open(known);
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

namespace {

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
      HF_CO_CHECK(co_await check_foreign_data(devices_, disk));
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

Task<Status> Pools::remember(const Known& known) {
  co_return co_await home().replace_file(path_of(known.uuid), to_json(known));
}

// The pool is there whether or not it could be written down.
Task<void> Pools::try_to_remember(const Known& known) {
  const Status kept = co_await remember(known);
  if (kept.ok()) co_return;
  HF_LOG(error, "pool", "the pool will not be opened after a restart", {"pool", known.name},
         {"error", kept.error()});
}

Task<Status> Pools::forget(const Known& known) {
  const std::string name = known.name;
  HF_CO_CHECK(co_await home().remove_file(path_of(known.uuid)));
  known_.erase(name);
  co_return Status();
}

Status Pools::not_in_use(const pool::VolumeSpec& volume) const {
  const std::string by = exports_.other_user(volume.name);
  if (by.empty()) return Status();
  return Error(Errc::busy,
               fmt::format("replica '{}' is in use by {}; release it there first", volume.name, by));
}

Task<Status> Pools::end_export(const pool::VolumeSpec& volume) {
  HF_CO_CHECK(not_in_use(volume));
  co_return co_await exports_.unshare(volume.name);
}

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
  for (const auto& volume : volumes) HF_CO_CHECK(not_in_use(volume));
  // Nobody looks at the devices while they go.
  std::vector<KeyedLocks::Lock> locks;
  for (const auto& volume : volumes) {
    HF_CO_TRY(auto lock, co_await locks_.acquire(Exports::lock_key(volume.name)));
    locks.push_back(std::move(lock));
  }
  Status done;
  for (const auto& volume : volumes) {
    if (done.ok()) done = co_await end_export(volume);
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

std::optional<Pools::Found> Pools::find_volume(std::string_view volume_name) const {
  for (const auto& [name, known] : known_) {
    if (known->pool == nullptr) continue;
    auto volume = known->pool->find(volume_name);
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
