#include "cli/conformance/report.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "cli/tool/table.h"

namespace holdfast::cli::conformance {
namespace {

using Tree = nlohmann::ordered_json;

const char* level_name(Level level) noexcept { return level == Level::mandatory ? "mandatory" : "optional"; }

std::string reference(const Case& c) { return fmt::format("{}, {}", title(c.spec), c.section); }

Tree tree_of(const Case& c) {
  Tree tree;
  tree["id"] = c.id;
  tree["group"] = c.group();
  tree["title"] = c.title;
  tree["specification"] = title(c.spec);
  tree["section"] = c.section;
  tree["requirement"] = c.requirement;
  tree["level"] = level_name(c.level);
  tree["writes"] = c.writes;
  return tree;
}

Tree tree_of(const Counts& n) {
  Tree tree;
  tree["total"] = n.total();
  tree["pass"] = n.pass;
  tree["fail"] = n.fail;
  tree["not_supported"] = n.not_supported;
  tree["skipped"] = n.skipped;
  tree["error"] = n.error;
  return tree;
}

// Groups in the order in which they first appear.
std::vector<std::pair<std::string, Counts>> by_group(const std::vector<Outcome>& outcomes) {
  std::vector<std::pair<std::string, Counts>> groups;
  for (const Outcome& o : outcomes) {
    const std::string group = o.of->group();
    auto it = std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.first == group; });
    if (it == groups.end()) it = groups.insert(groups.end(), {group, Counts()});
    it->second.add(o.verdict);
  }
  return groups;
}

// XML 1.0: markup is escaped, control characters have no place in it.
std::string xml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 && c != '\n' ? '?' : c;
    }
  }
  return out;
}

// What a person wants to know of a finding, line by line.
std::string details(const Outcome& o, std::string_view indent) {
  std::string text;
  for (const std::string& m : o.more) text += fmt::format("{}also: {}\n", indent, printable(m));
  if (o.verdict != Verdict::fail) return text;
  text += fmt::format("{}requirement: {} [{}]\n", indent, o.of->requirement, reference(*o.of));
  if (!o.sent_hex.empty()) text += fmt::format("{}last sent: {}\n", indent, o.sent_hex);
  if (!o.received_hex.empty()) text += fmt::format("{}last received: {}\n", indent, o.received_hex);
  return text;
}

std::string junit_case(const Outcome& o) {
  std::string text = fmt::format("    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3f}\"",
                                 xml(o.of->group()), xml(o.of->id), o.seconds);
  switch (o.verdict) {
    case Verdict::pass:
      return text + "/>\n";
    case Verdict::fail:
      text += fmt::format(">\n      <failure message=\"{}\">{}</failure>\n", xml(printable(o.text)),
                          xml(details(o, "")));
      break;
    case Verdict::error:
      text += fmt::format(">\n      <error message=\"{}\"/>\n", xml(printable(o.text)));
      break;
    case Verdict::not_supported:
    case Verdict::skipped:
      text +=
          fmt::format(">\n      <skipped message=\"{}: {}\"/>\n", name(o.verdict), xml(printable(o.text)));
      break;
  }
  return text + "    </testcase>\n";
}

}  // namespace

std::string printable(std::string_view text) {
  const std::string all = to_utf8(text);
  std::string out;
  for (std::string_view rest = all; !rest.empty();) {
    const std::size_t size = utf8_size(rest);
    out += is_control(rest) ? std::string_view("?") : rest.substr(0, size);
    rest.remove_prefix(size);
  }
  return out;
}

void Counts::add(Verdict v) noexcept {
  switch (v) {
    case Verdict::pass:
      ++pass;
      break;
    case Verdict::fail:
      ++fail;
      break;
    case Verdict::not_supported:
      ++not_supported;
      break;
    case Verdict::skipped:
      ++skipped;
      break;
    case Verdict::error:
      ++error;
      break;
  }
}

Counts count(const std::vector<Outcome>& outcomes) noexcept {
  Counts counts;
  for (const Outcome& o : outcomes) counts.add(o.verdict);
  return counts;
}

