#include "cli/conformance/find_subsystem.h"

#include <algorithm>

#include "cli/conformance/report.h"
#include "cli/conformance/session.h"

namespace holdfast::cli::conformance {
namespace {

constexpr std::uint32_t entry_bytes = 1024;
constexpr std::uint64_t entries_max = 1024;

}  // namespace

Result<std::vector<std::string>> discover_subsystems(Network& network, const Settings& settings) {
  Case looking;
  Test test(network, settings, looking);
  SessionOptions options;
  options.subsystem = discovery_nqn;
  Session session(test, options);
  const std::uint64_t records = u64(session.log_data(0x70, entry_bytes, 0), 8);
  std::vector<std::string> found;
  for (std::uint64_t i = 0; i < std::min(records, entries_max) && test.ok(); ++i) {
    const Bytes entry = session.log_data(0x70, entry_bytes, 0, (i + 1) * entry_bytes);
    const std::string nqn = text_of(slice(entry, 256, 256));
    const bool is_nvm = u8(entry, 0) == 3 && u8(entry, 2) == 2;
    if (is_nvm && std::find(found.begin(), found.end(), nqn) == found.end()) found.push_back(nqn);
  }
  if (!test.ok()) {
    const bool unreachable = test.outcome().verdict == Verdict::error;
    return Error(unreachable ? Errc::not_connected : Errc::protocol,
                 "discovery: " + printable(test.outcome().text));
  }
  return found;
}

}  // namespace holdfast::cli::conformance
