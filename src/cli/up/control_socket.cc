#include "cli/up/control_socket.h"

#include <cerrno>
#include <cstring>
#include <vector>

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

namespace holdfast::cli {
namespace {

constexpr std::size_t message_bytes_max = 64 << 10;

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Error(
        Errc::invalid_argument,
        fmt::format("'{}' is too long for a socket: use a state directory with a shorter path", path));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

void set_patience(int fd, int seconds) {
  const timeval limit{seconds, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

bool send_message(int fd, const Tree& message) {
  const std::string text_form = message.dump(-1, ' ', false, Tree::error_handler_t::replace);
  return ::send(fd, text_form.data(), text_form.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(text_form.size());
}

// Discarded when nothing proper came.
Tree receive_message(int fd) {
  std::vector<char> buffer(message_bytes_max);
  const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
  if (n <= 0) return Tree(Tree::value_t::discarded);
  return Tree::parse(buffer.begin(), buffer.begin() + n, nullptr, false);
}

Error connect_error(int error, const std::string& path) {
  const std::string dir = path.substr(0, path.rfind('/'));
  switch (error) {
    case EACCES:
    case EPERM:
      return Error(
          Errc::failed_precondition,
          fmt::format("the cluster in {} is another user's: run this as that user, or with sudo", dir));
    case EAGAIN:
      return Error(Errc::timed_out, fmt::format("no answer from {}", path));
    default:
      return Error(Errc::not_found, fmt::format("no cluster runs from {}", dir));
  }
}

}  // namespace

ControlSocket::~ControlSocket() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(path_.c_str());
}

Status ControlSocket::listen(const std::string& path) {
  HF_TRY(const auto address, address_of(path));
  fd_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd_ < 0) return error_from_errno(errno).with_context("socket");
  path_ = path;
  ::unlink(path.c_str());  // the lock says that nobody uses it
  const mode_t before = ::umask(0077);
  const bool bound =
      ::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 && ::listen(fd_, 16) == 0;
  const int bind_errno = errno;
  ::umask(before);
  if (!bound) return error_from_errno(bind_errno).with_context(path);
  return {};
}

void ControlSocket::serve(const std::function<Tree(const Tree& request)>& answer) {
  const int caller = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
  if (caller < 0) return;
  set_patience(caller, 1);
  const Tree request = receive_message(caller);
  if (!request.is_discarded()) send_message(caller, answer(request));
  ::close(caller);
}

Result<Tree> ask(const std::string& path, const Tree& request) {
  HF_TRY(const auto address, address_of(path));
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return error_from_errno(errno).with_context("socket");
  set_patience(fd, 10);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int connect_errno = errno;
    ::close(fd);
    return connect_error(connect_errno, path);
  }
  const bool sent = send_message(fd, request);
  Tree reply = sent ? receive_message(fd) : Tree(Tree::value_t::discarded);
  ::close(fd);
  if (reply.is_discarded()) return Error(Errc::timed_out, fmt::format("no answer from {}", path));
  return reply;
}

}  // namespace holdfast::cli
