#include "control/rest/home.h"

#include <fmt/format.h>

#include "rpc/home_call.h"

namespace holdfast::control::rest {
namespace {

Task<Result<std::vector<Event>>> wait_for_events(Service& service, std::uint64_t after, Nanos deadline) {
  auto events = co_await service.events().next(after, deadline);
  co_return events;
}

}  // namespace

Result<std::vector<Event>> Home::next_events(std::uint64_t after) {
  static constexpr std::chrono::seconds patience{1};
  return change(patience + read_patience, [&home = port_.home(), after](Service& service) {
    return wait_for_events(service, after, home.now() + patience);
  });
}

void Home::send(std::unique_ptr<Job> job) {
  auto run = [&service = service_, job = std::move(job)] { return job->run(service); };
  // The job itself tells its caller how it went.
  static_cast<void>(rpc::ask_home<bool>(port_, std::chrono::milliseconds(0), std::move(run)));
}

Error Home::late(std::chrono::milliseconds patience) {
  return refusal(Kind::timeout,
                 fmt::format("no answer within {} ms; what was begun goes on: look at the resource to "
                             "see how it ended",
                             patience.count()));
}

Error Home::stopping() { return refusal(Kind::unavailable, "this agent is stopping; ask another, or later"); }

}  // namespace holdfast::control::rest
