#include "cli/cluster/redact.h"

#include <algorithm>
#include <cctype>

#include <nlohmann/json.hpp>

namespace holdfast::cli {
namespace {

constexpr std::string_view secret_words[] = {"password",      "passwd",     "passphrase",  "secret",
                                             "token",         "credential", "private_key", "api_key",
                                             "authorization", "dhchap"};

std::string lower(std::string_view text) {
  std::string all(text);
  std::transform(all.begin(), all.end(), all.begin(), [](unsigned char c) { return std::tolower(c); });
  std::replace(all.begin(), all.end(), '-', '_');
  return all;
}

bool names_a_secret(const std::string& member) {
  const std::string name = lower(member);
  // Paging says "token", too.
  if (name == "next_token" || name == "starting_token") return false;
  return std::any_of(std::begin(secret_words), std::end(secret_words),
                     [&](std::string_view word) { return name.find(word) != std::string::npos; });
}

struct Span {
  std::size_t begin, end;
};

// The value at a place: what is in quotes, which may be escaped themselves, or a word.
Span value_at(const std::string& text, std::size_t begin) {
  const std::size_t quote = text.find_first_not_of("\\ ", begin);
  if (quote == std::string::npos || (text[quote] != '"' && text[quote] != '\''))
    return {begin, std::min(text.find_first_of(" \t\r\n\"',;&<>()[]{}", begin), text.size())};
  const bool escaped = quote > begin && text[quote - 1] == '\\';
  std::size_t end = quote;
  do {
    end = text.find(text[quote], end + 1);
    if (end == std::string::npos) return {quote + 1, text.size()};
  } while (!escaped && text[end - 1] == '\\');
  return {quote + 1, escaped && text[end - 1] == '\\' ? end - 1 : end};
}

// Replaces the value that follows each `mark`; `keep_mark`: the mark itself stays.
void replace_after(std::string& text, std::string_view mark, bool keep_mark) {
  const std::string lowered = lower(text);
  std::string result;
  std::size_t from = 0;
  for (;;) {
    const std::size_t found = lowered.find(mark, from);
    if (found == std::string::npos) break;
    const Span value = value_at(text, found + mark.size());
    result.append(text, from, (keep_mark ? value.begin : found) - from);
    if (value.end > value.begin) result += redacted;
    from = value.end;
  }
  if (from > 0) text = result + text.substr(from);
}

// From "-----BEGIN ... PRIVATE KEY-----" to its end, or to that of the text.
void remove_private_keys(std::string& text) {
  static constexpr std::string_view begin_mark = "-----BEGIN ";
  static constexpr std::string_view end_mark = "-----END ";
  for (std::size_t at = text.find(begin_mark); at != std::string::npos; at = text.find(begin_mark, at + 1)) {
    const std::size_t line_end = std::min(text.find('\n', at), text.size());
    if (text.substr(at, line_end - at).find("PRIVATE KEY") == std::string::npos) continue;
    std::size_t end = text.find(end_mark, at);
    end = end == std::string::npos ? text.size() : std::min(text.find('\n', end), text.size());
    text.replace(at, end - at, redacted);
  }
}

// "scheme://user:word@host"
void remove_url_credentials(std::string& text) {
  for (std::size_t at = text.find("://"); at != std::string::npos; at = text.find("://", at + 3)) {
    const std::size_t begin = at + 3;
    const std::size_t end = std::min(text.find_first_of("/ \t\n\"'", begin), text.size());
    const std::size_t sign = std::string_view(text).substr(begin, end - begin).rfind('@');
    if (sign != std::string_view::npos) text.replace(begin, sign, redacted);
  }
}

}  // namespace

std::string redact_text(std::string text) {
  remove_private_keys(text);
  for (const char* mark : {"bearer ", "password: ", "secret: ", "dhchap_key=", "dhchap_ctrl_key="}) {
    replace_after(text, mark, true);
  }
  for (const char* word : {"password", "passwd", "passphrase", "secret", "token", "private_key", "api_key"}) {
    // As key=value and as JSON, which may be a string within JSON.
    for (const char* joint : {"=", "\":", "\\\":"}) replace_after(text, std::string(word) + joint, true);
  }
  replace_after(text, "dhhc_1:", false);  // as lower() writes it
  replace_after(text, "eyjhbgci", false);
  remove_url_credentials(text);
  return text;
}

void redact(Tree& tree) {
  if (tree.is_object()) {
    for (const auto& [name, member] : tree.items()) {
      if (names_a_secret(name) && !member.is_null()) {
        member = redacted;
      } else {
        redact(member);
      }
    }
  } else if (tree.is_array()) {
    for (Tree& element : tree) redact(element);
  } else if (tree.is_string()) {
    tree = redact_text(tree.get<std::string>());
  }
}

}  // namespace holdfast::cli
