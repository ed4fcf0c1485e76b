#include "pool/record.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "pool/codec.h"

namespace holdfast::pool {
namespace {

using wire::RecordType;

// The type on disk is the alternative's index + 1.
template <RecordType type, class Alternative>
constexpr bool is_at = std::is_same_v<std::variant_alternative_t<std::size_t(type) - 1, Record>, Alternative>;
static_assert(is_at<RecordType::create, CreateRecord> && is_at<RecordType::remove, DeleteRecord>);
static_assert(is_at<RecordType::resize, ResizeRecord> && is_at<RecordType::attributes, AttributesRecord>);
static_assert(is_at<RecordType::revert, RevertRecord> && is_at<RecordType::write, WriteRecord>);
static_assert(is_at<RecordType::complete, CompleteRecord> && is_at<RecordType::unmap, UnmapRecord>);
static_assert(is_at<RecordType::trim, TrimRecord> && is_at<RecordType::region, RegionRecord>);
static_assert(is_at<RecordType::epoch, EpochRecord> && is_at<RecordType::add_disk, AddDiskRecord>);
static_assert(is_at<RecordType::grow, GrowRecord> && is_at<RecordType::write_data, WriteDataRecord>);
static_assert(is_at<RecordType::settled, SettledRecord> && std::variant_size_v<Record> == 15);

void body(std::vector<std::byte>& to, const CreateRecord& r) { put_spec(to, r.spec); }
void body(std::vector<std::byte>& to, const DeleteRecord& r) { put(to, wire::Remove{to_index(r.volume)}); }
void body(std::vector<std::byte>& to, const ResizeRecord& r) {
  put(to, wire::Resize{to_index(r.volume), 0, r.size_bytes});
}
void body(std::vector<std::byte>& to, const AttributesRecord& r) {
  put(to, wire::Attributes{to_index(r.volume), static_cast<std::uint32_t>(r.changes.size())});
  put_attributes(to, r.changes);
}
void body(std::vector<std::byte>& to, const RevertRecord& r) {
  put(to, wire::Revert{to_index(r.volume), to_index(r.snapshot)});
}
void body(std::vector<std::byte>& to, const WriteRecord& r) {
  put(to, wire::Write{to_index(r.volume), r.index, to_index(r.cluster), r.first_block, r.block_count});
}
void body(std::vector<std::byte>& to, const WriteDataRecord& r) {
  body(to, r.write);
  to.insert(to.end(), r.data.begin(), r.data.end());
}
void body(std::vector<std::byte>& to, const SettledRecord& r) { put(to, wire::Settled{r.sequence}); }
void body(std::vector<std::byte>& to, const CompleteRecord& r) {
  put(to, wire::Complete{to_index(r.volume), r.index});
}
void body(std::vector<std::byte>& to, const UnmapRecord& r) {
  put(to, wire::Unmap{to_index(r.volume), r.first, r.count});
}
void body(std::vector<std::byte>& to, const TrimRecord& r) {
  put(to, wire::Trim{to_index(r.volume), r.index, r.first_block, r.block_count});
}
void body(std::vector<std::byte>& to, const RegionRecord& r) {
  put(to, wire::Region{to_index(r.volume), r.first, r.count, r.epoch});
}
void body(std::vector<std::byte>& to, const EpochRecord& r) {
  put(to, wire::Epoch{to_index(r.volume), r.epoch, r.sealed});
}
void body(std::vector<std::byte>& to, const AddDiskRecord& r) {
  put_disk(to, r.disk);
  put_segment(to, r.segment);
}
void body(std::vector<std::byte>& to, const GrowRecord& r) { put_segment(to, r.segment); }

Result<Record> take_attributes_record(ByteReader& from) {
  HF_TRY(const auto w, from.take<wire::Attributes>());
  AttributesRecord r{VolumeId{w.volume.get()}, {}};
  HF_TRY(r.changes, take_attributes(from, w.attributes, true));
  return Record(std::move(r));
}

Result<WriteRecord> take_write(ByteReader& from) {
  HF_TRY(const auto w, from.take<wire::Write>());
  if (w.block_count == 0 || w.first_block + std::size_t{w.block_count} > blocks_per_cluster_max) {
    return from.bad("no such blocks");
  }
  return WriteRecord{VolumeId{w.volume.get()}, w.index, Cluster{w.cluster.get()}, w.first_block,
                     w.block_count};
}

Result<Record> take_write_data(ByteReader& from) {
  WriteDataRecord r;
  HF_TRY(r.write, take_write(from));
  HF_TRY(const auto data, from.bytes(std::size_t{r.write.block_count} * block_bytes));
  r.data.assign(data.begin(), data.end());
  return Record(std::move(r));
}

Result<Record> take_trim(ByteReader& from) {
  HF_TRY(const auto w, from.take<wire::Trim>());
  if (w.block_count == 0 || w.first_block + std::size_t{w.block_count} > blocks_per_cluster_max) {
    return from.bad("no such blocks");
  }
  return Record(TrimRecord{VolumeId{w.volume.get()}, w.index, w.first_block, w.block_count});
}

Result<Record> take_resize(ByteReader& from) {
  HF_TRY(const auto w, from.take<wire::Resize>());
  const bool fits = w.rsvd == 0 && w.size_bytes > 0 && w.size_bytes <= volume_bytes_max &&
                    w.size_bytes % cluster_bytes_min == 0;
  if (!fits) return from.bad("a volume has no such size");
  return Record(ResizeRecord{VolumeId{w.volume.get()}, w.size_bytes});
}

Result<Record> take_unmap(ByteReader& from) {
  HF_TRY(const auto w, from.take<wire::Unmap>());
  if (w.count == 0 || std::uint64_t{w.first} + w.count > volume_clusters_max) {
    return from.bad("no such clusters");
  }
  return Record(UnmapRecord{VolumeId{w.volume.get()}, w.first, w.count});
}

Result<Record> take_region(ByteReader& from) {
  HF_TRY(const auto w, from.take<wire::Region>());
  const std::uint64_t end = std::uint64_t{w.first} + w.count;
  if (w.count == 0 || end > volume_bytes_max / region_bytes || w.epoch == 0)
    return from.bad("no such regions");
  return Record(RegionRecord{VolumeId{w.volume.get()}, w.first, w.count, w.epoch});
}

Result<Record> take_body(RecordType type, ByteReader& from) {
  switch (type) {
    case RecordType::create: {
      HF_TRY(VolumeSpec spec, take_spec(from));
      return Record(CreateRecord{std::move(spec)});
    }
    case RecordType::remove: {
      HF_TRY(const auto w, from.take<wire::Remove>());
      return Record(DeleteRecord{VolumeId{w.volume.get()}});
    }
    case RecordType::resize:
      return take_resize(from);
    case RecordType::attributes:
      return take_attributes_record(from);
    case RecordType::revert: {
      HF_TRY(const auto w, from.take<wire::Revert>());
      return Record(RevertRecord{VolumeId{w.volume.get()}, VolumeId{w.snapshot.get()}});
    }
    case RecordType::write: {
      HF_TRY(const WriteRecord write, take_write(from));
      return Record(write);
    }
    case RecordType::write_data:
      return take_write_data(from);
    case RecordType::settled: {
      HF_TRY(const auto w, from.take<wire::Settled>());
      return Record(SettledRecord{w.sequence});
    }
    case RecordType::complete: {
      HF_TRY(const auto w, from.take<wire::Complete>());
      return Record(CompleteRecord{VolumeId{w.volume.get()}, w.index});
    }
    case RecordType::unmap:
      return take_unmap(from);
    case RecordType::trim:
      return take_trim(from);
    case RecordType::region:
      return take_region(from);
    case RecordType::epoch: {
      HF_TRY(const auto w, from.take<wire::Epoch>());
      return Record(EpochRecord{VolumeId{w.volume.get()}, w.epoch, w.sealed});
    }
    case RecordType::add_disk: {
      HF_TRY(DiskRecord disk, take_disk(from));
      HF_TRY(const Segment segment, take_segment(from));
      return Record(AddDiskRecord{std::move(disk), segment});
    }
    case RecordType::grow: {
      HF_TRY(const Segment segment, take_segment(from));
      return Record(GrowRecord{segment});
    }
  }
  return from.bad("no such type of record");
}

}  // namespace

std::string uri_hint(std::string_view uri) {
  std::string hint(uri.substr(0, disk_uri_bytes_max));
  std::replace_if(
      hint.begin(), hint.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return hint;
}

void encode(const Record& record, std::vector<std::byte>& to) {
  const std::size_t begun = begin_item(to, static_cast<std::uint16_t>(record.index() + 1));
  std::visit([&to](const auto& r) { body(to, r); }, record);
  end_item(to, begun);
}

Result<Record> decode(std::span<const std::byte>& bytes) {
  ByteReader from(bytes, "record");
  HF_TRY(const auto header, from.take<wire::ItemHeader>());
  if (header.rsvd != 0) return from.bad("reserved bytes are set");
  if (header.bytes > from.left()) return from.bad("it ends too early");
  const std::size_t length = sizeof header + header.bytes;
  ByteReader inside(bytes.first(length), "record");
  HF_CHECK(inside.bytes(sizeof header));
  HF_TRY(Record record, take_body(static_cast<RecordType>(header.type.get()), inside));
  HF_CHECK(inside.end());
  bytes = bytes.subspan(length);
  return record;
}

}  // namespace holdfast::pool
