// Changes what disk 0 of a pool says, and makes every checksum right again: for what a bug or an attacker may leave
// there, and no checksum tells. The pool is closed, its checkpoint in one cluster of disk 0.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/crc32c.h"
#include "pool/format.h"
#include "pool/record.h"
#include "pool/superblock.h"
#include "sim/disk.h"

namespace holdfast::pool::testing_support {

class DiskEditor {
 public:
  using Bytes = std::vector<std::byte>;
  explicit DiskEditor(sim::SimDisk& disk) : disk_(disk) {}

  // Of the newest copy.
  wire::Superblock label() const {
    const auto a = load<wire::Superblock>(peek(wire::superblock_offsets[0], wire::superblock_bytes));
    const auto b = load<wire::Superblock>(peek(wire::superblock_offsets[1], wire::superblock_bytes));
    return b.sequence > a.sequence ? b : a;
  }
  void put_label(wire::Superblock w) {
    for (const std::uint8_t copy : {std::uint8_t{0}, std::uint8_t{1}}) put_copy(w, copy);
  }
  void put_copy(wire::Superblock w, std::uint8_t copy) {
    w.copy = copy;
    w.crc32c = 0;
    w.crc32c = crc32c(bytes_of(w));
    poke(wire::superblock_offsets[copy], bytes_of(w));
  }

  Bytes image() const {
    const wire::Root root = label().root;
    Bytes image;
    for (std::uint32_t i = 0; image.size() < root.image_bytes; ++i) {
      const std::size_t size =
          std::min<std::size_t>(wire::image_payload_max, root.image_bytes - image.size());
      const Bytes payload = peek(piece_offset(i) + sizeof(wire::ImagePieceHeader), size);
      image.insert(image.end(), payload.begin(), payload.end());
    }
    return image;
  }
  // At most as long as what a cluster takes.
  void put_image(const Bytes& image) { put_image(image, piece()); }
  void put_image(const Bytes& image, wire::ImagePieceHeader first) {
    wire::Superblock w = label();
    w.root.image_bytes = image.size();
    w.root.image_crc32c = crc32c(image);
    w.root.pieces = 0;
    for (std::size_t at = 0; at < image.size(); at += wire::image_payload_max) {
      const auto rest = std::span(image).subspan(at);
      put_piece(w.root.pieces, first,
                rest.first(std::min<std::size_t>(rest.size(), wire::image_payload_max)));
      w.root.pieces = w.root.pieces + 1;
    }
    put_label(w);
  }
  // The header of the first piece. To put it, its payload stays.
  wire::ImagePieceHeader piece() const {
    return load<wire::ImagePieceHeader>(peek(piece_offset(0), sizeof(wire::ImagePieceHeader)));
  }
  void put_piece(wire::ImagePieceHeader header) {
    const Bytes payload = peek(piece_offset(0) + sizeof header, piece().payload_bytes);
    put_piece(0, header, payload);
  }

  // A commit after the checkpoint: all its bytes, the header in front.
  struct Commit {
    std::uint64_t offset = 0;
    Bytes bytes;
    wire::CommitHeader header() const { return load<wire::CommitHeader>(bytes); }
  };
  // The first one is 0; nullopt: there are not so many.
  std::optional<Commit> commit(unsigned number) const {
    const wire::Superblock w = label();
    std::uint64_t position = w.root.journal_position;
    for (;; --number) {
      const std::uint64_t offset = w.journal_offset + position % w.journal_bytes;
      const auto header = load<wire::CommitHeader>(peek(offset, sizeof(wire::CommitHeader)));
      const bool there = header.magic == wire::CommitHeader::magic_value &&
                         header.sequence > w.root.sequence && header.length >= wire::commit_alignment &&
                         header.length <= 256 * KiB;
      if (!there) return std::nullopt;
      if (number == 0) return Commit{offset, peek(offset, header.length)};
      position += header.length;
    }
  }
  void put_commit(Commit commit) {
    auto header = commit.header();
    header.crc32c = 0;
    store(std::span(commit.bytes), header);
    header.crc32c = crc32c(commit.bytes);
    store(std::span(commit.bytes), header);
    poke(commit.offset, commit.bytes);
  }
  // Instead of those that are in the commit; they need the same length.
  void put_records(Commit commit, std::span<const Record> records) {
    Bytes bytes;
    for (const Record& record : records) encode(record, bytes);
    auto header = commit.header();
    header.record_bytes = static_cast<std::uint32_t>(bytes.size());
    store(std::span(commit.bytes), header);
    bytes.resize(commit.bytes.size() - sizeof header);
    std::memcpy(commit.bytes.data() + sizeof header, bytes.data(), bytes.size());
    put_commit(std::move(commit));
  }

 private:
  std::uint64_t piece_offset(std::uint32_t index) const {
    const wire::Superblock w = label();
    return w.data_offset + std::uint64_t{w.root.first_cluster} * w.cluster_bytes +
           std::uint64_t{index} * wire::image_piece_bytes;
  }
  void put_piece(std::uint32_t index, wire::ImagePieceHeader header, std::span<const std::byte> payload) {
    header.index = index;
    header.payload_bytes = static_cast<std::uint32_t>(payload.size());
    header.crc32c = 0;
    Crc32c crc;
    crc.update(bytes_of(header));
    crc.update(payload);
    header.crc32c = crc.value();
    poke(piece_offset(index), bytes_of(header));
    poke(piece_offset(index) + sizeof header, payload);
  }
  Bytes peek(std::uint64_t offset, std::size_t length) const {
    Bytes bytes(length);
    disk_.peek(offset, bytes);
    return bytes;
  }
  void poke(std::uint64_t offset, std::span<const std::byte> bytes) { disk_.poke(offset, bytes); }

  sim::SimDisk& disk_;
};

}  // namespace holdfast::pool::testing_support
