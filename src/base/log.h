// Structured logs: one line per event, "component: message key=value ...". Written by spdlog (log.cc), whose
// headers stay out of everybody else's sight.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace holdfast::log {

enum class Level : std::uint8_t { trace, debug, info, warn, error, off };

// One key=value pair. Built only when the level is enabled.
struct Field {
  std::string_view key;
  std::string value;

  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const char* v) : key(k), value(v) {}
  Field(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  Field(std::string_view k, bool v) : key(k), value(v ? "true" : "false") {}
  template <class T>
  requires(std::is_arithmetic_v<T> && !std::same_as<T, bool>) Field(std::string_view k, T v)
      : key(k), value(std::to_string(v)) {}
  Field(std::string_view k, const Error& e) : key(k), value(e.message()) {}
};

enum class Format : std::uint8_t { text, json };
// Where lines go: standard error, as text or as one JSON object a line. Call once, before other threads
// start.
void configure(Level level, Format format);
Result<Level> parse_level(std::string_view text);
// Takes over from spdlog: the simulation stamps lines with virtual time and a node's name. Empty: back to
// spdlog.
using Sink = std::function<void(Level, std::string_view component, std::string_view line)>;
void set_sink(Sink sink);

bool enabled(Level level) noexcept;
void write(Level level, std::string_view component, std::string_view message,
           std::initializer_list<Field> fields = {});

// HF_LOG(info, "nexus", "child retired", {"child", uri}, {"reason", reason});
#define HF_LOG(level_, component_, message_, ...)                                                  \
  do {                                                                                             \
    if (::holdfast::log::enabled(::holdfast::log::Level::level_)) {                                \
      ::holdfast::log::write(::holdfast::log::Level::level_, component_, message_, {__VA_ARGS__}); \
    }                                                                                              \
  } while (false)

}  // namespace holdfast::log
