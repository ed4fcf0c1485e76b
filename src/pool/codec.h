// What records and images have in common: reading bytes that may be anything, and volumes, disks and segments as
// bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/endian.h"
#include "base/error.h"
#include "pool/record_format.h"
#include "pool/types.h"

namespace holdfast::pool {

// Takes values off the front of some bytes. Errors: bad_format, saying what and at which byte.
class ByteReader {
 public:
  // `what` is a literal, for the texts.
  ByteReader(std::span<const std::byte> bytes, const char* what) : bytes_(bytes), what_(what) {}

  std::size_t offset() const noexcept { return offset_; }
  std::size_t left() const noexcept { return bytes_.size() - offset_; }
  template <Wire T>
  Result<T> take() {
    if (left() < sizeof(T)) return bad("it ends too early");
    const T t = load<T>(bytes_.subspan(offset_));
    offset_ += sizeof(T);
    return t;
  }
  Result<std::span<const std::byte>> bytes(std::size_t count);
  // Without control characters.
  Result<std::string> text(std::size_t bytes_min, std::size_t bytes, std::size_t bytes_max);
  Status end() const { return left() == 0 ? Status() : Status(bad("bytes are left behind it")); }
  Error bad(const char* why) const;

 private:
  std::span<const std::byte> bytes_;
  const char* what_;
  std::size_t offset_ = 0;
};

template <Wire T>
void put(std::vector<std::byte>& to, const T& value) {
  const std::span<const std::byte> bytes = bytes_of(value);
  to.insert(to.end(), bytes.begin(), bytes.end());
}
void put(std::vector<std::byte>& to, std::string_view text);
// Begins an item, whose length end_item() fills in. Gives what end_item() wants.
std::size_t begin_item(std::vector<std::byte>& to, std::uint16_t type);
void end_item(std::vector<std::byte>& to, std::size_t begun);

void put_spec(std::vector<std::byte>& to, const VolumeSpec& spec);
void put_disk(std::vector<std::byte>& to, const DiskRecord& disk);
void put_segment(std::vector<std::byte>& to, const Segment& segment);
void put_attributes(std::vector<std::byte>& to, const Attributes& attributes);

// All that can be checked without the pool is checked.
Result<VolumeSpec> take_spec(ByteReader& from);
Result<DiskRecord> take_disk(ByteReader& from);
Result<Segment> take_segment(ByteReader& from);
// Values of 0 bytes only where `may_erase`.
Result<Attributes> take_attributes(ByteReader& from, std::uint32_t count, bool may_erase);

}  // namespace holdfast::pool
