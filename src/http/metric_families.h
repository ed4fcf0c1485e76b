// Builds the families of a scrape: each once, with its help text, filled by whoever has samples of it.
#pragma once

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <prometheus/metric_family.h>

namespace holdfast::http {

inline double as_double(std::uint64_t n) { return static_cast<double>(n); }

class MetricFamilies {
 public:
  using Labels = std::initializer_list<std::pair<const char*, std::string_view>>;

  // The first call for a name fixes its help text.
  void counter(const char* name, const char* help, Labels labels, double value);
  void gauge(const char* name, const char* help, Labels labels, double value);
  // In the text format that Prometheus scrapes.
  std::string text() const;

 private:
  prometheus::ClientMetric& sample(const char* name, const char* help, prometheus::MetricType type,
                                   Labels labels);
  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace holdfast::http
