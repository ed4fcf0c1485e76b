// api/openapi.yaml as a test sees it: its operations, and whether JSON is of a schema (the part of JSON Schema that the
// file uses).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "control/rest/json_reader.h"

namespace holdfast::control::rest::testing {

struct ApiParameter {
  std::string name;
  bool in_path = false;
  bool required = false;
  Json schema;
};

struct ApiOperation {
  std::string method;  // upper case
  std::string path;
  std::string id;
  std::vector<ApiParameter> parameters;
  std::optional<Json> body;
  bool body_required = false;
  std::optional<Json> answer;  // schema of the JSON of 200; none: 204
  bool may_stream = false;
};

class ApiDescription {
 public:
  ApiDescription();

  const std::vector<ApiOperation>& operations() const noexcept { return operations_; }
  // Empty, or the first thing that is wrong: "state.target.rebuilds: is missing".
  std::string check(const Json& schema, const Json& value) const { return check_at("", schema, value); }
  // Of the answer of an operation with that status.
  std::string check_answer(const ApiOperation& operation, int status, const std::string& body) const;
  // References followed.
  const Json& resolve(const Json& schema) const;

 private:
  std::string check_at(const std::string& at, const Json& schema, const Json& value) const;
  std::string check_object(const std::string& at, const Json& schema, const Json& value) const;
  std::string check_text(const std::string& at, const Json& schema, const std::string& value) const;

  Json document_;
  std::vector<ApiOperation> operations_;
};

}  // namespace holdfast::control::rest::testing
