// Engines as they are reached over the network: clients of mayastor.v1 and holdfast.v1.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "control/engine.h"
#include "rpc/channel.h"
#include "rt/reactor.h"

namespace holdfast::control {

class GrpcDirectory final : public EngineDirectory {
 public:
  // `tls` none: plain text.
  explicit GrpcDirectory(Reactor& home, std::optional<rpc::Tls> tls = std::nullopt,
                         EngineTimeouts timeouts = EngineTimeouts());
  std::unique_ptr<Engine> connect(const NodeId& node, const std::string& endpoint) override;

 private:
  Reactor& home_;
  const std::optional<rpc::Tls> tls_;
  const EngineTimeouts timeouts_;
};

}  // namespace holdfast::control
