#include "cli/engine_client.h"

#include <chrono>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/messages.h"
#include "cli/tool/progress.h"

namespace holdfast::cli {
namespace {

constexpr const char* default_port = "10124";

bool has_port(std::string_view host) {
  const auto colon = host.rfind(':');
  if (colon == std::string_view::npos) return false;
  const auto bracket = host.rfind(']');
  if (bracket != std::string_view::npos) return colon > bracket;
  return host.find(':') == colon;  // more than one colon without brackets: a bare IPv6 address
}

std::string hint_for(const grpc::Status& status, const std::string& url, double timeout_seconds) {
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      return fmt::format("is the engine running at {}? Name another with --bind or HOLDFAST_BIND", url);
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return fmt::format(
          "no answer within {} s: it may still happen. Look before you repeat it, or wait longer with "
          "--timeout",
          timeout_seconds);
    case grpc::StatusCode::UNIMPLEMENTED:
      return fmt::format("the engine at {} does not offer this call", url);
    default:
      return {};
  }
}

}  // namespace

Result<std::string> grpc_target(const std::string& url) {
  std::string_view rest = url;
  if (rest.starts_with("unix:")) return url;
  if (rest.starts_with("https://")) {
    return Error(Errc::invalid_argument, fmt::format("'{}': engines speak plain http://, without TLS", url));
  }
  if (rest.starts_with("http://")) rest.remove_prefix(7);
  while (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.empty() || rest.find('/') != std::string_view::npos) {
    return Error(Errc::invalid_argument,
                 fmt::format("'{}' is not an address: http://host:port is wanted", url));
  }
  std::string target(rest);
  if (has_port(rest)) return target;
  const bool bare_ipv6 = rest.find(':') != std::string_view::npos && rest.find(']') == std::string_view::npos;
  return bare_ipv6 ? fmt::format("[{}]:{}", target, default_port)
                   : fmt::format("{}:{}", target, default_port);
}

grpc::Status EngineClient::connect() {
  if (channel_ != nullptr) return grpc::Status::OK;
  const auto target = grpc_target(url);
  if (!target.ok()) return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, target.error().message());
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // engines are on this network, whatever http_proxy says
  arguments.SetMaxReceiveMessageSize(-1);
  channel_ = grpc::CreateCustomChannel(target.value(), grpc::InsecureChannelCredentials(), arguments);
  return grpc::Status::OK;
}

void EngineClient::begin(grpc::ClientContext& context, const google::protobuf::Message& request) {
  call_began_ = monotonic_seconds();
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::microseconds(static_cast<std::int64_t>(timeout_seconds * 1e6)));
  output().verbose(1, fmt::format("{}: {}", url, request.GetTypeName()));
  if (output().verbosity >= 2) output().verbose(2, to_tree(request).dump(2));
}

void EngineClient::end(const grpc::Status& status, const google::protobuf::Message& answer) {
  const double milliseconds = (monotonic_seconds() - call_began_) * 1e3;
  output().verbose(
      1, fmt::format("{}: {} after {:.1f} ms", url, grpc_code_name(status.error_code()), milliseconds));
  if (status.ok() && output().verbosity >= 2) output().verbose(2, to_tree(answer).dump(2));
}

int EngineClient::report(const grpc::Status& status) {
  return output().error(grpc_code_name(status.error_code()), status.error_message(),
                        hint_for(status, url, timeout_seconds));
}

int EngineClient::answer(const google::protobuf::Message& message, const std::function<void()>& table) {
  output().answer(to_tree(message), table);
  return exit_ok;
}

const char* grpc_code_name(grpc::StatusCode code) noexcept {
  switch (code) {
    case grpc::StatusCode::OK:
      return "OK";
    case grpc::StatusCode::CANCELLED:
      return "CANCELLED";
    case grpc::StatusCode::INVALID_ARGUMENT:
      return "INVALID_ARGUMENT";
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "DEADLINE_EXCEEDED";
    case grpc::StatusCode::NOT_FOUND:
      return "NOT_FOUND";
    case grpc::StatusCode::ALREADY_EXISTS:
      return "ALREADY_EXISTS";
    case grpc::StatusCode::PERMISSION_DENIED:
      return "PERMISSION_DENIED";
    case grpc::StatusCode::UNAUTHENTICATED:
      return "UNAUTHENTICATED";
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return "RESOURCE_EXHAUSTED";
    case grpc::StatusCode::FAILED_PRECONDITION:
      return "FAILED_PRECONDITION";
    case grpc::StatusCode::ABORTED:
      return "ABORTED";
    case grpc::StatusCode::OUT_OF_RANGE:
      return "OUT_OF_RANGE";
    case grpc::StatusCode::UNIMPLEMENTED:
      return "UNIMPLEMENTED";
    case grpc::StatusCode::INTERNAL:
      return "INTERNAL";
    case grpc::StatusCode::UNAVAILABLE:
      return "UNAVAILABLE";
    case grpc::StatusCode::DATA_LOSS:
      return "DATA_LOSS";
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::DO_NOT_USE:
      break;
  }
  return "UNKNOWN";
}

}  // namespace holdfast::cli
