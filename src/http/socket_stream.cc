#include "http/socket_stream.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

namespace holdfast::http {
namespace {

constexpr std::size_t piece_bytes = 16 * 1024;
// A body in chunks is longer on its way than what it says.
constexpr std::size_t framing_factor = 8;
constexpr auto goodbye_max = std::chrono::milliseconds(500);
constexpr std::size_t goodbye_bytes_max = 4 * 1024 * 1024;

bool starts_with_name(std::string_view line, std::string_view name) {
  return line.size() > name.size() && line[name.size()] == ':' &&
         std::equal(name.begin(), name.end(), line.begin(),
                    [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b); });
}

// With its end.
std::string_view take_line(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n') + 1);
  text.remove_prefix(line.size());
  return line;
}

// Answers are given whole and as they are: the library would cut parts out of any, as often as they are asked for, and
// reads the field by a regular expression; and it would compress them with brotli's slowest setting, for strangers too.
// A server may ignore both fields (RFC 9110, 14.2 and 12.5.3).
std::string without_wishes(std::string_view head) {
  std::string kept;
  while (!head.empty()) {
    const std::string_view line = take_line(head);
    if (!starts_with_name(line, "range") && !starts_with_name(line, "accept-encoding")) kept += line;
  }
  return kept;
}

// RFC 9112, 5.1 and 5.2: readers differ in what they make of white space around a name, of a field that goes on in the
// next line, and of a length that is empty. The library drops or misses each of them.
bool is_clear_field(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == 0 || colon == std::string_view::npos) return false;
  if (line.substr(0, colon).find_first_of(" \t\r") != std::string_view::npos) return false;
  const bool empty = line.find_first_not_of(" \t\r\n", colon + 1) == std::string_view::npos;
  return !empty ||
         (!starts_with_name(line, "content-length") && !starts_with_name(line, "transfer-encoding"));
}

bool is_clear(std::string_view head) {
  for (std::size_t i = 0; i < head.size(); ++i) {
    if (head[i] == '\0' || (head[i] == '\n' && (i == 0 || head[i - 1] != '\r'))) return false;
  }
  take_line(head);  // the request line
  while (!head.empty() && head != "\r\n") {
    if (!is_clear_field(take_line(head))) return false;
  }
  return true;
}

}  // namespace

SocketStream::SocketStream(Connections::Place& place, const ServerOptions& options, SSL_CTX* tls)
    : place_(place), options_(options) {
  if (tls == nullptr) return;
  tls_.reset(SSL_new(tls));
  if (tls_ != nullptr) SSL_set_fd(tls_.get(), place.socket());
}

bool SocketStream::open() {
  if (options_.tls == nullptr) return true;
  if (tls_ == nullptr) return false;
  const auto now = Clock::now();
  const Turn turn{Connections::Wanted::request, now, now + options_.head_time_max};
  for (;;) {
    ERR_clear_error();
    const int result = SSL_accept(tls_.get());
    if (result == 1) return true;
    if (await_tls(result, turn) != Io::done) return false;
  }
}

// ---- requests

std::optional<std::size_t> SocketStream::end_of_head() const {
  const std::size_t end = buffer_.find("\n\r\n", used_);
  if (end == std::string::npos) return std::nullopt;
  return end + 3;
}

SocketStream::Head SocketStream::take_head(std::size_t end) {
  const std::string_view head = std::string_view(buffer_).substr(used_, end - used_);
  if (head.size() > options_.head_bytes_max) return Head::too_long;
  if (!is_clear(head)) return Head::unclear;
  std::string kept = without_wishes(head);
  head_left_ = kept.size();
  buffer_.replace(0, end, kept);
  used_ = 0;
  return Head::whole;
}

SocketStream::Head SocketStream::read_head(bool first) {
  body_since_.reset();
  body_bytes_ = 0;
  body_late_ = false;
  // What the library left of a head that it did not understand is no request.
  if (head_left_ != 0) return Head::none;
  const auto asked = Clock::now();
  bool begun = used_ < buffer_.size();
  Turn turn{Connections::Wanted::request, asked,
            asked + (begun || first ? options_.head_time_max : options_.idle_time_max)};
  for (;;) {
    if (const auto end = end_of_head()) return take_head(*end);
    if (buffer_.size() - used_ > options_.head_bytes_max) return Head::too_long;
    const Io io = fill(turn);
    if (io == Io::closed) return Head::none;
    if (io == Io::late) return begun ? Head::late : Head::none;
    if (!begun && !first) turn.until = Clock::now() + options_.head_time_max;
    begun = true;
  }
}

SocketStream::Io SocketStream::fill(const Turn& turn) {
  buffer_.erase(0, std::exchange(used_, 0));
  const std::size_t before = buffer_.size();
  buffer_.resize(before + piece_bytes);
  const Moved got = receive(buffer_.data() + before, piece_bytes, turn);
  buffer_.resize(before + got.bytes);
  return got.io;
}

ssize_t SocketStream::read(char* to, std::size_t size) {
  if (used_ == buffer_.size()) {
    if (body_bytes_ > framing_factor * options_.body_bytes_max + piece_bytes) return -1;
    if (!body_since_) body_since_ = Clock::now();
    const Io io = fill({Connections::Wanted::request, *body_since_, *body_since_ + options_.body_time_max});
    body_late_ = io == Io::late;
    if (io == Io::late) return -1;
    if (io == Io::closed) return 0;
    body_bytes_ += buffer_.size();
  }
  const std::size_t given = std::min(size, buffer_.size() - used_);
  std::memcpy(to, buffer_.data() + used_, given);
  used_ += given;
  head_left_ -= std::min(head_left_, given);
  return static_cast<ssize_t>(given);
}

