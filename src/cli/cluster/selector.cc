#include "cli/cluster/selector.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace holdfast::cli {
namespace {

std::string_view trimmed(std::string_view text) noexcept {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

}  // namespace

Result<Selector> Selector::parse(std::string_view text) {
  Selector selector;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const auto end = std::min(text.find(',', begin), text.size());
    const std::string_view term = trimmed(text.substr(begin, end - begin));
    begin = end + 1;
    Term t;
    const auto equals = term.find('=');
    if (equals == std::string_view::npos) {
      t.any_value = true;
      t.negated = term.starts_with('!');
      t.key = trimmed(t.negated ? term.substr(1) : term);
    } else {
      t.negated = equals > 0 && term[equals - 1] == '!';
      const bool doubled = term.substr(equals).starts_with("==");
      t.key = trimmed(term.substr(0, equals - (t.negated ? 1 : 0)));
      t.value = trimmed(term.substr(equals + (doubled ? 2 : 1)));
    }
    if (t.key.empty() || t.key.find_first_of("!= ") != std::string::npos ||
        t.value.find('=') != std::string::npos) {
      return Error(Errc::invalid_argument,
                   fmt::format("'{}' selects no label: key=value, key!=value, key or !key is wanted", term));
    }
    selector.terms_.push_back(std::move(t));
  }
  return selector;
}

bool Selector::takes(const Tree& labels) const {
  for (const Term& term : terms_) {
    const Tree* value = nullptr;
    if (labels.is_object()) {
      const auto found = labels.find(term.key);
      if (found != labels.end() && found->is_string()) value = &*found;
    }
    const bool holds =
        value != nullptr && (term.any_value || value->get_ref<const std::string&>() == term.value);
    if (holds == term.negated) return false;
  }
  return true;
}

Result<LabelChange> parse_label_change(std::string_view text) {
  LabelChange change;
  const auto equals = text.find('=');
  if (equals != std::string_view::npos) {
    change.key = text.substr(0, equals);
    change.value = text.substr(equals + 1);
  } else if (text.ends_with('-')) {
    change.key = text.substr(0, text.size() - 1);
    change.remove = true;
  }
  const bool valued = change.remove || !change.value.empty();
  if (change.key.empty() || !valued) {
    return Error(Errc::invalid_argument,
                 fmt::format("'{}' is no label: key=value sets one, key- removes it", text));
  }
  return change;
}

void add_labels(CLI::App& to, const std::string& name, std::vector<std::string>& labels,
                const std::string& about) {
  const auto check = [](std::string& text) {
    const auto change = parse_label_change(text);
    if (!change.ok()) return change.error().message();
    return change.value().remove ? fmt::format("'{}' is no label: key=value is wanted", text) : std::string();
  };
  to.add_option(name, labels, about)
      ->check(CLI::Validator(check, "", "label"))
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
}

Tree label_map(const std::vector<std::string>& labels) {
  Tree map = Tree::object();
  for (const std::string& label : labels) {
    const LabelChange l = parse_label_change(label).value();  // checked with the command line
    map[l.key] = l.value;
  }
  return map;
}

}  // namespace holdfast::cli
