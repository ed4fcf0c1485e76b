// The bytes of records and of what an image has in common with them. Prose: docs/format/pool.md.
#pragma once

#include <cstdint>

#include "base/endian.h"

namespace holdfast::pool::wire {

// Before each record of a commit and each item of an image.
struct ItemHeader {
  le32 bytes;  // 0  that follow
  le16 type;   // 4
  le16 rsvd;   // 6  zero
};
static_assert(Wire<ItemHeader> && sizeof(ItemHeader) == 8);

// On disk: do not change. The order is that of the alternatives of Record.
enum class RecordType : std::uint16_t {
  create = 1,
  remove = 2,
  resize = 3,
  attributes = 4,
  revert = 5,
  write = 6,
  complete = 7,
  unmap = 8,
  trim = 9,
  region = 10,
  epoch = 11,
  add_disk = 12,
  grow = 13,
  write_data = 14,
  settled = 15,
};

// A volume. The name follows, then the attributes by ascending key.
struct Spec {
  le32 id;                       //  0
  std::uint8_t kind;             //  4  VolumeKind
  std::uint8_t thick;            //  5  0 or 1
  le16 name_bytes;               //  6
  le32 source;                   //  8
  le32 attributes;               // 12  how many
  std::uint8_t uuid[16];         // 16
  std::uint8_t source_uuid[16];  // 32
  le64 size_bytes;               // 48
  le64 created_unix_ns;          // 56
  le32 epoch;                    // 64
  le32 sealed;                   // 68
  le32 cipher;                   // 72  0: not encrypted
  le32 rsvd;                     // 76  zero
  std::uint8_t key_id[16];       // 80  of the cipher; zero
};
static_assert(Wire<Spec> && sizeof(Spec) == 96);
HF_FIELD(Spec, uuid, 16);
HF_FIELD(Spec, size_bytes, 48);
HF_FIELD(Spec, key_id, 80);

// Key and value follow.
struct Attribute {
  le16 key_bytes;    // 0
  le16 rsvd;         // 2  zero
  le32 value_bytes;  // 4
};
static_assert(Wire<Attribute> && sizeof(Attribute) == 8);

struct Segment {
  le32 first;       //  0
  le32 count;       //  4
  le32 disk_first;  //  8
  le16 disk;        // 12
  le16 rsvd;        // 14  zero
};
static_assert(Wire<Segment> && sizeof(Segment) == 16);

// The URI follows.
struct Disk {
  le16 index;             // 0
  le16 uri_bytes;         // 2
  le32 rsvd;              // 4  zero
  std::uint8_t uuid[16];  // 8
};
static_assert(Wire<Disk> && sizeof(Disk) == 24);

struct Remove {
  le32 volume;
};
struct Resize {
  le32 volume;      // 0
  le32 rsvd;        // 4  zero
  le64 size_bytes;  // 8
};
// The attributes follow, by ascending key.
struct Attributes {
  le32 volume;      // 0
  le32 attributes;  // 4  how many
};
struct Revert {
  le32 volume;    // 0
  le32 snapshot;  // 4
};
struct Write {
  le32 volume;       //  0
  le32 index;        //  4
  le32 cluster;      //  8
  le16 first_block;  // 12
  le16 block_count;  // 14
};
struct Settled {
  le64 sequence;  // 0
};
struct Complete {
  le32 volume;  // 0
  le32 index;   // 4
};
struct Unmap {
  le32 volume;  // 0
  le32 first;   // 4
  le32 count;   // 8
};
struct Trim {
  le32 volume;       //  0
  le32 index;        //  4
  le16 first_block;  //  8
  le16 block_count;  // 10
};
struct Region {
  le32 volume;  //  0
  le32 first;   //  4
  le32 count;   //  8
  le32 epoch;   // 12
};
struct Epoch {
  le32 volume;  // 0
  le32 epoch;   // 4
  le32 sealed;  // 8
};
static_assert(Wire<Remove> && sizeof(Remove) == 4);
static_assert(Wire<Resize> && sizeof(Resize) == 16);
static_assert(Wire<Attributes> && sizeof(Attributes) == 8);
static_assert(Wire<Revert> && sizeof(Revert) == 8);
static_assert(Wire<Write> && sizeof(Write) == 16);
static_assert(Wire<Settled> && sizeof(Settled) == 8);
static_assert(Wire<Complete> && sizeof(Complete) == 8);
static_assert(Wire<Unmap> && sizeof(Unmap) == 12);
static_assert(Wire<Trim> && sizeof(Trim) == 12);
static_assert(Wire<Region> && sizeof(Region) == 16);
static_assert(Wire<Epoch> && sizeof(Epoch) == 12);
// add_disk: Disk, URI, Segment. grow: Segment. write_data: Write, then the blocks.

}  // namespace holdfast::pool::wire
