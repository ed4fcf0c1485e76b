// Completion of command lines in shells. The shell's part (a small script) asks `holdfast __complete -- WORDS`
// for what may stand in place of the last word.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}  // namespace CLI

namespace holdfast::cli {

struct Completion {
  struct Candidate {
    std::string word;
    std::string about;
  };
  std::vector<Candidate> candidates;
  bool files = false;  // names of files may stand there, too
};

// Names of things that only a running system knows; `kind` is that of the argument: "VOLUME", "POOL", "NODE".
using NamesOf = std::function<std::vector<std::string>(const std::string& kind)>;

// `words` without the program's name; the last one is what is being typed, and may be empty.
Completion complete(const CLI::App& root, const std::vector<std::string>& words, const NamesOf& names_of);
// A line for each candidate, the word and what it is with a tab between; ":files" at the end where files may
// stand.
std::string to_string(const Completion& completion);

// The script for "bash", "zsh" or "fish"; "" for another shell.
std::string completion_script(const std::string& shell);

}  // namespace holdfast::cli
