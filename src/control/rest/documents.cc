#include "control/rest/documents.h"

#include <string_view>

#include <yaml-cpp/yaml.h>

#include "base/units.h"
#include "control/rest/json_reader.h"

namespace holdfast::control::rest {

// Made by the build from the files (CMakeLists.txt).
extern const std::string_view embedded_openapi;
extern const std::string_view embedded_page;

namespace {

// YAML 1.2's JSON schema, as far as the file needs it.
Json scalar_json(const YAML::Node& node) {
  const std::string& text = node.Scalar();
  const bool quoted = node.Tag() == "!";
  if (quoted) return text;
  if (text == "true" || text == "false") return text == "true";
  if (text == "null" || text == "~" || text.empty()) return nullptr;
  const auto number = parse_number(text);
  if (number.ok()) return number.value();
  return text;
}

Json to_json(const YAML::Node& node) {
  if (node.IsMap()) {
    Json json = Json::object();
    for (const auto& pair : node) json[pair.first.Scalar()] = to_json(pair.second);
    return json;
  }
  if (node.IsSequence()) {
    Json json = Json::array();
    for (const auto& one : node) json.push_back(to_json(one));
    return json;
  }
  return node.IsScalar() ? scalar_json(node) : Json(nullptr);
}

}  // namespace

const std::string& openapi_yaml() {
  static const std::string text(embedded_openapi);
  return text;
}

const std::string& openapi_json() {
  static const std::string text = to_text(to_json(YAML::Load(openapi_yaml())));
  return text;
}

std::set<std::string> operations_with_query() {
  std::set<std::string> found;
  const Json description = Json::parse(openapi_json());
  for (const auto& [path, methods] : description["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      if (method == "parameters") continue;
      // Those of a path stand before all methods: what an operation has of its own is in the query.
      if (operation.contains("parameters")) found.insert(operation["operationId"].get<std::string>());
    }
  }
  return found;
}

const std::string& documentation_page() {
  static const std::string text(embedded_page);
  return text;
}

}  // namespace holdfast::control::rest
