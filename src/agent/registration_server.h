// Where engines say that they are here: the service mayastor.v1.Registration, in gRPC.
#pragma once

#include <memory>

#include "base/error.h"
#include "control/service.h"
#include "rt/io.h"

namespace holdfast::rpc {
class HomePort;
}

namespace holdfast::agent {

class RegistrationServer {
 public:
  // Port and service outlive it. Blocks. Errors: busy, naming the address and the flag.
  static Result<std::unique_ptr<RegistrationServer>> start(const Endpoint& at, rpc::HomePort& port,
                                                           control::Service& service);
  // Calls under way get a moment to end. Blocks.
  ~RegistrationServer();
  RegistrationServer(const RegistrationServer&) = delete;
  RegistrationServer& operator=(const RegistrationServer&) = delete;

 private:
  struct Parts;
  explicit RegistrationServer(std::unique_ptr<Parts> parts) noexcept;
  std::unique_ptr<Parts> parts_;
};

}  // namespace holdfast::agent
