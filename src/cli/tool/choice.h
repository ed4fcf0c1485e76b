// An option or positional that takes one of a few words.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace holdfast::cli {

// For CLI::Option::transform(): a word becomes its value as a number, which CLI11 reads into numbers, enums and bools.
// Words that `filter` makes equal are the same: CLI::ignore_case. Help shows nothing of it: the option names its words.
template <typename T>
CLI::Validator choice(std::map<std::string, T> words,
                      std::function<std::string(std::string)> filter = nullptr) {
  auto to_number = [words = std::move(words), filter = std::move(filter)](std::string& given) -> std::string {
    const auto plain = [&filter](const std::string& word) { return filter ? filter(word) : word; };
    std::string known;
    for (const auto& [word, value] : words) {
      if (plain(word) == plain(given)) {
        given = std::to_string(static_cast<long long>(value));
        return {};
      }
      known += (known.empty() ? "" : ", ") + word;
    }
    return fmt::format("'{}' is none of {}", given, known);
  };
  return CLI::Validator(std::move(to_number), "", "choice");
}

}  // namespace holdfast::cli
