#include "control/model/validate.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "control/model/kind.h"

namespace holdfast::control {
namespace {

constexpr std::size_t id_chars_max = 63;
constexpr std::size_t nqn_chars_max = 223;  // NVM Express base specification 2.0, 4.5
constexpr std::size_t disks_max = 64;
constexpr std::size_t path_chars_max = 4096;

Error bad(std::string text) { return refusal(Kind::invalid_argument, std::move(text)); }

bool printable(char c) { return c > 0x20 && c < 0x7f; }

bool id_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.';
}

Status check_id(std::string_view what, std::string_view id) {
  if (id.empty() || id.size() > id_chars_max) {
    return bad(fmt::format("{} of {} characters: 1 to {} are allowed", what, id.size(), id_chars_max));
  }
  if (std::all_of(id.begin(), id.end(), id_char) && id != "." && id != "..") return Status();
  return bad(fmt::format("{} '{:.63}' may hold letters, digits, '-', '_' and '.'", what, id));
}

}  // namespace

Status check_node_id(std::string_view id) { return check_id("node id", id); }
Status check_pool_id(std::string_view id) { return check_id("pool id", id); }

Status check_disks(std::string_view pool, const std::vector<std::string>& disks) {
  if (disks.empty()) return bad(fmt::format("pool '{}' needs a disk: give its path or URI in disks", pool));
  if (disks.size() > disks_max) {
    return bad(fmt::format("pool '{}': {} disks, at most {} are allowed", pool, disks.size(), disks_max));
  }
  for (std::size_t i = 0; i < disks.size(); ++i) {
    const std::string& disk = disks[i];
    if (disk.empty() || disk.size() > path_chars_max || !std::all_of(disk.begin(), disk.end(), printable)) {
      return bad(fmt::format("pool '{}': disks[{}] is no path or URI", pool, i));
    }
    if (std::count(disks.begin(), disks.end(), disk) > 1) {
      return bad(fmt::format("pool '{}': disk {} is given twice", pool, disk));
    }
  }
  return Status();
}

Status check_size(std::uint64_t bytes) {
  if (bytes >= volume_bytes_min && bytes <= volume_bytes_max) return Status();
  return bad(
      fmt::format("size of {} bytes: it has to be from {} to {}", bytes, volume_bytes_min, volume_bytes_max));
}

Status check_replica_count(std::uint64_t count) {
  if (count >= 1 && count <= replicas_max) return Status();
  return bad(fmt::format("{} replicas: a volume has from 1 to {}", count, replicas_max));
}

Status check_nqn(std::string_view nqn) {
  // Lists of hosts have commas between them: engines refuse one inside.
  const bool shaped =
      nqn.starts_with("nqn.") && nqn.size() <= nqn_chars_max && nqn.find(',') == std::string_view::npos;
  if (shaped && std::all_of(nqn.begin(), nqn.end(), printable)) return Status();
  return bad(fmt::format("'{:.80}' is no NQN: it begins with nqn., has no comma and at most {} characters",
                         nqn, nqn_chars_max));
}

Status check_nqns(const std::vector<std::string>& nqns) {
  for (const std::string& nqn : nqns) HF_CHECK(check_nqn(nqn));
  return Status();
}

Status check_cordon_label(std::string_view label) {
  const bool sized = !label.empty() && label.size() <= id_chars_max;
  if (sized && std::all_of(label.begin(), label.end(), printable)) return Status();
  return bad(fmt::format("label '{:.63}': 1 to {} printable characters are allowed", label, id_chars_max));
}

Status check_endpoint(std::string_view endpoint) {
  const auto colon = endpoint.rfind(':');
  unsigned port = 0;
  if (colon != std::string_view::npos && colon > 0) {
    const auto* end = endpoint.data() + endpoint.size();
    const auto parsed = std::from_chars(endpoint.data() + colon + 1, end, port);
    const bool whole = parsed.ec == std::errc() && parsed.ptr == end;
    if (whole && port >= 1 && port <= 65535 && std::all_of(endpoint.begin(), endpoint.end(), printable))
      return Status();
  }
  return bad(fmt::format("endpoint '{:.80}' is not host:port", endpoint));
}

}  // namespace holdfast::control
