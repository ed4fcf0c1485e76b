#include "http/metric_families.h"

#include <algorithm>

#include <prometheus/text_serializer.h>

namespace holdfast::http {

prometheus::ClientMetric& MetricFamilies::sample(const char* name, const char* help,
                                                 prometheus::MetricType type, Labels labels) {
  auto family = std::find_if(families_.begin(), families_.end(),
                             [name](const prometheus::MetricFamily& f) { return f.name == name; });
  if (family == families_.end()) {
    families_.push_back({name, help, type, {}});
    family = families_.end() - 1;
  }
  prometheus::ClientMetric& metric = family->metric.emplace_back();
  for (const auto& [key, value] : labels) metric.label.push_back({key, std::string(value)});
  return metric;
}

void MetricFamilies::counter(const char* name, const char* help, Labels labels, double value) {
  sample(name, help, prometheus::MetricType::Counter, labels).counter.value = value;
}

void MetricFamilies::gauge(const char* name, const char* help, Labels labels, double value) {
  sample(name, help, prometheus::MetricType::Gauge, labels).gauge.value = value;
}

std::string MetricFamilies::text() const { return prometheus::TextSerializer().Serialize(families_); }

}  // namespace holdfast::http
