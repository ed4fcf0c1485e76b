#include "cli/tool/completion.h"

#include <set>

#include <CLI/CLI.hpp>

namespace holdfast::cli {
namespace {

constexpr const char* bash_script = R"(# bash completion of holdfast: source <(holdfast completion bash)
_holdfast() {
  local line directive=
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :*) directive=$line ;;
      *) COMPREPLY+=("${line%%$'\t'*}") ;;
    esac
  done < <("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  if [ "$directive" = :files ]; then
    compopt -o filenames 2>/dev/null
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
  fi
}
complete -F _holdfast holdfast kubectl-holdfast
)";

constexpr const char* zsh_script = R"(#compdef holdfast kubectl-holdfast
# zsh completion of holdfast: source <(holdfast completion zsh)
_holdfast() {
  local line directive=
  local -a candidates
  for line in "${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    case $line in
      :*) directive=$line ;;
      ?*) candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
    esac
  done
  (( $#candidates )) && _describe holdfast candidates
  [[ $directive = :files ]] && _files
}
(( $+functions[compdef] )) && compdef _holdfast holdfast kubectl-holdfast
)";

constexpr const char* fish_script = R"(# fish completion of holdfast: holdfast completion fish | source
function __holdfast_complete
  set -l words (commandline -opc) (commandline -ct)
  for line in ($words[1] __complete -- $words[2..-1] 2>/dev/null)
    if test "$line" = ":files"
      __fish_complete_path (commandline -ct)
    else
      echo $line
    end
  end
end
complete -c holdfast -f -a '(__holdfast_complete)'
complete -c kubectl-holdfast -f -a '(__holdfast_complete)'
)";

bool is_option(const std::string& word) { return word.size() > 1 && word.front() == '-'; }

bool takes_value(const CLI::Option& option) { return option.get_items_expected_min() > 0; }

// An option of the command, or of a group that it stands in.
const CLI::Option* find_option(const CLI::App* app, const std::string& word) {
  const std::string name = word.substr(0, word.find('='));
  for (; app != nullptr; app = app->get_parent()) {
    if (const CLI::Option* option = app->get_option_no_throw(name)) return option;
  }
  return nullptr;
}

const CLI::App* find_command(const CLI::App& app, const std::string& name) {
  const auto found = app.get_subcommands([&](const CLI::App* inner) { return inner->check_name(name); });
  return found.empty() ? nullptr : found.front();
}

// Where the words before the last one lead.
struct Place {
  const CLI::App* app;
  std::size_t positionals = 0;                // given already
  const CLI::Option* awaits_value = nullptr;  // the last word is this option's
};

Place walk(const CLI::App& root, const std::vector<std::string>& words) {
  Place place{&root};
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    const std::string& word = words[i];
    if (place.awaits_value != nullptr) {
      place.awaits_value = nullptr;
    } else if (is_option(word)) {
      const CLI::Option* option = find_option(place.app, word);
      const bool apart = option != nullptr && takes_value(*option) && word.find('=') == std::string::npos;
      if (apart) place.awaits_value = option;
    } else if (const CLI::App* inner = place.positionals == 0 ? find_command(*place.app, word) : nullptr) {
      place.app = inner;
    } else {
      ++place.positionals;
    }
  }
  return place;
}

class Collector {
 public:
  Collector(std::string typed, const NamesOf& names_of) : typed_(std::move(typed)), names_of_(names_of) {}

  void add(const std::string& word, std::string about) {
    if (!word.starts_with(typed_) || !added_.insert(word).second) return;
    about = about.substr(0, about.find('\n'));
    result_.candidates.push_back({word, std::move(about)});
  }
  // What an argument of this kind may be: "a|b|c" is the list of it, other names are known by sight.
  void add_values(const std::string& kind) {
    if (kind == "FORMAT") {
      for (const char* format : {"table", "wide", "json", "yaml"}) add(format, "");
    } else if (kind.find('|') != std::string::npos &&
               kind.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ") == std::string::npos) {
      for (std::size_t begin = 0; begin <= kind.size();) {
        const auto end = std::min(kind.find('|', begin), kind.size());
        add(kind.substr(begin, end - begin), "");
        begin = end + 1;
      }
    } else if (kind == "FILE" || kind == "DIR" || kind == "PATH" || kind == "DISK" || kind == "MOUNTPOINT") {
      result_.files = true;
    } else if (names_of_) {
      for (const std::string& name : names_of_(kind)) add(name, "");
    }
  }
  Completion take() { return std::move(result_); }

 private:
  const std::string typed_;
  const NamesOf& names_of_;
  std::set<std::string> added_;
  Completion result_;
};

void add_options(Collector& to, const CLI::App* app, const CLI::App& root) {
  const bool before_any_command = app == &root;
  for (; app != nullptr; app = app->get_parent()) {
    if (app == &root && !before_any_command) return;
    for (const CLI::Option* option : app->get_options()) {
      if (option->get_group().empty()) continue;
      for (const std::string& name : option->get_lnames()) to.add("--" + name, option->get_description());
      if (!option->get_lnames().empty()) continue;
      for (const std::string& name : option->get_snames()) to.add("-" + name, option->get_description());
    }
  }
}

void add_commands_and_arguments(Collector& to, const Place& place) {
  if (place.positionals == 0) {
    for (const CLI::App* inner : place.app->get_subcommands([](const CLI::App*) { return true; })) {
      if (!inner->get_group().empty()) to.add(inner->get_name(), inner->get_description());
    }
  }
  std::size_t number = 0;
  for (const CLI::Option* option : place.app->get_options()) {
    if (!option->get_positional()) continue;
    const bool more = option->get_items_expected_max() > 1;
    if (number++ == place.positionals || (more && number <= place.positionals + 1)) {
      to.add_values(option->get_name(true));
      return;
    }
  }
}

}  // namespace

Completion complete(const CLI::App& root, const std::vector<std::string>& words, const NamesOf& names_of) {
  const std::string typed = words.empty() ? std::string() : words.back();
  const Place place = walk(root, words);
  Collector collector(typed, names_of);
  if (place.awaits_value != nullptr) {
    collector.add_values(place.awaits_value->get_type_name());
  } else if (typed.starts_with('-')) {
    add_options(collector, place.app, root);
  } else {
    add_commands_and_arguments(collector, place);
  }
  return collector.take();
}

std::string to_string(const Completion& completion) {
  std::string all;
  for (const auto& [word, about] : completion.candidates)
    all += about.empty() ? word + "\n" : word + "\t" + about + "\n";
  if (completion.files) all += ":files\n";
  return all;
}

std::string completion_script(const std::string& shell) {
  if (shell == "bash") return bash_script;
  if (shell == "zsh") return zsh_script;
  if (shell == "fish") return fish_script;
  return {};
}

}  // namespace holdfast::cli
