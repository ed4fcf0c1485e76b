// All cases, and running some of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/conformance/case.h"
#include "cli/conformance/test.h"

namespace holdfast::cli::conformance {

// In the order in which they run, by groups.
Cases all_cases();

struct Filter {
  std::vector<std::string> groups;  // "tcp", "tcp.icreq": a group and what is below it; empty: all
  std::vector<std::string> tests;   // ids, where '*' stands for anything; empty: all
};
bool selects(const Filter& filter, const Case& c);

// Runs the cases one after the other, each with connections of its own. `before` is told of each before it
// starts.
std::vector<Outcome> run_cases(Network& network, const Settings& settings,
                               const std::vector<const Case*>& cases,
                               const std::function<void(const Case&, std::size_t index)>& before);

// One file each.
void add_tcp_setup_cases(Cases& to);
void add_tcp_error_cases(Cases& to);
void add_tcp_data_cases(Cases& to);
void add_digest_cases(Cases& to);
void add_connect_cases(Cases& to);
void add_property_cases(Cases& to);
void add_identify_cases(Cases& to);
void add_log_cases(Cases& to);
void add_feature_cases(Cases& to);
void add_admin_cases(Cases& to);
void add_discovery_cases(Cases& to);
void add_ana_cases(Cases& to);
void add_io_cases(Cases& to);
void add_io_error_cases(Cases& to);
void add_integrity_cases(Cases& to);
void add_reservation_cases(Cases& to);
void add_reservation_notice_cases(Cases& to);
void add_isolation_cases(Cases& to);

}  // namespace holdfast::cli::conformance
