#include "cli/conformance/conformance_command.h"

#include <cstdio>
#include <fstream>
#include <map>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/units.h"
#include "cli/conformance/find_subsystem.h"
#include "cli/conformance/report.h"
#include "cli/conformance/suite.h"
#include "cli/tool/choice.h"
#include "cli/tool/progress.h"

namespace holdfast::cli {
namespace {

using namespace conformance;

constexpr std::uint16_t default_port = 8420;  // as of nvmf:// URIs

enum class ReportFormat : std::uint8_t { text, json, yaml, junit };

struct CommandOptions {
  std::string target;
  Settings settings;
  Filter filter;
  bool list = false;
  double timeout_seconds = 5;
  ReportFormat format = ReportFormat::text;
  std::string output_file;
};

// "nvmf://HOST:PORT/NQN", or "HOST:PORT" with or without the NQN. Fills in the subsystem unless it was given.
Result<Endpoint> parse_target(CommandOptions& o) {
  std::string text = o.target;
  if (const auto scheme = text.find("://"); scheme != std::string::npos) {
    const std::string name = text.substr(0, scheme);
    if (name != "nvmf" && name != "nvmf+tcp") {
      return Error(Errc::invalid_argument,
                   fmt::format("'{}' is no NVMe/TCP target: nvmf://HOST:PORT/NQN", text));
    }
    text = text.substr(scheme + 3);
  }
  text = text.substr(0, text.find('?'));
  if (const auto slash = text.find('/'); slash != std::string::npos) {
    if (o.settings.subsystem.empty()) o.settings.subsystem = text.substr(slash + 1);
    text = text.substr(0, slash);
  }
  return parse_host_port(text, default_port);
}

Status choose_subsystem(Network& network, Settings& settings, Output& out) {
  if (!settings.subsystem.empty()) return Status();
  HF_TRY(const auto found, discover_subsystems(network, settings));
  if (found.empty())
    return Error(Errc::not_found, "the discovery log page of the target names no NVM subsystem");
  settings.subsystem = found.front();
  if (found.size() > 1) {
    out.note(fmt::format("{} subsystems are there; testing {} (--subsystem chooses)", found.size(),
                         printable(found.front())));
  }
  return Status();
}

std::string yaml_or_json(const nlohmann::ordered_json& tree, ReportFormat format) {
  return format == ReportFormat::yaml ? to_yaml(tree) : tree.dump(2) + "\n";
}

Status write_report(Output& out, const CommandOptions& o, const std::string& text) {
  if (o.output_file.empty()) {
    out.clear_live();
    out.line(std::string_view(text).substr(0, text.empty() ? 0 : text.size() - 1));
    return Status();
  }
  std::ofstream file(o.output_file, std::ios::trunc);
  file << text << std::flush;
  if (!file) return Error(Errc::io_error, fmt::format("cannot write '{}'", o.output_file));
  return Status();
}

std::string render(const CommandOptions& o, const RunInfo& info, const std::vector<Outcome>& outcomes) {
  switch (o.format) {
    case ReportFormat::text:
      return to_text(info, outcomes);
    case ReportFormat::json:
    case ReportFormat::yaml:
      return yaml_or_json(to_tree(info, outcomes), o.format);
    case ReportFormat::junit:
      return to_junit(info, outcomes);
  }
  panic("no such format");
}

int run_selected(Output& out, CommandOptions& o, const std::vector<const Case*>& selected) {
  const auto named = parse_target(o);
  if (!named.ok()) return out.error(named.error());
  uring::Runtime::Options options;
  options.spin_us = 0;
  options.memory_bytes = 16 * MiB;
  auto runtime = uring::Runtime::create(options);
  if (!runtime.ok()) return out.error(runtime.error());
  o.settings.seed = runtime.value()->home().random().next();  // what a run before wrote is no pass
  const auto at = runtime.value()->run(runtime.value()->home().resolve(named.value()));
  if (!at.ok()) return out.error(at.error());
  Network network(*runtime.value(), at.value().front());
  const Status chosen = choose_subsystem(network, o.settings, out);
  if (!chosen.ok())
    return out.error(chosen.error(), "is the target there? --subsystem NQN goes without discovery");
  const double begun = monotonic_seconds();
  const auto outcomes = run_cases(network, o.settings, selected, [&](const Case& c, std::size_t index) {
    out.live_line(
        fmt::format("{} {}/{} {}", bar(index, selected.size(), 20), index + 1, selected.size(), c.id));
    out.verbose(1, c.id);
  });
  RunInfo info;
  info.target = network.target().to_string();
  info.subsystem = o.settings.subsystem;
  info.host_nqn = o.settings.host_nqn;
  info.destructive = o.settings.destructive;
  info.seconds = monotonic_seconds() - begun;
  const Status written = write_report(out, o, render(o, info, outcomes));
  if (!written.ok()) return out.error(written.error());
  const Counts counts = count(outcomes);
  if (!o.output_file.empty()) {
    out.note(fmt::format("{} passed, {} failed, {} not supported, {} skipped, {} errors: {}", counts.pass,
                         counts.fail, counts.not_supported, counts.skipped, counts.error, o.output_file));
  }
  return counts.fail == 0 && counts.error == 0 ? exit_ok : exit_failed;
}

int run(Tool& tool, CommandOptions& o) {
  Output& out = tool.output();
  log::configure(out.verbosity > 1 ? log::Level::info : log::Level::error, log::Format::text);
  o.settings.timeout = Nanos{static_cast<std::int64_t>(o.timeout_seconds * 1e9)};
  const Cases cases = all_cases();
  std::vector<const Case*> selected;
  for (const Case& c : cases) {
    if (selects(o.filter, c)) selected.push_back(&c);
  }
  if (selected.empty()) {
    out.error("usage", "no test is selected", "'holdfast nvme-conformance --list' shows them");
    return exit_usage;
  }
  if (o.list) {
    const bool text = o.format == ReportFormat::text || o.format == ReportFormat::junit;
    const Status written =
        write_report(out, o, text ? to_text(selected) : yaml_or_json(to_tree(selected), o.format));
    return written.ok() ? exit_ok : out.error(written.error());
  }
  if (o.target.empty()) {
    out.error("usage", "a TARGET is wanted, or --list");
    return exit_usage;
  }
  return run_selected(out, o, selected);
}

void add_options(CLI::App& c, Tool& tool, CommandOptions& o) {
  static const std::map<std::string, ReportFormat> formats = {{"text", ReportFormat::text},
                                                              {"table", ReportFormat::text},
                                                              {"json", ReportFormat::json},
                                                              {"yaml", ReportFormat::yaml},
                                                              {"junit", ReportFormat::junit}};
  c.add_option("TARGET", o.target, "nvmf://HOST:PORT/NQN, or HOST:PORT");
  c.add_option("--subsystem", o.settings.subsystem, "Its NQN; the first that discovery names, if absent")
      ->type_name("NQN");
  c.add_option("--host-nqn", o.settings.host_nqn, "Name of the host that the tool is")
      ->type_name("NQN")
      ->capture_default_str();
  c.add_option("--nsid", o.settings.nsid, "Namespace; the first active one, if absent")->type_name("N");
  c.add_option("--group", o.filter.groups,
               "Only tests of this group, such as tcp or base.identify; repeatable")
      ->type_name("GROUP");
  c.add_option("--test", o.filter.tests, "Only this test; '*' stands for anything; repeatable")
      ->type_name("ID");
  c.add_flag("--list", o.list, "Show the tests, run none");
  c.add_flag("--destructive", o.settings.destructive,
             "Also tests that write: they DESTROY the content of the namespace");
  c.add_option("--timeout", o.timeout_seconds, "Seconds to wait for one answer of the target")
      ->check(CLI::Range(0.1, 600.0).description(""))
      ->type_name("SECONDS")
      ->capture_default_str();
  c.add_option("-o,--output", o.format, "Report: text, json, yaml or junit")
      ->transform(choice(formats))
      ->type_name("FORMAT")
      ->default_str("text");
  c.add_option("--output-file", o.output_file, "Where the report goes; standard output, if absent")
      ->type_name("FILE");
  c.add_flag("-q,--quiet", tool.output().quiet, "No progress, no notes");
  c.add_flag("-v,--verbose", tool.output().verbosity, "Name each test as it starts; twice: log, too");
}

}  // namespace

void add_conformance_command(Tool& tool) {
  auto& o = tool.keep<CommandOptions>();
  o.settings.host_nqn = "nqn.2014-08.org.nvmexpress:uuid:4846636f-6e66-0000-0000-000000000001";
  auto& c = tool.add_command(tool.app(), "nvme-conformance",
                             "Judge an NVMe/TCP target, ours or another, by the NVMe specifications",
                             [&tool, &o] { return run(tool, o); });
  add_options(c, tool, o);
  c.footer(
      "Each test makes connections of its own. Without --destructive nothing is written, and the tests that\n"
      "write are skipped. Exit status: 0 nothing failed, 1 something did or could not be run, 2 wrong "
      "usage.\n\n"
      "  holdfast nvme-conformance 10.0.0.1:8420 --group tcp\n"
      "  holdfast nvme-conformance nvmf://10.0.0.1:8420/nqn.2019-05.io.openebs:scratch --destructive \\\n"
      "      --output junit --output-file conformance.xml");
}

}  // namespace holdfast::cli
