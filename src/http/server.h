// An HTTP/1.1 server for management: requests are read whole and answered by one function, on threads of the
// server. A thread serves one connection at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "http/tls.h"
#include "rt/io.h"

namespace holdfast::http {

struct Request {
  std::string method;  // "GET"; a HEAD is a GET whose body nobody reads
  std::string target;  // as it came: Target::parse() reads it
  std::string body;
  std::string authorization;  // the header field, or empty
  std::string accept;         // the same
  std::string last_event_id;  // the same
  std::string content_type;   // the same
  std::string forwarded_by;   // the same: who sent on what another had sent
  std::string peer;           // address of the client
};

struct Reply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  // Instead of a body, for as long as the client listens: appends what comes next, nothing when there is nothing yet,
  // and may wait a second for it. False: that was all.
  std::function<bool(std::string& piece)> stream;
};

struct ServerOptions {
  Endpoint at;                       // port 0: any free one
  const TlsIdentity* tls = nullptr;  // outlives the server; none: plain text
  unsigned threads_max = 64;
  unsigned streams_max = 16;  // of the threads, those that streams may take
  std::size_t body_bytes_max = 1024 * 1024;
};

class Server {
 public:
  using Handler = std::function<Reply(const Request&)>;
  // Makes the reply for what is refused before the handler sees it: 400, 413, 414, ... and why.
  using Refusal = std::function<Reply(int status, std::string why)>;

  // Both functions are called on threads of the server, must not throw, and live as long as it. Errors: busy, naming
  // the address and the reason.
  static Result<std::unique_ptr<Server>> start(const ServerOptions& options, Handler handler,
                                               Refusal refusal);
  // As stop().
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // No new connections; streams end; requests under way are answered. Returns when all threads have ended, which
  // idle connections delay by their keep-alive time (2 s) at most.
  void stop();
  std::uint16_t port() const noexcept { return port_; }

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts) noexcept;
  std::unique_ptr<Parts> parts_;
  std::uint16_t port_ = 0;
};

}  // namespace holdfast::http