// ---- answers

ssize_t SocketStream::write(const char* from, std::size_t size) {
  Turn turn{Connections::Wanted::reading, Clock::now(), Clock::now() + options_.reader_time_max};
  std::size_t in_turn = 0;
  for (std::size_t done = 0; done < size;) {
    const Moved moved = send(from + done, std::min(size - done, piece_bytes), turn);
    if (moved.io != Io::done) return -1;
    done += moved.bytes;
    in_turn += moved.bytes;
    if (in_turn < reader_bytes_min) continue;
    turn.since = Clock::now();
    turn.until = turn.since + options_.reader_time_max;
    in_turn = 0;
  }
  return static_cast<ssize_t>(size);
}

bool SocketStream::write_all(std::string_view text) { return write(text.data(), text.size()) >= 0; }

void SocketStream::hang_up() {
  ERR_clear_error();
  if (tls_ != nullptr) SSL_shutdown(tls_.get());
  if (::shutdown(place_.socket(), SHUT_WR) != 0) return;
  const auto now = Clock::now();
  const Turn turn{Connections::Wanted::request, now, now + goodbye_max};
  char rest[piece_bytes];
  for (std::size_t dropped = 0; dropped < goodbye_bytes_max;) {
    const ssize_t n = ::recv(place_.socket(), rest, sizeof rest, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return;
    if (n > 0) dropped += static_cast<std::size_t>(n);
    if (n < 0 && await(POLLIN, turn) != Io::done) return;
    if (Clock::now() >= turn.until) return;
  }
}

bool SocketStream::is_writable() const {
  char one = 0;
  const ssize_t n = ::recv(place_.socket(), &one, 1, MSG_PEEK | MSG_DONTWAIT);
  return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

// ---- the socket

SocketStream::Io SocketStream::await(short events, const Turn& turn) {
  place_.wait(turn.since, turn.wanted);
  int ready = 0;
  do {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(turn.until - Clock::now());
    if (left.count() <= 0) break;
    pollfd it{place_.socket(), events, 0};
    ready = ::poll(&it, 1, static_cast<int>(left.count()));
  } while (ready == 0 || (ready < 0 && errno == EINTR));
  if (!place_.work()) return Io::closed;
  if (ready == 0) return Io::late;
  return ready > 0 ? Io::done : Io::closed;
}

SocketStream::Io SocketStream::await_tls(int result, const Turn& turn) {
  switch (SSL_get_error(tls_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return await(POLLIN, turn);
    case SSL_ERROR_WANT_WRITE:
      return await(POLLOUT, turn);
    default:
      return Io::closed;
  }
}

SocketStream::Moved SocketStream::receive(char* to, std::size_t size, const Turn& turn) {
  for (;;) {
    // Who always has a little more at hand is not waited for, and late all the same.
    if (Clock::now() >= turn.until) return {Io::late};
    Io io = Io::done;
    if (tls_ != nullptr) {
      std::size_t got = 0;
      ERR_clear_error();
      const int result = SSL_read_ex(tls_.get(), to, size, &got);
      if (result == 1) return {Io::done, got};
      io = await_tls(result, turn);
    } else {
      const ssize_t n = ::recv(place_.socket(), to, size, 0);
      if (n > 0) return {Io::done, static_cast<std::size_t>(n)};
      if (n == 0 || (errno != EAGAIN && errno != EINTR)) return {Io::closed};
      io = await(POLLIN, turn);
    }
    if (io != Io::done) return {io};
  }
}

SocketStream::Moved SocketStream::send(const char* from, std::size_t size, const Turn& turn) {
  for (;;) {
    if (Clock::now() >= turn.until) return {Io::late};
    Io io = Io::done;
    if (tls_ != nullptr) {
      std::size_t sent = 0;
      ERR_clear_error();
      const int result = SSL_write_ex(tls_.get(), from, size, &sent);
      if (result == 1) return {Io::done, sent};
      io = await_tls(result, turn);
    } else {
      const ssize_t n = ::send(place_.socket(), from, size, MSG_NOSIGNAL);
      if (n >= 0) return {Io::done, static_cast<std::size_t>(n)};
      if (errno != EAGAIN && errno != EINTR) return {Io::closed};
      io = await(POLLOUT, turn);
    }
    if (io != Io::done) return {io};
  }
}

namespace {

void name_of(const sockaddr_storage& address, socklen_t length, std::string& ip, int& port) {
  char host[NI_MAXHOST] = "";
  char service[NI_MAXSERV] = "";
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&address), length, host, sizeof host, service,
                    sizeof service, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return;
  ip = host;
  port = std::atoi(service);
}

}  // namespace

void SocketStream::get_remote_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getpeername(place_.socket(), reinterpret_cast<sockaddr*>(&address), &length) == 0)
    name_of(address, length, ip, port);
}

void SocketStream::get_local_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getsockname(place_.socket(), reinterpret_cast<sockaddr*>(&address), &length) == 0)
    name_of(address, length, ip, port);
}

}  // namespace holdfast::http
