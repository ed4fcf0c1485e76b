#include "cli/rest/json_view.h"

#include <nlohmann/json.hpp>

namespace holdfast::cli {
namespace {

std::string scalar(const Tree& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  return {};
}

void append(std::string& to, std::string_view piece, std::string_view between) {
  if (!to.empty()) to += between;
  to += piece;
}

}  // namespace

const Tree& at(const Tree& tree, std::string_view path) noexcept {
  static const Tree nothing;
  const Tree* here = &tree;
  while (!path.empty()) {
    const auto slash = path.find('/');
    if (!here->is_object()) return nothing;
    const auto member = here->find(std::string(path.substr(0, slash)));
    if (member == here->end()) return nothing;
    here = &*member;
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
  }
  return *here;
}

bool has(const Tree& tree, std::string_view path) noexcept { return !at(tree, path).is_null(); }

std::string text(const Tree& tree, std::string_view path) { return scalar(at(tree, path)); }

std::string text_or(const Tree& tree, std::string_view path, std::string_view nothing) {
  std::string found = text(tree, path);
  return found.empty() ? std::string(nothing) : found;
}

std::uint64_t number(const Tree& tree, std::string_view path) noexcept {
  const Tree& value = at(tree, path);
  return value.is_number_unsigned() ? value.get<std::uint64_t>() : 0;
}

bool flag(const Tree& tree, std::string_view path) noexcept {
  const Tree& value = at(tree, path);
  return value.is_boolean() && value.get<bool>();
}

std::string joined(const Tree& tree, std::string_view path, std::string_view between) {
  const Tree& value = at(tree, path);
  std::string all;
  if (value.is_array()) {
    for (const Tree& element : value) append(all, scalar(element), between);
  } else if (value.is_object()) {
    for (const auto& [name, member] : value.items()) append(all, name, between);
  }
  return all;
}

std::string labels(const Tree& tree, std::string_view path) {
  const Tree& value = at(tree, path);
  std::string all;
  if (!value.is_object()) return all;
  for (const auto& [name, member] : value.items()) append(all, name + "=" + scalar(member), ",");
  return all;
}

}  // namespace holdfast::cli
