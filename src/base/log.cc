#include "base/log.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "base/utf8.h"

namespace holdfast::log {
namespace {

Level threshold = Level::info;
Format line_format = Format::text;
Sink& sink() {
  static Sink s;
  return s;
}

spdlog::level::level_enum to_spdlog(Level level) noexcept {
  switch (level) {
    case Level::trace:
      return spdlog::level::trace;
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warn:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
    case Level::off:
      return spdlog::level::off;
  }
  return spdlog::level::off;
}

spdlog::logger& logger() {
  static const auto instance = [] {
    auto l = spdlog::stderr_logger_mt("holdfast");
    l->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%-5l%$ %v");
    l->set_level(spdlog::level::trace);
    l->flush_on(spdlog::level::trace);
    return l;
  }();
  return *instance;
}

bool needs_quotes(std::string_view v) noexcept {
  if (v.empty() || v.find_first_of(" \"=") != std::string_view::npos) return true;
  for (std::size_t size = 0; !v.empty(); v.remove_prefix(size)) {
    size = utf8_size(v);
    if (size == 0 || is_control(v)) return true;
  }
  return false;
}

// As JSON has it. Values come from peers as well: none may steer the terminal of who reads the log, nor make the
// line something else than JSON.
void append_quoted(std::string& line, std::string_view v) {
  line.push_back('"');
  while (!v.empty()) {
    const std::size_t size = utf8_size(v);
    if (size == 0) {
      line += "\\ufffd";
    } else if (is_control(v)) {
      line += fmt::format("\\u{:04x}", static_cast<unsigned char>(v[size - 1]));
    } else if (v[0] == '"' || v[0] == '\\') {
      line.push_back('\\');
      line.push_back(v[0]);
    } else {
      line += v.substr(0, size);
    }
    v.remove_prefix(std::max<std::size_t>(size, 1));
  }
  line.push_back('"');
}

std::string text_line(std::string_view component, std::string_view message,
                      std::initializer_list<Field> fields) {
  std::string line = fmt::format("{}: {}", component, message);
  for (const auto& f : fields) {
    line.append(" ").append(f.key).append("=");
    if (needs_quotes(f.value)) {
      append_quoted(line, f.value);
    } else {
      line.append(f.value);
    }
  }
  return line;
}

std::string json_line(std::string_view component, std::string_view message,
                      std::initializer_list<Field> fields) {
  std::string line = "\"component\":";
  append_quoted(line, component);
  line += ",\"message\":";
  append_quoted(line, message);
  for (const auto& f : fields) {
    line += ',';
    append_quoted(line, f.key);
    line += ':';
    append_quoted(line, f.value);
  }
  return line;
}

}  // namespace

void configure(Level level, Format format) {
  threshold = level;
  line_format = format;
  if (format == Format::json) {
    logger().set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%v})");
  }
}

Result<Level> parse_level(std::string_view text) {
  static constexpr std::array<std::string_view, 6> names = {"trace", "debug", "info", "warn", "error", "off"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (text == names[i]) return static_cast<Level>(i);
  }
  return Error(Errc::invalid_argument,
               fmt::format("'{}' is not a log level: use trace, debug, info, warn, error or off", text));
}

void set_sink(Sink s) { sink() = std::move(s); }

bool enabled(Level level) noexcept { return level >= threshold; }

void write(Level level, std::string_view component, std::string_view message,
           std::initializer_list<Field> fields) {
  if (sink()) {
    sink()(level, component, text_line(component, message, fields));
    return;
  }
  const auto line = line_format == Format::json ? json_line(component, message, fields)
                                                : text_line(component, message, fields);
  logger().log(to_spdlog(level), "{}", line);
}

}  // namespace holdfast::log
