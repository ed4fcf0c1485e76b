#include "control/rest/testing/schema.h"

#include <algorithm>

#include "base/uuid.h"
#include "control/rest/documents.h"

namespace holdfast::control::rest::testing {
namespace {

bool is_timestamp(const std::string& text) {
  constexpr std::string_view shape = "dddd-dd-ddTdd:dd:dd";
  if (text.size() < shape.size() + 1 || text.back() != 'Z') return false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (shape[i] == 'd' ? !digit : text[i] != shape[i]) return false;
  }
  return true;
}

ApiParameter parameter_of(const Json& json) {
  return {json["name"], json["in"] == "path", json.value("required", false), json["schema"]};
}

ApiOperation operation_of(const std::string& path, const std::string& method, const Json& shared,
                          const Json& json) {
  ApiOperation operation;
  operation.method = method;
  std::transform(method.begin(), method.end(), operation.method.begin(),
                 [](char c) { return std::toupper(c); });
  operation.path = path;
  operation.id = json["operationId"];
  for (const auto* list : {&shared, &json}) {
    const char* key = list == &shared ? "" : "parameters";
    const Json parameters = list == &shared ? shared : list->value(key, Json::array());
    for (const Json& parameter : parameters) operation.parameters.push_back(parameter_of(parameter));
  }
  if (json.contains("requestBody")) {
    operation.body = json["requestBody"]["content"]["application/json"]["schema"];
    operation.body_required = json["requestBody"].value("required", false);
  }
  if (json["responses"].contains("200")) {
    const Json& content = json["responses"]["200"]["content"];
    operation.answer = content["application/json"]["schema"];
    operation.may_stream = content.contains("text/event-stream");
  }
  return operation;
}

}  // namespace

ApiDescription::ApiDescription() : document_(Json::parse(openapi_json())) {
  for (const auto& [path, methods] : document_["paths"].items()) {
    const Json shared = methods.value("parameters", Json::array());
    for (const auto& [method, json] : methods.items()) {
      if (method != "parameters") operations_.push_back(operation_of(path, method, shared, json));
    }
  }
}

const Json& ApiDescription::resolve(const Json& schema) const {
  if (!schema.contains("$ref")) return schema;
  const std::string reference = schema["$ref"];
  return resolve(document_.at(Json::json_pointer(reference.substr(1))));
}

std::string ApiDescription::check_answer(const ApiOperation& operation, int status,
                                         const std::string& body) const {
  if (status == 204)
    return operation.answer ? "204 where an answer is described" : body.empty() ? "" : "204 with a body";
  const Json json = Json::parse(body, nullptr, false);
  if (json.is_discarded()) return "the answer is not JSON: " + body.substr(0, 100);
  if (status == 200) return operation.answer ? check(*operation.answer, json) : "200 where none is described";
  if (status < 400 || status > 599) return "status " + std::to_string(status);
  return check(document_["components"]["schemas"]["RestJsonError"], json);
}

std::string ApiDescription::check_text(const std::string& at, const Json& schema,
                                       const std::string& value) const {
  const std::string format = schema.value("format", "");
  if (format == "uuid" && !Uuid::parse(value).ok()) return at + ": is no UUID: " + value;
  if (format == "date-time" && !is_timestamp(value)) return at + ": is no timestamp: " + value;
  if (!schema.contains("enum")) return "";
  for (const Json& one : schema["enum"]) {
    if (one == value) return "";
  }
  return at + ": is none of the values described: " + value;
}

std::string ApiDescription::check_object(const std::string& at, const Json& schema, const Json& value) const {
  for (const Json& key : schema.value("required", Json::array())) {
    if (!value.contains(key.get<std::string>())) return at + "." + key.get<std::string>() + ": is missing";
  }
  const Json& properties = schema.contains("properties") ? schema["properties"] : Json::object();
  const Json& others = schema.contains("additionalProperties") ? schema["additionalProperties"] : Json(true);
  for (const auto& [key, one] : value.items()) {
    const bool known = properties.contains(key);
    if (!known && others == false) return at + "." + key + ": is not described";
    if (!known && !others.is_object()) continue;
    const auto wrong = check_at(at + "." + key, known ? properties[key] : others, one);
    if (!wrong.empty()) return wrong;
  }
  if (value.size() < schema.value("minProperties", std::size_t{0})) return at + ": has too few properties";
  if (value.size() > schema.value("maxProperties", std::size_t{1000000}))
    return at + ": has too many properties";
  return "";
}

std::string ApiDescription::check_at(const std::string& at, const Json& unresolved, const Json& value) const {
  const Json& schema = resolve(unresolved);
  for (const Json& one : schema.value("allOf", Json::array())) {
    const auto wrong = check_at(at, one, value);
    if (!wrong.empty()) return wrong;
  }
  const std::string type = schema.value("type", "");
  if (type.empty()) return "";
  if (type == "object") return value.is_object() ? check_object(at, schema, value) : at + ": is no object";
  if (type == "string") return value.is_string() ? check_text(at, schema, value) : at + ": is no string";
  if (type == "boolean") return value.is_boolean() ? "" : at + ": is no boolean";
  if (type == "integer") {
    if (!value.is_number_integer()) return at + ": is no integer";
    if (schema.contains("minimum") && value < schema["minimum"]) return at + ": is too small";
    if (schema.contains("maximum") && value > schema["maximum"]) return at + ": is too large";
    return "";
  }
  if (type == "array") {
    if (!value.is_array()) return at + ": is no list";
    for (std::size_t i = 0; i < value.size(); ++i) {
      const auto wrong = check_at(at + "[" + std::to_string(i) + "]", schema["items"], value[i]);
      if (!wrong.empty()) return wrong;
    }
    return "";
  }
  return at + ": a type that this test does not know: " + type;
}

}  // namespace holdfast::control::rest::testing
