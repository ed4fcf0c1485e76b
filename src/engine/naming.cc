#include "engine/naming.h"

#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>
#include <openssl/sha.h>

namespace holdfast::engine {
namespace {

bool printable(char c) { return c > 0x20 && c < 0x7f; }

bool fits_in_uri(char c) {
  constexpr std::string_view delimiters = "/?#&%\"'\\<>";
  return printable(c) && delimiters.find(c) == std::string_view::npos;
}

}  // namespace

std::string subsystem_nqn(std::string_view name, const Uuid& uuid) {
  std::string fitting(name.substr(std::min(name.find_first_not_of('/'), name.size())));
  std::replace_if(
      fitting.begin(), fitting.end(), [](char c) { return !fits_in_uri(c); }, '-');
  if (fitting.empty() || fitting.size() > name_bytes_max) fitting = uuid.to_string();
  return fmt::format("{}{}", nqn_prefix, fitting);
}

std::string node_host_nqn(std::string_view node_name) {
  return fmt::format("{}node-name:{}", nqn_prefix, node_name);
}

std::string serial_number(const Uuid& uuid) {
  const std::string text = uuid.to_string();
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  std::string hex;
  for (unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
  // 20 characters in all: the size of the field in Identify Controller.
  return "DCS" + hex.substr(0, 17);
}

std::string share_uri(const Endpoint& at, std::string_view nqn, const Uuid* uuid) {
  std::string uri = fmt::format("nvmf://{}/{}", at.to_string(), nqn);
  if (uuid != nullptr) uri += "?uuid=" + uuid->to_string();
  return uri;
}

std::string local_uri(std::string_view name, const Uuid& uuid) {
  return fmt::format("bdev:///{}?uuid={}", name, uuid.to_string());
}

Status check_name(std::string_view what, std::string_view name) {
  if (name.empty()) return Error(Errc::invalid_argument, fmt::format("{} is empty", what));
  if (name.size() > name_bytes_max) {
    return Error(Errc::invalid_argument,
                 fmt::format("{} has {} bytes, at most {} are allowed", what, name.size(), name_bytes_max));
  }
  if (!std::all_of(name.begin(), name.end(), fits_in_uri)) {
    return Error(Errc::invalid_argument,
                 fmt::format("{} has characters other than letters, digits and simple punctuation", what));
  }
  return Status();
}

Uuid nexus_identity(std::string_view name, const Uuid& nexus) {
  const auto volume = Uuid::parse(name);
  return volume.ok() ? volume.value() : nexus;
}

Status check_host_nqn(std::string_view nqn) {
  // Lists of hosts have commas between them, also where they are kept.
  if (nqn.starts_with("nqn.") && nqn.find(',') != std::string_view::npos) {
    return Error(Errc::invalid_argument,
                 fmt::format("allowed host '{}' has a comma: give each host by itself",
                             nqn.substr(0, nqn.find(',') + 1)));
  }
  if (!nqn.starts_with("nqn.") || nqn.size() > nqn_bytes_max ||
      !std::all_of(nqn.begin(), nqn.end(), printable)) {
    std::string shown;
    for (char c : nqn.substr(0, 40)) shown.push_back(printable(c) ? c : '?');
    return Error(
        Errc::invalid_argument,
        fmt::format("allowed host '{}' is not an NQN: it begins with \"nqn.\" and has at most {} bytes",
                    shown, nqn_bytes_max));
  }
  return Status();
}

}  // namespace holdfast::engine
