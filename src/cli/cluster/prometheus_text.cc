#include "cli/cluster/prometheus_text.h"

#include <cmath>
#include <cstdlib>
#include <optional>

namespace holdfast::cli {
namespace {

bool is_blank(char c) noexcept { return c == ' ' || c == '\t' || c == '\r'; }

void skip_blanks(std::string_view& line) noexcept {
  while (!line.empty() && is_blank(line.front())) line.remove_prefix(1);
}

// A quoted value, taken from the front. Nothing when it does not end.
std::optional<std::string> take_quoted(std::string_view& line) {
  if (!line.starts_with('"')) return std::nullopt;
  std::string value;
  for (std::size_t i = 1; i < line.size(); ++i) {
    if (line[i] == '"') {
      line.remove_prefix(i + 1);
      return value;
    }
    if (line[i] != '\\' || i + 1 == line.size()) {
      value += line[i];
      continue;
    }
    ++i;
    value += line[i] == 'n' ? '\n' : line[i];
  }
  return std::nullopt;
}

bool take_labels(std::string_view& line, std::map<std::string, std::string>& labels) {
  line.remove_prefix(1);
  for (;;) {
    skip_blanks(line);
    if (line.starts_with('}')) {
      line.remove_prefix(1);
      return true;
    }
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) return false;
    std::string key(line.substr(0, equals));
    while (!key.empty() && is_blank(key.back())) key.pop_back();
    line.remove_prefix(equals + 1);
    skip_blanks(line);
    auto value = take_quoted(line);
    if (!value) return false;
    labels[std::move(key)] = std::move(*value);
    skip_blanks(line);
    if (line.starts_with(',')) line.remove_prefix(1);
  }
}

std::optional<Sample> parse_line(std::string_view line) {
  skip_blanks(line);
  if (line.empty() || line.starts_with('#')) return std::nullopt;
  const auto name_end = line.find_first_of("{ \t");
  if (name_end == 0 || name_end == std::string_view::npos) return std::nullopt;
  Sample sample;
  sample.name = line.substr(0, name_end);
  line.remove_prefix(name_end);
  skip_blanks(line);
  if (line.starts_with('{') && !take_labels(line, sample.labels)) return std::nullopt;
  skip_blanks(line);
  const std::string value(line.substr(0, line.find_first_of(" \t\r")));
  char* end = nullptr;
  sample.value = std::strtod(value.c_str(), &end);
  if (end == value.c_str() || !std::isfinite(sample.value)) return std::nullopt;
  return sample;
}

}  // namespace

std::string Sample::label(const std::string& key) const {
  const auto found = labels.find(key);
  return found == labels.end() ? std::string() : found->second;
}

std::vector<Sample> parse_metrics(std::string_view text) {
  std::vector<Sample> samples;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    if (auto sample = parse_line(text.substr(0, end))) samples.push_back(std::move(*sample));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return samples;
}

}  // namespace holdfast::cli
