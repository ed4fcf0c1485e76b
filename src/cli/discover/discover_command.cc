#include "cli/discover/discover_command.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/units.h"
#include "nvmf/initiator/initiator.h"
#include "uring/runtime.h"

namespace holdfast::cli {
namespace {

struct CommandOptions {
  std::string target;
  std::string host_nqn = "nqn.2014-08.org.nvmexpress:uuid:4846636f-6e66-0000-0000-000000000002";
  bool referrals = true;
  double timeout_seconds = 5;
};

const char* type_name(nvme::SubsystemType type) noexcept {
  switch (type) {
    case nvme::SubsystemType::referral:
      return "referral";
    case nvme::SubsystemType::nvm:
      return "nvm";
    case nvme::SubsystemType::current_discovery:
      return "discovery";
  }
  return "unknown";
}

std::string transport_name(nvme::TransportType transport) {
  if (transport == nvme::TransportType::tcp) return "tcp";
  return fmt::format("type {}", static_cast<unsigned>(transport));
}

// What attach and bench take; empty where it is nothing for them.
std::string uri_of(const nvmf::DiscoveryEntry& e) {
  if (e.type != nvme::SubsystemType::nvm || e.transport != nvme::TransportType::tcp) return {};
  return fmt::format("nvmf://{}/{}", e.address.to_string(), e.subnqn);
}

void show(Output& out, const std::vector<nvmf::DiscoveryEntry>& found) {
  nlohmann::ordered_json tree = nlohmann::ordered_json::array();
  Table table({"TYPE", "TRANSPORT", "ADDRESS", "NQN"});
  for (const nvmf::DiscoveryEntry& e : found) {
    tree.push_back({{"type", type_name(e.type)},
                    {"transport", transport_name(e.transport)},
                    {"address", e.address.address},
                    {"port", e.address.port},
                    {"subnqn", e.subnqn},
                    {"port_id", e.port_id},
                    {"uri", uri_of(e)}});
    table.add_row({type_name(e.type), transport_name(e.transport), e.address.to_string(), e.subnqn});
  }
  out.answer(tree, [&] { out.print(table, "no subsystem that this host may use"); });
}

int run(Tool& tool, const CommandOptions& o) {
  Output& out = tool.output();
  log::configure(out.verbosity > 1 ? log::Level::info : log::Level::error, log::Format::text);
  std::string where = o.target;
  if (where.starts_with("nvmf://")) where = where.substr(7, where.find('/', 7) - 7);
  const auto at = parse_host_port(where, nvmf::nvmf_port_default);
  if (!at.ok()) return out.error(at.error());
  uring::Runtime::Options options;
  options.spin_us = 0;
  options.memory_bytes = 16 * MiB;
  auto runtime = uring::Runtime::create(options);
  if (!runtime.ok()) return out.error(runtime.error());
  nvmf::InitiatorConfig config;
  config.hostnqn = o.host_nqn;
  config.connect_timeout = config.admin_timeout = Nanos{static_cast<std::int64_t>(o.timeout_seconds * 1e9)};
  Reactor& home = runtime.value()->home();
  const auto found = runtime.value()->run(o.referrals ? nvmf::discover_all(home, at.value(), config)
                                                      : nvmf::discover(home, at.value(), config));
  if (!found.ok()) return out.error(found.error(), "is an NVMe/TCP target, or a discovery service, there?");
  show(out, found.value());
  return exit_ok;
}

}  // namespace

void add_discover_command(Tool& tool) {
  auto& o = tool.keep<CommandOptions>();
  auto& c = tool.add_command(tool.app(), "discover",
                             "List the volumes that a target, or a discovery service, offers",
                             [&tool, &o] { return run(tool, o); });
  c.add_option("TARGET", o.target, "HOST[:PORT]; port 8420, if absent")->required();
  c.add_option("--host-nqn", o.host_nqn, "Name of the host that asks: what it may not use is not shown")
      ->type_name("NQN")
      ->capture_default_str();
  c.add_flag("!--no-referrals", o.referrals, "Show referrals to other services, instead of following them");
  c.add_option("--timeout", o.timeout_seconds, "Seconds to wait for a service")
      ->check(CLI::Range(0.1, 600.0).description(""))
      ->type_name("SECONDS")
      ->capture_default_str();
  tool.add_output_options(c);
  c.footer(
      "A line for each way to a subsystem: nvmf://ADDRESS/NQN is what 'holdfast attach' takes. Also for "
      "targets\n"
      "of others, which mostly listen on ports 4420 and 8009.\n\n"
      "  holdfast discover 10.0.0.1");
}

}  // namespace holdfast::cli
