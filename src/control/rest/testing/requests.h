// Requests for operations of the API, made from their description: one that is right in the world of PlainService, and
// any number of others that may be wrong in every way.
#pragma once

#include <string>

#include "base/prng.h"
#include "control/rest/testing/schema.h"

namespace holdfast::control::rest::testing {

struct MadeRequest {
  std::string method;
  std::string target;
  std::string body;
};

class RequestMaker {
 public:
  explicit RequestMaker(const ApiDescription& api) : api_(api) {}

  MadeRequest good(const ApiOperation& operation) const;
  // The path and required query alone, with one path parameter replaced.
  std::string target(const ApiOperation& operation, const std::string& replaced = "",
                     const std::string& value = "") const;
  Json good_value(const Json& schema) const;
  MadeRequest random(const ApiOperation& operation, Prng& prng) const;

 private:
  Json random_value(const Json& schema, Prng& prng, int depth) const;
  std::string random_text(Prng& prng) const;

  const ApiDescription& api_;
};

}  // namespace holdfast::control::rest::testing
