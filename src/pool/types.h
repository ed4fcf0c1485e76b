// The words of the pool: identifiers, sizes, what callers give and get.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "base/uuid.h"

namespace holdfast::pool {

// A volume or a snapshot. Never reused within a pool; 0: none.
enum class VolumeId : std::uint32_t { none = 0 };
// A physical cluster, numbered through all disks of the pool (see Segment).
enum class Cluster : std::uint32_t {};
constexpr std::uint32_t to_index(Cluster c) noexcept { return static_cast<std::uint32_t>(c); }
constexpr std::uint32_t to_index(VolumeId v) noexcept { return static_cast<std::uint32_t>(v); }

// The unit of ownership inside a cluster that is only partly written.
inline constexpr std::uint32_t block_bytes = 4096;
// The unit of epochs (docs/concepts.md), whatever the cluster size.
inline constexpr std::uint64_t region_bytes = MiB;
// Of what has so many bytes, the last one in part.
constexpr std::uint64_t regions_of(std::uint64_t bytes) noexcept {
  return (bytes + region_bytes - 1) / region_bytes;
}

inline constexpr std::uint32_t cluster_bytes_min = 64 * KiB;
inline constexpr std::uint32_t cluster_bytes_max = 16 * MiB;
inline constexpr std::uint32_t cluster_bytes_default = MiB;
inline constexpr std::size_t blocks_per_cluster_max = cluster_bytes_max / block_bytes;
inline constexpr unsigned disks_max = 64;
inline constexpr std::size_t segments_max = 65536;
inline constexpr std::size_t disk_uri_bytes_max = 4096;
inline constexpr std::uint32_t clusters_max = 0xffff'fffe;  // of a pool: 4 PiB of clusters of 1 MiB
// A volume has at most so many clusters and so many bytes, whichever is less.
inline constexpr std::uint64_t volume_clusters_max = std::uint64_t{1} << 28;
inline constexpr std::uint64_t volume_bytes_max = 1024 * TiB;
inline constexpr std::size_t name_bytes_max = 255;
inline constexpr std::size_t attribute_key_bytes_max = 64;
inline constexpr std::size_t attribute_value_bytes_max = 32 * KiB;
inline constexpr std::size_t attributes_max = 1024;            // of one volume
inline constexpr std::size_t attributes_bytes_max = 64 * KiB;  // keys and values of one volume

// A run of clusters on one disk: cluster first + i lies at disk cluster disk_first + i of that disk's data area.
// Made when a disk joins or grows; never changed, never removed. Numbers have no gaps, in the pool and on a disk.
struct Segment {
  std::uint32_t first = 0;  // Cluster
  std::uint32_t count = 0;
  std::uint16_t disk = 0;
  std::uint32_t disk_first = 0;
  bool operator==(const Segment&) const = default;
};

// Clusters first .. first + count - 1.
struct ClusterRun {
  Cluster first{};
  std::uint32_t count = 0;
  bool operator==(const ClusterRun&) const = default;
};

struct DiskRecord {
  std::uint16_t index = 0;
  Uuid uuid;
  std::string uri;  // where it was last seen; a hint for messages
  bool operator==(const DiskRecord&) const = default;
};

enum class VolumeKind : std::uint8_t { volume = 0, snapshot = 1 };

// Free-form facts about a volume that live and die with it ("shared", "allowed_hosts", "entity_id", "txn_id",
// the volume's specification, the last membership): the pool stores them and does not read them.
using Attributes = std::map<std::string, std::string>;

// Everything that the metadata says of a volume or snapshot except where its bytes are.
struct VolumeSpec {
  VolumeId id = VolumeId::none;
  VolumeKind kind = VolumeKind::volume;
  bool thick = false;
  VolumeId source =
      VolumeId::none;  // of a snapshot: its volume; of a clone: its snapshot. May be gone by now.
  Uuid source_uuid;    // stays when the source is gone
  Uuid uuid;
  std::string name;
  std::uint64_t size_bytes = 0;  // a multiple of the cluster size
  std::uint64_t created_unix_ns = 0;
  std::uint32_t epoch = 0;   // of the volume, announced last; 0: epochs are not used
  std::uint32_t sealed = 0;  // the highest sealed epoch
  // Of a snapshot both are those of its volume when it was made: it has what was written in sealed epochs.
  Attributes attributes;
  bool operator==(const VolumeSpec&) const = default;
};

// Where the clusters of one volume or snapshot are counted. Bytes. A partial cluster with another one behind it
// counts as two.
struct Usage {
  std::uint64_t allocated = 0;         // mapped by it, shared or not
  std::uint64_t exclusive = 0;         // mapped by nobody else: what its deletion gives back
  std::uint64_t shared = 0;            // allocated - exclusive
  std::uint64_t reserved = 0;          // thick: set aside and not allocated yet
  std::uint64_t partial_clusters = 0;  // a number, not bytes
};

// Regions that were last written in one epoch.
struct RegionRun {
  std::uint64_t first = 0;  // region
  std::uint64_t count = 0;
  std::uint32_t epoch = 0;  // not 0
  bool operator==(const RegionRun&) const = default;
};

// A run of bytes that differ, of a diff.
struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool operator==(const ByteRange&) const = default;
};

}  // namespace holdfast::pool
