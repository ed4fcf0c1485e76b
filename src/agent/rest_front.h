// The listeners of the REST API: keys and certificates from their files, HTTP and HTTPS over one Api.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "agent/options.h"
#include "base/error.h"
#include "control/rest/api.h"
#include "http/jwt.h"
#include "http/server.h"
#include "http/tls.h"

namespace holdfast::agent {

class RestFront {
 public:
  // `home` outlives it. Blocks. Errors: those of the files and addresses, naming the flag.
  static Result<std::unique_ptr<RestFront>> start(const Options& options, const std::string& version,
                                                  control::rest::Home& home);
  // Requests under way are answered. Blocks.
  ~RestFront();
  RestFront(const RestFront&) = delete;
  RestFront& operator=(const RestFront&) = delete;

 private:
  RestFront() = default;
  Status open_files(const Options& options);
  Status listen(const char* flag, const Endpoint& at, const http::TlsIdentity* tls, const Options& options,
                std::unique_ptr<http::Server>& server);

  std::optional<http::TokenVerifier> tokens_;
  std::optional<http::TlsIdentity> identity_;
  std::unique_ptr<control::rest::Api> api_;
  std::unique_ptr<http::Server> plain_;
  std::unique_ptr<http::Server> secure_;
};

}  // namespace holdfast::agent
