#include "cli/tool/output.h"

#include <array>
#include <ostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/units.h"

namespace holdfast::cli {

void Output::answer(const nlohmann::ordered_json& tree, const std::function<void()>& table) {
  clear_live();
  switch (format) {
    case Format::table:
    case Format::wide:
      table();
      break;
    case Format::json:
      // What is no UTF-8, such as a name from a file system, cannot be shown as it is.
      out_ << tree.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
      break;
    case Format::yaml:
      out_ << to_yaml(tree);
      break;
  }
  out_.flush();
}

void Output::print(const Table& table, std::string_view nothing) {
  if (table.empty() && !nothing.empty()) {
    note(nothing);
    return;
  }
  out_ << table.to_string(!quiet);
}

void Output::line(std::string_view text) { out_ << text << '\n'; }
void Output::flush() { out_.flush(); }

void Output::note(std::string_view text) {
  if (quiet) return;
  clear_live();
  err_ << text << '\n';
}

void Output::verbose(int level, std::string_view text) {
  if (verbosity < level) return;
  clear_live();
  err_ << text << '\n';
}

int Output::error(std::string_view code, std::string_view text, std::string_view hint) {
  clear_live();
  out_.flush();
  err_ << "error: " << code << ": " << text << '\n';
  if (!hint.empty()) err_ << "hint: " << hint << '\n';
  return exit_failed;
}

int Output::error(const Error& e, std::string_view hint) {
  const std::string message = e.message();
  // An error without a text of its own begins with its code's name already.
  if (message.starts_with(name(e.code()))) {
    clear_live();
    err_ << "error: " << message << '\n';
    if (!hint.empty()) err_ << "hint: " << hint << '\n';
    return exit_failed;
  }
  return error(name(e.code()), message, hint);
}

void Output::live_line(std::string_view text) {
  if (!live()) return;
  err_ << "\r\x1b[K" << text << std::flush;
  live_shown_ = true;
}

void Output::clear_live() {
  if (!live_shown_) return;
  err_ << "\r\x1b[K" << std::flush;
  live_shown_ = false;
}

std::string Output::size(std::uint64_t bytes) const {
  switch (units.value_or(default_units)) {
    case Units::bytes:
      return std::to_string(bytes);
    case Units::binary:
      return format_size(bytes);
    case Units::decimal:
      return format_size_decimal(bytes);
  }
  panic("no such unit");
}

std::string format_size_decimal(std::uint64_t bytes) {
  static constexpr std::array<const char*, 7> units = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  std::size_t unit = 0;
  double value = static_cast<double>(bytes);
  for (; value >= 1000 && unit + 1 < units.size(); ++unit) value /= 1000;
  auto text = fmt::format("{:.2f}", value);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text + " " + units[unit];
}

}  // namespace holdfast::cli
