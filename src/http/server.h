// An HTTP/1.1 server for management: requests are read whole and answered by one function, on threads of the
// server. A thread serves one connection at a time. Peers that are slow, silent or do not read their answers are
// closed after a while, and at once when others want their places, so that they do not keep anybody out.
#pragma once

#include <chrono>
#include <cstddef>
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
  // Connections at a time. When a further one comes, of those that keep the server waiting (for a request, or to read
  // an answer) the one that has done so longest is closed, after 50 ms at the soonest. While all have requests under
  // way, it waits.
  unsigned threads_max = 64;
  unsigned streams_max = 16;  // of the threads, those that streams may take; half of them at most
  std::size_t head_bytes_max = 32 * 1024;  // request line and header fields; more: 431
  std::size_t body_bytes_max = 1024 * 1024;
  // From when a connection is made, and from the first byte of each further request, to the end of its header; that of
  // TLS' handshake too. Later: 408.
  std::chrono::milliseconds head_time_max{10'000};
  std::chrono::milliseconds body_time_max{30'000};  // for a body to arrive whole; later: 408
  std::chrono::milliseconds idle_time_max{2'000};   // between an answer and the next request
  // For a peer to take the next 64 KiB of its answer, or what is left of it.
  std::chrono::milliseconds reader_time_max{10'000};
};
inline constexpr std::size_t reader_bytes_min = 64 * 1024;

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

  // No new connections; streams end; requests that have arrived whole are answered, and their readers given two
  // seconds. Returns when all threads have ended.
  void stop();
  std::uint16_t port() const noexcept { return port_; }

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts) noexcept;
  std::unique_ptr<Parts> parts_;
  std::uint16_t port_ = 0;
};

}  // namespace holdfast::http
