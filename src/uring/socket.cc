#include "uring/socket.h"

#include <cerrno>
#include <cstring>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <unistd.h>

namespace holdfast::uring {

void Fd::reset(int fd) noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

Result<SocketAddress> SocketAddress::from(const Endpoint& endpoint) {
  SocketAddress a;
  std::string host = endpoint.address;
  std::string zone;
  if (const auto percent = host.find('%'); percent != std::string::npos) {
    zone = host.substr(percent + 1);
    host.resize(percent);
  }
  sockaddr_in6 six{};
  sockaddr_in four{};
  if (inet_pton(AF_INET6, host.c_str(), &six.sin6_addr) == 1) {
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(endpoint.port);
    six.sin6_scope_id = zone.empty() ? 0 : if_nametoindex(zone.c_str());
    std::memcpy(&a.storage, &six, sizeof six);
    a.length = sizeof six;
  } else if (zone.empty() && inet_pton(AF_INET, host.c_str(), &four.sin_addr) == 1) {
    four.sin_family = AF_INET;
    four.sin_port = htons(endpoint.port);
    std::memcpy(&a.storage, &four, sizeof four);
    a.length = sizeof four;
  } else {
    return Error(Errc::invalid_argument, "'" + endpoint.address + "' is not a numeric IP address");
  }
  return a;
}

Endpoint SocketAddress::endpoint() const {
  char text[INET6_ADDRSTRLEN] = {};
  if (family() == AF_INET6) {
    sockaddr_in6 six;
    std::memcpy(&six, &storage, sizeof six);
    if (IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) {
      inet_ntop(AF_INET, &six.sin6_addr.s6_addr[12], text, sizeof text);
    } else {
      inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof text);
    }
    return Endpoint{text, ntohs(six.sin6_port)};
  }
  sockaddr_in four;
  std::memcpy(&four, &storage, sizeof four);
  inet_ntop(AF_INET, &four.sin_addr, text, sizeof text);
  return Endpoint{text, ntohs(four.sin_port)};
}

Endpoint local_endpoint(int fd) {
  SocketAddress a;
  static_cast<void>(getsockname(fd, a.raw(), &a.length));
  return a.endpoint();
}

Endpoint peer_endpoint(int fd) {
  SocketAddress a;
  static_cast<void>(getpeername(fd, a.raw(), &a.length));
  return a.endpoint();
}

Result<Fd> make_socket(const SocketAddress& address) {
  Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd) return error_from_errno(errno).with_context("cannot make a TCP socket");
  return fd;
}

void set_no_delay(int fd) noexcept {
  const int on = 1;
  static_cast<void>(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
}

void set_keep_alive(int fd) noexcept {
  const int on = 1, idle_seconds = 60, interval_seconds = 10, probes = 6;
  static_cast<void>(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on));
  static_cast<void>(setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_seconds, sizeof idle_seconds));
  static_cast<void>(setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_seconds, sizeof interval_seconds));
  static_cast<void>(setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes));
}

}  // namespace holdfast::uring
