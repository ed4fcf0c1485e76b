// Sockets as this folder needs them: addresses, an owning descriptor.
#pragma once

#include <optional>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/error.h"
#include "rt/io.h"

namespace holdfast::uring {

// Owns a descriptor.
class Fd {
 public:
  Fd() noexcept = default;
  explicit Fd(int fd) noexcept : fd_(fd) {}
  Fd(Fd&& o) noexcept : fd_(o.release()) {}
  Fd& operator=(Fd&& o) noexcept {
    if (this != &o) reset(o.release());
    return *this;
  }
  ~Fd() { reset(); }
  int get() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -1); }
  void reset(int fd = -1) noexcept;
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = sizeof(sockaddr_storage);

  // Errors: invalid_argument when the address is not numeric (an IPv6 address may name its zone:
  // fe80::1%eth0).
  static Result<SocketAddress> from(const Endpoint& endpoint);
  Endpoint endpoint() const;
  // Only for system calls, which ask for this type.
  sockaddr* raw() noexcept { return static_cast<sockaddr*>(static_cast<void*>(&storage)); }
  const sockaddr* raw() const noexcept {
    return static_cast<const sockaddr*>(static_cast<const void*>(&storage));
  }
  int family() const noexcept { return storage.ss_family; }
};

// What the descriptor is bound, or connected, to.
Endpoint local_endpoint(int fd);
Endpoint peer_endpoint(int fd);

// A TCP socket for `address`, blocking (io_uring waits only on those), closed on exec.
Result<Fd> make_socket(const SocketAddress& address);
void set_no_delay(int fd) noexcept;
// The kernel asks an idle peer for a sign of life from time to time, and ends the connection of one that is
// gone.
void set_keep_alive(int fd) noexcept;

}  // namespace holdfast::uring
