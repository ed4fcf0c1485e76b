// Label selectors: "zone=a,!slow". All terms must hold.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/rest/json_view.h"

namespace CLI {
class App;
}  // namespace CLI

namespace holdfast::cli {

class Selector {
 public:
  // Terms with commas between them: key=value (also ==), key!=value, key (is there), !key (is not).
  // Errors: invalid_argument, naming the term.
  static Result<Selector> parse(std::string_view text);
  // `labels`: an object of strings; anything else is a thing without labels.
  bool takes(const Tree& labels) const;

 private:
  struct Term {
    std::string key;
    std::string value;
    bool any_value = false;
    bool negated = false;
  };
  std::vector<Term> terms_;
};

// A change of labels: "key=value" sets, "key-" removes. Errors: invalid_argument, naming the text.
struct LabelChange {
  std::string key;
  std::string value;
  bool remove = false;
};
Result<LabelChange> parse_label_change(std::string_view text);

// An option that takes "key=value", as often as it is given; anything else is wrong usage.
void add_labels(CLI::App& to, const std::string& name, std::vector<std::string>& labels,
                const std::string& about);
// Such labels as an object of strings.
Tree label_map(const std::vector<std::string>& labels);

}  // namespace holdfast::cli
