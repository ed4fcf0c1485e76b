// State: the metadata of a pool in memory. A deterministic function of a checkpoint's image and the records after
// it; no I/O, no clock. Home core, except VolumeMap::find, RegionEpochs::get and exclusive(), which any core may
// use.
//
// Sharing: a volume's map is an array of leaves; a snapshot or clone copies the array and shares the leaves. The
// count of a cluster is the number of leaves that name it, as own cluster or behind one; 0 is free.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pool/cluster_counts.h"
#include "pool/effects.h"
#include "pool/record.h"
#include "pool/region_epochs.h"
#include "pool/types.h"
#include "pool/volume_map.h"

namespace holdfast::pool {

class StateVolume final : public Retired {  // one volume or snapshot
 public:
  explicit StateVolume(VolumeSpec spec) : spec_(std::move(spec)) {}

  const VolumeSpec& spec() const noexcept { return spec_; }
  const VolumeMap& map() const noexcept { return map_; }
  const RegionEpochs& epochs() const noexcept { return epochs_; }

 private:
  friend class State;
  friend class ImageReader;
  VolumeSpec spec_;
  VolumeMap map_;
  RegionEpochs epochs_;
  std::uint64_t claimed_ = 0;  // thick: clusters that nobody else names, at least
};

class State {
 public:
  // A power of two within cluster_bytes_min .. max.
  explicit State(std::uint32_t cluster_bytes);
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State();

  // Whether the record can be applied now. Errors: bad_format with the reason. For records from disk; the
  // pool's own records are right by construction, and apply() asserts it.
  Status check(const Record& record) const;
  // Adds to the effects, which the caller settles (effects.h).
  void apply(const Record& record, Effects& effects);
  void settle(Effects& effects);

  // The same in steps, for records that let go of very much. Leaves that a record lets go of have fallen; their
  // clusters count as before until they are taken apart, which adds to the effects. In between the state allows
  // less than the records do, never more.
  void apply_lazily(const Record& record, Effects& effects);
  bool has_fallen() const noexcept { return !fallen_.empty(); }
  const std::deque<Leaf*>& fallen() const noexcept { return fallen_; }
  // As many leaves as have at most so many clusters together; `one`: the first one in any case. Says how many
  // clusters these were, a leaf itself counted as one.
  std::size_t take_apart(std::size_t most, bool one, Effects& effects);
  // Settles so many clusters, leaves and objects at most, and gives back the memory that nothing needs then. False:
  // something is left.
  bool settle_some(Effects& effects, std::size_t most);

  std::uint32_t cluster_bytes() const noexcept { return cluster_bytes_; }
  std::uint32_t blocks_per_cluster() const noexcept { return cluster_bytes_ / block_bytes; }
  const StateVolume* find(VolumeId id) const noexcept;
  const StateVolume* find(const Uuid& uuid) const noexcept;
  const StateVolume* find(std::string_view name) const noexcept;
  const std::map<VolumeId, std::unique_ptr<StateVolume>>& volumes() const noexcept { return volumes_; }
  VolumeId next_id() const noexcept { return next_id_; }  // of the volume that is created next
  const std::vector<DiskRecord>& disks() const noexcept { return disks_; }  // by index
  const std::vector<Segment>& segments() const noexcept { return clusters_.segments(); }
  ClusterCounts& clusters() noexcept { return clusters_; }
  const ClusterCounts& clusters() const noexcept { return clusters_; }
  // Any core: what is own may be written in place.
  bool exclusive(const ClusterView& view) const noexcept {
    return view.mapped() && !view.leaf_shared() && clusters_.exclusive(view.own());
  }

  // Clusters that thick volumes may still claim: so many free ones are not for others. Never less than right; it
  // may be more when clusters stopped being shared. recount_reserved() makes it right, and costs a look at every
  // leaf of the thick volumes.
  std::uint64_t reserved_clusters() const noexcept { return reserved_; }
  std::uint64_t reserved_clusters(VolumeId thick) const noexcept;
  std::uint64_t recount_reserved() noexcept;
  Usage usage(VolumeId id) const noexcept;
  // What a clone still shares with the snapshot that it was made of; 0 for others, and when the snapshot is gone.
  std::uint64_t common_bytes(const VolumeSpec& clone) const noexcept;
  // Where `later` may differ from `earlier`, at block granularity, in order; adjacent ranges are merged. Any two
  // of the pool; none for `earlier`: all that is allocated. Shared leaves and clusters are skipped. Ends with the
  // size of `later`. When ranges_max (at least 1) is reached, there may be more behind the last one.
  std::vector<ByteRange> diff(VolumeId earlier, VolumeId later, std::uint64_t from,
                              std::size_t ranges_max) const;
  // Memory of maps, counts and epochs, bytes.
  std::size_t memory() const noexcept;
  // The same as it was taken from the system, without a look at the leaves; and something for each volume.
  std::size_t map_bytes() const noexcept;
  const MapMemory& map_memory() const noexcept { return map_memory_; }
  // +1 when the image of a checkpoint begins.
  std::uint32_t generation() const noexcept { return pin_.generation; }

