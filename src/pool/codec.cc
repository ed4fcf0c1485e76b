#include "pool/codec.h"

#include <cstring>
#include <utility>

#include "base/zeroes.h"

namespace holdfast::pool {
namespace {

Uuid uuid_of(const std::uint8_t (&bytes)[16]) {
  Uuid uuid;
  std::memcpy(uuid.bytes.data(), bytes, sizeof bytes);
  return uuid;
}

}  // namespace

Error ByteReader::bad(const char* why) const {
  return Error(Errc::bad_format, std::string(what_) + ": " + why + " (byte " + std::to_string(offset_) + ")");
}

Result<std::span<const std::byte>> ByteReader::bytes(std::size_t count) {
  if (count > left()) return bad("it ends too early");
  const auto taken = bytes_.subspan(offset_, count);
  offset_ += count;
  return taken;
}

Result<std::string> ByteReader::text(std::size_t bytes_min, std::size_t bytes, std::size_t bytes_max) {
  if (bytes < bytes_min || bytes > bytes_max) return bad("a text has no such length");
  HF_TRY(const auto taken, this->bytes(bytes));
  std::string text(reinterpret_cast<const char*>(taken.data()), taken.size());
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return bad("a text has control characters");
  }
  return text;
}

void put(std::vector<std::byte>& to, std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

std::size_t begin_item(std::vector<std::byte>& to, std::uint16_t type) {
  put(to, wire::ItemHeader{0, type, 0});
  return to.size();
}

void end_item(std::vector<std::byte>& to, std::size_t begun) {
  const le32 bytes(static_cast<std::uint32_t>(to.size() - begun));
  std::memcpy(to.data() + begun - sizeof(wire::ItemHeader), &bytes, sizeof bytes);
}

void put_attributes(std::vector<std::byte>& to, const Attributes& attributes) {
  for (const auto& [key, value] : attributes) {
    put(to,
        wire::Attribute{static_cast<std::uint16_t>(key.size()), 0, static_cast<std::uint32_t>(value.size())});
    put(to, key);
    put(to, value);
  }
}

void put_spec(std::vector<std::byte>& to, const VolumeSpec& spec) {
  wire::Spec w{};
  w.id = to_index(spec.id);
  w.kind = static_cast<std::uint8_t>(spec.kind);
  w.thick = spec.thick ? 1 : 0;
  w.name_bytes = static_cast<std::uint16_t>(spec.name.size());
  w.source = to_index(spec.source);
  w.attributes = static_cast<std::uint32_t>(spec.attributes.size());
  std::memcpy(w.uuid, spec.uuid.bytes.data(), sizeof w.uuid);
  std::memcpy(w.source_uuid, spec.source_uuid.bytes.data(), sizeof w.source_uuid);
  w.size_bytes = spec.size_bytes;
  w.created_unix_ns = spec.created_unix_ns;
  w.epoch = spec.epoch;
  w.sealed = spec.sealed;
  put(to, w);
  put(to, spec.name);
  put_attributes(to, spec.attributes);
}

void put_disk(std::vector<std::byte>& to, const DiskRecord& disk) {
  wire::Disk w{};
  w.index = disk.index;
  w.uri_bytes = static_cast<std::uint16_t>(disk.uri.size());
  std::memcpy(w.uuid, disk.uuid.bytes.data(), sizeof w.uuid);
  put(to, w);
  put(to, disk.uri);
}

void put_segment(std::vector<std::byte>& to, const Segment& segment) {
  put(to, wire::Segment{segment.first, segment.count, segment.disk_first, segment.disk, 0});
}

Result<Attributes> take_attributes(ByteReader& from, std::uint32_t count, bool may_erase) {
  if (count > attributes_max) return from.bad("too many attributes");
  Attributes attributes;
  std::size_t sum = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    HF_TRY(const auto w, from.take<wire::Attribute>());
    if (w.rsvd != 0) return from.bad("reserved bytes are set");
    HF_TRY(std::string key, from.text(1, w.key_bytes, attribute_key_bytes_max));
    if (w.value_bytes > attribute_value_bytes_max || (w.value_bytes == 0 && !may_erase)) {
      return from.bad("an attribute's value has no such length");
    }
    HF_TRY(const auto value, from.bytes(w.value_bytes));
    sum += key.size() + value.size();
    if (sum > attributes_bytes_max) return from.bad("the attributes are too long together");
    if (!attributes.empty() && attributes.rbegin()->first >= key) return from.bad("attributes out of order");
    attributes.emplace_hint(attributes.end(), std::move(key),
                            std::string(reinterpret_cast<const char*>(value.data()), value.size()));
  }
  return attributes;
}

Result<VolumeSpec> take_spec(ByteReader& from) {
  HF_TRY(const auto w, from.take<wire::Spec>());
  if (w.id == 0) return from.bad("a volume has no id");
  if (w.kind > static_cast<std::uint8_t>(VolumeKind::snapshot)) return from.bad("no such kind of volume");
  if (w.thick > 1 || w.rsvd != 0) return from.bad("reserved bits are set");
  if (w.cipher != 0 || !is_zero(w.key_id)) return from.bad("a volume is encrypted, which is not supported");
  if (w.sealed > w.epoch) return from.bad("an epoch is sealed that never was");
  if (w.size_bytes == 0 || w.size_bytes > volume_bytes_max || w.size_bytes % cluster_bytes_min != 0) {
    return from.bad("a volume has no such size");
  }
  VolumeSpec spec;
  spec.id = VolumeId{w.id.get()};
  spec.kind = static_cast<VolumeKind>(w.kind);
  spec.thick = w.thick != 0;
  spec.source = VolumeId{w.source.get()};
  spec.source_uuid = uuid_of(w.source_uuid);
  spec.uuid = uuid_of(w.uuid);
  if (spec.uuid.is_nil()) return from.bad("the UUID of a volume is nil");
  spec.size_bytes = w.size_bytes;
  spec.created_unix_ns = w.created_unix_ns;
  spec.epoch = w.epoch;
  spec.sealed = w.sealed;
  HF_TRY(spec.name, from.text(1, w.name_bytes, name_bytes_max));
  HF_TRY(spec.attributes, take_attributes(from, w.attributes, false));
  return spec;
}

Result<DiskRecord> take_disk(ByteReader& from) {
  HF_TRY(const auto w, from.take<wire::Disk>());
  if (w.rsvd != 0) return from.bad("reserved bytes are set");
  DiskRecord disk;
  disk.index = w.index;
  disk.uuid = uuid_of(w.uuid);
  if (disk.index >= disks_max || disk.uuid.is_nil()) return from.bad("no such disk");
  HF_TRY(disk.uri, from.text(0, w.uri_bytes, disk_uri_bytes_max));
  return disk;
}

Result<Segment> take_segment(ByteReader& from) {
  HF_TRY(const auto w, from.take<wire::Segment>());
  if (w.rsvd != 0) return from.bad("reserved bytes are set");
  const Segment segment{w.first, w.count, w.disk, w.disk_first};
  const bool fits = segment.count > 0 && segment.count <= clusters_max &&
                    segment.first <= clusters_max - segment.count &&
                    segment.disk_first <= clusters_max - segment.count && segment.disk < disks_max;
  return fits ? Result<Segment>(segment) : Result<Segment>(from.bad("no such segment"));
}

}  // namespace holdfast::pool
