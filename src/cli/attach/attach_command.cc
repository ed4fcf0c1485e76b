#include "cli/attach/attach_command.h"

#include <map>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/attach/attachments.h"
#include "cli/attach/mounts.h"
#include "cli/tool/choice.h"

namespace holdfast::cli {
namespace {

using Tree = nlohmann::ordered_json;

struct CommandOptions {
  AttachOptions attach;
  DetachOptions detach;
  std::string run_dir = "/run/holdfast";
  std::string what;
  bool list = false;
  bool all = false;
};

Attachments attachments(const CommandOptions& o) { return Attachments(AttachStore(o.run_dir + "/attach")); }

Tree full_tree(const Attachments& known, const Attachment& a) {
  Tree tree = a.to_tree();
  tree["mountpoints"] = mounts_of(a.device);
  if (!known.is_served(a)) tree["state"] = "dead";
  return tree;
}

int list(Tool& tool, const CommandOptions& o) {
  const Attachments known = attachments(o);
  const auto all = known.all();
  if (!all.ok()) return tool.output().error(all.error());
  Tree tree = Tree::array();
  for (const Attachment& a : all.value()) tree.push_back(full_tree(known, a));
  tool.output().answer(tree, [&] {
    Table table{{"ID"}, {"DEVICE"}, {"VIA"}, {"STATE"}, {"MOUNTPOINTS"}, {"URI"}};
    for (const auto& a : tree) {
      std::string mountpoints;
      for (const auto& m : a["mountpoints"])
        mountpoints += (mountpoints.empty() ? "" : ",") + m.get<std::string>();
      table.add_row({a["id"], a["device"], a["via"], a.value("state", ""), mountpoints, a["uri"]});
    }
    tool.output().print(table, "nothing is attached");
  });
  return exit_ok;
}

std::string hint_for(const Error& e) {
  switch (e.code()) {
    case Errc::busy:
      return "end what uses it ('fuser -vm PATH' shows that), or use --force";
    case Errc::timed_out:
    case Errc::not_connected:
      return "is the target there and published? 'holdfast engine nexus list' shows its URI";
    default:
      return {};
  }
}

int attach(Tool& tool, const CommandOptions& o) {
  Output& out = tool.output();
  if (o.list) return list(tool, o);
  if (o.attach.uri.empty()) {
    out.error("usage", "a URI is wanted, or --list");
    return exit_usage;
  }
  Attachments known = attachments(o);
  const auto attached = known.attach(o.attach);
  if (!attached.ok()) return out.error(attached.error(), hint_for(attached.error()));
  out.answer(full_tree(known, attached.value()), [&] { out.line(attached.value().device); });
  return exit_ok;
}

int detach_one(Tool& tool, Attachments& known, const Attachment& a, const CommandOptions& o) {
  const Status done = known.detach(a, o.detach);
  if (done.ok()) {
    tool.output().note(fmt::format("{} is detached", a.device));
    return exit_ok;
  }
  const bool lost = done.code() == Errc::failed_precondition && a.state != "online";
  const std::string hint =
      lost ? "wait until it is back ('attach --list' shows the state), or give up the writes with --force"
      : done.code() == Errc::busy ? hint_for(done.error())
                                  : std::string();
  return tool.output().error(done.error(), hint);
}

int detach(Tool& tool, const CommandOptions& o) {
  Attachments known = attachments(o);
  if (o.all) {
    int status = exit_ok;
    const auto everything = known.all();
    if (!everything.ok()) return tool.output().error(everything.error());
    for (const Attachment& a : everything.value()) status = std::max(status, detach_one(tool, known, a, o));
    return status;
  }
  if (o.what.empty()) {
    tool.output().error("usage", "a device, mount point or URI is wanted, or --all");
    return exit_usage;
  }
  const auto found = known.find(o.what);
  if (!found.ok()) {
    const bool none = found.code() == Errc::not_found;
    return tool.output().error(found.error(), none ? "'holdfast attach --list' shows what is" : "");
  }
  return detach_one(tool, known, found.value(), o);
}

void add_run_dir(CLI::App& c, CommandOptions& o) {
  c.add_option("--run-dir", o.run_dir, "Directory with the state of attachments")
      ->type_name("DIR")
      ->capture_default_str();
}

void add_attach(Tool& tool, CommandOptions& o) {
  auto& c = tool.add_command(tool.app(), "attach", "Make a block device of a volume, and mount it",
                             [&tool, &o] { return attach(tool, o); });
  c.add_option("URI", o.attach.uri, "nvmf://HOST:PORT/NQN, as 'holdfast engine nexus publish' prints it");
  c.add_option("MOUNTPOINT", o.attach.mountpoint, "Directory at which its filesystem is mounted");
  c.add_flag("--list", o.list, "Show what is attached");
  static const std::map<std::string, AttachVia> vias = {{"kernel", AttachVia::kernel},
                                                        {"user", AttachVia::user}};
  c.add_option_function<AttachVia>(
       "--via", [&o](const AttachVia& via) { o.attach.via = via; },
       "kernel: its own NVMe/TCP initiator; user: ours, under a loop device.\n"
       "The kernel's where it has one and the URI no paths, if absent")
      ->transform(choice(vias))
      ->type_name("kernel|user");
  c.add_flag("--read-only", o.attach.read_only, "Nothing can be written");
  c.add_option("--mount-options", o.attach.mount_options, "As in fstab: noatime,discard")
      ->type_name("OPTIONS");
  c.add_option("--grace", o.attach.grace_seconds,
               "I/O waits so long for a target that is out of reach, then it fails")
      ->check(CLI::Range(0.0, 86400.0).description(""))
      ->type_name("SECONDS")
      ->capture_default_str();
  c.add_option("--spin-us", o.attach.spin_us,
               "user: microseconds that the idle process polls before it sleeps")
      ->check(CLI::Range(std::int64_t{-1}, std::int64_t{1'000'000}).description(""))
      ->type_name("US")
      ->capture_default_str();
  add_run_dir(c, o);
  tool.add_output_options(c);
  c.footer(
      "Prints the block device. Repeating it changes nothing; with a MOUNTPOINT it mounts what is attached\n"
      "already. The device outlives this command, and restarts of the target: I/O waits meanwhile. Needs "
      "root.\n\n"
      "A volume for the first time, and from then on:\n"
      "  dev=$(holdfast attach nvmf://10.0.0.1:8420/nqn.2019-05.io.openebs:vol) && mkfs.ext4 $dev\n"
      "  holdfast attach nvmf://10.0.0.1:8420/nqn.2019-05.io.openebs:vol /mnt/vol");
}

void add_detach(Tool& tool, CommandOptions& o) {
  auto& c = tool.add_command(tool.app(), "detach", "Unmount a volume and take its block device away",
                             [&tool, &o] { return detach(tool, o); });
  c.add_option("DEVICE|MOUNTPOINT|URI", o.what, "What attach printed or was given");
  c.add_flag("--all", o.all, "Everything that is attached");
  c.add_flag("--force", o.detach.force,
             "Also when it is in use, or the target is gone: what is not written yet is lost");
  c.add_option("--timeout", o.detach.timeout_seconds, "Seconds to wait for the last writes")
      ->check(CLI::Validator(CLI::PositiveNumber).description(""))
      ->type_name("SECONDS")
      ->capture_default_str();
  add_run_dir(c, o);
  tool.add_output_options(c);
  c.footer("When it ends with 0 without --force, everything that was written is durable at the target.");
}

}  // namespace

void add_attach_commands(Tool& tool) {
  auto& o = tool.keep<CommandOptions>();
  add_attach(tool, o);
  add_detach(tool, o);
}

}  // namespace holdfast::cli
