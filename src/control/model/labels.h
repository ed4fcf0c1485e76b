// Labels of nodes, pools and volumes, and the topology that a volume asks for.
//
// All constraints of a topology hold together, and hold again for every replica that is added later.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace holdfast::control {

using Labels = std::map<std::string, std::string>;

struct LabelledTopology {
  Labels exclusion;                   // spread: no two replicas where a key has the same value
  Labels inclusion;                   // has the key with that value; an empty value stands for any
  std::vector<std::string> affinity;  // keys whose value all replicas share
  bool operator==(const LabelledTopology&) const = default;
};

struct ExplicitTopology {
  std::vector<std::string> allowed_nodes;    // none: every node
  std::vector<std::string> preferred_nodes;  // before others, if they will do
  bool operator==(const ExplicitTopology&) const = default;
};

struct Topology {
  std::optional<ExplicitTopology> explicit_nodes;
  std::optional<LabelledTopology> nodes;
  std::optional<LabelledTopology> pools;
  bool operator==(const Topology&) const = default;
};

// A key: at most 63 characters, letters and digits at its ends, [-_./] between them, at most one slash. A value: the
// same without a slash, or empty. Errors: InvalidArgument, saying which rule.
Status check_label(std::string_view key, std::string_view value);
Status check_labels(const Labels& labels);
Status check_topology(const Topology& topology);

// Why `labels` are not what is asked for: "label zone=a is missing", "label zone is b, not a"; nothing when they are.
// Exclusion and affinity keys have to be there; their values are compared by the scheduler.
std::optional<std::string> mismatch(const LabelledTopology& wanted, const Labels& labels);

}  // namespace holdfast::control
