// Any bytes where a checkpoint should be are a state that keeps its rules, or refused. They are tried as pieces, as
// an image in pieces that fit, and as pieces whose checksums fit.
#include <cstdlib>
#include <cstring>

#include "base/crc32c.h"
#include "pool/checkpoint.h"
#include "pool/image.h"
#include "pool/invariants.h"
#include "pool/testing/fuzz_disk.h"

using namespace holdfast;
using namespace holdfast::pool;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

Superblock superblock_of(std::size_t image_bytes, std::uint32_t crc) {
  Superblock s;
  s.cluster_bytes = cluster_bytes_min;
  s.name = "p";
  const auto pieces = (image_bytes + wire::image_payload_max - 1) / wire::image_payload_max;
  s.root = Root{7, 0, image_bytes, crc, static_cast<std::uint32_t>(pieces), {0, 0}};
  return s;
}

void check(testing_support::FuzzDisk& fuzz, std::vector<std::byte> bytes, const Superblock& superblock) {
  fuzz.fill(MiB, std::move(bytes));
  ImageReader reader;
  ImageSink sink = [&](std::span<const std::byte> payload) { return reader.feed(payload); };
  DiskOfIndex disks = [&](std::uint16_t index) { return index == 0 ? &fuzz.disk() : nullptr; };
  const auto read = fuzz.run(read_image(fuzz.home(), std::move(disks), superblock, std::move(sink)));
  if (!read.ok()) return require(read.code() == Errc::bad_format || read.code() == Errc::failed_precondition);
  const auto state = reader.finish();
  if (!state.ok()) return require(state.code() == Errc::bad_format);
  require(check_invariants(*state.value()).empty());
}

// With a right checksum.
std::vector<std::byte> piece_of(wire::ImagePieceHeader header, std::span<const std::byte> payload) {
  header.crc32c = 0;
  Crc32c crc;
  crc.update(bytes_of(header));
  crc.update(payload);
  header.crc32c = crc.value();
  std::vector<std::byte> piece(sizeof header + payload.size());
  store(std::span(piece), header);
  std::memcpy(piece.data() + sizeof header, payload.data(), payload.size());
  return piece;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static testing_support::FuzzDisk& fuzz = *new testing_support::FuzzDisk;  // the process ends with it
  fuzz.disk().become(0, Uuid(), MiB);
  size = std::min<std::size_t>(size, wire::image_payload_max);
  if (size == 0) return 0;
  std::vector<std::byte> bytes(size);
  std::memcpy(bytes.data(), data, size);
  const Superblock superblock = superblock_of(size, crc32c(bytes));
  check(fuzz, bytes, superblock);
  wire::ImagePieceHeader header{};
  header.magic = wire::ImagePieceHeader::magic_value;
  header.sequence = superblock.root.sequence;
  header.payload_bytes = static_cast<std::uint32_t>(size);
  check(fuzz, piece_of(header, bytes), superblock);
  // A header that is the input's as well.
  if (size <= sizeof header) return 0;
  header = load<wire::ImagePieceHeader>(bytes);
  header.magic = wire::ImagePieceHeader::magic_value;
  const auto payload = std::span(bytes).subspan(sizeof header);
  check(fuzz, piece_of(header, payload), superblock_of(payload.size(), crc32c(payload)));
  return 0;
}
