// The gRPC server of an engine: limits, threads, the services that exist, and the answer of those that do
// not.
#pragma once

#include <memory>
#include <span>
#include <string>

#include <grpcpp/impl/service_type.h>

#include "base/error.h"
#include "rt/io.h"

namespace holdfast::engine {

class GrpcServer {
 public:
  // The services outlive the server. Errors: busy (the port is in use) and invalid_argument (not an address
  // of this host), naming the address and the flag.
  static Result<std::unique_ptr<GrpcServer>> start(const Endpoint& at,
                                                   std::span<grpc::Service* const> services);
  ~GrpcServer();  // stop()

  // No further calls; those under way get a moment to end, then they are cancelled. Returns when all have
  // ended.
  void stop();
  const Endpoint& local() const noexcept;

 private:
  struct Parts;
  explicit GrpcServer(std::unique_ptr<Parts> parts) noexcept;
  std::unique_ptr<Parts> parts_;
};

}  // namespace holdfast::engine
