#include <algorithm>
#include <array>
#include <cctype>

#include <nlohmann/json.hpp>
#include <yaml-cpp/yaml.h>

#include "base/utf8.h"
#include "cli/tool/output.h"

namespace holdfast::cli {
namespace {

using Tree = nlohmann::ordered_json;

// The emitter quotes what would not parse as one scalar, not what would parse as another type.
bool reads_as_other_type(const std::string& s) {
  if (s.empty()) return true;
  if (std::isdigit(static_cast<unsigned char>(s[0])) != 0 || s[0] == '+' || s[0] == '-' || s[0] == '.')
    return true;
  static constexpr std::array<std::string_view, 9> words = {"true", "false", "yes", "no", "on",
                                                            "off",  "null",  "y",   "n"};
  std::string lower = s;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(words.begin(), words.end(), lower) != words.end();
}

void emit_string(YAML::Emitter& to, const std::string& s) {
  if (reads_as_other_type(s)) to << YAML::DoubleQuoted;
  to << to_utf8(s);
}

void emit(YAML::Emitter& to, const Tree& tree) {
  switch (tree.type()) {
    case Tree::value_t::object:
      if (tree.empty()) to << YAML::Flow;
      to << YAML::BeginMap;
      for (const auto& [key, value] : tree.items()) {
        to << YAML::Key;
        emit_string(to, key);
        to << YAML::Value;
        emit(to, value);
      }
      to << YAML::EndMap;
      break;
    case Tree::value_t::array:
      if (tree.empty()) to << YAML::Flow;
      to << YAML::BeginSeq;
      for (const auto& value : tree) emit(to, value);
      to << YAML::EndSeq;
      break;
    case Tree::value_t::string:
      emit_string(to, tree.get_ref<const std::string&>());
      break;
    case Tree::value_t::boolean:
    case Tree::value_t::number_integer:
    case Tree::value_t::number_unsigned:
    case Tree::value_t::number_float:
      to << tree.dump();
      break;
    case Tree::value_t::null:
    case Tree::value_t::binary:
    case Tree::value_t::discarded:
      to << YAML::Null;
      break;
  }
}

}  // namespace

std::string to_yaml(const nlohmann::ordered_json& tree) {
  YAML::Emitter to;
  emit(to, tree);
  return std::string(to.c_str()) + "\n";
}

}  // namespace holdfast::cli
