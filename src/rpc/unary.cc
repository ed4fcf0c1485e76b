#include "rpc/unary.h"

namespace holdfast::rpc {

void apply(const CallOptions& options, grpc::ClientContext& context) {
  using std::chrono::system_clock;
  if (options.timeout != no_deadline) {
    // gRPC's deadlines are on the wall clock; one far away must not overflow it.
    const Nanos bounded = std::min<Nanos>(options.timeout, std::chrono::hours(24 * 365));
    context.set_deadline(system_clock::now() + std::chrono::duration_cast<system_clock::duration>(bounded));
  }
  context.set_wait_for_ready(options.wait_for_ready);
  for (const auto& [key, value] : options.metadata) context.AddMetadata(key, value);
}

std::map<std::string, std::string> trailers_of(const grpc::ClientContext& context) {
  std::map<std::string, std::string> found;
  for (const auto& [key, value] : context.GetServerTrailingMetadata()) {
    found.emplace(std::string(key.data(), key.size()), std::string(value.data(), value.size()));
  }
  return found;
}

}  // namespace holdfast::rpc
