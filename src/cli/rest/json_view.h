// Reading answers of the REST API: whatever is missing or of another type shows as nothing, so that an answer
// of another version, or a hostile one, is never worse than an empty cell.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace holdfast::cli {

using Tree = nlohmann::ordered_json;

// What lies at `path`, the names of members with '/' between them ("state/target/node"); null where nothing
// does. Valid as long as `tree`.
const Tree& at(const Tree& tree, std::string_view path) noexcept;
bool has(const Tree& tree, std::string_view path) noexcept;  // present and not null

// A string as it is, numbers in decimal, "true" or "false"; "" for anything else.
std::string text(const Tree& tree, std::string_view path);
// The same with `nothing` in place of "".
std::string text_or(const Tree& tree, std::string_view path, std::string_view nothing);
std::uint64_t number(const Tree& tree, std::string_view path) noexcept;  // 0 unless an unsigned number
bool flag(const Tree& tree, std::string_view path) noexcept;             // false unless true
// The elements of an array, or the names of an object's members, with `between` between them.
std::string joined(const Tree& tree, std::string_view path, std::string_view between = ",");
// An object of strings as "a=1,b=2".
std::string labels(const Tree& tree, std::string_view path);

}  // namespace holdfast::cli
