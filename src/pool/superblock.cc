#include "pool/superblock.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <tuple>
#include <utility>

#include "base/crc32c.h"
#include "base/zeroes.h"
#include "block/leaf_device.h"
#include "pool/codec.h"

namespace holdfast::pool {
namespace {

using Wire = wire::Superblock;

void put(std::uint8_t (&to)[16], const Uuid& uuid) { std::memcpy(to, uuid.bytes.data(), 16); }
Uuid get(const std::uint8_t (&from)[16]) {
  Uuid uuid;
  std::memcpy(uuid.bytes.data(), from, 16);
  return uuid;
}

bool equal(const std::uint8_t (&a)[16], const std::uint8_t (&b)[16]) { return std::memcmp(a, b, 16) == 0; }

wire::Root to_wire(const Root& root) {
  wire::Root w{};
  w.sequence = root.sequence;
  w.journal_position = root.journal_position;
  w.image_bytes = root.image_bytes;
  w.image_crc32c = root.image_crc32c;
  w.pieces = root.pieces;
  w.first_cluster = root.first.cluster;
  w.first_disk = root.first.disk;
  return w;
}

Root from_wire(const wire::Root& w) {
  return Root{w.sequence,     w.journal_position, w.image_bytes,
              w.image_crc32c, w.pieces,           {w.first_disk, w.first_cluster}};
}

std::uint32_t checksum(Wire w) {
  w.crc32c = 0;
  return crc32c(bytes_of(w));
}

Error bad(const std::string& why) { return Error(Errc::bad_format, "the superblock is damaged: " + why); }

Status check_reserved(const Wire& w) {
  if (!is_zero(w.rsvd0) || !is_zero(w.rsvd1) || !is_zero(w.rsvd2) || !is_zero(w.root.rsvd))
    return bad("reserved bytes are set");
  if ((w.flags & ~Wire::flag_clean) != 0) return bad("reserved flags are set");
  if (w.cipher != 0 || !is_zero(w.key_id))
    return Error(Errc::not_supported, "the pool is encrypted, which this release cannot read");
  return Status();
}

Status check_name(const Wire& w) {
  const std::size_t length = w.name_bytes;
  if (length == 0 || length > name_bytes_max) return bad("the name's length is impossible");
  if (!is_zero(std::span(w.name).subspan(length))) return bad("bytes behind the name are set");
  const bool printable =
      std::all_of(w.name, w.name + length, [](std::uint8_t b) { return b >= 0x20 && b != 0x7f; });
  return printable ? Status() : Status(bad("the name has control characters"));
}

// Who it is, and that what it counts can go on counting.
Status check_identity(const Wire& w) {
  if (w.disk_index >= disks_max) return bad("the disk's number is impossible");
  if (is_zero(w.pool_uuid)) return bad("the pool's UUID is nil");
  if (is_zero(w.disk_uuid)) return bad("the disk's UUID is nil");
  if (is_zero(w.instance)) return bad("the pool's instance is nil");
  const std::pair<const char*, std::uint64_t> counters[] = {
      {"sequence", w.sequence},
      {"incarnation", w.incarnation},
      {"recovered sequence", w.recovered_sequence},
      {"checkpoint's sequence", w.root.sequence},
      {"checkpoint's position", w.root.journal_position},
  };
  for (const auto& [what, value] : counters) {
    if (value >= wire::counters_end)
      return bad("the " + std::string(what) + " of " + std::to_string(value) + " is impossible");
  }
  return Status();
}

// Where things are on the disk.
Status check_places(const Wire& w) {
  const std::uint32_t cluster = w.cluster_bytes;
  if (!is_power_of_two(cluster) || cluster < cluster_bytes_min || cluster > cluster_bytes_max)
    return bad("the cluster size is impossible");
  if (w.data_offset % block_bytes != 0 || w.data_offset < wire::label_area_bytes ||
      w.data_offset > w.disk_bytes) {
    return bad("the data area is not on the disk");
  }
  if (w.disk_index != 0) {
    const bool nothing = w.journal_offset == 0 && w.journal_bytes == 0 && w.incarnation == 0 &&
                         w.recovered_sequence == 0 && from_wire(w.root) == Root() && w.disk_count == 0;
    return nothing ? Status() : Status(bad("a journal or checkpoint on a disk that has none"));
  }
  const std::uint64_t ring = w.journal_bytes;
  if (ring < wire::journal_bytes_min || ring % wire::commit_alignment != 0 || ring > w.disk_bytes ||
      w.journal_offset < wire::label_area_bytes || w.journal_offset % wire::commit_alignment != 0 ||
      w.journal_offset > w.data_offset || ring > w.data_offset - w.journal_offset) {
    return bad("the journal's place is impossible");
  }
  return Status();
}

bool is_unfinished(const Wire& w) { return (w.incompatible & incompatible_unfinished) != 0; }

Status check_root(const Wire& w) {
  if (w.disk_index != 0) return Status();
  const Root root = from_wire(w.root);
  if (is_unfinished(w)) {
    const bool nothing = root == Root() && w.disk_count == 0;
    return nothing ? Status() : Status(bad("a checkpoint where there is no pool"));
  }
  const std::uint64_t payloads = std::uint64_t{root.pieces} * wire::image_payload_max;
  const bool fits = root.image_bytes > 0 && root.image_bytes <= payloads &&
                    root.image_bytes + wire::image_payload_max > payloads;
  if (!fits) return bad("the checkpoint's length is impossible");
  if (w.incarnation == 0) return bad("the pool was never opened");
  if (root.journal_position % wire::commit_alignment != 0) return bad("the checkpoint's end is impossible");
  if (w.disk_count == 0 || root.first.disk >= w.disk_count) return bad("the number of disks is impossible");
  return Status();
}

Status check_members(const Wire& w) {
  if (w.disk_count > disks_max) return bad("the number of disks is impossible");
  for (std::size_t i = 0; i < disks_max; ++i) {
    if (is_zero(w.members[i]) != (i >= w.disk_count)) return bad("the list of disks is impossible");
    for (std::size_t k = 0; k < i && i < w.disk_count; ++k) {
      if (equal(w.members[k], w.members[i])) return bad("the list of disks names one of them twice");
    }
  }
  return Status();
}

// A part of an unfinished label, as a write that was cut off leaves it where nothing or another one was.
bool is_part_of_unfinished(std::span<const std::byte> bytes) {
  const auto w = load<Wire>(bytes);
  return w.magic == Wire::magic_value && w.version == wire::format_version && is_unfinished(w) &&
         w.crc32c != checksum(w);
}

// Whether two copies can be of one label: what never changes is the same, and so is everything when no update lies
// between them.
bool belong_together(const Superblock& a, const Superblock& b) {
  const auto lasting = [](const Superblock& s) {
    return std::tie(s.pool_uuid, s.disk_uuid, s.instance, s.disk_index, s.cluster_bytes, s.data_offset,
                    s.journal_offset, s.journal_bytes);
  };
  return lasting(a) == lasting(b) && (a.sequence != b.sequence || a == b);
}

}  // namespace

void encode(const Superblock& s, unsigned copy, std::span<std::byte> to) {
  Wire w{};
  w.magic = Wire::magic_value;
  w.version = wire::format_version;
  w.sequence = s.sequence;
  w.incompatible = s.incompatible;
  w.read_only_compatible = s.read_only_compatible;
  w.compatible = s.compatible;
  put(w.pool_uuid, s.pool_uuid);
  put(w.disk_uuid, s.disk_uuid);
  put(w.instance, s.instance);
  w.disk_index = s.disk_index;
  w.copy = static_cast<std::uint8_t>(copy);
  w.flags = s.clean ? Wire::flag_clean : 0;
  w.cluster_bytes = s.cluster_bytes;
  w.data_offset = s.data_offset;
  w.disk_bytes = s.disk_bytes;
  w.journal_offset = s.journal_offset;
  w.journal_bytes = s.journal_bytes;
  w.incarnation = s.incarnation;
  w.root = to_wire(s.root);
  w.recovered_sequence = s.recovered_sequence;
  w.created_unix_ns = s.created_unix_ns;
  HF_ASSERT(s.members.size() <= disks_max && s.name.size() <= name_bytes_max);
  w.disk_count = static_cast<std::uint16_t>(s.members.size());
  for (std::size_t i = 0; i < s.members.size(); ++i) put(w.members[i], s.members[i]);
  w.name_bytes = static_cast<std::uint16_t>(s.name.size());
  std::memcpy(w.name, s.name.data(), s.name.size());
  w.crc32c = checksum(w);
  store(to, w);
}

Result<Superblock> parse_superblock(std::span<const std::byte> bytes, unsigned copy) {
  if (bytes.size() < sizeof(Wire)) return bad("it is too short");
  const auto w = load<Wire>(bytes);
  if (w.magic != Wire::magic_value) return Error(Errc::not_found);
  if (w.crc32c != checksum(w)) return bad("its checksum does not match");
  if (w.version != wire::format_version) {
    return Error(Errc::not_supported, "the pool's format has version " + std::to_string(w.version.get()) +
                                          "; this release knows version 1");
  }
  if (const std::uint64_t unknown = w.incompatible & ~incompatible_known; unknown != 0) {
    return Error(Errc::not_supported, "the pool has features of a newer release (bits " +
                                          std::to_string(unknown) + "), without which it cannot be read");
  }
  HF_CHECK(check_reserved(w));
  HF_CHECK(check_name(w));
  if (w.copy != copy) return bad("it is another copy");
  HF_CHECK(check_identity(w));
  HF_CHECK(check_places(w));
  HF_CHECK(check_root(w));
  HF_CHECK(check_members(w));
  Superblock s;
  s.sequence = w.sequence;
  s.incompatible = w.incompatible;
  s.read_only_compatible = w.read_only_compatible;
  s.compatible = w.compatible;
  s.pool_uuid = get(w.pool_uuid);
  s.disk_uuid = get(w.disk_uuid);
  s.instance = get(w.instance);
  s.disk_index = w.disk_index;
  s.clean = (w.flags & Wire::flag_clean) != 0;
  s.cluster_bytes = w.cluster_bytes;
  s.data_offset = w.data_offset;
  s.disk_bytes = w.disk_bytes;
  s.journal_offset = w.journal_offset;
  s.journal_bytes = w.journal_bytes;
  s.incarnation = w.incarnation;
  s.root = from_wire(w.root);
  s.recovered_sequence = w.recovered_sequence;
  s.created_unix_ns = w.created_unix_ns;
  for (std::size_t i = 0; i < w.disk_count; ++i) s.members.push_back(get(w.members[i]));
  s.name.assign(reinterpret_cast<const char*>(w.name), w.name_bytes);
  return s;
}

Task<Result<Label>> read_label(Reactor& home, DiskPort& disk) {
  const ScratchBuffer buffer(home, wire::superblock_bytes);
  std::optional<Label> best;
  std::optional<Error> worst;  // of what begins as a superblock
  bool agree = true;
  bool cut_off = false;
  std::optional<Error> unread;
  for (unsigned copy = 0; copy < 2; ++copy) {
    const IoVec vec = buffer.vec();
    const Status read = co_await disk.read(wire::superblock_offsets[copy], IoVecs(&vec, 1));
    if (!read.ok()) {
      Error error = disk.disk().explain(read.error(), "reading the label");
      if (error.code() != Errc::io_error || unread) co_return error;
      // As if it were damaged: nothing rests on an update before both copies have it.
      unread = std::move(error);
      agree = false;
      continue;
    }
    auto parsed = parse_superblock({buffer.data(), buffer.size()}, copy);
    if (parsed.ok()) {
      if (best && !belong_together(parsed.value(), best->superblock))
        co_return disk.disk().explain(bad("its two copies contradict each other"), "label");
      const bool newer = !best || parsed.value().sequence > best->superblock.sequence;
      agree = agree && (!best || parsed.value() == best->superblock);
      if (newer) {
        best.emplace();
        best->superblock = std::move(parsed).value();
        best->newest = copy;
      }
      continue;
    }
    agree = false;
    if (parsed.code() == Errc::bad_format && is_part_of_unfinished({buffer.data(), buffer.size()})) {
      cut_off = true;
      continue;
    }
    // What is newer than this release must not be taken for damaged.
    if (parsed.code() == Errc::not_supported || (parsed.code() == Errc::bad_format && !worst)) {
      worst = parsed.error();
    }
  }
  if (unread && (!best || best->superblock.unfinished()))
    co_return *unread;  // it may say that there is a pool
  if (worst && (!best || worst->code() == Errc::not_supported))
    co_return disk.disk().explain(*worst, "label");
  if (!best)
    co_return Error(Errc::not_found,
                    disk.disk().user() + ": disk '" + disk.disk().uri() + "' is not of a pool" +
                        (cut_off ? "; making one was cut off while its label was written" : ""));
  best->copies_agree = agree;
  co_return std::move(*best);
}

Task<Status> write_label(Reactor& home, DiskPort& disk, Label& label) {
  const ScratchBuffer buffer(home, wire::superblock_bytes);
  ++label.superblock.sequence;
  const unsigned newest = label.newest;
  for (const unsigned copy : std::array{1 - newest, newest}) {
    encode(label.superblock, copy, {buffer.data(), buffer.size()});
    const IoVec vec = buffer.vec();
    Status done = co_await disk.write(wire::superblock_offsets[copy], IoVecs(&vec, 1), Durable::no);
    if (done.ok()) done = co_await disk.flush();
    if (!done.ok()) co_return disk.disk().explain(done.error(), "writing the label");
    label.newest = copy;
  }
  label.copies_agree = true;
  co_return Status();
}

Task<Status> mark_unfinished(Reactor& home, DiskPort& disk) {
  auto label = co_await read_label(home, disk);
  if (label.code() == Errc::io_error) co_return label.error();
  if (!label.ok()) co_return Status();
  Superblock& s = label.value().superblock;
  // Copies that differ would say something else when the newer one is gone.
  if (s.unfinished() && label.value().copies_agree) co_return Status();
  s.incompatible |= incompatible_unfinished;
  s.root = Root();
  s.members.clear();
  co_return co_await write_label(home, disk, label.value());
}

Task<Status> wipe_label(DiskPort& disk) {
  Status outcome;  // of the first copy that stays; the other one goes all the same
  for (const std::uint64_t offset : wire::superblock_offsets) {
    Status done = co_await disk.write_zeroes(offset, wire::superblock_bytes, Unmap::no);
    if (done.ok()) done = co_await disk.flush();
    if (!done.ok() && outcome.ok()) outcome = disk.disk().explain(done.error(), "erasing the label");
  }
  co_return outcome;
}

}  // namespace holdfast::pool
