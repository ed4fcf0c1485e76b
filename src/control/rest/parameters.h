// The parameters of one request, from its path and its query. Errors: deserialize, naming the parameter and what was
// expected.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/uuid.h"
#include "control/model/enums.h"
#include "control/views.h"
#include "http/router.h"

namespace holdfast::control::rest {

class Parameters {
 public:
  // Both outlive it.
  Parameters(const http::PathParameters& path, const http::Query& query) : path_(path), query_(query) {}

  // ---- of the path, which has them
  const std::string& text(std::string_view name) const;
  Result<Uuid> uuid(std::string_view name) const;
  Result<std::uint64_t> number(std::string_view name, std::uint64_t max) const;
  Result<Protocol> protocol(std::string_view name) const;

  // ---- of the query
  Result<std::optional<std::string>> query_text(std::string_view name);
  Result<std::optional<Uuid>> query_uuid(std::string_view name);
  Result<bool> query_flag(std::string_view name, bool otherwise);
  Result<std::uint64_t> query_number(std::string_view name, std::uint64_t otherwise);
  // All values given; the parameter may be repeated.
  std::vector<std::string> query_list(std::string_view name);
  // max_entries (0, the default: all) and starting_token.
  Result<PageRequest> page();
  // The first parameter that was given and not asked for.
  Status finish() const;

 private:
  Result<std::optional<std::string>> single(std::string_view name);

  const http::PathParameters& path_;
  const http::Query& query_;
  std::set<std::string, std::less<>> asked_;
};

}  // namespace holdfast::control::rest
