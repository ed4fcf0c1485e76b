#include "rpc/status.h"

#include <algorithm>

namespace holdfast::rpc {
namespace {

Errc code_of(grpc::StatusCode code) noexcept {
  switch (code) {
    case grpc::StatusCode::UNAVAILABLE:
      return Errc::not_connected;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Errc::timed_out;
    case grpc::StatusCode::CANCELLED:
      return Errc::cancelled;
    case grpc::StatusCode::INVALID_ARGUMENT:
      return Errc::invalid_argument;
    case grpc::StatusCode::NOT_FOUND:
      return Errc::not_found;
    case grpc::StatusCode::ALREADY_EXISTS:
      return Errc::already_exists;
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
      return Errc::failed_precondition;
    case grpc::StatusCode::OUT_OF_RANGE:
      return Errc::out_of_range;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return Errc::resource_exhausted;
    case grpc::StatusCode::UNIMPLEMENTED:
      return Errc::not_supported;
    case grpc::StatusCode::ABORTED:
      return Errc::busy;
    default:
      return Errc::internal;
  }
}

}  // namespace

Error error_of(const grpc::Status& status) {
  const Errc code = code_of(status.error_code());
  const std::string& text = status.error_message();
  return text.empty() ? Error(code) : Error(code, text);
}

std::string header_text(std::string text) {
  constexpr std::size_t text_bytes_max = 1024;
  if (text.size() > text_bytes_max) text = text.substr(0, text_bytes_max) + "...";
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c >= 0x7f; }, '?');
  return text;
}

}  // namespace holdfast::rpc
