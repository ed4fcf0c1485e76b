#include "cli/discover/discover_command.h"

#include <algorithm>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/units.h"
#include "nvmf/initiator/discovery_watch.h"
#include "nvmf/initiator/initiator.h"
#include "uring/runtime.h"

namespace holdfast::cli {
namespace {

struct CommandOptions {
  std::string target;
  std::string host_nqn = "nqn.2014-08.org.nvmexpress:uuid:4846636f-6e66-0000-0000-000000000002";
  bool referrals = true;
  bool watch = false;
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

using Entries = std::vector<nvmf::DiscoveryEntry>;

nlohmann::ordered_json tree_of(const Entries& found) {
  nlohmann::ordered_json tree = nlohmann::ordered_json::array();
  for (const nvmf::DiscoveryEntry& e : found) {
    tree.push_back({{"type", type_name(e.type)},
                    {"transport", transport_name(e.transport)},
                    {"address", e.address.address},
                    {"port", e.address.port},
                    {"subnqn", e.subnqn},
                    {"port_id", e.port_id},
                    {"uri", uri_of(e)}});
  }
  return tree;
}

void show(Output& out, const Entries& found) {
  Table table({"TYPE", "TRANSPORT", "ADDRESS", "NQN"});
  for (const nvmf::DiscoveryEntry& e : found) {
    table.add_row({type_name(e.type), transport_name(e.transport), e.address.to_string(), e.subnqn});
  }
  out.answer(tree_of(found), [&] { out.print(table, "no subsystem that this host may use"); });
}

// The list, and then for people what comes and goes, for programs the list again.
class Shown final : public nvmf::DiscoveryObserver {
 public:
  explicit Shown(Output& out) noexcept : out_(out) {}
  void on_entries(const Entries& entries) noexcept override {
    if (out_.format == Format::yaml) out_.line("---");
    if (!std::exchange(any_, true)) {
      show(out_, entries);
    } else {
      out_.answer(tree_of(entries), [&] {
        show_missing("-", last_, entries);
        show_missing("+", entries, last_);
      });
    }
    last_ = entries;
  }
  void on_service_lost(const Endpoint& at, const Error& why) noexcept override {
    out_.note(fmt::format("{} does not answer, and is tried again: {}", at.to_string(), why.message()));
  }

 private:
  // The lines of `from` that `in` has not.
  void show_missing(const char* mark, const Entries& from, const Entries& in) {
    for (const nvmf::DiscoveryEntry& e : from) {
      if (std::find(in.begin(), in.end(), e) != in.end()) continue;
      out_.line(fmt::format("{} {} {} {} {}", mark, type_name(e.type), transport_name(e.transport),
                            e.address.to_string(), e.subnqn));
    }
  }

  Output& out_;
  bool any_ = false;
  Entries last_;
};

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
  const char* const hint = "is an NVMe/TCP target, or a discovery service, there?";
  if (o.watch) {
    Shown shown(out);
    nvmf::DiscoveryWatchOptions what;
    what.at = at.value();
    what.referrals = o.referrals;
    const Status ended = runtime.value()->run(nvmf::watch_discovery(home, what, config, shown, StopToken()));
    return ended.ok() ? exit_ok : out.error(ended.error(), hint);
  }
  const auto found = runtime.value()->run(o.referrals ? nvmf::discover_all(home, at.value(), config)
                                                      : nvmf::discover(home, at.value(), config));
  if (!found.ok()) return out.error(found.error(), hint);
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
  c.add_flag("--watch", o.watch, "Stay connected, and show what changes until interrupted");
  c.add_option("--timeout", o.timeout_seconds, "Seconds to wait for a service")
      ->check(CLI::Range(0.1, 600.0).description(""))
      ->type_name("SECONDS")
      ->capture_default_str();
  tool.add_output_options(c);
  c.footer(
      "A line for each way to a subsystem: nvmf://ADDRESS/NQN is what 'holdfast attach' takes. Also for "
      "targets\n"
      "of others, which mostly listen on ports 4420 and 8009.\n\n"
      "  holdfast discover 10.0.0.1\n"
      "  holdfast discover 10.0.0.1 --watch");
}

}  // namespace holdfast::cli
