// What a run found, for people and programs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "cli/conformance/case.h"

namespace holdfast::cli::conformance {

struct RunInfo {
  std::string target, subsystem, host_nqn;
  bool destructive = false;
  double seconds = 0;
};

struct Counts {
  std::size_t pass = 0, fail = 0, not_supported = 0, skipped = 0, error = 0;

  void add(Verdict v) noexcept;
  std::size_t total() const noexcept { return pass + fail + not_supported + skipped + error; }
};
Counts count(const std::vector<Outcome>& outcomes) noexcept;

// A text that a target may have put something into: UTF-8, without what steers a terminal.
std::string printable(std::string_view text);
// Everything about the run; the same tree for JSON and YAML.
nlohmann::ordered_json to_tree(const RunInfo& run, const std::vector<Outcome>& outcomes);
// The cases themselves.
nlohmann::ordered_json to_tree(const std::vector<const Case*>& cases);
// One test suite per group, as CI systems read it.
std::string to_junit(const RunInfo& run, const std::vector<Outcome>& outcomes);
// What is not a pass, then a summary by group.
std::string to_text(const RunInfo& run, const std::vector<Outcome>& outcomes);
std::string to_text(const std::vector<const Case*>& cases);

}  // namespace holdfast::cli::conformance
