#include "control/events.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace holdfast::control {

void Events::add(std::string_view category, std::string_view action, std::string resource, std::string node,
                 std::string text, bool warning) {
  Event e;
  e.number = ++last_;
  e.at = home_.wall_now();
  e.category = category;
  e.action = action;
  e.resource = std::move(resource);
  e.node = std::move(node);
  e.text = std::move(text);
  e.warning = warning;
  if (warning) {
    HF_LOG(warn, "event", e.text, {"category", e.category}, {"action", e.action}, {"resource", e.resource},
           {"node", e.node});
  } else {
    HF_LOG(info, "event", e.text, {"category", e.category}, {"action", e.action}, {"resource", e.resource},
           {"node", e.node});
  }
  if (kept_.size() == kept_max_) kept_.pop_front();
  kept_.push_back(std::move(e));
  news_.wake_all();
}

std::vector<Event> Events::since(std::uint64_t after, std::size_t max) const {
  const auto first = std::upper_bound(kept_.begin(), kept_.end(), after,
                                      [](std::uint64_t number, const Event& e) { return number < e.number; });
  const auto count = std::min(max, static_cast<std::size_t>(kept_.end() - first));
  return {first, first + static_cast<std::ptrdiff_t>(count)};
}

Task<std::vector<Event>> Events::next(std::uint64_t after, Nanos deadline, StopToken stop) {
  while (last_ <= after) {
    const Wake woken = co_await news_.wait(deadline, stop);
    if (woken != Wake::signalled) break;
  }
  co_return since(after);
}

}  // namespace holdfast::control
