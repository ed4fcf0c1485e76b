#include "rpc/home_call.h"

#include <algorithm>

namespace holdfast::rpc {

grpc::Status wait_for_answer(grpc::ServerContext& context,
                             const std::function<bool(std::chrono::milliseconds)>& ready) {
  using std::chrono::system_clock;
  constexpr auto default_patience = std::chrono::seconds(15);
  // A thread waits no longer than this, whatever the caller's deadline says.
  constexpr auto longest_patience = std::chrono::minutes(10);
  constexpr auto look_for_the_caller = std::chrono::milliseconds(200);

  const auto start = system_clock::now();
  auto deadline = context.deadline();
  if (deadline == system_clock::time_point::max()) deadline = start + default_patience;
  deadline = std::min(deadline, start + longest_patience);
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - system_clock::now());
    const auto patience = std::clamp(left, std::chrono::milliseconds(0), look_for_the_caller);
    if (ready(patience)) return grpc::Status::OK;
    if (system_clock::now() >= deadline) {
      return {
          grpc::StatusCode::DEADLINE_EXCEEDED,
          "the operation goes on, but its answer was not ready in time: list the object to see how it ended"};
    }
    if (context.IsCancelled()) {
      return {grpc::StatusCode::CANCELLED, "the caller went away; the operation goes on"};
    }
  }
}

}  // namespace holdfast::rpc
