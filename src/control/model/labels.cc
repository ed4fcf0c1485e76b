#include "control/model/labels.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "control/model/kind.h"

namespace holdfast::control {
namespace {

constexpr std::size_t label_chars_max = 63;

bool alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

Error bad(std::string text) { return refusal(Kind::invalid_argument, std::move(text)); }

Status check_text(std::string_view what, std::string_view text, std::string_view inside) {
  if (text.size() > label_chars_max) {
    return bad(
        fmt::format("label {} of {} characters: at most {} are allowed", what, text.size(), label_chars_max));
  }
  if (!alphanumeric(text.front()) || !alphanumeric(text.back())) {
    return bad(fmt::format("label {} '{}' has to begin and end with a letter or digit", what, text));
  }
  const auto allowed = [&](char c) { return alphanumeric(c) || inside.find(c) != std::string_view::npos; };
  if (!std::all_of(text.begin(), text.end(), allowed)) {
    return bad(fmt::format("label {} '{}' may hold letters, digits and '{}'", what, text, inside));
  }
  return Status();
}

Status check_labelled(const LabelledTopology& topology) {
  HF_CHECK(check_labels(topology.inclusion));
  HF_CHECK(check_labels(topology.exclusion));
  for (const auto& key : topology.affinity) HF_CHECK(check_label(key, ""));
  return Status();
}

}  // namespace

Status check_label(std::string_view key, std::string_view value) {
  if (key.empty()) return bad("a label needs a key: give key=value");
  HF_CHECK(check_text("key", key, "-_./"));
  if (std::count(key.begin(), key.end(), '/') > 1)
    return bad(fmt::format("label key '{}' has more than one '/'", key));
  if (value.empty()) return Status();
  return check_text("value", value, "-_.");
}

Status check_labels(const Labels& labels) {
  for (const auto& [key, value] : labels) HF_CHECK(check_label(key, value));
  return Status();
}

Status check_topology(const Topology& topology) {
  if (topology.nodes) HF_CHECK(check_labelled(*topology.nodes));
  if (topology.pools) HF_CHECK(check_labelled(*topology.pools));
  return Status();
}

std::optional<std::string> mismatch(const LabelledTopology& wanted, const Labels& labels) {
  for (const auto& [key, value] : wanted.inclusion) {
    const auto found = labels.find(key);
    if (found == labels.end()) return fmt::format("label {} is missing", key);
    if (!value.empty() && found->second != value) {
      return fmt::format("label {} is '{}', not '{}'", key, found->second, value);
    }
  }
  for (const auto& [key, value] : wanted.exclusion) {
    if (!labels.contains(key)) return fmt::format("label {} to spread over is missing", key);
  }
  for (const auto& key : wanted.affinity) {
    if (!labels.contains(key)) return fmt::format("label {} to share is missing", key);
  }
  return std::nullopt;
}

}  // namespace holdfast::control
