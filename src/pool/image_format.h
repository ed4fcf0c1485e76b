// The bytes of an image: items (wire::ItemHeader), in this order. Prose: docs/format/pool.md.
#pragma once

#include <cstdint>

#include "pool/record_format.h"

namespace holdfast::pool::wire {

// On disk: do not change.
enum class ItemType : std::uint16_t {
  image = 1,    // ImageStart
  disk = 2,     // Disk, URI; by index
  segment = 3,  // Segment; by first cluster
  volume = 4,   // Spec, name, attributes; by id
  // Then, volume by volume by id: the leaves that no earlier volume has, the map, the epochs.
  leaf = 5,    // Leaf, LeafRuns, LeafPartials; numbered from 0 on
  map = 6,     // Runs, MapRuns; by slot; several items where there are more than runs_per_item_max
  epochs = 7,  // Runs, EpochRuns; by region; likewise
  end = 8,     // ImageEnd
};

inline constexpr std::uint32_t image_version = 1;
inline constexpr std::uint32_t runs_per_item_max = 4096;
// A leaf of partial clusters of 16 MiB, the largest item there is.
inline constexpr std::uint32_t item_bytes_max = 1024 * 1024;

struct ImageStart {
  static constexpr std::uint64_t magic_value = 0x3130'5441'5453'4648;  // "HFSTAT01"

  le64 magic;          //  0
  le32 version;        //  8
  le32 cluster_bytes;  // 12
  le32 next_id;        // 16  of the volume that is created next
  le32 disks;          // 20  items of each kind
  le32 segments;       // 24
  le32 volumes;        // 28
};
static_assert(Wire<ImageStart> && sizeof(ImageStart) == 32);

struct Leaf {
  le32 number;    // 0
  le16 runs;      // 4
  le16 partials;  // 6
};
static_assert(Wire<Leaf> && sizeof(Leaf) == 8);

// Entries first .. first + count - 1 of the leaf are wholly cluster .. cluster + count - 1.
struct LeafRun {
  le16 first;    // 0
  le16 count;    // 2
  le32 cluster;  // 4
};
static_assert(Wire<LeafRun> && sizeof(LeafRun) == 8);

// Bitmaps of blocks follow, 64 blocks to a word, least significant bit first: those that are own, and with
// flag_behind those that the cluster behind has. Bits beyond the cluster are 0.
struct LeafPartial {
  static constexpr std::uint16_t flag_behind = 1;

  le16 at;       //  0
  le16 flags;    //  2
  le32 cluster;  //  4
  le32 behind;   //  8  without flag_behind 0
};
static_assert(Wire<LeafPartial> && sizeof(LeafPartial) == 12);

struct Runs {
  le32 volume;  // 0
  le32 runs;    // 4
};
static_assert(Wire<Runs> && sizeof(Runs) == 8);

// Slots first .. first + count - 1 of the map are leaves leaf .. leaf + count - 1.
struct MapRun {
  le32 first;  // 0
  le32 count;  // 4
  le32 leaf;   // 8
};
static_assert(Wire<MapRun> && sizeof(MapRun) == 12);

// Regions first .. first + count - 1 were last written in this epoch; those in no run, in none.
struct EpochRun {
  le32 first;  // 0
  le32 count;  // 4
  le32 epoch;  // 8
};
static_assert(Wire<EpochRun> && sizeof(EpochRun) == 12);

struct ImageEnd {
  le64 bytes;   // 0  of the image up to this item's header
  le32 leaves;  // 8
  le32 rsvd;    // 12  zero
};
static_assert(Wire<ImageEnd> && sizeof(ImageEnd) == 16);

}  // namespace holdfast::pool::wire
