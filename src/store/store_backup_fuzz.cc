// A backup file: whatever the bytes, decoding gives a backup that encodes to them, or bad_format.
#include <cstdint>
#include <span>
#include <string>

#include "base/assert.h"
#include "base/crc32c.h"
#include "store/backup.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto check = [](const std::string& text) {
    const auto backup = store::decode_backup(text);
    if (backup.ok()) {
      HF_ASSERT(store::encode(backup.value()) == text);
    } else {
      HF_ASSERT(backup.code() == Errc::bad_format);
    }
  };
  check(bytes);
  // With the right checksum what lies behind it is reached.
  const std::uint32_t sum = crc32c(std::as_bytes(std::span(bytes)));
  for (int i = 0; i < 4; ++i) bytes.push_back(static_cast<char>((sum >> (8 * i)) & 0xff));
  check(bytes);
  return 0;
}
