// holdfast engine device | perf | controller | info
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/engine_client.h"
#include "cli/messages.h"
#include "mayastor/v1/host.grpc.pb.h"

namespace holdfast::cli {
namespace {

namespace api = mayastor::v1;
using Host = api::HostRpc;

struct HostOptions {
  bool all = false;
  std::string controller;
};

template <class Strings>
std::string quoted(const Strings& values) {
  std::string text;
  for (const auto& v : values) text += fmt::format("{}\"{}\"", text.empty() ? "" : ", ", v);
  return text;
}

int devices(EngineClient& client, const HostOptions& o) {
  api::ListBlockDevicesRequest request;
  request.set_all(o.all);
  api::ListBlockDevicesResponse answer;
  if (!client.call<Host>(&Host::Stub::ListBlockDevices, request, &answer)) return exit_failed;
  return client.answer(answer, [&] {
    Table table{{"DEVNAME"},
                {"DEVTYPE"},
                {"MAJOR", Align::right},
                {"MINOR", Align::right},
                {"SIZE", Align::right},
                {"AVAILABLE"},
                {"MODEL"},
                {"PARTTYPE"},
                {"FSTYPE"},
                {"FSUUID"},
                {"MOUNTPOINTS"},
                {"DEVPATH"},
                {"DEVLINKS"}};
    // Without a unit asked for the size is as in the message, in 512 byte sectors.
    const bool in_sectors = client.output().units.value_or(Units::bytes) == Units::bytes;
    for (const auto& d : answer.devices()) {
      const auto& fs = d.filesystem();
      table.add_row(
          {d.devname(), d.devtype(), std::to_string(d.devmajor()), std::to_string(d.devminor()),
           in_sectors ? std::to_string(d.size()) : client.output().size(d.size() * 512),
           d.available() ? "yes" : "no", d.model(),
           d.has_partition() ? fmt::format("{}:{}", d.partition().scheme(), d.partition().typeid_()) : "",
           fs.fstype(), fs.uuid(), quoted(fs.mountpoints()), d.devpath(), quoted(d.devlinks())});
    }
    client.output().print(table,
                          o.all ? "no devices" : "no available devices; --all shows those in use, too");
  });
}

int resource(EngineClient& client) {
  api::GetMayastorResourceUsageResponse answer;
  if (!client.call<Host>(&Host::Stub::GetMayastorResourceUsage, google::protobuf::Empty(), &answer))
    return exit_failed;
  return client.answer(answer, [&] {
    constexpr auto right = Align::right;
    const auto& u = answer.usage();
    Table table{
        {"SOFT_FAULTS", right}, {"HARD_FAULTS", right}, {"VOLUNTARY_CSW", right}, {"INVOLUNTARY_CSW", right}};
    table.add_row({std::to_string(u.soft_faults()), std::to_string(u.hard_faults()),
                   std::to_string(u.vol_csw()), std::to_string(u.invol_csw())});
    client.output().print(table);
  });
}

int controllers(EngineClient& client) {
  api::ListNvmeControllersResponse answer;
  if (!client.call<Host>(&Host::Stub::ListNvmeControllers, google::protobuf::Empty(), &answer))
    return exit_failed;
  return client.answer(answer, [&] {
    Table table{{"NAME"}, {"SIZE", Align::right}, {"STATE"}, {"BLKSIZE", Align::right}};
    for (const auto& c : answer.controllers()) {
      table.add_row({c.name(), std::to_string(c.size()), controller_state_word(c.state()),
                     std::to_string(c.blk_size())});
    }
    client.output().print(table, "no controllers");
  });
}

int controller_stats(EngineClient& client, const HostOptions& o) {
  api::StatNvmeControllerRequest request;
  request.set_name(o.controller);
  api::StatNvmeControllerResponse answer;
  if (!client.call<Host>(&Host::Stub::StatNvmeController, request, &answer)) return exit_failed;
  return client.answer(answer, [&] {
    constexpr auto right = Align::right;
    const auto& s = answer.stats();
    Table table{{"NAME"},
                {"READS", right},
                {"WRITES", right},
                {"READ/B", right},
                {"WRITTEN/B", right},
                {"NUM_UNMAPS", right},
                {"BYTES_UNMAPPED", right}};
    table.add_row({o.controller, std::to_string(s.num_read_ops()), std::to_string(s.num_write_ops()),
                   client.output().size(s.bytes_read()), client.output().size(s.bytes_written()),
                   std::to_string(s.num_unmap_ops()), client.output().size(s.bytes_unmapped())});
    client.output().print(table);
  });
}

int info(EngineClient& client) {
  api::MayastorInfoResponse answer;
  if (!client.call<Host>(&Host::Stub::GetMayastorInfo, google::protobuf::Empty(), &answer))
    return exit_failed;
  return client.answer(answer, [&] {
    const auto& r = answer.registration_info();
    Table table{{"NODE"}, {"VERSION"}, {"GRPC_ENDPOINT"}, {"INSTANCE"}, {"HOSTNQN"}, {"ANA"}};
    table.add_row({r.id(), answer.version(), r.grpc_endpoint(), r.instance_uuid().value(),
                   r.hostnqn().value(),
                   answer.previous_features().asymmetricnamespaceaccess() ? "yes" : "no"});
    client.output().print(table);
  });
}

}  // namespace

void add_host_commands(CLI::App& engine, EngineClient& client) {
  Tool& tool = client.tool();
  auto& o = tool.keep<HostOptions>();

  auto& device = tool.add_group(engine, "device", "Disks of the engine's machine");
  auto& l = tool.add_command(device, "list", "List disks and partitions that nothing uses yet",
                             [&client, &o] { return devices(client, o); });
  l.add_flag("-a,--all", o.all, "Those in use, too");

  auto& perf = tool.add_group(engine, "perf", "What the engine's process costs");
  tool.add_command(perf, "resource", "Page faults and context switches since it started",
                   [&client] { return resource(client); });

  auto& controller = tool.add_group(engine, "controller", "Remote NVMe controllers that the engine uses");
  tool.add_command(controller, "list", "List them", [&client] { return controllers(client); });
  auto& s = tool.add_command(controller, "stats", "I/O counters of one",
                             [&client, &o] { return controller_stats(client, o); });
  s.add_option("NAME", o.controller, "Name, as 'list' shows it")->required();

  tool.add_command(engine, "info", "Version, node and features of the engine",
                   [&client] { return info(client); });
}

}  // namespace holdfast::cli