Tree to_tree(const RunInfo& run, const std::vector<Outcome>& outcomes) {
  Tree tree;
  tree["target"] = run.target;
  tree["subsystem"] = printable(run.subsystem);
  tree["host_nqn"] = printable(run.host_nqn);
  tree["destructive"] = run.destructive;
  tree["seconds"] = run.seconds;
  tree["summary"] = tree_of(count(outcomes));
  Tree groups = Tree::array();
  for (const auto& [group, counts] : by_group(outcomes)) {
    Tree one;
    one["group"] = group;
    one.update(tree_of(counts));
    groups.push_back(std::move(one));
  }
  tree["groups"] = std::move(groups);
  Tree tests = Tree::array();
  for (const Outcome& o : outcomes) {
    Tree one = tree_of(*o.of);
    one["outcome"] = name(o.verdict);
    one["text"] = printable(o.text);
    for (const std::string& m : o.more) one["more"].push_back(printable(m));
    if (o.verdict == Verdict::fail) {
      one["last_sent"] = o.sent_hex;
      one["last_received"] = o.received_hex;
    }
    one["seconds"] = o.seconds;
    tests.push_back(std::move(one));
  }
  tree["tests"] = std::move(tests);
  return tree;
}

Tree to_tree(const std::vector<const Case*>& cases) {
  Tree tree = Tree::array();
  for (const Case* c : cases) tree.push_back(tree_of(*c));
  return tree;
}

std::string to_junit(const RunInfo& run, const std::vector<Outcome>& outcomes) {
  const Counts all = count(outcomes);
  std::string text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
  text += fmt::format(
      "<testsuites name=\"nvme-conformance {}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" "
      "time=\"{:.3f}\">\n",
      xml(run.target), all.total(), all.fail, all.error, all.skipped + all.not_supported, run.seconds);
  for (const auto& [group, n] : by_group(outcomes)) {
    text +=
        fmt::format("  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">\n",
                    xml(group), n.total(), n.fail, n.error, n.skipped + n.not_supported);
    for (const Outcome& o : outcomes) {
      if (o.of->group() == group) text += junit_case(o);
    }
    text += "  </testsuite>\n";
  }
  return text + "</testsuites>\n";
}

std::string to_text(const RunInfo& run, const std::vector<Outcome>& outcomes) {
  std::string text;
  for (const Outcome& o : outcomes) {
    if (o.verdict == Verdict::pass) continue;
    text += fmt::format("{}: {}: {}\n", o.of->id, name(o.verdict), printable(o.text));
    text += details(o, "    ");
  }
  if (!text.empty()) text += '\n';
  const auto cells = [](const std::string& group, const Counts& n) {
    return std::vector<std::string>{group,
                                    std::to_string(n.total()),
                                    std::to_string(n.pass),
                                    std::to_string(n.fail),
                                    std::to_string(n.not_supported),
                                    std::to_string(n.skipped),
                                    std::to_string(n.error)};
  };
  Table table{{"GROUP"},
              {"TESTS", Align::right},
              {"PASS", Align::right},
              {"FAIL", Align::right},
              {"NOT SUPPORTED", Align::right},
              {"SKIPPED", Align::right},
              {"ERROR", Align::right}};
  for (const auto& [group, counts] : by_group(outcomes)) table.add_row(cells(group, counts));
  table.add_row(cells("all", count(outcomes)));
  text += table.to_string(true);
  return text + fmt::format("\n{} of {} in {:.1f} s\n", run.subsystem, run.target, run.seconds);
}

std::string to_text(const std::vector<const Case*>& cases) {
  Table table{{"TEST"}, {"LEVEL"}, {"WRITES"}, {"REFERENCE"}, {"TITLE"}};
  for (const Case* c : cases) {
    table.add_row({c->id, level_name(c->level), c->writes ? "yes" : "", reference(*c), c->title});
  }
  return table.to_string(true);
}

}  // namespace holdfast::cli::conformance
