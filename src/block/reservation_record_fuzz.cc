// Any bytes are reservations that keep their rules, or refused; what was read is written as it was, and the
// state machine takes it. The bytes behind the first 16 are also tried with a checksum that fits.
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/crc32c.h"
#include "block/reservation_record.h"
#include "block/reservation_state.h"

using namespace holdfast;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check(const std::string& bytes) {
  Uuid device;
  if (bytes.size() >= 32) std::memcpy(device.bytes.data(), bytes.data() + 16, 16);
  auto parsed = parse_reservation_record(device, bytes);
  if (!parsed.ok()) return require(parsed.code() == Errc::bad_format && !parsed.error().message().empty());
  require(to_record(device, parsed.value()) == bytes);
  require(ReservationState(parsed.value()).report() == parsed.value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  check(bytes);
  if (bytes.size() < sizeof(ReservationRecordHeader)) return 0;
  std::memset(bytes.data() + 12, 0, 4);
  const le32 crc(crc32c(std::as_bytes(std::span(bytes))));
  std::memcpy(bytes.data() + 12, &crc, 4);
  check(bytes);
  return 0;
}
