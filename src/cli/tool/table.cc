#include "cli/tool/table.h"

#include <algorithm>

#include "base/assert.h"

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

}  // namespace

std::size_t display_width(std::string_view text) noexcept {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

void Table::add_row(std::vector<std::string> cells) {
  HF_ASSERT(cells.size() == columns_.size());
  for (auto& cell : cells) {
    if (cell.empty()) cell = "-";
    for (char& c : cell) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
    }
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
