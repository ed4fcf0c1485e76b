#include "control/label_changes.h"

#include <fmt/format.h>

#include "control/model/kind.h"

namespace holdfast::control {

Status set_label(Labels& labels, std::string_view whose, const std::string& key, const std::string& value,
                 bool overwrite) {
  HF_CHECK(check_label(key, value));
  const auto known = labels.find(key);
  if (known != labels.end() && known->second != value && !overwrite) {
    return refusal(Kind::failed_precondition,
                   fmt::format("{} has label {}={} already: ask to overwrite it", whose, key, known->second));
  }
  labels[key] = value;
  return Status();
}

Status remove_label(Labels& labels, std::string_view whose, const std::string& key) {
  if (labels.erase(key) > 0) return Status();
  return refusal(Kind::failed_precondition, fmt::format("{} has no label {}", whose, key));
}

}  // namespace holdfast::control
