#include "block/registry.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "block/uri_names.h"

namespace holdfast {

namespace {

bool is_alias_scheme(const Uri& uri) { return uri.scheme == "bdev" || uri.scheme == "loopback"; }

Error no_device(std::string_view name) {
  return Error(Errc::not_found, "there is no device '" + std::string(name.substr(0, 255)) + "'");
}

// What a device is called that is known by a name and its UUID. Whether it has the name alone, or with its UUID, may
// have been otherwise when somebody noted down its URI.
std::string known_as(const std::map<std::string, DeviceRegistry::Entry, std::less<>>& devices,
                     const std::string& name, const Uuid& uuid) {
  const auto is_it = [&](const std::string& called) {
    const auto found = devices.find(called);
    return found != devices.end() && found->second.device->identity().uuid == uuid;
  };
  if (is_it(name)) return name;
  if (const std::string longer = name_with_uuid(name, uuid); is_it(longer)) return longer;
  const std::string suffix = name_with_uuid("", uuid);
  if (!name.ends_with(suffix)) return name;
  const std::string shorter = name.substr(0, name.size() - suffix.size());
  return is_it(shorter) ? shorter : name;
}

// Forgets a name that is being made, however the making ends.
class Reservation {
 public:
  Reservation(std::set<std::string, std::less<>>& names, const std::string& name)
      : names_(names), name_(name) {
    names_.insert(name_);
  }
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;
  ~Reservation() { names_.erase(name_); }

