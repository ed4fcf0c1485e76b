// DiskSet: the disks of a pool by their index, and where on them the clusters lie.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pool/disk.h"
#include "pool/types.h"

namespace holdfast::pool {

// Bytes from the start of a disk.
struct DiskPlace {
  std::uint16_t disk = 0;
  std::uint64_t offset = 0;
  bool operator==(const DiskPlace&) const = default;
};

class DiskSet {
 public:
  explicit DiskSet(std::uint32_t cluster_bytes);
  DiskSet(const DiskSet&) = delete;
  DiskSet& operator=(const DiskSet&) = delete;
  ~DiskSet();  // close() was awaited

  // Home core. The disk has become() its index, which is free.
  void add(std::unique_ptr<Disk> disk);
  // Takes a disk out again that no published segment names.
  std::unique_ptr<Disk> take(std::uint16_t index);
  // From now on clusters of these segments, all of State::segments(), are found. Home core.
  void publish(std::span<const Segment> segments);
  Task<void> close();

  unsigned count() const noexcept { return count_.load(std::memory_order_acquire); }  // any core
  // Any core. nullptr: no disk of this index.
  Disk* find(std::uint16_t index) const noexcept {
    return index < disks_max ? disks_[index].load(std::memory_order_acquire) : nullptr;
  }
  Disk& at(std::uint16_t index) const noexcept { return *find(index); }
  DiskPort& port(unsigned core, std::uint16_t disk) const noexcept { return at(disk).port(core); }

  // Where a cluster lies; the cluster is in a published segment (asserted). Any core.
  DiskPlace locate(Cluster cluster) const noexcept;
  DiskPlace locate(Cluster cluster, std::uint32_t offset) const noexcept {
    DiskPlace place = locate(cluster);
    place.offset += offset;
    return place;
  }
  // Whether a published segment has it. Any core.
  bool contains(Cluster cluster) const noexcept;
  // The reverse, by a disk's own number of the cluster. Home core.
  std::optional<Cluster> cluster_at(std::uint16_t disk, std::uint32_t disk_cluster) const noexcept;
  std::uint32_t disk_cluster(Cluster cluster) const noexcept;

  // I/O on the caller's core within one cluster.
  Task<Status> read(unsigned core, Cluster cluster, std::uint32_t offset, IoVecs into) {
    const DiskPlace place = locate(cluster, offset);
    return port(core, place.disk).read(place.offset, into);
  }
  Task<Status> write(unsigned core, Cluster cluster, std::uint32_t offset, IoVecs from, Durable durable) {
    const DiskPlace place = locate(cluster, offset);
    return port(core, place.disk).write(place.offset, from, durable);
  }
  // Every write to any disk that ended before is durable. Runs on `core`, the caller's.
  Task<Status> flush(unsigned core);

  std::uint32_t cluster_bytes() const noexcept { return cluster_bytes_; }
  // The largest block of a disk: what volumes have. 0: no disk yet.
  std::uint32_t block_bytes() const noexcept;
  // The worst of the disks, and why.
  PoolStatus status() const noexcept;
  std::string status_reason() const;

 private:
  struct Table {
    std::vector<Segment> segments;  // by `first`, without gaps
  };
  const Segment* segment_of(Cluster cluster) const noexcept;  // nullptr: none has it

  const std::uint32_t cluster_bytes_;
  std::array<std::atomic<Disk*>, disks_max> disks_{};  // owned
  std::atomic<unsigned> count_{0};
  // Tables are few (one for each time the pool grows) and small, and stay: other cores may look at old ones.
  std::atomic<const Table*> table_{nullptr};
  std::vector<std::unique_ptr<const Table>> tables_;
};

}  // namespace holdfast::pool
