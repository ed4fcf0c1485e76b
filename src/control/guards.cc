#include "control/guards.h"

#include <fmt/format.h>

#include "control/model/kind.h"

namespace holdfast::control {

Task<Result<Guards::Guard>> Guards::take(std::string name, Nanos patience) {
  const Nanos deadline = home_.now() + patience;
  for (;;) {
    Guard taken = try_take(name);
    if (taken) co_return taken;
    const Wake woken = co_await freed_.wait(deadline);
    if (woken == Wake::timed_out) {
      co_return refusal(Kind::conflict, fmt::format("another change of {} is under way: try again", name));
    }
  }
}

}  // namespace holdfast::control
