#include "control/rest/testing/requests.h"

#include <map>

#include "control/rest/testing/plain_service.h"
#include "http/target.h"

namespace holdfast::control::rest::testing {
namespace {

std::string known_value(const ApiOperation& operation, const ApiParameter& parameter) {
  static const std::map<std::string, std::string> values = {{"node_id", node_id},
                                                            {"node", node_id},
                                                            {"pool_id", pool_id},
                                                            {"app_node_id", app_node_id},
                                                            {"volume_id", volume_id},
                                                            {"replica_id", replica_id},
                                                            {"nexus_id", nexus_id},
                                                            {"snapshot_id", snapshot_id},
                                                            {"clone_id", replica_id},
                                                            {"child_id", child_uri},
                                                            {"label", "maintenance"},
                                                            {"key", "example.org/zone"},
                                                            {"value", "east"},
                                                            {"method", "bdev_get"},
                                                            {"protocol", "nvmf"},
                                                            {"replica_count", "3"},
                                                            {"callback", "http://127.0.0.1:9/callback"}};
  if (parameter.name == "id") {
    if (operation.path.find("/pools/{id}") != std::string::npos) return pool_id;
    return operation.path.find("/replicas/{id}") != std::string::npos ? replica_id : node_id;
  }
  return values.at(parameter.name);
}

void replace(std::string& text, const std::string& what, const std::string& with) {
  const auto at = text.find(what);
  if (at != std::string::npos) text.replace(at, what.size(), with);
}

}  // namespace

std::string RequestMaker::target(const ApiOperation& operation, const std::string& replaced,
                                 const std::string& value) const {
  std::string target = operation.path;
  std::string query;
  for (const ApiParameter& parameter : operation.parameters) {
    const std::string given = parameter.name == replaced                ? value
                              : parameter.in_path || parameter.required ? known_value(operation, parameter)
                                                                        : "";
    if (parameter.in_path) {
      replace(target, "{" + parameter.name + "}", http::encode(given));
    } else if (parameter.required || parameter.name == replaced) {
      query += (query.empty() ? "?" : "&") + parameter.name + "=" + http::encode(given);
    }
  }
  return target + query;
}

Json RequestMaker::good_value(const Json& unresolved) const {
  const Json& schema = api_.resolve(unresolved);
  const std::string type = schema.value("type", "");
  if (type == "object" && schema.contains("properties")) {
    Json value = Json::object();
    for (const auto& [key, property] : schema["properties"].items()) value[key] = good_value(property);
    return value;
  }
  if (type == "object") return {{"key", good_value(schema["additionalProperties"])}};
  if (type == "array") return Json::array({good_value(schema["items"])});
  if (type == "boolean") return true;
  if (type == "integer") return schema.value("minimum", 0) + 2;
  if (schema.contains("enum")) return schema["enum"][0];
  return schema.value("format", "") == "uuid" ? volume_id : "text";
}

MadeRequest RequestMaker::good(const ApiOperation& operation) const {
  return {operation.method, target(operation), operation.body ? to_text(good_value(*operation.body)) : ""};
}

std::string RequestMaker::random_text(Prng& prng) const {
  static const char* const pieces[] = {
      "",     "/",    "%",    "..",     "%00",    "a",       "=",    "?",
      "\xff", "\xc3", "true", "0",      "-1",     "1e9",     "nvmf", "9223372036854775808",
      "\"",   "{",    "\n",   "node-1", "pool-1", volume_id, "{}",   "18446744073709551616"};
  std::string text;
  const std::uint64_t count = prng.below(4);
  for (std::uint64_t i = 0; i < count; ++i) text += pieces[prng.below(std::size(pieces))];
  if (prng.below(50) == 0) text += std::string(prng.below(3000), 'x');
  return text;
}

Json RequestMaker::random_value(const Json& unresolved, Prng& prng, int depth) const {
  const Json& schema = api_.resolve(unresolved);
  // One in eight is of another kind than described.
  switch (depth < 6 ? prng.below(32) : 32) {
    case 0:
      return nullptr;
    case 1:
      return -1;
    case 2:
      return Json::array({1, "x", Json::object()});
    case 3:
      return random_text(prng);
    default:
      break;
  }
  if (schema.value("type", "") == "object" && schema.contains("properties")) {
    Json value = Json::object();
    for (const auto& [key, property] : schema["properties"].items()) {
      if (prng.below(6) != 0) value[key] = random_value(property, prng, depth + 1);
    }
    if (prng.below(10) == 0) value[random_text(prng)] = 1;
    return value;
  }
  if (schema.value("type", "") == "integer" && prng.below(4) == 0) return prng.next();
  if (schema.value("type", "") == "string" && prng.below(4) == 0) return random_text(prng);
  return good_value(schema);
}

MadeRequest RequestMaker::random(const ApiOperation& operation, Prng& prng) const {
  static const char* const methods[] = {"GET", "PUT", "DELETE", "POST", "PATCH", "OPTIONS"};
  MadeRequest request = good(operation);
  if (prng.below(16) == 0) request.method = methods[prng.below(std::size(methods))];
  if (!operation.parameters.empty() && prng.below(2) == 0) {
    const auto& parameter = operation.parameters[prng.below(operation.parameters.size())];
    request.target = target(operation, parameter.name, random_text(prng));
  }
  if (prng.below(8) == 0) request.target += "?" + http::encode(random_text(prng)) + "=" + random_text(prng);
  if (prng.below(16) == 0) request.target.insert(prng.below(request.target.size() + 1), random_text(prng));
  if (operation.body) request.body = to_text(random_value(*operation.body, prng, 0));
  if (prng.below(16) == 0 && !request.body.empty())
    request.body.erase(prng.below(request.body.size()), 1 + prng.below(5));
  if (prng.below(16) == 0) request.body.insert(prng.below(request.body.size() + 1), random_text(prng));
  return request;
}

}  // namespace holdfast::control::rest::testing
