#include "cli/conformance/suite.h"

#include <algorithm>
#include <string_view>

namespace holdfast::cli::conformance {
namespace {

bool matches(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern.front() != '*') {
    return !text.empty() && pattern.front() == text.front() && matches(pattern.substr(1), text.substr(1));
  }
  for (std::size_t skipped = 0; skipped <= text.size(); ++skipped) {
    if (matches(pattern.substr(1), text.substr(skipped))) return true;
  }
  return false;
}

bool is_in(const std::string& group, const Case& c) {
  return c.id.starts_with(group) && (c.id.size() == group.size() || c.id[group.size()] == '.');
}

}  // namespace

Cases all_cases() {
  Cases cases;
  add_tcp_setup_cases(cases);
  add_tcp_error_cases(cases);
  add_digest_cases(cases);
  add_tcp_data_cases(cases);
  add_connect_cases(cases);
  add_property_cases(cases);
  add_identify_cases(cases);
  add_log_cases(cases);
  add_feature_cases(cases);
  add_admin_cases(cases);
  add_discovery_cases(cases);
  add_ana_cases(cases);
  add_io_cases(cases);
  add_io_error_cases(cases);
  add_integrity_cases(cases);
  add_reservation_cases(cases);
  add_reservation_notice_cases(cases);
  add_isolation_cases(cases);
  return cases;
}

bool selects(const Filter& filter, const Case& c) {
  const auto by_group = [&](const std::string& g) { return is_in(g, c); };
  const auto by_name = [&](const std::string& t) { return matches(t, c.id); };
  return (filter.groups.empty() || std::any_of(filter.groups.begin(), filter.groups.end(), by_group)) &&
         (filter.tests.empty() || std::any_of(filter.tests.begin(), filter.tests.end(), by_name));
}

std::vector<Outcome> run_cases(Network& network, const Settings& settings,
                               const std::vector<const Case*>& cases,
                               const std::function<void(const Case&, std::size_t index)>& before) {
  std::vector<Outcome> outcomes;
  for (const Case* c : cases) {
    before(*c, outcomes.size());
    const Nanos begun = network.now();
    Test test(network, settings, *c);
    if (c->writes && !settings.destructive) {
      test.skip("it writes to the namespace: --destructive is not given");
    } else {
      c->run(test);
    }
    outcomes.push_back(test.outcome());
    outcomes.back().seconds = static_cast<double>((network.now() - begun).count()) / 1e9;
  }
  return outcomes;
}

}  // namespace holdfast::cli::conformance
