#include "control/model/kind.h"

#include <array>
#include <utility>

namespace holdfast::control {
namespace {

struct Row {
  Kind kind;
  std::string_view name;
  int http_status;
  Errc code;
};

// In the order of the enumerators.
constexpr std::array<Row, kind_count> rows = {{
    {Kind::timeout, "Timeout", 408, Errc::timed_out},
    {Kind::deserialize, "Deserialize", 400, Errc::invalid_argument},
    {Kind::internal, "Internal", 500, Errc::internal},
    {Kind::invalid_argument, "InvalidArgument", 400, Errc::invalid_argument},
    {Kind::deadline_exceeded, "DeadlineExceeded", 504, Errc::timed_out},
    {Kind::not_found, "NotFound", 404, Errc::not_found},
    {Kind::already_exists, "AlreadyExists", 422, Errc::already_exists},
    {Kind::permission_denied, "PermissionDenied", 401, Errc::failed_precondition},
    {Kind::resource_exhausted, "ResourceExhausted", 507, Errc::resource_exhausted},
    {Kind::failed_precondition, "FailedPrecondition", 412, Errc::failed_precondition},
    {Kind::not_shared, "NotShared", 412, Errc::failed_precondition},
    {Kind::not_published, "NotPublished", 412, Errc::failed_precondition},
    {Kind::already_published, "AlreadyPublished", 412, Errc::failed_precondition},
    {Kind::already_shared, "AlreadyShared", 412, Errc::failed_precondition},
    {Kind::aborted, "Aborted", 503, Errc::cancelled},
    {Kind::out_of_range, "OutOfRange", 416, Errc::out_of_range},
    {Kind::unimplemented, "Unimplemented", 501, Errc::not_supported},
    {Kind::unavailable, "Unavailable", 503, Errc::not_connected},
    {Kind::unauthenticated, "Unauthenticated", 401, Errc::failed_precondition},
    {Kind::unauthorized, "Unauthorized", 401, Errc::failed_precondition},
    {Kind::conflict, "Conflict", 409, Errc::busy},
    {Kind::failed_persist, "FailedPersist", 507, Errc::io_error},
    {Kind::deleting, "Deleting", 409, Errc::failed_precondition},
    {Kind::in_use, "InUse", 409, Errc::busy},
    {Kind::capacity_limit_exceeded, "CapacityLimitExceeded", 507, Errc::out_of_space},
    {Kind::not_acceptable, "NotAcceptable", 406, Errc::not_supported},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (static_cast<std::size_t>(rows[i].kind) != i) return false;
  }
  return true;
}
static_assert(in_order());

const Row& row(Kind kind) noexcept { return rows[static_cast<std::size_t>(kind)]; }

Kind default_kind(Errc code) noexcept {
  switch (code) {
    case Errc::invalid_argument:
      return Kind::invalid_argument;
    case Errc::not_found:
      return Kind::not_found;
    case Errc::already_exists:
      return Kind::already_exists;
    case Errc::failed_precondition:
    case Errc::read_only:
    case Errc::reservation_conflict:
      return Kind::failed_precondition;
    case Errc::busy:
      return Kind::conflict;
    case Errc::out_of_space:
    case Errc::resource_exhausted:
      return Kind::resource_exhausted;
    case Errc::out_of_range:
      return Kind::out_of_range;
    case Errc::not_connected:
      return Kind::unavailable;
    case Errc::timed_out:
      return Kind::timeout;
    case Errc::cancelled:
    case Errc::fenced:
      return Kind::aborted;
    case Errc::not_supported:
      return Kind::unimplemented;
    case Errc::ok:
    case Errc::io_error:
    case Errc::miscompare:
    case Errc::protocol:
    case Errc::bad_format:
    case Errc::internal:
      return Kind::internal;
  }
  return Kind::internal;
}

}  // namespace

std::string_view name(Kind kind) noexcept { return row(kind).name; }

std::optional<Kind> parse_kind(std::string_view text) noexcept {
  for (const Row& r : rows) {
    if (r.name == text) return r.kind;
  }
  return std::nullopt;
}

int http_status(Kind kind) noexcept { return row(kind).http_status; }

Error refusal(Kind kind, std::string text) {
  return Error(row(kind).code, -1 - static_cast<int>(kind)).with_context(text);
}

Kind kind_of(const Error& error) noexcept {
  const int number = -1 - error.sys_errno();
  if (number < 0 || number >= static_cast<int>(kind_count)) return default_kind(error.code());
  return static_cast<Kind>(number);
}

Error with_kind(const Error& error, Kind kind) { return refusal(kind, error.message()); }

}  // namespace holdfast::control
