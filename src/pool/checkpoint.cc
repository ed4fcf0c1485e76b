#include "pool/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "base/crc32c.h"
#include "base/zeroes.h"
#include "block/leaf_device.h"
#include "pool/codec.h"
#include "pool/format.h"

namespace holdfast::pool {
namespace {

using Header = wire::ImagePieceHeader;

std::uint32_t checksum(Header header, std::span<const std::byte> payload) {
  header.crc32c = 0;
  Crc32c crc;
  crc.update(bytes_of(header));
  crc.update(payload);
  return crc.value();
}

// Writes pieces one after the other. The payload of the next one is fetched before a piece is written: a piece
// says where the next one lies, if there is one.
class Writer {
 public:
  Writer(Reactor& home, DiskSet& disks, const ImageIdentity& identity, const ImageSource& source,
         const ImageClusters& clusters, std::vector<Cluster>& taken)
      : home_(home),
        disks_(disks),
        identity_(identity),
        source_(source),
        clusters_(clusters),
        taken_(taken),
        present_(home, wire::image_piece_bytes),
        next_(home, wire::image_piece_bytes) {}

  Task<Result<Root>> run() {
    root_.sequence = identity_.mark.sequence;
    root_.journal_position = identity_.mark.position;
    HF_CO_CHECK(take_cluster());
    const Cluster first = taken_.back();
    root_.first = DiskCluster{disks_.locate(first).disk, disks_.disk_cluster(first)};
    std::size_t size = co_await fetch(present_);
    for (bool more = true; more;) {
      const std::size_t next_size = co_await fetch(next_);
      more = next_size > 0;
      HF_CO_CHECK(co_await put(size, more));
      std::copy_n(next_.data() + sizeof(Header), next_size, present_.data() + sizeof(Header));
      size = next_size;
    }
    root_.image_crc32c = crc_.value();
    Status flushed = co_await disks_.flush(home_.core());
    if (!flushed.ok()) co_return flushed.error().with_context("flushing the checkpoint");
    co_return root_;
  }

 private:
  Status take_cluster() {
    const std::optional<Cluster> cluster = clusters_();
    if (!cluster) return Error(Errc::out_of_space, "no free cluster for a checkpoint");
    taken_.push_back(*cluster);
    offset_ = 0;
    return Status();
  }
  // Less than a whole payload: the image has ended. A turn has one piece at most: not every disk makes a write wait.
  Task<std::size_t> fetch(const ScratchBuffer& into) {
    const std::span<std::byte> payload(into.data() + sizeof(Header), wire::image_payload_max);
    std::size_t size = 0;
    do {
      co_await home_.yield();
      size += source_.next(payload.subspan(size));
    } while (size < payload.size() && !source_.done());
    crc_.update(payload.first(size));
    co_return size;
  }
  Task<Status> put(std::size_t size, bool more) {
    Header header{};
    header.magic = Header::magic_value;
    header.index = root_.pieces;
    header.sequence = identity_.mark.sequence;
    header.payload_bytes = static_cast<std::uint32_t>(size);
    std::memcpy(header.instance, identity_.instance.bytes.data(), sizeof header.instance);
    const DiskPlace place = disks_.locate(taken_.back(), offset_);
    offset_ += wire::image_piece_bytes;
    if (more && offset_ == disks_.cluster_bytes()) {
      HF_CO_CHECK(take_cluster());
      header.next_disk = disks_.locate(taken_.back()).disk;
      header.next_cluster = disks_.disk_cluster(taken_.back());
    }
    const std::span<std::byte> bytes(present_.data(), round_up(sizeof header + size, block_bytes));
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(sizeof header + size), bytes.end(), std::byte{0});
    header.crc32c = checksum(header, bytes.subspan(sizeof header, size));
    store(bytes, header);
    const IoVec vec{bytes.data(), bytes.size()};
    DiskPort& port = disks_.port(home_.core(), place.disk);
    const Status written = co_await port.write(place.offset, IoVecs(&vec, 1), Durable::no);
    if (!written.ok()) co_return port.disk().explain(written.error(), "writing a checkpoint");
    ++root_.pieces;
    root_.image_bytes += size;
    co_return Status();
  }

  Reactor& home_;
  DiskSet& disks_;
  const ImageIdentity& identity_;
  const ImageSource& source_;
  const ImageClusters& clusters_;
  std::vector<Cluster>& taken_;
  const ScratchBuffer present_;
  const ScratchBuffer next_;
  std::uint32_t offset_ = 0;  // in the cluster taken last
  Root root_;
  Crc32c crc_;
};

class Reader {
 public:
  Reader(Reactor& home, const DiskOfIndex& disks, const Superblock& superblock, const ImageSink& sink)
      : disks_(disks), superblock_(superblock), sink_(sink), buffer_(home, wire::image_piece_bytes) {}

