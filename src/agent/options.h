// The command line of holdfast-agent. docs/reference/agent.md describes every flag for users.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/backup.h"
#include "base/error.h"
#include "base/log.h"
#include "control/options.h"
#include "rpc/tls.h"
#include "rt/io.h"

namespace holdfast::agent {

inline constexpr std::uint16_t default_grpc_port = 50051;
inline constexpr std::uint16_t default_https_port = 8080;
inline constexpr std::uint16_t default_http_port = 8081;

struct Options {
  control::Options control;
  std::string data_dir = "/var/lib/holdfast-agent";

  // Either endpoints of an etcd, or the embedded store in this file, served at store_listen.
  std::vector<std::string> store_endpoints;
  std::string embedded_path;
  Endpoint store_listen{"127.0.0.1", 0};
  std::chrono::nanoseconds store_timeout{std::chrono::seconds(5)};
  rpc::TlsPaths store_tls;  // for https endpoints, and for the embedded store if that is served with TLS
  std::string store_name;   // that the store's certificate must have; empty: the one in its address
  rpc::TlsPaths store_listen_tls;  // of the embedded store; without a certificate: plain text

  Endpoint grpc{"::", default_grpc_port};  // where engines register

  std::optional<Endpoint> http;   // plain text
  std::optional<Endpoint> https;  // with the certificate below
  std::string certificate_file;
  std::string key_file;
  std::string client_ca_file;
  std::string peer_ca_file;  // whose certificates the REST API of another agent may show
  bool dummy_certificates = false;
  std::string jwk_file;  // empty: requests need no token
  std::string jwt_audience;
  std::chrono::milliseconds request_timeout{5000};
  bool minimum_timeouts = true;
  unsigned workers = 64;

  BackupRequest backup;  // what to do instead of serving

  // Flags of Mayastor's core agent that were given and change nothing here, each with the reason.
  std::vector<std::string> without_effect;

  log::Level log_level = log::Level::info;
  log::Format log_format = log::Format::text;
};

// Options, or a text for standard output after which the program ends with success (--help, --version).
struct ParsedOptions {
  std::optional<Options> options;
  std::string text;
};

// `hostname` is the agent's name if none is given. Errors: invalid_argument, naming the flag and what it takes.
Result<ParsedOptions> parse_options(int argc, const char* const* argv, const std::string& hostname,
                                    const std::string& version);

}  // namespace holdfast::agent
