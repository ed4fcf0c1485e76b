#include "nvme/vendor.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "nvme/errc_status.h"

namespace holdfast::nvme {
namespace {

struct OwnStatus {
  std::uint16_t code;
  Errc errc;
};
constexpr OwnStatus own[] = {
    {0x701, Errc::already_exists}, {0x702, Errc::failed_precondition}, {0x703, Errc::bad_format}};

Error bad(const char* what) {
  return Error(Errc::invalid_argument, std::string("snapshot request: ") + what);
}

void append(std::vector<std::byte>& to, std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  to.insert(to.end(), bytes.begin(), bytes.end());
}
template <Wire T>
void append(std::vector<std::byte>& to, const T& t) {
  const auto bytes = bytes_of(t);
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// Takes from the front of `data`; false when there is less.
template <Wire T>
bool take(std::span<const std::byte>& data, T& out) noexcept {
  if (data.size() < sizeof(T)) return false;
  out = load<T>(data);
  data = data.subspan(sizeof(T));
  return true;
}
bool take(std::span<const std::byte>& data, std::size_t bytes, std::string& out) {
  if (data.size() < bytes) return false;
  out.resize(bytes);
  if (bytes > 0) std::memcpy(out.data(), data.data(), bytes);
  data = data.subspan(bytes);
  return true;
}

}  // namespace

Result<std::vector<std::byte>> encode(const SnapshotData& snapshot) {
  constexpr std::size_t u16_max = std::numeric_limits<std::uint16_t>::max();
  if (snapshot.name.size() > u16_max || snapshot.attributes.size() > u16_max)
    return bad("the name is too long, or there are too many attributes");
  SnapshotHeader header{};
  std::memcpy(header.uuid, snapshot.uuid.bytes.data(), sizeof header.uuid);
  header.name_bytes = static_cast<std::uint16_t>(snapshot.name.size());
  header.attributes = static_cast<std::uint16_t>(snapshot.attributes.size());
  std::vector<std::byte> data;
  append(data, header);
  append(data, snapshot.name);
  for (const auto& [key, value] : snapshot.attributes) {
    if (key.size() > u16_max || value.size() > vendor_data_bytes_max) return bad("an attribute is too long");
    AttributeHeader attribute{};
    attribute.key_bytes = static_cast<std::uint16_t>(key.size());
    attribute.value_bytes = static_cast<std::uint32_t>(value.size());
    append(data, attribute);
    append(data, key);
    append(data, value);
  }
  data.resize((data.size() + 3) / 4 * 4);
  if (data.size() > vendor_data_bytes_max) return bad("name and attributes have more than 128 KiB");
  return data;
}

Result<SnapshotData> parse_snapshot(std::span<const std::byte> data) {
  SnapshotHeader header{};
  SnapshotData out;
  if (!take(data, header)) return bad("it ends within its header");
  if (header.rsvd20.get() != 0) return bad("reserved bytes of the header are not zero");
  std::memcpy(out.uuid.bytes.data(), header.uuid, sizeof header.uuid);
  if (!take(data, header.name_bytes.get(), out.name)) return bad("it ends within the name");
  for (unsigned i = 0; i < header.attributes.get(); ++i) {
    AttributeHeader attribute{};
    std::string key, value;
    if (!take(data, attribute) || !take(data, attribute.key_bytes.get(), key) ||
        !take(data, attribute.value_bytes.get(), value))
      return bad("it ends within an attribute");
    if (attribute.rsvd2.get() != 0) return bad("reserved bytes of an attribute are not zero");
    if (!out.attributes.emplace(std::move(key), std::move(value)).second)
      return bad("an attribute is there twice");
  }
  const bool padded =
      data.size() < 4 && std::all_of(data.begin(), data.end(), [](std::byte b) { return b == std::byte{0}; });
  if (!padded) return bad("something follows the last attribute");
  return out;
}

CommandStatus vendor_status(Errc code) noexcept {
  for (const OwnStatus& s : own) {
    if (s.errc == code) return permanent(static_cast<StatusCode>(s.code));
  }
  return to_nvme(code, IoKind::other);
}

Errc vendor_errc(const CommandStatus& status) noexcept {
  for (const OwnStatus& s : own) {
    if (static_cast<StatusCode>(s.code) == status.code) return s.errc;
  }
  return to_errc(status);
}

}  // namespace holdfast::nvme
