// A table for people: aligned columns, two spaces between them, no frame, no trailing blanks.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::cli {

enum class Align : std::uint8_t { left, right };

struct Column {
  std::string title;
  Align align = Align::left;

  Column(const char* t) : title(t) {}
  Column(const char* t, Align a) : title(t), align(a) {}
};

class Table {
 public:
  Table(std::initializer_list<Column> columns) : columns_(columns) {}

  void add_column(Column column) { columns_.push_back(std::move(column)); }
  // As many cells as there are columns (asserted). An empty cell shows as "-", so that columns can be cut out
  // of a row by their number.
  void add_row(std::vector<std::string> cells);
  bool empty() const noexcept { return rows_.empty(); }

  // With or without the line of titles. Control characters in cells, and what is no UTF-8, show as '?': names come
  // from elsewhere and must not steer a terminal.
  std::string to_string(bool with_titles) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Characters that a terminal shows, taking UTF-8 continuation bytes as part of the one before.
std::size_t display_width(std::string_view text) noexcept;

}  // namespace holdfast::cli
