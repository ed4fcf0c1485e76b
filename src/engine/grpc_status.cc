#include "engine/grpc_status.h"

#include "rpc/status.h"

namespace holdfast::engine {
namespace {

using grpc::StatusCode;

// Which service answers. They follow the interop contract, which is not the same for all.
struct Codes {
  StatusCode bdev;
  StatusCode nexus;
  StatusCode host;
  StatusCode pool;
};

constexpr Codes all(StatusCode code) { return {code, code, code, code}; }
constexpr StatusCode wrong = StatusCode::INVALID_ARGUMENT;
constexpr StatusCode forbidden = StatusCode::FAILED_PRECONDITION;
constexpr StatusCode full = StatusCode::RESOURCE_EXHAUSTED;
constexpr StatusCode broken = StatusCode::INTERNAL;

constexpr Codes codes_of(Errc code) {
  switch (code) {
    case Errc::ok:
      return all(StatusCode::OK);
    case Errc::not_found:
      return all(StatusCode::NOT_FOUND);
    case Errc::cancelled:
      return all(StatusCode::CANCELLED);
    case Errc::invalid_argument:
      return all(wrong);
    case Errc::internal:
      return all(broken);
    case Errc::already_exists:
      return {StatusCode::ALREADY_EXISTS, StatusCode::ALREADY_EXISTS, broken, StatusCode::ALREADY_EXISTS};
    // Busy of a nexus: a child that is still leaving.
    case Errc::failed_precondition:
    case Errc::busy:
      return {forbidden, forbidden, broken, forbidden};
    case Errc::fenced:
      return {broken, forbidden, broken, forbidden};
    // Of a pool: its lock, which too many wait for.
    case Errc::resource_exhausted:
      return {full, full, full, StatusCode::ABORTED};
    // A pool that is not the one that the request says.
    case Errc::miscompare:
      return {broken, broken, broken, StatusCode::ABORTED};
    case Errc::out_of_space:
      return {broken, broken, broken, full};
    // A device that its URI describes wrongly, a child that is not what the request says.
    case Errc::out_of_range:
      return {wrong, wrong, broken, wrong};
    case Errc::not_supported:
    case Errc::read_only:
    case Errc::reservation_conflict:
      return {wrong, wrong, broken, forbidden};
    // What is on a disk is no pool.
    case Errc::bad_format:
      return {wrong, broken, broken, wrong};
    // It cannot be opened as described.
    case Errc::not_connected:
    case Errc::timed_out:
    case Errc::io_error:
    case Errc::protocol:
      return {wrong, wrong, broken, broken};
  }
  return all(broken);
}

grpc::Status status_of(StatusCode code, const Error& error) {
  return {code, rpc::header_text(error.message())};
}

}  // namespace

grpc::Status bdev_status(const Error& e) { return status_of(codes_of(e.code()).bdev, e); }
grpc::Status nexus_status(const Error& e) { return status_of(codes_of(e.code()).nexus, e); }
grpc::Status nexus_change_status(const Error& e) {
  const bool is_away = e.code() == Errc::not_connected || e.code() == Errc::timed_out;
  return is_away ? status_of(StatusCode::UNAVAILABLE, e) : nexus_status(e);
}
grpc::Status host_status(const Error& e) { return status_of(codes_of(e.code()).host, e); }
grpc::Status pool_status(const Error& e) { return status_of(codes_of(e.code()).pool, e); }

grpc::Status mark_absent(grpc::ServerContext* context, grpc::Status status) {
  if (status.error_code() == StatusCode::NOT_FOUND) context->AddTrailingMetadata("gtm-602", "0");
  return status;
}

}  // namespace holdfast::engine
