#include "pool/disk_health.h"

#include <algorithm>

#include "base/duration.h"

namespace holdfast::pool {

void DiskHealth::add(Trouble& trouble, unsigned limit, Nanos now) {
  while (!trouble.times.empty() && now - trouble.times.front() > limits_.window) trouble.times.pop_front();
  trouble.times.push_back(now);
  if (trouble.times.size() > times_max) trouble.times.pop_front();
  if (limit != 0 && trouble.times.size() >= limit) trouble.too_many = true;
  trouble.figure = std::max(trouble.figure, trouble.times.size());
}

void DiskHealth::failed(std::uint64_t operations, Nanos now) {
  refresh(errors_, now);
  for (std::uint64_t n = std::min<std::uint64_t>(operations, times_max); n > 0; --n)
    add(errors_, limits_.errors, now);
}

void DiskHealth::stalled(Nanos now) {
  refresh(stalls_, now);
  if (!stalls_.times.empty() && now - stalls_.times.back() < limits_.stall_time) return;
  add(stalls_, limits_.stalls, now);
}

void DiskHealth::refresh(Trouble& trouble, Nanos now) {
  if (!trouble.times.empty() && now - trouble.times.back() >= limits_.quiet) trouble = Trouble();
}

void DiskHealth::refresh(Nanos now) {
  refresh(errors_, now);
  refresh(stalls_, now);
}

void DiskHealth::reset() {
  errors_ = Trouble();
  stalls_ = Trouble();
}

Nanos DiskHealth::refresh_at() const noexcept {
  Nanos next = no_deadline;
  for (const Trouble* trouble : {&errors_, &stalls_}) {
    if (!trouble->times.empty()) next = std::min(next, trouble->times.back() + limits_.quiet);
  }
  return next;
}

std::string DiskHealth::reason() const {
  std::string text;
  const auto add = [this, &text](const Trouble& trouble, const std::string& what) {
    if (!trouble.too_many) return;
    text += (text.empty() ? "" : " and ") + what + " " + std::to_string(trouble.figure) +
            (trouble.figure == 1 ? " time" : " times") + " within " + duration_text(limits_.window);
  };
  add(errors_, "failed I/O");
  add(stalls_, "stalled for more than " + duration_text(limits_.stall_time));
  if (text.empty()) return text;
  return text + ": look at the kernel's log, and replace it; it counts as fit again after " +
         duration_text(limits_.quiet) + " without that, or at once by `holdfast engine pool reset-health`";
}

}  // namespace holdfast::pool
