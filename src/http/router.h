// Which operation a request means: a table of methods and path templates.
//
// A template is written as in OpenAPI: "/v0/nodes/{id}/pools". Besides a whole segment, "{name}" may follow a
// literal beginning ("volumes{id}"). "{name...}" at the end takes the rest of the path, slashes included, and
// so does "{key}={value}", which is split at the first '='.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "http/target.h"

namespace holdfast::http {

using PathParameters = std::map<std::string, std::string, std::less<>>;

// One path template, taken apart. Templates are the program's own: a malformed one is a programmer error.
class PathTemplate {
 public:
  explicit PathTemplate(std::string_view text);

  // The parameters, when the path fits.
  std::optional<PathParameters> match(const std::vector<std::string>& segments) const;
  // Does this template name more of the path literally than the other, from the left?
  bool more_literal_than(const PathTemplate& other) const noexcept;

 private:
  enum class Kind : std::uint8_t { literal, parameter, rest, key_value };
  struct Part {
    Kind kind = Kind::literal;
    std::string literal;  // the segment, or what comes before its parameter
    std::string name;
    std::string value_name;
  };
  static Part parse_part(std::string_view segment);

  std::vector<Part> parts_;
};

class Router {
 public:
  struct Match {
    std::size_t route = 0;  // as add() numbered it
    PathParameters parameters;
  };
  struct Outcome {
    std::optional<Match> match;
    // When nothing matched: the methods that the path has. Empty: there is no such path.
    std::set<std::string> allowed;
  };

  // Numbers routes from 0.
  std::size_t add(std::string method, std::string_view path_template);
  // Where several templates fit, the most literal one decides, also about the methods that are allowed.
  Outcome find(std::string_view method, const std::vector<std::string>& segments) const;

 private:
  struct Route {
    std::string method;
    PathTemplate path;
  };
  std::vector<Route> routes_;
};

}  // namespace holdfast::http
