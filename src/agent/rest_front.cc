#include "agent/rest_front.h"

#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "base/log.h"

namespace holdfast::agent {
namespace {

Result<std::string> read_file(const char* flag, const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  if (in.good()) return text.str();
  return Error(Errc::not_found, fmt::format("{}: {} cannot be read", flag, path));
}

}  // namespace

Status RestFront::open_files(const Options& options) {
  if (!options.jwk_file.empty()) {
    HF_TRY(const auto jwk, read_file("--jwk", options.jwk_file));
    auto tokens = http::TokenVerifier::create(jwk, {options.jwt_audience});
    if (!tokens.ok()) return tokens.error().with_context(fmt::format("--jwk {}", options.jwk_file));
    tokens_ = std::move(tokens).value();
  }
  if (options.dummy_certificates) {
    HF_TRY(identity_, http::TlsIdentity::self_signed());
  } else if (!options.certificate_file.empty()) {
    HF_TRY(identity_,
           http::TlsIdentity::load({options.certificate_file, options.key_file, options.client_ca_file}));
  }
  return Status();
}

Status RestFront::listen(const char* flag, const Endpoint& at, const http::TlsIdentity* tls,
                         const Options& options, std::unique_ptr<http::Server>& server) {
  http::ServerOptions settings;
  settings.at = at;
  settings.tls = tls;
  settings.threads_max = options.workers;
  auto started = http::Server::start(
      settings, [this](const http::Request& request) { return api_->handle(request); },
      control::rest::Api::refuse);
  if (!started.ok()) return started.error().with_context(flag);
  server = std::move(started).value();
  HF_LOG(info, "agent", "REST API served", {"at", at.to_string()}, {"tls", tls != nullptr},
         {"tokens", tokens_.has_value()});
  return Status();
}

Result<std::unique_ptr<RestFront>> RestFront::start(const Options& options, const std::string& version,
                                                    control::rest::Home& home) {
  std::unique_ptr<RestFront> front(new RestFront);
  HF_CHECK(front->open_files(options));
  control::rest::ApiOptions settings;
  settings.version = version;
  settings.request_timeout = options.request_timeout;
  settings.minimum_timeouts = options.minimum_timeouts;
  settings.tokens = front->tokens_ ? &*front->tokens_ : nullptr;
  settings.forwarding.agent = options.control.agent;
  settings.forwarding.authority_file = options.peer_ca_file;
  settings.forwarding.certificate_file = options.certificate_file;
  settings.forwarding.key_file = options.key_file;
  settings.forwarding.verify = !options.dummy_certificates;
  front->api_ = std::make_unique<control::rest::Api>(home, std::move(settings));
  if (options.http) {
    HF_CHECK(front->listen("--http", *options.http, nullptr, options, front->plain_));
  }
  if (options.https) {
    HF_CHECK(front->listen("--https", *options.https, &*front->identity_, options, front->secure_));
  }
  return front;
}

RestFront::~RestFront() {
  if (api_ != nullptr) api_->stop();
  secure_.reset();
  plain_.reset();
}

}  // namespace holdfast::agent
