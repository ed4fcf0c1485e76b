// What the volumes and snapshots of a pool may hold after a crash, sector by sector.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/uuid.h"
#include "pool/types.h"
#include "sim/pool/crash_disk.h"

namespace holdfast::sim {

// One write; tag 0: zeroes. Every sector that it writes has its tag.
struct Version {
  std::uint64_t tag = 0;
  Moment begun = 0;
  Moment acked = never;
  Moment durable = never;  // when it was acknowledged, or a flush that began after that was
};

// By sector the versions that it had, oldest first.
using Sectors = std::vector<std::vector<const Version*>>;

// Regions that were written in an epoch.
struct EpochWrite {
  const Version* version = nullptr;
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  std::uint32_t epoch = 0;
};
// Of a volume, or those that a snapshot has of its volume. Copies share what was written.
struct Epochs {
  std::uint32_t current = 0;
  std::uint32_t sealed = 0;
  std::shared_ptr<std::vector<EpochWrite>> writes = std::make_shared<std::vector<EpochWrite>>();
};

struct Object {
  Uuid uuid;
  bool snapshot = false;
  std::shared_ptr<Sectors> sectors;  // of as many as it is large
  Epochs epochs = {};
  bool thick = false;

  std::uint64_t bytes() const { return sectors->size() * DiskImage::sector_bytes; }
  std::uint64_t regions() const { return pool::regions_of(bytes()); }
};
using Objects = std::map<std::string, Object>;

// A change of what there is. It happens as a whole, and is durable when it has ended.
struct Step {
  std::string what;
  Moment begun = 0;
  Moment ended = never;
  Objects after;
  std::size_t disks = 0;  // of the pool, afterwards
};

// The bytes of a sector of a write.
void fill_sector(std::span<std::byte> sector, std::uint64_t tag, std::uint64_t number);
// The tag of what was read from sector `number`; nullopt: no volume ever wrote that there.
std::optional<std::uint64_t> tag_of(std::span<const std::byte> sector, std::uint64_t number);

// One that has happened, whatever happens.
const Version& always() noexcept;
// Notes that these sectors are written, when the object has an epoch.
void note_write(Object& object, const Version& version, std::uint64_t first_sector, std::uint64_t sectors);
// The epochs of its volume after a change of the size: regions behind the end are forgotten.
Epochs with_regions(const Epochs& epochs, std::uint64_t regions);

// Gives a volume the content of a snapshot, which is a write for its mirror.
void revert(Object& volume, const Object& snapshot);

// The tags that are seen in a region.
using SeenTags = std::set<std::pair<std::uint64_t, std::uint64_t>>;
inline std::uint64_t region_of(std::uint64_t sector) noexcept {
  return sector * DiskImage::sector_bytes / pool::region_bytes;
}
// A region whose epoch in the table is lower than that of a write which is there after a crash, or of what is seen in
// it; empty: none. A mirror would not copy it.
std::string unrecorded(const Object& object, const std::vector<pool::RegionRun>& table, const SeenTags& seen,
                       Moment at, Crash crash);

// Whether a sector with this history may have that tag after a crash.
bool may_be(const std::vector<const Version*>& history, std::uint64_t tag, Moment at, Crash crash);

}  // namespace holdfast::sim
