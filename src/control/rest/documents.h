// The description of the API that the program carries with it: api/openapi.yaml, and a page that shows it.
#pragma once

#include <set>
#include <string>

namespace holdfast::control::rest {

const std::string& openapi_yaml();
// The same in JSON.
const std::string& openapi_json();
const std::string& documentation_page();
// operationIds of those that have parameters in the query.
std::set<std::string> operations_with_query();

}  // namespace holdfast::control::rest
