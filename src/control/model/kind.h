// Kind: what an operation of the control plane says when it fails, by the names of REST API v0
// (RestJsonError in api/openapi.yaml), with the HTTP status of each.
//
// A holdfast::Error carries its Kind where an errno would be, as a number below 0, so that Result and its macros
// serve the control plane as they serve the rest. An Error that some other module made has the Kind that its Errc
// stands for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace holdfast::control {

enum class Kind : std::uint8_t {
  timeout,
  deserialize,
  internal,
  invalid_argument,
  deadline_exceeded,
  not_found,
  already_exists,
  permission_denied,
  resource_exhausted,
  failed_precondition,
  not_shared,
  not_published,
  already_published,
  already_shared,
  aborted,
  out_of_range,
  unimplemented,
  unavailable,
  unauthenticated,
  unauthorized,
  conflict,
  failed_persist,
  deleting,
  in_use,
  capacity_limit_exceeded,
  not_acceptable,
};
inline constexpr std::size_t kind_count = 26;

// "NotFound": the `kind` of a RestJsonError.
std::string_view name(Kind kind) noexcept;
std::optional<Kind> parse_kind(std::string_view name) noexcept;
int http_status(Kind kind) noexcept;

// The text names the resource and the remedy: it goes to the user as it is.
Error refusal(Kind kind, std::string text);
Kind kind_of(const Error& error) noexcept;
// The same text under another Kind.
Error with_kind(const Error& error, Kind kind);

}  // namespace holdfast::control
