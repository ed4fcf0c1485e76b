// The bytes of a pool's label area, journal and checkpoint. Prose: docs/format/pool.md.
#pragma once

#include <cstdint>

#include "base/endian.h"
#include "base/units.h"
#include "pool/types.h"

namespace holdfast::pool::wire {

// The first bytes of every disk: two superblocks, the rest zero. On disk 0 the journal's ring follows.
inline constexpr std::uint64_t label_area_bytes = MiB;
inline constexpr std::uint64_t superblock_bytes = 4096;
inline constexpr std::uint64_t superblock_offsets[2] = {0, 512 * KiB};
inline constexpr std::uint32_t format_version = 1;
// Sequences, positions and incarnations are below this: nothing that counts gets there, and nothing that is read wraps.
inline constexpr std::uint64_t counters_end = std::uint64_t{1} << 62;

// Where a checkpoint begins, and what it contains.
struct Root {
  le64 sequence;          //  0  commits up to this one are in it
  le64 journal_position;  //  8  of the commit after it; counts on through all laps of the ring
  le64 image_bytes;       // 16  without headers
  le32 image_crc32c;      // 24
  le32 pieces;            // 28
  le32 first_cluster;     // 32  on the disk first_disk
  le16 first_disk;        // 36
  std::uint8_t rsvd[2];   // 38  zero
};
static_assert(Wire<Root> && sizeof(Root) == 40);
HF_FIELD(Root, image_bytes, 16);
HF_FIELD(Root, first_disk, 36);

struct Superblock {
  static constexpr std::uint64_t magic_value = 0x3130'4c4f'4f50'4648;  // "HFPOOL01"
  static constexpr std::uint8_t flag_clean = 1;  // closed in order: no commit follows the checkpoint

  le64 magic;     //  0
  le32 version;   //  8
  le32 crc32c;    // 12  over all 4096 bytes with this field zero
  le64 sequence;  // 16  +1 for each update; of the valid copies the larger one counts
  // Features by what an older release may do with a pool that has them: nothing; read; all.
  le64 incompatible;           // 24
  le64 read_only_compatible;   // 32
  le64 compatible;             // 40
  std::uint8_t pool_uuid[16];  // 48
  std::uint8_t disk_uuid[16];  // 64
  std::uint8_t
      instance[16];    // 80  random at creation; in each commit and image piece: none of an older pool counts
  le16 disk_index;     // 96
  std::uint8_t copy;   // 98  0 or 1: catches a misdirected write
  std::uint8_t flags;  // 99
  le32 cluster_bytes;  // 100
  le64 data_offset;    // 104  bytes from the start of the disk to its cluster 0
  le64 disk_bytes;     // 112  size of the disk when it was written: a smaller one has lost its end
  le64 journal_offset;  // 120  disk 0 only, else zero, like all that follows up to `root`
  le64 journal_bytes;   // 128
  le64 incarnation;     // 136  +1 each time the pool is opened
  Root root;            // 144
  le64
      recovered_sequence;  // 184  the last commit of earlier incarnations; whatever they left behind it counts no more
  le64 created_unix_ns;                 // 192
  le32 cipher;                          // 200  0: not encrypted
  std::uint8_t rsvd0[4];                // 204  zero
  std::uint8_t key_id[16];              // 208  of the cipher; zero
  le16 disk_count;                      // 224  disk 0: members that the checkpoint knows
  le16 name_bytes;                      // 226
  std::uint8_t rsvd1[28];               // 228  zero
  std::uint8_t name[256];               // 256  of the pool, padded with zeroes
  std::uint8_t members[disks_max][16];  // 512  disk 0: their UUIDs by index
  std::uint8_t rsvd2[2560];             // 1536  zero
};
static_assert(Wire<Superblock> && sizeof(Superblock) == superblock_bytes);
HF_FIELD(Superblock, sequence, 16);
HF_FIELD(Superblock, pool_uuid, 48);
HF_FIELD(Superblock, disk_index, 96);
HF_FIELD(Superblock, cluster_bytes, 100);
HF_FIELD(Superblock, incarnation, 136);
HF_FIELD(Superblock, root, 144);
HF_FIELD(Superblock, recovered_sequence, 184);
HF_FIELD(Superblock, created_unix_ns, 192);
HF_FIELD(Superblock, name, 256);
HF_FIELD(Superblock, members, 512);

// A commit begins and ends at a multiple of this.
inline constexpr std::uint64_t commit_alignment = 4096;
inline constexpr std::uint64_t journal_bytes_min = 64 * KiB;

// A commit of the journal: this header, the records, zeroes up to `length`.
struct CommitHeader {
  static constexpr std::uint64_t magic_value = 0x3130'544d'4d43'4648;  // "HFCMMT01"
  // Nothing: the rest of the ring is too short for the next commit. Only its first 4096 bytes are written.
  static constexpr std::uint32_t flag_skip = 1;

  le64 magic;                 //  0
  le32 crc32c;                //  8  over `length` bytes (skip: over 4096) with this field zero
  le32 flags;                 // 12
  le64 sequence;              // 16  the former one's + 1
  le64 incarnation;           // 24
  le64 durable_sequence;      // 32  commits up to this one were durable when this one was written
  le32 length;                // 40  in the ring, this header included
  le32 record_bytes;          // 44
  std::uint8_t instance[16];  // 48
};
static_assert(Wire<CommitHeader> && sizeof(CommitHeader) == 64);
HF_FIELD(CommitHeader, sequence, 16);
HF_FIELD(CommitHeader, length, 40);
HF_FIELD(CommitHeader, instance, 48);

// A checkpoint's image is cut in pieces; a cluster holds cluster_bytes / image_piece_bytes of them.
inline constexpr std::uint32_t image_piece_bytes = 64 * KiB;

struct ImagePieceHeader {
  static constexpr std::uint64_t magic_value = 0x3130'4547'414d'4648;  // "HFMAGE01"

  le64 magic;             //  0
  le32 crc32c;            //  8  over the header, with this field zero, and the payload
  le32 index;             // 12  of the piece, from 0
  le64 sequence;          // 16  Root::sequence
  le32 payload_bytes;     // 24
  le32 next_cluster;      // 28  last piece of a cluster that is not the last piece: where the next one lies
  le16 next_disk;         // 32
  std::uint8_t rsvd[14];  // 34  zero
  std::uint8_t instance[16];  // 48
};
static_assert(Wire<ImagePieceHeader> && sizeof(ImagePieceHeader) == 64);
HF_FIELD(ImagePieceHeader, sequence, 16);
HF_FIELD(ImagePieceHeader, next_disk, 32);
HF_FIELD(ImagePieceHeader, instance, 48);
inline constexpr std::uint32_t image_payload_max = image_piece_bytes - sizeof(ImagePieceHeader);
static_assert(cluster_bytes_min % image_piece_bytes == 0);

}  // namespace holdfast::pool::wire
