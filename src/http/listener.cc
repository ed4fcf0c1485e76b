#include "http/listener.h"

#include <cerrno>
#include <cstring>
#include <string>

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace holdfast::http {
namespace {

constexpr int backlog = 1024;

// A descriptor, or -1 with errno.
int listen_at(const addrinfo& at) {
  const int fd = ::socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, at.ai_protocol);
  if (fd < 0) return -1;
  const int yes = 1;
  const int no = 0;
  static_cast<void>(::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
  if (at.ai_family == AF_INET6)
    static_cast<void>(::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no));
  if (::bind(fd, at.ai_addr, at.ai_addrlen) == 0 && ::listen(fd, backlog) == 0) return fd;
  const int why = errno;
  ::close(fd);
  errno = why;
  return -1;
}

std::uint16_t port_of(int socket) {
  sockaddr_storage at{};
  socklen_t length = sizeof at;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&at), &length) != 0) return 0;
  return ntohs(at.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(at).sin6_port
                                        : reinterpret_cast<const sockaddr_in&>(at).sin_port);
}

}  // namespace

Result<std::unique_ptr<Listener>> Listener::open(const Endpoint& at) {
  const auto cannot = [&](const char* why) {
    return Error(Errc::busy, fmt::format("cannot listen on {}: {}", at.to_string(), why));
  };
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int unknown = ::getaddrinfo(at.address.c_str(), std::to_string(at.port).c_str(), &hints, &found);
  if (unknown != 0) return cannot(::gai_strerror(unknown));
  int socket = -1;
  int why = 0;
  for (const addrinfo* one = found; one != nullptr && socket < 0; one = one->ai_next) {
    socket = listen_at(*one);
    why = errno;
  }
  ::freeaddrinfo(found);
  if (socket < 0) return cannot(std::strerror(why));
  const int awake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (awake < 0) {
    why = errno;
    ::close(socket);
    return cannot(std::strerror(why));
  }
  return std::unique_ptr<Listener>(new Listener(socket, awake, port_of(socket)));
}

Listener::~Listener() {
  ::close(socket_);
  ::close(awake_);
}

bool Listener::wait() {
  pollfd both[] = {{socket_, POLLIN, 0}, {awake_, POLLIN, 0}};
  static_cast<void>(::poll(both, 2, -1));
  return both[1].revents == 0;
}

void Listener::wake() { static_cast<void>(::eventfd_write(awake_, 1)); }

int Listener::accept() {
  const int fd = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) {
    const bool full = errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS;
    return full ? exhausted : nobody;
  }
  const int yes = 1;
  static_cast<void>(::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes));
  return fd;
}

}  // namespace holdfast::http
