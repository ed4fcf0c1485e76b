// The devices of a pool's volumes and snapshots, and what the pool says of them.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "block/uri_names.h"
#include "pool/map_writer.h"
#include "pool/pool_impl.h"

namespace holdfast::pool {

namespace {

constexpr Nanos completion_pause = std::chrono::milliseconds(250);
constexpr unsigned completions_when_idle = 64;  // clusters in a row

BlockDevice::Identity identity_of(const VolumeSpec& spec, std::string name) {
  BlockDevice::Identity id;
  id.name = std::move(name);
  id.uuid = spec.uuid;
  id.uri = "bdev:///" + id.name + "?uuid=" + spec.uuid.to_string();
  id.product_name = spec.kind == VolumeKind::snapshot ? "Pool snapshot" : "Pool volume";
  return id;
}

// What a volume's device may be called: by its name; when other devices are called so, by one of its own.
std::string device_name(const VolumeSpec& spec, unsigned taken) {
  if (taken == 0) return spec.name;
  std::string name = name_with_uuid(spec.name, spec.uuid);
  if (taken > 1) name += "-" + std::to_string(taken);
  return name;
}

}  // namespace

void Pool::Impl::add_device(const StateVolume& volume) {
  const VolumeSpec& spec = volume.spec();
  VolumeOwner& owner = *this;
  for (unsigned taken = 0;; ++taken) {
    auto made = std::make_unique<Volume>(identity_of(spec, device_name(spec, taken)), *parts_, volume, owner);
    Volume* const device = made.get();
    std::unique_ptr<BlockDevice> adopted = std::move(made);
    const auto there = registry_.adopt(std::move(adopted));
    if (!there.ok()) {
      device->disown();
      continue;
    }
    if (taken > 0) {
      HF_LOG(info, "pool", "there is another device of a volume's name", {"pool", name()},
             {"volume", spec.name}, {"device", device->name()});
    }
    devices_[spec.id] = device;
    if (uncertain_.contains(spec.id)) device->refuse_writes();
    return;
  }
}

// Nobody uses it, or nobody may any more.
Task<void> Pool::Impl::remove_device(VolumeId id) {
  const auto found = devices_.find(id);
  if (found == devices_.end()) co_return;
  const std::unique_ptr<BlockDevice> last = withdraw_device(found);
  co_await last->close();
}

std::unique_ptr<BlockDevice> Pool::Impl::withdraw_device(std::map<VolumeId, Volume*>::iterator at) {
  Volume& volume = *at->second;
  devices_.erase(at);
  volume.disown();
  return registry_.withdraw(volume);
}

Status Pool::Impl::check_unused(VolumeId id) const {
  const auto found = devices_.find(id);
  if (found == devices_.end()) return Status();
  const auto entry = registry_.entries().find(found->second->name());
  const std::string by = entry == registry_.entries().end() ? "" : entry->second.claimed_by;
  if (by.empty() && found->second->users() == 0) return Status();
  return error(Errc::busy, fmt::format("'{}' is in use by {}; end that first", found->second->name(),
                                       by.empty() ? "somebody" : by));
}

void Pool::Impl::open_volumes() {
  for (const auto& [id, volume] : state_->volumes()) add_device(*volume);
  if (options_.background_completion && !read_only_) scope_.spawn(complete_in_background());
}

Task<Status> Pool::Impl::close_volumes(bool force) {
  for (auto at = devices_.begin(); at != devices_.end() && !force; ++at) HF_CO_CHECK(check_unused(at->first));
  completion_stop_.request_stop();
  // All at once: nobody begins to use one while another one ends what it does.
  std::vector<std::unique_ptr<BlockDevice>> going;
  while (!devices_.empty()) going.push_back(withdraw_device(devices_.begin()));
  for (const auto& device : going) co_await device->close();
  co_return Status();
}

void Pool::Impl::on_device_closed(Volume& volume) noexcept {
  HF_LOG(warn, "pool", "the device of a volume was taken away; it is there again when the pool is opened",
         {"pool", name()}, {"volume", volume.name()});
  devices_.erase(volume.spec().id);
}

// Clusters with another one behind them become whole: many while the volume is idle, few while it is written.
Task<void> Pool::Impl::complete_in_background() {
  std::map<VolumeId, std::uint64_t> seen;
  while (co_await home_.sleep(completion_pause, completion_stop_.token())) {
    for (VolumeId at = VolumeId::none; !completion_stop_.stop_requested();) {
      const auto next = devices_.upper_bound(at);
      if (next == devices_.end()) break;
      at = next->first;
      if (next->second->is_read_only()) continue;
      const std::uint64_t operations = next->second->writer().operations();
      const unsigned many = std::exchange(seen[at], operations) == operations ? completions_when_idle : 1;
      for (unsigned i = 0; i < many && !completion_stop_.stop_requested(); ++i) {
        const auto still = devices_.find(at);
        if (still == devices_.end() || journal_->frozen()) break;
        const bool more = co_await still->second->writer().complete_one();
        if (!more) break;
      }
    }
  }
}

VolumeView Pool::Impl::view_of(const StateVolume& volume) const {
  VolumeView view;
  view.spec = volume.spec();
  view.usage = state_->usage(volume.spec().id);
  const bool snapshot = volume.spec().kind == VolumeKind::snapshot;
  if (!snapshot) view.ancestor_bytes = view.usage.shared;
  view.inherited_bytes = state_->common_bytes(volume.spec());
  for (const auto& [id, other] : state_->volumes()) {
    const VolumeSpec& spec = other->spec();
    if (spec.source != volume.spec().id) continue;
    if (snapshot) {
      ++view.clones;
    } else if (spec.kind == VolumeKind::snapshot) {
      view.ancestor_bytes += state_->usage(id).exclusive;
    }
  }
  return view;
}

Result<const StateVolume*> Pool::Impl::known(const Uuid& uuid) const {
  const StateVolume* found = state_->find(uuid);
  if (found == nullptr)
    return error(Errc::not_found, fmt::format("it has no volume or snapshot with UUID {}", uuid.to_string()));
  return found;
}

Result<VolumeView> Pool::Impl::find(const Uuid& uuid) const {
  HF_TRY(const StateVolume* volume, known(uuid));
  return view_of(*volume);
}

Result<VolumeView> Pool::Impl::find(std::string_view volume_name) const {
  const StateVolume* found = state_->find(volume_name);
  if (found == nullptr) {
    return error(Errc::not_found,
                 fmt::format("it has no volume or snapshot '{}'", volume_name.substr(0, name_bytes_max)));
  }
  return view_of(*found);
}

// As view_of() for each, in one look at all of them.
std::vector<VolumeView> Pool::Impl::volumes() const {
  std::vector<VolumeView> all;
  std::map<VolumeId, std::size_t> place;
  for (const auto& [id, volume] : state_->volumes()) {
    place[id] = all.size();
    VolumeView& view = all.emplace_back();
    view.spec = volume->spec();
    view.usage = state_->usage(id);
    if (view.spec.kind == VolumeKind::volume) view.ancestor_bytes = view.usage.shared;
    view.inherited_bytes = state_->common_bytes(view.spec);
  }
  for (const VolumeView& view : all) {
    const auto source = place.find(view.spec.source);
    if (source == place.end()) continue;
    VolumeView& from = all[source->second];
    if (from.spec.kind == VolumeKind::snapshot) {
      ++from.clones;
    } else {
      from.ancestor_bytes += view.usage.exclusive;
    }
  }
  return all;
}

std::vector<VolumeSpec> Pool::Impl::specs() const {
  std::vector<VolumeSpec> all;
  for (const auto& [id, volume] : state_->volumes()) all.push_back(volume->spec());
  return all;
}

IoLatencies Pool::Impl::latencies(const Uuid& wanted) const noexcept {
  const Volume* volume = device(wanted);
  return volume == nullptr ? IoLatencies() : volume->latencies();
}

Task<void> Pool::Impl::reset_latencies(Uuid wanted) {
  Volume* volume = device(wanted);
  if (volume == nullptr) co_return;
  const Gate::Hold hold = volume->hold();
  if (hold) co_await volume->reset_latencies();
}

Volume* Pool::Impl::device(const Uuid& uuid) const noexcept {
  const StateVolume* volume = state_->find(uuid);
  if (volume == nullptr) return nullptr;
  const auto found = devices_.find(volume->spec().id);
  return found == devices_.end() ? nullptr : found->second;
}

Result<std::vector<ByteRange>> Pool::Impl::diff(std::optional<Uuid> earlier, Uuid later, std::uint64_t from,
                                                std::size_t ranges_max) const {
  if (ranges_max == 0) return error(Errc::invalid_argument, "a list of no ranges was asked for");
  VolumeId before = VolumeId::none;
  if (earlier) {
    HF_TRY(const StateVolume* volume, known(*earlier));
    before = volume->spec().id;
  }
  HF_TRY(const StateVolume* after, known(later));
  if (from >= after->spec().size_bytes) return std::vector<ByteRange>();
  return state_->diff(before, after->spec().id, from, ranges_max);
}

}  // namespace holdfast::pool
