// The bytes of one connection, plain or in TLS, within limits of time and size that the peer has to keep to. What
// cpp-httplib reads requests from and writes answers to.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <httplib.h>

#include "http/connections.h"
#include "http/openssl_handle.h"
#include "http/server.h"

namespace holdfast::http {

class SocketStream final : public httplib::Stream {
 public:
  enum class Head : std::uint8_t {
    whole,
    none,      // the peer has gone, lost its place, or sent nothing for too long
    late,      // it began, and did not end in time
    too_long,  // longer than head_bytes_max
    unclear,   // a line that readers take differently: it ends in LF alone, has a NUL, or is no NAME: VALUE
  };

  // All outlive it. `tls`: null for plain text. The socket does not block.
  SocketStream(Connections::Place& place, const ServerOptions& options, SSL_CTX* tls);
  ~SocketStream() override = default;

  // The handshake of TLS, within the time for a head. False: it failed.
  bool open();
  // The next request, up to the end of its head; then the library may read. `first`: nothing came before on this
  // connection.
  Head read_head(bool first);
  // Whether the body that was read last came too slowly.
  bool body_was_late() const noexcept { return body_late_; }
  // The request under way is the last one: what follows it may be the rest of its body.
  void end_after_this() noexcept { last_ = true; }
  bool ends_after_this() const noexcept { return last_; }
  // Whole, or false.
  bool write_all(std::string_view text);
  // No more is written; what the peer still sends is dropped for a moment, so that it can read the answer first.
  void hang_up();

  // httplib::Stream. read() gives the rest of the request; write() writes all, or fails.
  bool is_readable() const override { return true; }
  bool is_writable() const override;
  ssize_t read(char* to, std::size_t size) override;
  ssize_t write(const char* from, std::size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  // The library would refuse descriptors that select() cannot have.
  socket_t socket() const override { return INVALID_SOCKET; }

 private:
  using Clock = Connections::Clock;
  struct Turn {
    Connections::Wanted wanted;
    Clock::time_point since;
    Clock::time_point until;
  };
  enum class Io : std::uint8_t { done, closed, late };
  struct Moved {
    Io io;
    std::size_t bytes = 0;
  };

  Moved receive(char* to, std::size_t size, const Turn& turn);
  Moved send(const char* from, std::size_t size, const Turn& turn);
  // What the system or OpenSSL asks for before it goes on.
  Io await(short events, const Turn& turn);
  Io await_tls(int result, const Turn& turn);
  Io fill(const Turn& turn);
  std::optional<std::size_t> end_of_head() const;
  Head take_head(std::size_t end);

  Connections::Place& place_;
  const ServerOptions& options_;
  std::unique_ptr<SSL, OpensslFree<SSL_free>> tls_;
  std::string buffer_;         // came, and was not read yet from used_ on
  std::size_t used_ = 0;       // of the buffer
  std::size_t head_left_ = 0;  // of the request's head, not read yet
  std::optional<Clock::time_point> body_since_;
  std::size_t body_bytes_ = 0;  // as they came, with what frames them
  bool body_late_ = false;
  bool last_ = false;
};

}  // namespace holdfast::http
