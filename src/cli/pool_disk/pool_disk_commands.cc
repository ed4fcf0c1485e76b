#include "cli/pool_disk/pool_disk_commands.h"

#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/units.h"
#include "block/builtin.h"
#include "block/registry.h"
#include "cli/pool_disk/pool_json.h"
#include "pool/check.h"
#include "uring/runtime.h"

namespace holdfast::cli {
namespace {

constexpr int exit_unreadable = 2;

struct CommandOptions {
  std::vector<std::string> disks;
  std::uint64_t map_bytes_max = 0;
};

Task<Result<pool::PoolOnDisk>> look(const Cores& cores, CommandOptions o, bool keep_records) {
  DeviceRegistry registry(cores);
  register_builtin_schemes(registry, cores);
  auto found = co_await pool::check_pool(registry, std::move(o.disks), keep_records, o.map_bytes_max);
  co_await registry.close();
  co_return found;
}

// Devices are known by absolute paths.
std::string absolute(const std::string& disk) {
  if (disk.find("://") != std::string::npos) return disk;
  std::error_code error;
  const auto path = std::filesystem::absolute(disk, error);
  return error ? disk : path.string();
}

const char* hint_for(const Error& e) {
  switch (e.code()) {
    case Errc::resource_exhausted:
      return "give more by --map-memory, or look at it on a machine that has more";
    case Errc::busy:
      return "is the pool open in an engine? Export it first";
    default:
      return "";
  }
}

// The disks as they are; an error was told when there is nothing.
std::optional<pool::PoolOnDisk> look(Tool& tool, CommandOptions o, bool keep_records) {
  Output& out = tool.output();
  log::configure(out.verbosity > 1 ? log::Level::info : log::Level::off, log::Format::text);
  uring::Runtime::Options options;
  options.spin_us = 0;
  options.memory_bytes = 16 * MiB;
  auto runtime = uring::Runtime::create(options);
  if (!runtime.ok()) {
    out.error(runtime.error());
    return std::nullopt;
  }
  for (std::string& disk : o.disks) disk = absolute(disk);
  auto found = runtime.value()->run(look(runtime.value()->cores(), std::move(o), keep_records));
  if (!found.ok()) {
    out.error(found.error(), hint_for(found.error()));
    return std::nullopt;
  }
  return std::move(found).value();
}

void show(Output& out, const pool::PoolOnDisk& pool) {
  for (const std::string& line : pool.findings) out.line("finding: " + line);
  for (const std::string& line : pool.notes) out.note(line);
  if (!pool.findings.empty()) {
    out.line(fmt::format("{} findings", pool.findings.size()));
    return;
  }
  for (const auto& disk : pool.disks) {
    if (disk.label.superblock.unfinished())
      out.note(fmt::format(
          "disk '{}': making its pool was cut off at its end; who opens the pool finishes it", disk.uri));
  }
  out.line(
      fmt::format("pool '{}' is clean: {} disks, {} volumes and snapshots, {} commits after the checkpoint",
                  pool.superblock.name, pool.disks.size(), pool.state->volumes().size(), pool.scan.commits));
}

int check(Tool& tool, const CommandOptions& o) {
  const auto pool = look(tool, o, false);
  if (!pool) return exit_unreadable;
  Output& out = tool.output();
  out.answer(check_json(*pool), [&] { show(out, *pool); });
  return pool->findings.empty() ? exit_ok : exit_failed;
}

int dump(Tool& tool, const CommandOptions& o) {
  const auto pool = look(tool, o, true);
  if (!pool) return exit_unreadable;
  Output& out = tool.output();
  const nlohmann::ordered_json tree = dump_json(*pool);
  // Names on a disk may be anything.
  out.answer(tree,
             [&] { out.line(tree.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace)); });
  return pool->findings.empty() ? exit_ok : exit_failed;
}

void add_options(CLI::App& to, CommandOptions& o) {
  to.add_option("DISK", o.disks, "Paths or device URIs: all disks of the pool, in any order")->required();
  add_size(to, "--map-memory", o.map_bytes_max,
           "Memory that the maps of its volumes may take [half of what there is]");
}

}  // namespace

void add_pool_disk_commands(Tool& tool) {
  auto& group = tool.add_group(tool.app(), "pool", "Look at the disks of a pool that no engine has open");
  auto& checked = tool.keep<CommandOptions>();
  auto& c = tool.add_command(group, "check", "Check every rule of the on-disk format; nothing is written",
                             [&tool, &checked] { return check(tool, checked); });
  add_options(c, checked);
  c.footer(
      "Exit status: 0 the pool is clean, 1 something was found, 2 the disks cannot be read.\n\n"
      "  holdfast pool check /dev/sdb /dev/sdc -o json");
  auto& dumped = tool.keep<CommandOptions>();
  auto& d = tool.add_command(group, "dump", "Show labels, segments, volumes and the journal as JSON",
                             [&tool, &dumped] { return dump(tool, dumped); });
  add_options(d, dumped);
  tool.add_output_options(group);
}

}  // namespace holdfast::cli
