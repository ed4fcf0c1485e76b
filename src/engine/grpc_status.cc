#include "engine/grpc_status.h"

#include "rpc/status.h"

namespace holdfast::engine {
namespace {

using grpc::StatusCode;

StatusCode bdev_code(Errc code) {
  switch (code) {
    case Errc::ok:
      return StatusCode::OK;
    case Errc::not_found:
      return StatusCode::NOT_FOUND;
    case Errc::already_exists:
      return StatusCode::ALREADY_EXISTS;
    case Errc::failed_precondition:
    case Errc::busy:
      return StatusCode::FAILED_PRECONDITION;
    case Errc::resource_exhausted:
      return StatusCode::RESOURCE_EXHAUSTED;
    case Errc::cancelled:
      return StatusCode::CANCELLED;
    // A device that its URI describes wrongly, or that cannot be opened as described.
    case Errc::invalid_argument:
    case Errc::out_of_range:
    case Errc::not_supported:
    case Errc::read_only:
    case Errc::bad_format:
    case Errc::not_connected:
    case Errc::timed_out:
    case Errc::io_error:
    case Errc::protocol:
    case Errc::reservation_conflict:
      return StatusCode::INVALID_ARGUMENT;
    case Errc::miscompare:
    case Errc::out_of_space:
    case Errc::fenced:
    case Errc::internal:
      return StatusCode::INTERNAL;
  }
  return StatusCode::INTERNAL;
}

StatusCode nexus_code(Errc code) {
  switch (code) {
    case Errc::ok:
      return StatusCode::OK;
    case Errc::not_found:
      return StatusCode::NOT_FOUND;
    case Errc::already_exists:
      return StatusCode::ALREADY_EXISTS;
    case Errc::failed_precondition:
    case Errc::fenced:
    case Errc::busy:  // a child that is still leaving: try again
      return StatusCode::FAILED_PRECONDITION;
    case Errc::resource_exhausted:
      return StatusCode::RESOURCE_EXHAUSTED;
    case Errc::cancelled:
      return StatusCode::CANCELLED;
    // A child that is not what the request says, or cannot be opened.
    case Errc::invalid_argument:
    case Errc::out_of_range:
    case Errc::not_supported:
    case Errc::read_only:
    case Errc::not_connected:
    case Errc::timed_out:
    case Errc::io_error:
    case Errc::protocol:
    case Errc::reservation_conflict:
      return StatusCode::INVALID_ARGUMENT;
    case Errc::miscompare:
    case Errc::out_of_space:
    case Errc::bad_format:
    case Errc::internal:
      return StatusCode::INTERNAL;
  }
  return StatusCode::INTERNAL;
}

StatusCode host_code(Errc code) {
  switch (code) {
    case Errc::ok:
      return StatusCode::OK;
    case Errc::not_found:
      return StatusCode::NOT_FOUND;
    case Errc::invalid_argument:
      return StatusCode::INVALID_ARGUMENT;
    case Errc::cancelled:
      return StatusCode::CANCELLED;
    case Errc::resource_exhausted:
      return StatusCode::RESOURCE_EXHAUSTED;
    case Errc::io_error:
    case Errc::miscompare:
    case Errc::out_of_space:
    case Errc::out_of_range:
    case Errc::not_connected:
    case Errc::timed_out:
    case Errc::protocol:
    case Errc::reservation_conflict:
    case Errc::fenced:
    case Errc::read_only:
    case Errc::not_supported:
    case Errc::already_exists:
    case Errc::failed_precondition:
    case Errc::busy:
    case Errc::bad_format:
    case Errc::internal:
      return StatusCode::INTERNAL;
  }
  return StatusCode::INTERNAL;
}

StatusCode pool_code(Errc code) {
  switch (code) {
    case Errc::ok:
      return StatusCode::OK;
    case Errc::not_found:
      return StatusCode::NOT_FOUND;
    case Errc::already_exists:
      return StatusCode::ALREADY_EXISTS;
    case Errc::out_of_space:
      return StatusCode::RESOURCE_EXHAUSTED;
    // The lock of a pool that too many wait for; a pool that is not the one that the request says.
    case Errc::resource_exhausted:
    case Errc::miscompare:
      return StatusCode::ABORTED;
    case Errc::failed_precondition:
    case Errc::busy:
    case Errc::read_only:
    case Errc::not_supported:
    case Errc::fenced:
    case Errc::reservation_conflict:
      return StatusCode::FAILED_PRECONDITION;
    case Errc::cancelled:
      return StatusCode::CANCELLED;
    // What is on a disk is no pool.
    case Errc::bad_format:
    case Errc::invalid_argument:
    case Errc::out_of_range:
      return StatusCode::INVALID_ARGUMENT;
    case Errc::io_error:
    case Errc::not_connected:
    case Errc::timed_out:
    case Errc::protocol:
    case Errc::internal:
      return StatusCode::INTERNAL;
  }
  return StatusCode::INTERNAL;
}

}  // namespace

grpc::Status bdev_status(const Error& e) { return {bdev_code(e.code()), rpc::header_text(e.message())}; }
grpc::Status nexus_status(const Error& e) { return {nexus_code(e.code()), rpc::header_text(e.message())}; }
grpc::Status host_status(const Error& e) { return {host_code(e.code()), rpc::header_text(e.message())}; }
grpc::Status pool_status(const Error& e) { return {pool_code(e.code()), rpc::header_text(e.message())}; }

grpc::Status mark_absent(grpc::ServerContext* context, grpc::Status status) {
  if (status.error_code() == StatusCode::NOT_FOUND) context->AddTrailingMetadata("gtm-602", "0");
  return status;
}

}  // namespace holdfast::engine