  Task<Result<std::vector<DiskCluster>>> run() {
    const Root& root = superblock_.root;
    HF_CO_CHECK(enter(root.first));
    std::uint64_t left = root.image_bytes;
    for (std::uint32_t index = 0; index < root.pieces; ++index) {
      const std::uint64_t size = std::min<std::uint64_t>(left, wire::image_payload_max);
      left -= size;
      HF_CO_CHECK(co_await read_piece(index, static_cast<std::uint32_t>(size)));
    }
    if (crc_.value() != root.image_crc32c) co_return bad(0, "its checksum as a whole does not match");
    co_return std::move(clusters_);
  }

 private:
  Error bad(std::uint32_t index, const std::string& why) const {
    return Error(Errc::bad_format, "pool '" + superblock_.name + "': the checkpoint is damaged in piece " +
                                       std::to_string(index) + ": " + why);
  }
  Status enter(DiskCluster cluster) {
    Disk* disk = disks_(cluster.disk);
    if (disk == nullptr) {
      return Error(Errc::failed_precondition, "pool '" + superblock_.name + "': disk " +
                                                  std::to_string(cluster.disk) +
                                                  ", on which the checkpoint lies, is missing");
    }
    const std::uint64_t size = superblock_.cluster_bytes;
    const std::uint64_t offset = disk->data_offset() + cluster.cluster * size;
    const auto index = static_cast<std::uint32_t>(clusters_.size());
    if (offset + size > disk->size_bytes()) return bad(index, "it lies beyond the end of its disk");
    if (!entered_.insert(cluster).second) return bad(index, "a cluster has two pieces of it");
    clusters_.push_back(cluster);
    disk_ = disk;
    offset_ = offset;
    end_ = offset + size;
    return Status();
  }
  Task<Status> read_piece(std::uint32_t index, std::uint32_t size) {
    const std::uint64_t length = round_up(sizeof(Header) + size, block_bytes);
    const IoVec vec{buffer_.data(), length};
    const Status read = co_await disk_->home().read(offset_, IoVecs(&vec, 1));
    if (!read.ok()) co_return disk_->explain(read.error(), "reading the checkpoint");
    const std::span<const std::byte> bytes(buffer_.data(), length);
    const auto header = load<Header>(bytes);
    const std::span<const std::byte> payload = bytes.subspan(sizeof header, size);
    if (header.magic != Header::magic_value) co_return bad(index, "it does not begin as one");
    if (header.payload_bytes != size || header.crc32c != checksum(header, payload))
      co_return bad(index, "its checksum does not match");
    if (header.index != index || header.sequence != superblock_.root.sequence ||
        std::memcmp(header.instance, superblock_.instance.bytes.data(), sizeof header.instance) != 0) {
      co_return bad(index, "it is of another checkpoint");
    }
    const bool leads_on = offset_ + wire::image_piece_bytes == end_ && index + 1 < superblock_.root.pieces;
    if (!is_zero(header.rsvd)) co_return bad(index, "reserved bytes are set");
    if (!leads_on && (header.next_disk != 0 || header.next_cluster != 0))
      co_return bad(index, "it leads on although it is not the last one of its cluster");
    crc_.update(payload);
    HF_CO_CHECK(sink_(payload));
    offset_ += wire::image_piece_bytes;
    if (!leads_on) co_return Status();
    co_return enter(DiskCluster{header.next_disk, header.next_cluster});
  }

  const DiskOfIndex& disks_;
  const Superblock& superblock_;
  const ImageSink& sink_;
  const ScratchBuffer buffer_;
  Disk* disk_ = nullptr;
  std::uint64_t offset_ = 0;  // of the next piece on it
  std::uint64_t end_ = 0;     // of its cluster
  std::vector<DiskCluster> clusters_;
  std::set<DiskCluster> entered_;
  Crc32c crc_;
};

}  // namespace

Task<Result<Root>> write_image(Reactor& home, DiskSet& disks, ImageIdentity identity, ImageSource source,
                               ImageClusters clusters, std::vector<Cluster>& taken) {
  Writer writer(home, disks, identity, source, clusters, taken);
  co_return co_await writer.run();
}

Task<Result<std::vector<DiskCluster>>> read_image(Reactor& home, DiskOfIndex disks, Superblock superblock,
                                                  ImageSink sink) {
  Reader reader(home, disks, superblock, sink);
  co_return co_await reader.run();
}

}  // namespace holdfast::pool
