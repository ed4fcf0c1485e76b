// Device URIs: "scheme://authority/path?key=value&...". Schemes and parameters: docs/reference/uri.md.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/uuid.h"

namespace holdfast {

struct Uri {
  std::string text;                          // as given
  std::string scheme;                        // lower case
  std::string authority;                     // "host:port", or empty
  std::string path;                          // with its leading '/', percent-decoded
  std::map<std::string, std::string> query;  // percent-decoded

  // Errors: invalid_argument, naming what is wrong. At most 4096 characters; a parameter given twice is an
  // error.
  static Result<Uri> parse(std::string_view text);
};

// "%2F" becomes "/". Errors: invalid_argument (an incomplete escape, a control character).
Result<std::string> percent_decode(std::string_view text);
// The reverse: everything but letters, digits and "-._~" is escaped.
std::string percent_encode(std::string_view text);

// Reads the parameters of one URI and, at the end, refuses those that nobody asked for.
class UriParameters {
 public:
  explicit UriParameters(const Uri& uri) : uri_(uri), left_(uri.query) {}

  // The value taken out; nullopt when it is not there.
  std::optional<std::string> take(const std::string& key);
  // Errors: invalid_argument when the value is there and is not of the kind.
  Result<std::optional<std::uint64_t>> take_number(const std::string& key);
  Result<std::optional<std::uint64_t>> take_size(const std::string& key);  // with units
  Result<std::optional<Uuid>> take_uuid();                                 // "uuid"
  // A flag: "key", "key=", "key=1|true" or "key=0|false".
  Result<bool> take_flag(const std::string& key);
  // Errors: invalid_argument, naming the first parameter that is left, the scheme, and what was asked for.
  Status finish() const;

 private:
  const Uri& uri_;
  std::map<std::string, std::string> left_;
  std::set<std::string> asked_;
};

}  // namespace holdfast