 private:
  friend class ImageWriter;
  friend class ImageReader;

  ChangeContext context(Effects& effects) noexcept { return ChangeContext{pin_, effects}; }
  MapContext map_context(Effects& effects) noexcept {
    return MapContext{{pin_, effects}, clusters_, blocks_per_cluster(), map_memory_, fallen_};
  }
  StateVolume* get(VolumeId id) noexcept { return const_cast<StateVolume*>(std::as_const(*this).find(id)); }
  std::uint64_t clusters_of(const VolumeSpec& spec) const noexcept {
    return spec.size_bytes / cluster_bytes_;
  }
  std::uint64_t reserve_of(const StateVolume& volume) const noexcept;
  void insert(std::unique_ptr<StateVolume> volume);

  Status check_spec(const VolumeSpec& spec) const;
  Status check_size(std::uint64_t size_bytes) const;
  Status check_segment(const Segment& segment) const;
  Result<const StateVolume*> check_volume(VolumeId id) const;
  Result<const StateVolume*> check_writable(VolumeId id) const;
  Status check_one(const CreateRecord& record) const;
  Status check_one(const DeleteRecord& record) const;
  Status check_one(const ResizeRecord& record) const;
  Status check_one(const AttributesRecord& record) const;
  Status check_one(const RevertRecord& record) const;
  Status check_one(const WriteRecord& record) const;
  Status check_one(const WriteDataRecord& record) const { return check_one(record.write); }
  Status check_one(const SettledRecord&) const { return Status(); }
  Status check_one(const CompleteRecord& record) const;
  Status check_one(const UnmapRecord& record) const;
  Status check_one(const TrimRecord& record) const;
  Status check_one(const RegionRecord& record) const;
  Status check_one(const EpochRecord& record) const;
  Status check_one(const AddDiskRecord& record) const;
  Status check_one(const GrowRecord& record) const;

  void apply_one(const CreateRecord& record, Effects& effects);
  void apply_one(const DeleteRecord& record, Effects& effects);
  void apply_one(const ResizeRecord& record, Effects& effects);
  void apply_one(const AttributesRecord& record, Effects& effects);
  void apply_one(const RevertRecord& record, Effects& effects);
  void apply_one(const WriteRecord& record, Effects& effects);
  void apply_one(const WriteDataRecord& record, Effects& effects) { apply_one(record.write, effects); }
  void apply_one(const SettledRecord&, Effects&) noexcept {}
  void apply_one(const CompleteRecord& record, Effects& effects);
  void apply_one(const UnmapRecord& record, Effects& effects);
  void apply_one(const TrimRecord& record, Effects& effects);
  void apply_one(const RegionRecord& record, Effects& effects);
  void apply_one(const EpochRecord& record, Effects& effects);
  void apply_one(const AddDiskRecord& record, Effects& effects);
  void apply_one(const GrowRecord& record, Effects& effects);
  // Does `change` to the map of a volume and keeps what it has claimed.
  template <class Change>
  void change_map(StateVolume& volume, std::uint64_t first, std::uint64_t end, const Change& change);
  void set_claimed(StateVolume& volume, std::uint64_t claimed) noexcept;

  const std::uint32_t cluster_bytes_;
  MapMemory map_memory_;
  Pin pin_;
  ClusterCounts clusters_;
  std::vector<DiskRecord> disks_;
  VolumeId next_id_{1};
  std::map<VolumeId, std::unique_ptr<StateVolume>> volumes_;
  std::map<Uuid, StateVolume*> by_uuid_;
  std::map<std::string, StateVolume*, std::less<>> by_name_;
  std::uint64_t reserved_ = 0;
  std::deque<Leaf*> fallen_;
};

}  // namespace holdfast::pool
