// What the volumes and snapshots of a pool may hold after a crash, sector by sector.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/uuid.h"
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

struct Object {
  Uuid uuid;
  bool snapshot = false;
  std::shared_ptr<Sectors> sectors;  // of as many as it is large

  std::uint64_t bytes() const { return sectors->size() * DiskImage::sector_bytes; }
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

// Whether a sector with this history may have that tag after a crash.
bool may_be(const std::vector<const Version*>& history, std::uint64_t tag, Moment at, Crash crash);

}  // namespace holdfast::sim
