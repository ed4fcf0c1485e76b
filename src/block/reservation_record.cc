#include "block/reservation_record.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "base/crc32c.h"
#include "block/reservation_state.h"

namespace holdfast {
namespace {

using Header = ReservationRecordHeader;
using Entry = ReservationRecordEntry;

Error bad(const char* why) {
  return Error(Errc::bad_format, std::string("the record of reservations is damaged: ") + why);
}

std::span<const std::byte> as_span(std::string_view text) { return std::as_bytes(std::span(text)); }

std::uint32_t checksum(Header header, std::string_view entries) {
  header.crc32c = 0;
  Crc32c crc;
  crc.update(bytes_of(header));
  crc.update(as_span(entries));
  return crc.value();
}

bool is_zero(std::span<const std::uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t b) { return b == 0; });
}

template <Wire T>
void append(std::string& to, const T& t) {
  const auto bytes = bytes_of(t);
  to.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

// The entries agree with each other and with the type.
Status check_rules(const ReservationReport& state) {
  std::size_t holders = 0;
  for (std::size_t i = 0; i < state.registrants.size(); ++i) {
    const Registrant& r = state.registrants[i];
    if (r.host.is_nil() || r.key == 0) return bad("a registrant without identifier or key");
    for (std::size_t k = 0; k < i; ++k) {
      if (state.registrants[k].host == r.host) return bad("a host is registered twice");
    }
    holders += r.holder ? 1 : 0;
  }
  const bool all = is_all_registrants(state.type);
  const std::size_t expected = all ? state.registrants.size() : state.type == ReservationType::none ? 0 : 1;
  if (holders != expected || (all && holders == 0)) return bad("the holders do not fit the type");
  return Status();
}

}  // namespace

std::string to_record(const Uuid& device, const ReservationReport& state) {
  std::string entries;
  for (const Registrant& r : state.registrants) {
    Entry entry{};
    std::memcpy(entry.host, r.host.bytes.data(), sizeof entry.host);
    entry.key = r.key;
    entry.flags = r.holder ? Entry::flag_holder : 0;
    append(entries, entry);
  }
  Header header{};
  header.magic = Header::magic_value;
  header.version = Header::version_value;
  std::memcpy(header.uuid, device.bytes.data(), sizeof header.uuid);
  header.generation = state.generation;
  header.registrants = static_cast<std::uint32_t>(state.registrants.size());
  header.type = static_cast<std::uint8_t>(state.type);
  header.crc32c = checksum(header, entries);
  std::string record;
  append(record, header);
  return record + entries;
}

Result<ReservationReport> parse_reservation_record(const Uuid& device, std::string_view record) {
  if (record.size() < sizeof(Header)) return bad("it is too short");
  const auto header = load<Header>(as_span(record));
  if (header.magic != Header::magic_value) return bad("it does not begin as one");
  if (header.version != Header::version_value) return bad("its version is not known to this engine");
  const std::string_view entries = record.substr(sizeof(Header));
  const std::size_t count = header.registrants.get();
  if (count > ReservationState::registrants_max || entries.size() != count * sizeof(Entry)) {
    return bad("its length does not fit");
  }
  if (header.crc32c != checksum(header, entries)) return bad("its checksum does not match");
  if (std::memcmp(header.uuid, device.bytes.data(), sizeof header.uuid) != 0) {
    return bad("it belongs to another device");
  }
  if (!is_zero(header.rsvd)) return bad("reserved bytes are set");
  ReservationReport state;
  state.generation = header.generation;
  state.type = static_cast<ReservationType>(header.type);
  state.persists = true;
  if (state.type != ReservationType::none && !is_valid(state.type)) return bad("its type does not exist");
  for (std::size_t i = 0; i < count; ++i) {
    const auto entry = load<Entry>(as_span(entries).subspan(i * sizeof(Entry)));
    if (!is_zero(entry.rsvd) || entry.flags > Entry::flag_holder) return bad("reserved bytes are set");
    Registrant r;
    std::memcpy(r.host.bytes.data(), entry.host, sizeof entry.host);
    r.key = entry.key;
    r.holder = entry.flags == Entry::flag_holder;
    state.registrants.push_back(r);
  }
  HF_CHECK(check_rules(state));
  return state;
}

}  // namespace holdfast
