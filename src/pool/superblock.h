// The label of a disk: who it is, and on disk 0 where the checkpoint and the journal are. Two copies; an update
// writes one, makes it durable, and then the other, so that one of them is always whole.
// Layout: docs/format/pool.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pool/disk.h"
#include "pool/format.h"
#include "pool/types.h"

namespace holdfast::pool {

// Feature bits that this release knows. Unfinished: there is no pool on the disk, it is being made or erased.
inline constexpr std::uint64_t incompatible_unfinished = 1;
inline constexpr std::uint64_t incompatible_known = incompatible_unfinished;
inline constexpr std::uint64_t read_only_compatible_known = 0;

// A cluster by its disk's own number.
struct DiskCluster {
  std::uint16_t disk = 0;
  std::uint32_t cluster = 0;
  auto operator<=>(const DiskCluster&) const = default;  // NOLINT(modernize-use-nullptr): a 0 of the compiler
};

// See wire::Root.
struct Root {
  std::uint64_t sequence = 0;
  std::uint64_t journal_position = 0;
  std::uint64_t image_bytes = 0;
  std::uint32_t image_crc32c = 0;
  std::uint32_t pieces = 0;
  DiskCluster first;
  bool operator==(const Root&) const = default;
};

// See wire::Superblock.
struct Superblock {
  std::uint64_t sequence = 0;
  std::uint64_t incompatible = 0;
  std::uint64_t read_only_compatible = 0;
  std::uint64_t compatible = 0;
  Uuid pool_uuid;
  Uuid disk_uuid;
  Uuid instance;
  std::uint16_t disk_index = 0;
  bool clean = false;
  std::uint32_t cluster_bytes = 0;
  std::uint64_t data_offset = 0;
  std::uint64_t disk_bytes = 0;
  std::uint64_t journal_offset = 0;
  std::uint64_t journal_bytes = 0;
  std::uint64_t incarnation = 0;
  Root root;
  std::uint64_t recovered_sequence = 0;
  std::uint64_t created_unix_ns = 0;
  std::vector<Uuid> members;
  std::string name;

  // The disk is as free as one without a label. Of disk 0: so are all disks with the same instance.
  bool unfinished() const noexcept { return (incompatible & incompatible_unfinished) != 0; }
  // Has features that a release like this one may read and not write.
  bool read_only() const noexcept { return (read_only_compatible & ~read_only_compatible_known) != 0; }
  bool operator==(const Superblock&) const = default;
};

// `to` has superblock_bytes. The superblock keeps the rules that parse checks.
void encode(const Superblock& superblock, unsigned copy, std::span<std::byte> to);
// Errors: not_found (does not begin as a superblock), bad_format (saying why), not_supported (a newer version, or
// features that this release does not know).
Result<Superblock> parse_superblock(std::span<const std::byte> bytes, unsigned copy);

// What a disk's two copies say.
struct Label {
  Superblock superblock;
  unsigned newest = 0;       // the copy that it is from: the other one is written first
  bool copies_agree = true;  // false: an update was cut off, or a copy is damaged
};
// Errors: not_found when neither copy is a superblock, or what there is of one was unfinished; bad_format when none is
// whole; not_supported; io_error when one cannot be read and the other is no whole, finished label.
Task<Result<Label>> read_label(Reactor& home, DiskPort& disk);
// Writes label.superblock with the next sequence, both copies, durable. After an error the old one or the new one
// counts.
Task<Status> write_label(Reactor& home, DiskPort& disk, Label& label);
// A label that is there is unfinished from now on, durably: so no crash leaves a part of it that may be a pool's. Ok
// when there is none, or none that can be read as one. Errors: io_error.
Task<Status> mark_unfinished(Reactor& home, DiskPort& disk);
// The disk is of no pool any more. Durable.
Task<Status> wipe_label(DiskPort& disk);

}  // namespace holdfast::pool
