// Record: one logical change of a pool's metadata. The journal is a sequence of records; the state of a pool is
// its last checkpoint with the records after it applied in order, at run time and at recovery alike, by the one
// function State::apply. Layout of each record: docs/format/pool.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "pool/types.h"

namespace holdfast::pool {

// A volume, snapshot or clone comes to be; with a source it starts with the source's map.
struct CreateRecord {
  VolumeSpec spec;
};
struct DeleteRecord {
  VolumeId volume{};
};
struct ResizeRecord {
  VolumeId volume{};
  std::uint64_t size_bytes = 0;
};
// An empty value erases the key.
struct AttributesRecord {
  VolumeId volume{};
  Attributes changes;
};
// The volume has the snapshot's content from now on.
struct RevertRecord {
  VolumeId volume{};
  VolumeId snapshot{};
};
// Blocks of one cluster of a volume were written to `cluster`. When the volume's entry there is not `cluster`
// already, it becomes a new cluster of the volume with the former content behind it.
struct WriteRecord {
  VolumeId volume{};
  std::uint32_t index = 0;  // of the cluster in the volume
  Cluster cluster{};
  std::uint16_t first_block = 0;
  std::uint16_t block_count = 0;  // at least 1
};
// The same, and the blocks' content. They were in no map before.
struct WriteDataRecord {
  WriteRecord write;
  std::vector<std::byte> data;  // block_count blocks
};
// The data of all commits up to `sequence` is durable in its place.
struct SettledRecord {
  std::uint64_t sequence = 0;
};
// The rest of the cluster has been copied: nothing is behind it any more, all blocks are its own.
struct CompleteRecord {
  VolumeId volume{};
  std::uint32_t index = 0;
};
// Whole clusters read as zeroes again.
struct UnmapRecord {
  VolumeId volume{};
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};
// Blocks of a cluster with nothing behind it read as zeroes again; the last one frees the cluster.
struct TrimRecord {
  VolumeId volume{};
  std::uint32_t index = 0;
  std::uint16_t first_block = 0;
  std::uint16_t block_count = 0;
};
// These regions are about to be, or were, written in `epoch`. Never lowers a region's epoch.
struct RegionRecord {
  VolumeId volume{};
  std::uint32_t first = 0;  // region
  std::uint32_t count = 0;
  std::uint32_t epoch = 0;
  bool ahead =
      false;  // not on disk, where it is a record like any other: here they do not count yet (regions_ahead.h)
};
// Epochs of the whole volume: announced and sealed. Never lowers either.
struct EpochRecord {
  VolumeId volume{};
  std::uint32_t epoch = 0;
  std::uint32_t sealed = 0;
};
// A disk joins with its first segment.
struct AddDiskRecord {
  DiskRecord disk;
  Segment segment;
};
struct GrowRecord {
  Segment segment;
};

using Record = std::variant<CreateRecord, DeleteRecord, ResizeRecord, AttributesRecord, RevertRecord,
                            WriteRecord, CompleteRecord, UnmapRecord, TrimRecord, RegionRecord, EpochRecord,
                            AddDiskRecord, GrowRecord, WriteDataRecord, SettledRecord>;

// A URI as a DiskRecord can have it: not too long, without control characters. It is a hint for people.
std::string uri_hint(std::string_view uri);

// Appends the record's bytes.
void encode(const Record& record, std::vector<std::byte>& to);
// Takes one record off the front of `bytes`. Errors: bad_format, saying what and at which byte. Checks all that
// can be checked without the state (lengths, ranges, characters); State::check does the rest.
Result<Record> decode(std::span<const std::byte>& bytes);

}  // namespace holdfast::pool
