// Metrics in Prometheus's text format, as far as this tool reads them: names, labels, values.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::cli {

struct Sample {
  std::string name;
  std::map<std::string, std::string> labels;
  double value = 0;

  std::string label(const std::string& key) const;  // "" when it has none
};

// Lines that are none are left out: a newer server may say more.
std::vector<Sample> parse_metrics(std::string_view text);

}  // namespace holdfast::cli
