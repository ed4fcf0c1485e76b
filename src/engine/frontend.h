// What others reach an engine by, besides NVMe/TCP: the gRPC services, /metrics, and the heartbeat to a
// control plane.
#pragma once

#include <memory>

#include "base/error.h"
#include "engine/engine.h"
#include "engine/metrics_server.h"
#include "engine/registration.h"
#include "engine/server.h"

namespace holdfast::engine {

// The services, their server and its threads. start() and stop() block: not for a reactor's thread.
class Frontend {
 public:
  explicit Frontend(Engine& engine);
  ~Frontend();  // stop() was called, or start() never was
  Frontend(const Frontend&) = delete;
  Frontend& operator=(const Frontend&) = delete;

  // Errors: busy and invalid_argument, naming the address and the flag. Nothing runs then.
  Status start();
  // Deregisters, ends the calls under way and all threads. The home core has to turn meanwhile.
  void stop();

 private:
  struct Services;
  Engine& engine_;
  std::unique_ptr<Services> services_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<MetricsServer> metrics_;
  std::unique_ptr<Registration> registration_;
};

}  // namespace holdfast::engine
