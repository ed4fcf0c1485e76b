// What a record does: State::apply.
#include <algorithm>
#include <limits>
#include <utility>
#include <variant>

#include "pool/diff.h"
#include "pool/state.h"

namespace holdfast::pool {
namespace {

// Beyond this a change is not looked at cluster by cluster, also where a thick volume is changed.
constexpr std::uint64_t clusters_counted_max = 4096;

}  // namespace

void State::apply(const Record& record, Effects& effects) {
  apply_lazily(record, effects);
  take_apart(std::numeric_limits<std::size_t>::max(), true, effects);
}

void State::apply_lazily(const Record& record, Effects& effects) {
  const Status may = check(record);
  if (!may.ok()) panic(may.error().message().c_str());
  std::visit([this, &effects](const auto& r) { apply_one(r, effects); }, record);
}

template <class Change>
void State::change_map(StateVolume& volume, std::uint64_t first, std::uint64_t end, const Change& change) {
  if (!volume.spec_.thick) return change();
  if (end - first > clusters_counted_max) {
    // No more of what was claimed can go than there goes.
    const std::uint64_t entries = volume.map_.entries();
    change();
    const std::uint64_t gone = entries - std::min(entries, volume.map_.entries());
    return set_claimed(volume, volume.claimed_ - std::min(volume.claimed_, gone));
  }
  const std::uint64_t before = volume.map_.exclusive(clusters_, first, end, false);
  change();
  const std::uint64_t after = volume.map_.exclusive(clusters_, first, end, false);
  // What others stopped sharing was not counted, so it may be less than what goes now.
  set_claimed(volume, std::max(volume.claimed_ + after, before) - before);
}

void State::apply_one(const CreateRecord& record, Effects& effects) {
  auto made = std::make_unique<StateVolume>(record.spec);
  if (record.spec.source != VolumeId::none) {
    StateVolume& source = *get(record.spec.source);
    made->map_.share(map_context(effects), source.map_);
    set_claimed(source, 0);  // all of it is shared now
  }
  next_id_ = VolumeId{to_index(record.spec.id) + 1};
  reserved_ += reserve_of(*made);
  insert(std::move(made));
}

void State::apply_one(const DeleteRecord& record, Effects& effects) {
  const auto at = volumes_.find(record.volume);
  std::unique_ptr<StateVolume> volume = std::move(at->second);
  volumes_.erase(at);
  by_uuid_.erase(volume->spec_.uuid);
  by_name_.erase(volume->spec_.name);
  reserved_ -= reserve_of(*volume);
  volume->map_.clear(map_context(effects));
  volume->epochs_.clear(context(effects));
  effects.retired.push_back(std::move(volume));
}

void State::apply_one(const ResizeRecord& record, Effects& effects) {
  StateVolume& volume = *get(record.volume);
  const std::uint64_t before = clusters_of(volume.spec_);
  const std::uint64_t after = record.size_bytes / cluster_bytes_;
  if (after < before) {
    change_map(volume, after, before, [&volume, after, before, &effects, this] {
      volume.map_.unmap(map_context(effects), after, before - after);
    });
    volume.epochs_.cut(context(effects), regions_of(record.size_bytes));
  }
  reserved_ -= reserve_of(volume);
  volume.spec_.size_bytes = record.size_bytes;
  reserved_ += reserve_of(volume);
}

void State::apply_one(const AttributesRecord& record, Effects&) {
  Attributes& attributes = get(record.volume)->spec_.attributes;
  for (const auto& [key, value] : record.changes) {
    if (value.empty()) {
      attributes.erase(key);
    } else {
      attributes[key] = value;
    }
  }
}

void State::apply_one(const RevertRecord& record, Effects& effects) {
  StateVolume& volume = *get(record.volume);
  const StateVolume& snapshot = *find(record.snapshot);
  const std::uint64_t size = snapshot.spec_.size_bytes;
  volume.epochs_.cut(context(effects), regions_of(size));
  if (volume.spec_.epoch != 0) {
    // For a mirror, this is a write that its other members may not have seen.
    const std::uint32_t epoch = ++volume.spec_.epoch;
    const auto mark = [&volume, &effects, epoch, this](std::uint64_t index, std::uint32_t first,
                                                       std::uint32_t count) {
      const std::uint64_t offset = index * cluster_bytes_ + std::uint64_t{first} * block_bytes;
      const std::uint64_t last = offset + std::uint64_t{count} * block_bytes - 1;
      const std::uint64_t region = offset / region_bytes;
      volume.epochs_.raise(context(effects), region, last / region_bytes - region + 1, epoch);
      return true;
    };
    diff_maps(&volume.map_, &snapshot.map_, blocks_per_cluster(), 0, size / cluster_bytes_, mark);
  }
  reserved_ -= reserve_of(volume);
  volume.map_.clear(map_context(effects));
  volume.map_.share(map_context(effects), snapshot.map_);
  volume.spec_.size_bytes = size;
  volume.claimed_ = 0;
  reserved_ += reserve_of(volume);
}

void State::apply_one(const WriteRecord& record, Effects& effects) {
  StateVolume& volume = *get(record.volume);
  const BlockSpan span{record.index, record.first_block, record.block_count};
  change_map(volume, record.index, std::uint64_t{record.index} + 1, [&volume, &record, span, &effects, this] {
    volume.map_.write(map_context(effects), span, record.cluster);
  });
}

void State::apply_one(const CompleteRecord& record, Effects& effects) {
  StateVolume& volume = *get(record.volume);
  change_map(volume, record.index, std::uint64_t{record.index} + 1, [&volume, &record, &effects, this] {
    volume.map_.complete(map_context(effects), record.index);
  });
}

void State::apply_one(const UnmapRecord& record, Effects& effects) {
  StateVolume& volume = *get(record.volume);
  const std::uint64_t first = record.first, end = first + record.count;
  change_map(volume, first, end, [&volume, first, end, &effects, this] {
    volume.map_.unmap(map_context(effects), first, end - first);
  });
}

void State::apply_one(const TrimRecord& record, Effects& effects) {
  StateVolume& volume = *get(record.volume);
  const BlockSpan span{record.index, record.first_block, record.block_count};
  change_map(volume, record.index, std::uint64_t{record.index} + 1,
             [&volume, span, &effects, this] { volume.map_.trim(map_context(effects), span); });
}

void State::apply_one(const RegionRecord& record, Effects& effects) {
  if (record.ahead) return;
  get(record.volume)->epochs_.raise(context(effects), record.first, record.count, record.epoch);
}

void State::apply_one(const EpochRecord& record, Effects&) {
  VolumeSpec& spec = get(record.volume)->spec_;
  spec.epoch = std::max(spec.epoch, record.epoch);
  spec.sealed = std::max(spec.sealed, record.sealed);
}

void State::apply_one(const AddDiskRecord& record, Effects& effects) {
  disks_.push_back(record.disk);
  clusters_.add_segment(context(effects), record.segment);
}

void State::apply_one(const GrowRecord& record, Effects& effects) {
  clusters_.add_segment(context(effects), record.segment);
}

}  // namespace holdfast::pool
