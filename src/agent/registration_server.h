// Where engines say that they are here: the service mayastor.v1.Registration, in gRPC.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "control/service.h"
#include "rpc/tls.h"
#include "rt/io.h"

namespace holdfast::rpc {
class HomePort;
}

namespace holdfast::agent {

class RegistrationServer {
 public:
  struct Settings {
    Endpoint at;
    std::string agent;  // this one's name
    // Certificate and key, and whose certificates engines have to show (empty: none is asked for). The same are
    // shown to the agent that leads when a registration goes on to it. None: plain text.
    std::optional<rpc::Tls> tls;
  };
  // A registration that reaches an agent which does not lead goes on to the one that does. Port and service outlive
  // it. Blocks. Errors: busy, naming the address and the flag.
  static Result<std::unique_ptr<RegistrationServer>> start(Settings settings, rpc::HomePort& port,
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
