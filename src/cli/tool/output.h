// What every command writes through: a table for people, or the same answer in full as JSON or YAML for
// programs. Standard output carries the answer and nothing else; notes, progress and errors go to standard
// error.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "base/error.h"
#include "cli/tool/table.h"

namespace holdfast::cli {

// wide: as table, with the columns that only some want.
enum class Format : std::uint8_t { table, wide, json, yaml };
// How sizes show in tables. JSON and YAML always carry bytes.
enum class Units : std::uint8_t { bytes, binary, decimal };

// What a program that starts this one can rely on.
inline constexpr int exit_ok = 0;
inline constexpr int exit_failed = 1;  // understood, but it did not work
inline constexpr int exit_usage = 2;   // the command line makes no sense

class Output {
 public:
  // The streams outlive the Output. live: `err` is a terminal, so progress may be drawn in place.
  Output(std::ostream& out, std::ostream& err, bool live) : out_(out), err_(err), live_(live) {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Set from the command line, before a command runs.
  Format format = Format::table;
  std::optional<Units> units;
  Units default_units = Units::bytes;  // of the command, when none are asked for
  int verbosity = 0;                   // 1: each call; 2: each request and answer
  bool quiet = false;                  // tables without titles, no notes

  // The answer: `tree` as it is for programs; for people what `table` makes.
  void answer(const nlohmann::ordered_json& tree, const std::function<void()>& table);
  // For the `table` of answer(). `nothing` is the note for a table without rows: "no nexus".
  void print(const Table& table, std::string_view nothing = {});
  void line(std::string_view text);
  void flush();  // answers that come bit by bit

  // For people, on standard error; not when quiet.
  void note(std::string_view text);
  void verbose(int level, std::string_view text);
  // "error: code: text", then the hint on a line of its own. Returns exit_failed.
  int error(std::string_view code, std::string_view text, std::string_view hint = {});
  int error(const Error& e, std::string_view hint = {});

  // A line that is drawn over again: on a terminal only, and not when quiet. clear_live() takes it away.
  void live_line(std::string_view text);
  void clear_live();
  bool live() const noexcept { return live_ && !quiet; }

  // By the units chosen: "1073741824", "1 GiB" or "1.07 GB".
  std::string size(std::uint64_t bytes) const;

 private:
  std::ostream& out_;
  std::ostream& err_;
  bool live_;
  bool live_shown_ = false;
};

// The tree as YAML, ending with a newline. Strings that YAML would read as something else are quoted.
std::string to_yaml(const nlohmann::ordered_json& tree);
// Powers of 1000, two decimals at most: "1.07 GB".
std::string format_size_decimal(std::uint64_t bytes);

}  // namespace holdfast::cli
