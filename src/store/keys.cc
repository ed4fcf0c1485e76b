#include "store/keys.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace holdfast::store {
namespace {

constexpr std::size_t name_bytes_max = 63;

bool is_plain(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.';
}

}  // namespace

Result<Keys> Keys::of_cluster(std::string_view cluster) {
  const bool fits = !cluster.empty() && cluster.size() <= name_bytes_max &&
                    std::all_of(cluster.begin(), cluster.end(), is_plain) && cluster != "." &&
                    cluster != "..";
  if (!fits) {
    return Error(Errc::invalid_argument,
                 fmt::format("'{}' is not a cluster's name: give 1 to {} letters, digits, '-', '_' or '.'",
                             cluster.substr(0, name_bytes_max), name_bytes_max));
  }
  return Keys(std::string(cluster));
}

Keys::Keys(std::string cluster)
    : cluster_(std::move(cluster)), prefix_("/holdfast/v1/clusters/" + cluster_ + "/") {}

std::string Keys::kind_prefix(std::string_view kind) const { return fmt::format("{}{}/", prefix_, kind); }

std::string Keys::key(std::string_view kind, std::string_view id) const {
  return fmt::format("{}{}/{}", prefix_, kind, id);
}

bool Keys::is_membership(std::string_view key) const noexcept {
  constexpr std::string_view kind = "volume/";
  return key.starts_with(prefix_) && key.substr(prefix_.size()).starts_with(kind) &&
         key.ends_with("/membership");
}

std::string_view Keys::id_of(std::string_view kind, std::string_view key) const noexcept {
  std::string_view rest = key;
  const auto skip = [&rest](std::string_view part) {
    const bool there = rest.substr(0, part.size()) == part;
    if (there) rest.remove_prefix(part.size());
    return there;
  };
  const bool is_one = skip(prefix_) && skip(kind) && skip("/") && rest.find('/') == std::string_view::npos;
  return is_one ? rest : std::string_view();
}

}  // namespace holdfast::store
