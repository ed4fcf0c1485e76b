#include "cli/tool/progress.h"

#include <cmath>
#include <ctime>

#include <fmt/format.h>

namespace holdfast::cli {

double monotonic_seconds() noexcept {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

void sleep_seconds(double seconds) noexcept {
  const double whole = std::floor(seconds);
  const timespec t{static_cast<time_t>(whole), static_cast<long>((seconds - whole) * 1e9)};
  nanosleep(&t, nullptr);
}

std::string bar(std::uint64_t done, std::uint64_t total, unsigned width) {
  const double share = total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total);
  const auto filled = static_cast<unsigned>(std::fmin(1.0, share) * width);
  return std::string(filled, '#') + std::string(width - filled, '-');
}

std::string format_duration(double seconds) {
  const auto s = static_cast<std::uint64_t>(std::fmax(0.0, std::ceil(seconds)));
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {} s", s / 60, s % 60);
  return fmt::format("{} h {} min", s / 3600, s % 3600 / 60);
}

void Rate::sample(double at, std::uint64_t total) noexcept {
  if (!started_ || total < last_total_ || at <= last_at_) {
    if (!started_ || total < last_total_) {
      started_ = true;
      last_at_ = at;
      last_total_ = total;
    }
    return;
  }
  const double elapsed = at - last_at_;
  const double now = static_cast<double>(total - last_total_) / elapsed;
  const double keep = rate_ == 0 ? 0 : std::exp2(-elapsed / half_life_seconds);
  rate_ = rate_ * keep + now * (1 - keep);
  last_at_ = at;
  last_total_ = total;
}

}  // namespace holdfast::cli
