#include "cli/tool/table.h"

#include <algorithm>

#include "base/assert.h"
#include "base/utf8.h"

namespace holdfast::cli {
namespace {

void append_cell(std::string& line, const std::string& text, std::size_t width, Align align) {
  const std::string padding(width - display_width(text), ' ');
  if (!line.empty()) line += "  ";
  line += align == Align::right ? padding + text : text + padding;
}

void append_line(std::string& to, std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  to += line;
  to += '\n';
}

// One '?' for each control character, and for each byte that is no UTF-8.
std::string printable(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const std::size_t size = utf8_size(text);
    if (size == 0 || is_control(text)) {
      shown += '?';
    } else {
      shown += text.substr(0, size);
    }
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return shown;
}

}  // namespace

std::size_t display_width(std::string_view text) noexcept {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

void Table::add_row(std::vector<std::string> cells) {
  HF_ASSERT(cells.size() == columns_.size());
  for (auto& cell : cells) {
    cell = cell.empty() ? "-" : printable(cell);
  }
  rows_.push_back(std::move(cells));
}

std::string Table::to_string(bool with_titles) const {
  std::vector<std::size_t> widths(columns_.size(), 0);
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (with_titles) widths[i] = display_width(columns_[i].title);
    for (const auto& row : rows_) widths[i] = std::max(widths[i], display_width(row[i]));
  }
  std::string text;
  if (with_titles) {
    std::string line;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      append_cell(line, columns_[i].title, widths[i], columns_[i].align);
    }
    append_line(text, std::move(line));
  }
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < columns_.size(); ++i) append_cell(line, row[i], widths[i], columns_[i].align);
    append_line(text, std::move(line));
  }
  return text;
}

}  // namespace holdfast::cli
