#include "control/engine.h"

namespace holdfast::control {

bool may_have_happened(const Error& error) noexcept {
  switch (kind_of(error)) {
    case Kind::invalid_argument:
    case Kind::not_found:
    case Kind::already_exists:
    case Kind::permission_denied:
    case Kind::resource_exhausted:
    case Kind::failed_precondition:
    case Kind::not_shared:
    case Kind::not_published:
    case Kind::already_published:
    case Kind::already_shared:
    case Kind::out_of_range:
    case Kind::unimplemented:
    case Kind::unauthenticated:
    case Kind::unauthorized:
    case Kind::conflict:
    case Kind::deleting:
    case Kind::in_use:
    case Kind::capacity_limit_exceeded:
    case Kind::not_acceptable:
      return false;
    case Kind::timeout:
    case Kind::deserialize:
    case Kind::internal:
    case Kind::deadline_exceeded:
    case Kind::aborted:
    case Kind::unavailable:
    case Kind::failed_persist:
      return true;
  }
  return true;
}

Error of_part(Error error) {
  if (kind_of(error) != Kind::not_found) return error;
  return refusal(Kind::failed_precondition, error.message());
}

}  // namespace holdfast::control