 private:
  std::set<std::string, std::less<>>& names_;
  const std::string name_;
};

// Of a device that nobody finds any more.
Task<void> close_entry(DeviceRegistry::Entry gone) {
  co_await gone.readers->close();
  co_await gone.device->close();
}

}  // namespace

DeviceClaim::DeviceClaim(DeviceClaim&& o) noexcept
    : registry_(std::exchange(o.registry_, nullptr)),
      device_(std::exchange(o.device_, nullptr)),
      use_(o.use_) {}

DeviceClaim& DeviceClaim::operator=(DeviceClaim&& o) noexcept {
  if (this != &o) {
    release();
    registry_ = std::exchange(o.registry_, nullptr);
    device_ = std::exchange(o.device_, nullptr);
    use_ = o.use_;
  }
  return *this;
}

void DeviceClaim::release() noexcept {
  auto* device = std::exchange(device_, nullptr);
  if (device == nullptr) return;
  auto* entry = registry_->entry_of(*device);
  if (entry == nullptr) return;
  entry->users.erase(use_);
  entry->show_users();
}

void DeviceRegistry::Entry::show_users() {
  claimed_by.clear();
  for (const auto& [use, by] : users) claimed_by += (claimed_by.empty() ? "" : ", ") + by;
}

void DeviceRegistry::add_scheme(std::string scheme, Scheme makes) {
  const bool added = schemes_.emplace(std::move(scheme), std::move(makes)).second;
  HF_ASSERT(added);
}

DeviceRegistry::Entry* DeviceRegistry::entry_of(const BlockDevice& device) noexcept {
  for (auto& [name, entry] : devices_) {
    if (entry.device.get() == &device) return &entry;
  }
  return nullptr;
}

Result<std::string> DeviceRegistry::name_of(const Uri& uri) const {
  if (is_alias_scheme(uri)) {
    if (!uri.authority.empty() || uri.path.size() < 2)
      return Error(Errc::invalid_argument, "'" + uri.text + "': expected " + uri.scheme + ":///NAME");
    // Names that are paths begin with a slash themselves: bdev:///dev/sdb means the device "/dev/sdb".
    std::string name = uri.path.substr(1);
    if (!devices_.contains(name) && devices_.contains(uri.path)) name = uri.path;
    const auto given = uri.query.find("uuid");
    if (given == uri.query.end()) return name;
    const auto uuid = Uuid::parse(given->second);
    return uuid.ok() ? known_as(devices_, name, uuid.value()) : name;
  }
  const auto scheme = schemes_.find(uri.scheme);
  if (scheme == schemes_.end()) {
    std::string known = "bdev, loopback";
    for (const auto& [name, makes] : schemes_) known.append(", ").append(name);
    return Error(Errc::invalid_argument,
                 "'" + uri.text + "': unknown scheme '" + uri.scheme + "' (known are " + known + ")");
  }
  return scheme->second.name(uri);
}

Task<Result<BlockDevice*>> DeviceRegistry::create(std::string text) {
  HF_CO_TRY(const Uri uri, Uri::parse(text));
  HF_CO_TRY(std::string name, name_of(uri));
  if (is_alias_scheme(uri)) co_return co_await existing(uri);
  const Scheme& scheme = schemes_.find(uri.scheme)->second;
  if (const auto found = devices_.find(name); found != devices_.end()) {
    if (!scheme.refresh) co_return Error(Errc::already_exists, "device '" + name + "' exists already");
    BlockDevice& device = *found->second.device;
    const Gate::Hold hold = found->second.readers->enter();  // destroy() waits for it
    HF_CO_CHECK(co_await scheme.refresh(uri, device));
    if (entry_of(device) == nullptr) co_return no_device(name);
    co_return &device;
  }
  co_return co_await make(uri, scheme, std::move(name));
}

Task<Result<BlockDevice*>> DeviceRegistry::existing(const Uri& uri) {
  UriParameters parameters(uri);
  HF_CO_TRY(const auto uuid, parameters.take_uuid());
  HF_CO_CHECK(parameters.finish());
  HF_CO_TRY(const std::string name, name_of(uri));
  BlockDevice* device = find(name);
  if (device == nullptr) co_return no_device(name);
  if (uuid && *uuid != device->identity().uuid) {
    co_return Error(Errc::invalid_argument, "'" + uri.text + "': device '" + name + "' has UUID " +
                                                device->identity().uuid.to_string());
  }
  co_return device;
}

Task<Result<BlockDevice*>> DeviceRegistry::make(const Uri& uri, const Scheme& scheme, std::string name) {
  if (being_made_.contains(name))
    co_return Error(Errc::already_exists, "device '" + name + "' is being created by another request");
  const Reservation reservation(being_made_, name);
  HF_CO_TRY(std::unique_ptr<BlockDevice> device, co_await scheme.create(uri));
  HF_ASSERT(device->name() == name);
  if (devices_.contains(name)) {  // adopted meanwhile
    co_await device->close();
    co_return Error(Errc::already_exists, "device '" + name + "' exists already");
  }
  BlockDevice* made = device.get();
  Entry& entry = devices_[name];
  entry.device = std::move(device);
  entry.readers = std::make_unique<Gate>(cores_.home());
  entry.aliases.push_back(uri.text);
  HF_LOG(info, "block", "device created", {"name", name}, {"uri", uri.text});
  co_return made;
}

BlockDevice* DeviceRegistry::find(std::string_view name_or_uri) const {
  if (const auto found = devices_.find(name_or_uri); found != devices_.end())
    return found->second.device.get();
  for (const auto& [name, entry] : devices_) {
    if (std::find(entry.aliases.begin(), entry.aliases.end(), name_or_uri) != entry.aliases.end())
      return entry.device.get();
  }
  if (name_or_uri.find("://") == std::string_view::npos) return nullptr;
  auto uri = Uri::parse(name_or_uri);
  if (!uri.ok()) return nullptr;
  auto name = name_of(uri.value());
  if (!name.ok()) return nullptr;
  const auto found = devices_.find(name.value());
  return found == devices_.end() ? nullptr : found->second.device.get();
}

Task<Status> DeviceRegistry::destroy(std::string name_or_uri) {
  BlockDevice* device = find(name_or_uri);
  if (device == nullptr) co_return no_device(name_or_uri);
  const std::string name = device->name();
  const Entry& entry = devices_.find(name)->second;
  if (!entry.claimed_by.empty()) {
    co_return Error(Errc::failed_precondition,
                    "device '" + name + "' is in use by " + entry.claimed_by + "; release it there first");
  }
  // While it closes it has no entry, so nobody finds it; but its name is taken until it is gone.
  const Reservation reservation(being_made_, name);
  co_await close_entry(take(*device));
  HF_LOG(info, "block", "device destroyed", {"name", name});
  co_return Status();
}

Result<DeviceClaim> DeviceRegistry::claim(BlockDevice& device, std::string by, DeviceUse use) {
  HF_ASSERT(!by.empty());
  Entry* entry = entry_of(device);
  if (entry == nullptr) return no_device("that is gone");
  const bool alone = use == DeviceUse::sole || entry->users.contains(DeviceUse::sole);
  if (!entry->users.empty() && (alone || entry->users.contains(use)))
    return Error(Errc::busy, "device '" + device.name() + "' is in use by " + entry->claimed_by);
  entry->users.emplace(use, std::move(by));
  entry->show_users();
  DeviceClaim claim;
  claim.registry_ = this;
  claim.device_ = &device;
  claim.use_ = use;
  return claim;
}

Task<Result<ReservationGuard*>> DeviceRegistry::guard(BlockDevice& device) {
  Entry* entry = entry_of(device);
  if (entry == nullptr) co_return no_device("that is gone");
  if (!entry->guard) {
    const std::string name = device.name();
    auto made = std::make_unique<ReservationGuard>(cores_, device.identity().uuid, reservations_);
    const Status loaded = co_await made->load();
    if (!loaded.ok()) co_return loaded.error().with_context("device '" + name + "'");
    const auto found = devices_.find(name);
    if (found == devices_.end() || found->second.device.get() != &device) co_return no_device(name);
    entry = &found->second;
    if (!entry->guard) entry->guard = std::move(made);
  }
  co_return entry->guard.get();
}

Task<Status> DeviceRegistry::forget_reservations(const BlockDevice& device) {
  if (reservations_ == nullptr) co_return Status();
  co_return co_await reservations_->remove(device.identity().uuid);
}

Result<BlockDevice*> DeviceRegistry::adopt(std::unique_ptr<BlockDevice>&& device) {
  const std::string& name = device->name();
  if (devices_.contains(name) || being_made_.contains(name))
    return Error(Errc::already_exists, "device '" + name + "' exists already");
  BlockDevice* adopted = device.get();
  Entry& entry = devices_[name];
  entry.device = std::move(device);
  entry.readers = std::make_unique<Gate>(cores_.home());
  if (!adopted->identity().uri.empty()) entry.aliases.push_back(adopted->identity().uri);
  return adopted;
}

DeviceRegistry::Entry DeviceRegistry::take(const BlockDevice& device) {
  const auto found = devices_.find(device.name());
  HF_ASSERT(found != devices_.end() && found->second.device.get() == &device);
  Entry taken = std::move(found->second);
  devices_.erase(found);
  return taken;
}

std::unique_ptr<BlockDevice> DeviceRegistry::withdraw(BlockDevice& device) { return take(device).device; }

Task<Result<IoStats>> DeviceRegistry::stats(std::string name) {
  const auto found = devices_.find(name);
  if (found == devices_.end()) co_return no_device(name);
  const Gate::Hold hold = found->second.readers->enter();
  co_return co_await found->second.device->stats();
}

Gate::Hold DeviceRegistry::keep(const BlockDevice& device) noexcept {
  const Entry* entry = entry_of(device);
  return entry == nullptr ? Gate::Hold() : entry->readers->enter();
}

Task<void> DeviceRegistry::close_unused(std::function<bool(const BlockDevice&)> spares) {
  const auto is_unused = [&spares](const auto& item) {
    return item.second.claimed_by.empty() && !spares(*item.second.device);
  };
  for (;;) {
    const auto next = std::find_if(devices_.begin(), devices_.end(), is_unused);
    if (next == devices_.end()) co_return;
    co_await close_entry(take(*next->second.device));
  }
}

// Devices made of devices claim what they are made of, and release it when they close.
Task<void> DeviceRegistry::close() {
  while (!devices_.empty()) {
    auto next = std::find_if(devices_.begin(), devices_.end(),
                             [](const auto& item) { return item.second.claimed_by.empty(); });
    if (next == devices_.end()) {
      next = devices_.begin();
      HF_LOG(warn, "block", "closing a device that is in use", {"name", next->first},
             {"by", next->second.claimed_by});
    }
    co_await close_entry(take(*next->second.device));
  }
}

}  // namespace holdfast
