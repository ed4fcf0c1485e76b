// Any bytes are a superblock that keeps its rules, or refused; what was read is written as it was. The bytes are
// tried as they are, and with the magic and a checksum that fit.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/crc32c.h"
#include "pool/superblock.h"

using namespace holdfast;
using namespace holdfast::pool;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check(std::span<const std::byte> bytes) {
  for (unsigned copy : {0u, 1u}) {
    const auto parsed = parse_superblock(bytes, copy);
    if (!parsed.ok()) {
      require(parsed.code() == Errc::bad_format || parsed.code() == Errc::not_supported ||
              parsed.code() == Errc::not_found);
      continue;
    }
    const Superblock& s = parsed.value();
    require(!s.name.empty() && s.cluster_bytes >= cluster_bytes_min && s.data_offset <= s.disk_bytes);
    std::vector<std::byte> again(wire::superblock_bytes);
    encode(s, copy, again);
    require(std::memcmp(again.data(), bytes.data(), again.size()) == 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::byte> bytes(wire::superblock_bytes);
  std::memcpy(bytes.data(), data, std::min(size, bytes.size()));
  check(bytes);
  auto w = load<wire::Superblock>(bytes);
  w.magic = wire::Superblock::magic_value;
  w.version = wire::format_version;
  w.crc32c = 0;
  w.crc32c = crc32c(bytes_of(w));
  check(bytes_of(w));
  return 0;
}
