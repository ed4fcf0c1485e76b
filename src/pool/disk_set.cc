#include "pool/disk_set.h"

#include <algorithm>
#include <utility>

#include "rt/when_all.h"

namespace holdfast::pool {

DiskSet::DiskSet(std::uint32_t cluster_bytes) : cluster_bytes_(cluster_bytes) {
  tables_.push_back(std::make_unique<const Table>());
  table_.store(tables_.back().get(), std::memory_order_release);
}

DiskSet::~DiskSet() { HF_ASSERT(count() == 0); }

void DiskSet::add(std::unique_ptr<Disk> disk) {
  const std::uint16_t index = disk->index();
  HF_ASSERT(index < disks_max && find(index) == nullptr);
  disks_[index].store(disk.release(), std::memory_order_release);
  count_.store(count() + 1, std::memory_order_release);
}

std::unique_ptr<Disk> DiskSet::take(std::uint16_t index) {
  HF_ASSERT(find(index) != nullptr);
  count_.store(count() - 1, std::memory_order_release);
  return std::unique_ptr<Disk>(disks_[index].exchange(nullptr));
}

void DiskSet::publish(std::span<const Segment> segments) {
  auto table = std::make_unique<Table>();
  table->segments.assign(segments.begin(), segments.end());
  std::sort(table->segments.begin(), table->segments.end(),
            [](const Segment& a, const Segment& b) { return a.first < b.first; });
  tables_.push_back(std::move(table));
  table_.store(tables_.back().get(), std::memory_order_release);
}

Task<void> DiskSet::close() {
  for (std::uint16_t i = 0; i < disks_max; ++i) {
    if (find(i) == nullptr) continue;
    const std::unique_ptr<Disk> disk = take(i);
    co_await disk->close();
  }
}

const Segment* DiskSet::segment_of(Cluster cluster) const noexcept {
  const std::vector<Segment>& all = table_.load(std::memory_order_acquire)->segments;
  const std::uint32_t c = to_index(cluster);
  auto after = std::upper_bound(all.begin(), all.end(), c,
                                [](std::uint32_t value, const Segment& s) { return value < s.first; });
  if (after == all.begin()) return nullptr;
  const Segment& found = *std::prev(after);
  return c - found.first < found.count ? &found : nullptr;
}

bool DiskSet::contains(Cluster cluster) const noexcept { return segment_of(cluster) != nullptr; }

std::uint32_t DiskSet::disk_cluster(Cluster cluster) const noexcept {
  const Segment* segment = segment_of(cluster);
  HF_ASSERT(segment != nullptr);
  return segment->disk_first + (to_index(cluster) - segment->first);
}

DiskPlace DiskSet::locate(Cluster cluster) const noexcept {
  const Segment* segment = segment_of(cluster);
  HF_ASSERT(segment != nullptr);
  const std::uint64_t within = segment->disk_first + (to_index(cluster) - segment->first);
  return {segment->disk, at(segment->disk).data_offset() + within * cluster_bytes_};
}

std::optional<Cluster> DiskSet::cluster_at(std::uint16_t disk, std::uint32_t disk_cluster) const noexcept {
  for (const Segment& s : table_.load(std::memory_order_acquire)->segments) {
    if (s.disk == disk && disk_cluster >= s.disk_first && disk_cluster - s.disk_first < s.count) {
      return Cluster{s.first + (disk_cluster - s.disk_first)};
    }
  }
  return std::nullopt;
}

Task<Status> DiskSet::flush(unsigned core) {
  if (count() == 1) {  // the usual case costs one frame
    co_return co_await port(core, 0).flush();
  }
  std::vector<Task<Status>> flushes;
  for (std::uint16_t i = 0; i < disks_max; ++i) {
    const Disk* disk = find(i);
    if (disk != nullptr) flushes.push_back(disk->port(core).flush());
  }
  co_return co_await when_all_ok(std::move(flushes));
}

std::uint32_t DiskSet::block_bytes() const noexcept {
  std::uint32_t largest = 0;
  for (std::uint16_t i = 0; i < disks_max; ++i) {
    const Disk* disk = find(i);
    if (disk != nullptr) largest = std::max(largest, disk->block_bytes());
  }
  return largest;
}

PoolStatus DiskSet::status() const noexcept {
  PoolStatus worst = PoolStatus::online;
  for (std::uint16_t i = 0; i < disks_max; ++i) {
    const Disk* disk = find(i);
    if (disk != nullptr) worst = std::max(worst, disk->status());
  }
  return worst;
}

std::string DiskSet::status_reason() const {
  const PoolStatus worst = status();
  for (std::uint16_t i = 0; i < disks_max; ++i) {
    const Disk* disk = find(i);
    if (disk != nullptr && worst != PoolStatus::online && disk->status() == worst) {
      return disk->status_reason();
    }
  }
  return "";
}

}  // namespace holdfast::pool
