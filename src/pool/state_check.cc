// Whether a record can be applied: State::check.
#include <variant>

#include "pool/state.h"

namespace holdfast::pool {
namespace {

Error bad(std::string why) { return Error(Errc::bad_format, std::move(why)); }

Error bad(VolumeId volume, const std::string& why) {
  return bad("volume " + std::to_string(to_index(volume)) + ": " + why);
}

}  // namespace

Status State::check(const Record& record) const {
  return std::visit([this](const auto& r) { return check_one(r); }, record);
}

Result<const StateVolume*> State::check_volume(VolumeId id) const {
  const StateVolume* volume = find(id);
  if (volume == nullptr) return bad(id, "it does not exist");
  return volume;
}

Result<const StateVolume*> State::check_writable(VolumeId id) const {
  HF_TRY(const StateVolume* volume, check_volume(id));
  if (volume->spec().kind != VolumeKind::volume) return bad(id, "it is a snapshot, which does not change");
  return volume;
}

Status State::check_size(std::uint64_t size_bytes) const {
  if (size_bytes == 0 || size_bytes % cluster_bytes_ != 0)
    return bad("the size is no multiple of the cluster");
  if (size_bytes > volume_bytes_max || size_bytes / cluster_bytes_ > volume_clusters_max) {
    return bad("the size is more than a volume can have");
  }
  return Status();
}

Status State::check_spec(const VolumeSpec& spec) const {
  HF_CHECK(check_size(spec.size_bytes));
  if (spec.id == VolumeId::none || spec.source == spec.id) return bad("no such volume id");
  if (spec.uuid.is_nil()) return bad(spec.id, "its UUID is nil");
  if (find(spec.uuid) != nullptr) return bad(spec.id, "its UUID is taken");
  if (find(spec.name) != nullptr) return bad(spec.id, "its name is taken");
  if (spec.sealed > spec.epoch) return bad(spec.id, "an epoch is sealed that never was");
  if (spec.kind == VolumeKind::snapshot && spec.thick) return bad(spec.id, "a snapshot reserves nothing");
  return Status();
}

Status State::check_one(const CreateRecord& record) const {
  const VolumeSpec& spec = record.spec;
  HF_CHECK(check_spec(spec));
  if (spec.id != next_id_) return bad(spec.id, "the next id is " + std::to_string(to_index(next_id_)));
  if (to_index(spec.id) == ~std::uint32_t{0}) return bad("all volume ids are used");
  const bool snapshot = spec.kind == VolumeKind::snapshot;
  if (spec.source == VolumeId::none) {
    if (snapshot) return bad(spec.id, "a snapshot of nothing");
    return spec.source_uuid.is_nil() ? Status() : bad(spec.id, "it has the UUID of a source and no source");
  }
  HF_TRY(const StateVolume* source, check_volume(spec.source));
  const VolumeSpec& of = source->spec();
  if (of.uuid != spec.source_uuid) return bad(spec.id, "its source has another UUID");
  if ((of.kind == VolumeKind::snapshot) == snapshot) {
    return bad(spec.id, snapshot ? "a snapshot of a snapshot" : "a clone of what is no snapshot");
  }
  const bool fits = snapshot ? spec.size_bytes == of.size_bytes : spec.size_bytes >= of.size_bytes;
  return fits ? Status() : bad(spec.id, "its size does not fit its source");
}

Status State::check_one(const DeleteRecord& record) const {
  HF_CHECK(check_volume(record.volume));
  return Status();
}

Status State::check_one(const ResizeRecord& record) const {
  HF_CHECK(check_writable(record.volume));
  return check_size(record.size_bytes);
}

Status State::check_one(const AttributesRecord& record) const {
  HF_TRY(const StateVolume* volume, check_volume(record.volume));
  std::size_t sum = 0, keys = 0;
  const auto add = [&sum, &keys](const std::string& key, const std::string& value) {
    if (value.empty()) return;
    sum += key.size() + value.size();
    ++keys;
  };
  for (const auto& [key, value] : volume->spec().attributes) {
    if (!record.changes.contains(key)) add(key, value);
  }
  for (const auto& [key, value] : record.changes) add(key, value);
  if (keys > attributes_max) return bad(record.volume, "it has too many attributes");
  if (sum > attributes_bytes_max) return bad(record.volume, "its attributes are too long together");
  return Status();
}

Status State::check_one(const RevertRecord& record) const {
  HF_TRY(const StateVolume* volume, check_writable(record.volume));
  HF_TRY(const StateVolume* snapshot, check_volume(record.snapshot));
  if (snapshot->spec().kind != VolumeKind::snapshot) return bad(record.snapshot, "it is no snapshot");
  if (volume->spec().epoch == ~std::uint32_t{0}) return bad(record.volume, "it has had all epochs");
  return Status();
}

Status State::check_one(const WriteRecord& record) const {
  HF_TRY(const StateVolume* volume, check_writable(record.volume));
  if (record.index >= clusters_of(volume->spec())) return bad(record.volume, "a write behind its end");
  const BlockSpan span{record.index, record.first_block, record.block_count};
  const char* why = volume->map().check_write(clusters_, blocks_per_cluster(), span, record.cluster);
  return why == nullptr ? Status() : bad(record.volume, why);
}

Status State::check_one(const CompleteRecord& record) const {
  HF_TRY(const StateVolume* volume, check_volume(record.volume));
  const char* why = volume->map().check_complete(record.index);
  return why == nullptr ? Status() : bad(record.volume, why);
}

Status State::check_one(const UnmapRecord& record) const {
  HF_TRY(const StateVolume* volume, check_writable(record.volume));
  const std::uint64_t end = std::uint64_t{record.first} + record.count;
  if (record.count == 0 || end > clusters_of(volume->spec())) {
    return bad(record.volume, "clusters that it does not have are unmapped");
  }
  return Status();
}

Status State::check_one(const TrimRecord& record) const {
  HF_TRY(const StateVolume* volume, check_writable(record.volume));
  const std::uint32_t end = std::uint32_t{record.first_block} + record.block_count;
  if (record.index >= clusters_of(volume->spec()) || record.block_count == 0 || end > blocks_per_cluster()) {
    return bad(record.volume, "blocks that it does not have are trimmed");
  }
  const char* why = volume->map().check_trim(record.index);
  return why == nullptr ? Status() : bad(record.volume, why);
}

Status State::check_one(const RegionRecord& record) const {
  HF_TRY(const StateVolume* volume, check_writable(record.volume));
  const std::uint64_t end = std::uint64_t{record.first} + record.count;
  if (record.count == 0 || end > regions_of(volume->spec().size_bytes))
    return bad(record.volume, "no such regions");
  if (record.epoch == 0 || record.epoch > volume->spec().epoch) {
    return bad(record.volume, "regions are of an epoch that was not announced");
  }
  return Status();
}

Status State::check_one(const EpochRecord& record) const {
  HF_TRY(const StateVolume* volume, check_writable(record.volume));
  if (record.sealed > std::max(record.epoch, volume->spec().epoch)) {
    return bad(record.volume, "an epoch is sealed that was not announced");
  }
  return Status();
}

Status State::check_segment(const Segment& segment) const {
  if (segments().size() >= segments_max) return bad("there are too many segments");
  if (segment.first != clusters_.size()) return bad("a segment does not begin where the last one ended");
  if (segment.count == 0 || segment.count > clusters_max - clusters_.size()) {
    return bad("a segment has no such size");
  }
  if (segment.disk_first != clusters_.disk_clusters(segment.disk)) {
    return bad("a segment does not begin where the last one of its disk ended");
  }
  return Status();
}

Status State::check_one(const AddDiskRecord& record) const {
  const DiskRecord& disk = record.disk;
  if (disk.index != disks_.size() || disk.index >= disks_max) return bad("a disk has not the next index");
  if (disk.uuid.is_nil()) return bad("the UUID of a disk is nil");
  for (const DiskRecord& other : disks_) {
    if (other.uuid == disk.uuid) return bad("two disks have one UUID");
  }
  if (record.segment.disk != disk.index) return bad("the segment of a new disk is on another one");
  return check_segment(record.segment);
}

Status State::check_one(const GrowRecord& record) const {
  if (record.segment.disk >= disks_.size()) return bad("a segment is on no disk");
  return check_segment(record.segment);
}

}  // namespace holdfast::pool
