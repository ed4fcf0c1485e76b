// A TCP socket that takes connections.
#pragma once

#include <cstdint>
#include <memory>

#include "base/error.h"
#include "rt/io.h"

namespace holdfast::http {

class Listener {
 public:
  // Port 0: any free one. "::" takes IPv4, too. Errors: busy, naming the address and the reason.
  static Result<std::unique_ptr<Listener>> open(const Endpoint& at);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  std::uint16_t port() const noexcept { return port_; }
  // Until somebody connects, or wake(). False: it is the latter.
  bool wait();
  // Any thread. For good.
  void wake();
  // A socket that does not block, the caller's. Or `nobody`: it has gone already; or `exhausted`: there is no
  // descriptor or memory for it.
  int accept();
  static constexpr int nobody = -1;
  static constexpr int exhausted = -2;

 private:
  Listener(int socket, int awake, std::uint16_t port) noexcept
      : socket_(socket), awake_(awake), port_(port) {}

  const int socket_;
  const int awake_;
  const std::uint16_t port_;
};

}  // namespace holdfast::http
