// What makes, changes and ends volumes and snapshots. Each is one record; they go one after the other.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "base/utf8.h"
#include "pool/map_writer.h"
#include "pool/pool_impl.h"

namespace holdfast::pool {

namespace {

// Empty values, which erase, are counted: they are in the record, too.
Status check_attributes(const Attributes& attributes) {
  if (attributes.size() > attributes_max) {
    return Error(Errc::invalid_argument, fmt::format("there are more than {} attributes", attributes_max));
  }
  std::size_t sum = 0;
  for (const auto& [key, value] : attributes) {
    sum += key.size() + value.size();
    if (key.empty() || key.size() > attribute_key_bytes_max) {
      return Error(Errc::invalid_argument,
                   fmt::format("the key of an attribute has 1 to {} bytes", attribute_key_bytes_max));
    }
    const bool printable =
        std::all_of(key.begin(), key.end(), [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
    if (!printable) return Error(Errc::invalid_argument, "the key of an attribute has control characters");
    if (value.size() > attribute_value_bytes_max) {
      return Error(Errc::invalid_argument,
                   fmt::format("attribute '{}' has more than {} bytes", key, attribute_value_bytes_max));
    }
  }
  if (sum <= attributes_bytes_max) return Status();
  return Error(Errc::invalid_argument,
               fmt::format("the attributes have more than {} bytes", attributes_bytes_max));
}

}  // namespace

// Metadata can be changed now.
Status Pool::Impl::check_changeable() const {
  if (closing_) return error(Errc::failed_precondition, "it is being closed");
  return journal_->usable();
}

// Snapshots of other pools leave a name to a snapshot: they may be parts of one, with replicas of one volume.
bool Pool::Impl::is_taken(const std::string& new_name, VolumeKind kind) const {
  if (state_->find(new_name) != nullptr) return true;
  const BlockDevice* const device = registry_.find(new_name);
  if (device == nullptr || kind != VolumeKind::snapshot) return device != nullptr;
  const auto* const volume = dynamic_cast<const Volume*>(device);
  return volume == nullptr || volume->spec().kind != VolumeKind::snapshot;
}

Status Pool::Impl::check_new(std::string_view what, VolumeKind kind, const std::string& new_name,
                             const Uuid& new_uuid, const Attributes& attributes) const {
  HF_CHECK(check_name(what, new_name));
  if (new_uuid.is_nil())
    return error(Errc::invalid_argument, fmt::format("{} '{}' needs a UUID", what, new_name));
  HF_CHECK(check_attributes(attributes));
  if (is_taken(new_name, kind)) {
    return error(
        Errc::already_exists,
        fmt::format("a volume, snapshot or device '{}' exists already; choose another name", new_name));
  }
  const StateVolume* same = state_->find(new_uuid);
  if (same == nullptr) return Status();
  return error(Errc::already_exists,
               fmt::format("'{}' has UUID {} already", same->spec().name, new_uuid.to_string()));
}

// In whole clusters.
Result<std::uint64_t> Pool::Impl::size_of(std::string_view volume_name, std::uint64_t bytes) const {
  const std::uint64_t cluster = state_->cluster_bytes();
  const std::uint64_t most = std::min(volume_bytes_max, volume_clusters_max * cluster);
  if (bytes == 0 || bytes > most) {
    return error(Errc::invalid_argument, fmt::format("volume '{}' cannot have {} bytes; 1 to {} are possible",
                                                     volume_name, bytes, most));
  }
  return (bytes + cluster - 1) / cluster * cluster;
}

Result<const StateVolume*> Pool::Impl::known(const Uuid& uuid, VolumeKind kind) const {
  HF_TRY(const StateVolume* found, known(uuid));
  if (found->spec().kind == kind) return found;
  return error(Errc::invalid_argument,
               fmt::format("'{}' is a {}", found->spec().name,
                           kind == VolumeKind::volume ? "snapshot, not a volume" : "volume, not a snapshot"));
}

Task<Result<Space::Promise>> Pool::Impl::reserve(std::uint64_t clusters, const std::string& for_what) {
  auto promised = co_await space_->promise(clusters);
  if (promised.ok()) co_return promised;
  co_return promised.error().with_context(
      fmt::format("{}: no room for {} (delete snapshots or volumes, or add a disk)", user(), for_what));
}

// What recovery would refuse is refused here: a number of volumes or epochs that is used up, however it got there.
Task<Status> Pool::Impl::commit_one(Record record, Durable durable) {
  const Status may = state_->check(record);
  if (!may.ok()) co_return error(Errc::failed_precondition, may.error().message());
  std::vector<Record> records;
  records.push_back(std::move(record));
  co_return co_await journal_->commit(std::move(records), durable);
}

Status Pool::Impl::check_memory(const Record& record) {
  const Status may = memory_.charge(*state_, record);
  if (may.ok()) return Status();
  return error(Errc::out_of_space, may.error().message() + " (delete snapshots or volumes)");
}

Status Pool::Impl::may_grow() noexcept {
  const Status may = memory_.charge_write(*state_);
  const bool refused_before = std::exchange(memory_refused_, !may.ok());
  if (may.ok()) return Status();
  if (!refused_before)
    HF_LOG(warn, "pool", "first writes to thin volumes are refused until snapshots or volumes are deleted",
           {"pool", name()}, {"reason", may.error()});
  return Error(Errc::out_of_space);
}

// Records the volume and makes its device.
Task<Result<VolumeView>> Pool::Impl::add_volume(VolumeSpec spec, Durable durable) {
  spec.id = state_->next_id();
  spec.created_unix_ns = static_cast<std::uint64_t>(home_.wall_now());
  const VolumeId id = spec.id;
  CreateRecord create;
  create.spec = std::move(spec);
  HF_CO_CHECK(check_memory(create));
  HF_CO_CHECK(co_await commit_one(std::move(create), durable));
  const StateVolume& made = *state_->find(id);
  add_device(made);
  co_return view_of(made);
}

Task<Result<VolumeView>> Pool::Impl::create_volume(VolumeParams params) {
  const Semaphore::Permit alone = co_await changes_.acquire();
  HF_CO_CHECK(check_changeable());
  HF_CO_CHECK(check_new("volume", VolumeKind::volume, params.name, params.uuid, params.attributes));
  HF_CO_TRY(const std::uint64_t size, size_of(params.name, params.size_bytes));
  const std::uint64_t clusters = params.thick ? size / state_->cluster_bytes() : 0;
  HF_CO_TRY(const Space::Promise room, co_await reserve(clusters, "thick volume '" + params.name + "'"));
  VolumeSpec spec;
  spec.thick = params.thick;
  spec.uuid = params.uuid;
  spec.name = std::move(params.name);
  spec.size_bytes = size;
  spec.attributes = std::move(params.attributes);
  std::erase_if(spec.attributes, [](const auto& item) { return item.second.empty(); });
  co_return co_await add_volume(std::move(spec), Durable::yes);
}

Task<Status> Pool::Impl::destroy_volume(Uuid wanted) {
  const Semaphore::Permit alone = co_await changes_.acquire();
  HF_CO_CHECK(check_changeable());
  HF_CO_TRY(const StateVolume* volume, known(wanted));
  const VolumeId id = volume->spec().id;
  HF_CO_CHECK(check_unused(id));
  const auto found = devices_.find(id);
  if (found != devices_.end()) {
    const Status forgotten = co_await registry_.forget_reservations(*found->second);
    if (!forgotten.ok()) {
      HF_LOG(warn, "pool", "what hosts reserved is still on record", {"volume", volume->spec().name},
             {"error", forgotten.error()});
    }
    HF_CO_CHECK(check_unused(id));
  }
  co_await remove_device(id);  // nobody finds it from now on
  DeleteRecord record;
  record.volume = id;
  Status done = co_await commit_one(record, Durable::yes);
  if (done.ok()) co_return done;
  if (const StateVolume* still = state_->find(id)) add_device(*still);
  co_return done;
}

Task<Status> Pool::Impl::resize_volume(Uuid wanted, std::uint64_t size_bytes) {
  const Semaphore::Permit alone = co_await changes_.acquire();
  HF_CO_CHECK(check_changeable());
  HF_CO_TRY(const StateVolume* volume, known(wanted, VolumeKind::volume));
  HF_CO_TRY(const std::uint64_t size, size_of(volume->spec().name, size_bytes));
  const std::uint64_t before = volume->spec().size_bytes;
  if (size == before) co_return Status();
  const bool needs_room = volume->spec().thick && size > before;
  const std::uint64_t more = needs_room ? (size - before) / state_->cluster_bytes() : 0;
  HF_CO_TRY(const Space::Promise room, co_await reserve(more, "growth of '" + volume->spec().name + "'"));
  ResizeRecord record;
  record.volume = volume->spec().id;
  record.size_bytes = size;
  Status done = co_await while_paused(record.volume, record, Durable::yes);
  if (!done.ok()) co_return done;
  const auto device = devices_.find(record.volume);
  if (device != devices_.end()) device->second->tell(DeviceEvent::resized);
  co_return Status();
}

// Commits while no write to the volume is under way on any core, and brings its device up to date.
Task<Status> Pool::Impl::while_paused(VolumeId id, Record record, Durable durable) {
  const auto found = devices_.find(id);
  if (found == devices_.end()) co_return co_await commit_one(std::move(record), durable);
  Volume& device = *found->second;
  const Gate::Hold hold = device.hold();
  // As for a snapshot: who waits for a cluster that is being completed ends first, for completion waits for the gate.
  co_await device.writer().hold_back();
  co_await device.pause_writes();
  Status done = co_await commit_one(std::move(record), durable);
  if (done.ok()) device.size_changed();
  if (done.ok()) co_await device.epoch_changed();
  co_await device.resume_writes();
  device.writer().resume();
  co_return done;
}

// How much is missing changes meanwhile: writes claim what was reserved, and counting anew finds less that has to be.
Task<Status> Pool::Impl::reserve_whole(VolumeId thick, std::uint64_t whole, std::string for_what,
                                       Space::Promise& room) {
  for (;;) {
    const std::uint64_t now = state_->reserved_clusters(thick);
    const std::uint64_t needed = whole > now ? whole - now : 0;
    if (needed <= room.clusters()) co_return Status();
    HF_CO_TRY(Space::Promise more, co_await reserve(needed - room.clusters(), for_what));
    room.add(std::move(more));
  }
}

Task<Result<VolumeView>> Pool::Impl::create_snapshot(Uuid wanted, SnapshotParams params) {
  const Semaphore::Permit alone = co_await changes_.acquire();
  HF_CO_CHECK(check_changeable());
  HF_CO_TRY(const StateVolume* volume, known(wanted, VolumeKind::volume));
  HF_CO_CHECK(check_new("snapshot", VolumeKind::snapshot, params.name, params.uuid, params.attributes));
  const VolumeSpec& source = volume->spec();
  // A thick volume shares all that it has from now on, and may want it a second time.
  const std::uint64_t whole = source.thick ? source.size_bytes / state_->cluster_bytes() : 0;
  const std::string for_what = "a snapshot of thick volume '" + source.name + "'";
  Space::Promise room;
  HF_CO_CHECK(co_await reserve_whole(source.id, whole, for_what, room));
  VolumeSpec spec;
  spec.kind = VolumeKind::snapshot;
  spec.source = source.id;
  spec.source_uuid = source.uuid;
  spec.uuid = params.uuid;
  spec.name = std::move(params.name);
  spec.size_bytes = source.size_bytes;
  spec.epoch = source.epoch;
  spec.sealed = source.sealed;
  spec.attributes = std::move(params.attributes);
  std::erase_if(spec.attributes, [](const auto& item) { return item.second.empty(); });
  const auto found = devices_.find(source.id);
  Volume* const device = found == devices_.end() ? nullptr : found->second;
  const Gate::Hold hold = device != nullptr ? device->hold() : Gate::Hold();
  // What takes long ends first, while writes in place go on.
  if (device != nullptr) co_await device->writer().hold_back();
  // Once more: nothing is claimed any more.
  const Status has_room = co_await reserve_whole(source.id, whole, for_what, room);
  if (!has_room.ok()) {
    if (device != nullptr) device->writer().resume();
    co_return has_room.error();
  }
  const Nanos paused = home_.now();
  if (device != nullptr) co_await device->pause_writes();
  // Durable is only what the caller waits for; writes go on before.
  auto made = co_await add_volume(std::move(spec), Durable::no);
  if (device != nullptr) co_await device->resume_writes();
  snapshot_pause_ = home_.now() - paused;
  if (device != nullptr) device->writer().resume();
  if (made.ok()) HF_CO_CHECK(co_await disks_->flush(home_.core()));
  co_return made;
}

Task<Status> Pool::Impl::take_snapshot(Uuid volume, SnapshotRequest request) {
  const auto& keys = options_.snapshot_keys;
  for (const auto& [key, value] : request.attributes) {
    if (to_utf8(value) != value)
      co_return error(Errc::invalid_argument, fmt::format("attribute '{}' is no UTF-8", to_utf8(key)));
    if (keys.empty() || std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
    co_return error(Errc::invalid_argument,
                    fmt::format("attribute '{}' is not for users of a volume to give to a snapshot", key));
  }
  SnapshotParams params;
  params.name = std::move(request.name);
  params.uuid = request.uuid;
  params.attributes = std::move(request.attributes);
  const auto made = co_await create_snapshot(volume, std::move(params));
  if (!made.ok()) co_return made.error();
  co_return Status();
}

Task<Result<VolumeView>> Pool::Impl::create_clone(Uuid wanted, SnapshotParams params) {
  const Semaphore::Permit alone = co_await changes_.acquire();
  HF_CO_CHECK(check_changeable());
  HF_CO_TRY(const StateVolume* snapshot, known(wanted, VolumeKind::snapshot));
  HF_CO_CHECK(check_new("clone", VolumeKind::volume, params.name, params.uuid, params.attributes));
  VolumeSpec spec;
  spec.source = snapshot->spec().id;
  spec.source_uuid = snapshot->spec().uuid;
  spec.uuid = params.uuid;
  spec.name = std::move(params.name);
  spec.size_bytes = snapshot->spec().size_bytes;
  spec.attributes = std::move(params.attributes);
  std::erase_if(spec.attributes, [](const auto& item) { return item.second.empty(); });
  co_return co_await add_volume(std::move(spec), Durable::yes);
}

Task<Status> Pool::Impl::revert_volume(Uuid wanted, Uuid to) {
  const Semaphore::Permit alone = co_await changes_.acquire();
  HF_CO_CHECK(check_changeable());
  HF_CO_TRY(const StateVolume* volume, known(wanted, VolumeKind::volume));
  HF_CO_TRY(const StateVolume* snapshot, known(to, VolumeKind::snapshot));
  const VolumeSpec& spec = volume->spec();
  if (snapshot->spec().source_uuid != spec.uuid && spec.source_uuid != snapshot->spec().uuid) {
    co_return error(Errc::invalid_argument, fmt::format("'{}' is not a snapshot of '{}'; make a clone of it",
                                                        snapshot->spec().name, spec.name));
  }
  HF_CO_CHECK(check_unused(spec.id));
  // Nor does anybody begin to use it before this has ended.
  DeviceClaim kept;
  if (const auto own = devices_.find(spec.id); own != devices_.end()) {
    HF_CO_TRY(kept, registry_.claim(*own->second, user(), DeviceUse::sole));
  }
  const std::uint64_t whole = spec.thick ? snapshot->spec().size_bytes / state_->cluster_bytes() : 0;
  Space::Promise room;
  HF_CO_CHECK(co_await reserve_whole(spec.id, whole, "thick volume '" + spec.name + "'", room));
  RevertRecord record;
  record.volume = spec.id;
  record.snapshot = snapshot->spec().id;
  HF_CO_CHECK(check_memory(record));
  const std::uint64_t before = spec.size_bytes;
  HF_CO_CHECK(co_await while_paused(record.volume, record, Durable::yes));
  const auto device = devices_.find(record.volume);
  if (device != devices_.end() && before != device->second->spec().size_bytes)
    device->second->tell(DeviceEvent::resized);
  co_return Status();
}

Task<Status> Pool::Impl::set_attributes(Uuid wanted, Attributes changes) {
  const Semaphore::Permit alone = co_await changes_.acquire();
  HF_CO_CHECK(check_changeable());
  HF_CO_TRY(const StateVolume* volume, known(wanted));
  Attributes after = volume->spec().attributes;
  for (const auto& [key, value] : changes) after[key] = value;
  HF_CO_CHECK(check_attributes(after));
  AttributesRecord record;
  record.volume = volume->spec().id;
  record.changes = std::move(changes);
  co_return co_await commit_one(std::move(record), Durable::yes);
}

Result<std::vector<RegionRun>> Pool::Impl::region_epochs(Uuid wanted, std::uint64_t first,
                                                         std::size_t runs_max) const {
  HF_TRY(const StateVolume* volume, known(wanted, VolumeKind::volume));
  std::vector<RegionRun> runs;
  const SlotArray* epochs = volume->epochs().array();
  while (epochs != nullptr && runs.size() < runs_max) {
    const RegionEpochs::Run run = RegionEpochs::next_run(epochs, first);
    if (run.count == 0) break;
    runs.push_back({run.first, run.count, run.epoch});
    first = run.first + run.count;
  }
  return runs;
}

Task<Status> Pool::Impl::raise_regions(Uuid wanted, std::vector<RegionRun> runs) {
  constexpr std::size_t records_per_commit = 256;
  const Semaphore::Permit alone = co_await changes_.acquire();
  HF_CO_CHECK(check_changeable());
  HF_CO_TRY(const StateVolume* volume, known(wanted, VolumeKind::volume));
  const VolumeId id = volume->spec().id;
  const std::uint64_t regions = regions_of(volume->spec().size_bytes);
  for (const RegionRun& run : runs) {
    const bool there = run.count > 0 && run.first < regions && run.count <= regions - run.first;
    if (there && run.epoch > 0 && run.epoch <= volume->spec().epoch) continue;
    co_return error(
        Errc::invalid_argument,
        fmt::format("volume '{}' has {} regions and is at epoch {}; {} regions from {} on cannot be "
                    "of epoch {}",
                    volume->spec().name, regions, volume->spec().epoch, run.count, run.first, run.epoch));
  }
  for (std::size_t at = 0; at < runs.size();) {
    std::vector<Record> records;
    for (; at < runs.size() && records.size() < records_per_commit; ++at) {
      RegionRecord record;
      record.volume = id;
      record.first = static_cast<std::uint32_t>(runs[at].first);
      record.count = static_cast<std::uint32_t>(runs[at].count);
      record.epoch = runs[at].epoch;
      records.emplace_back(record);
    }
    HF_CO_CHECK(co_await journal_->commit(std::move(records), Durable::yes));
  }
  co_return Status();
}

}  // namespace holdfast::pool
