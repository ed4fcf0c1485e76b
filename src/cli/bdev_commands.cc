// holdfast engine bdev ...
#include <algorithm>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/engine_client.h"
#include "mayastor/v1/bdev.grpc.pb.h"

namespace holdfast::cli {
namespace {

namespace api = mayastor::v1;
using Bdevs = api::BdevRpc;

struct BdevOptions {
  std::string target;  // name or URI
  std::string protocol = "nvmf";
  std::vector<std::string> allowed_hosts;
};

int list(EngineClient& client) {
  api::ListBdevResponse answer;
  if (!client.call<Bdevs>(&Bdevs::Stub::List, api::ListBdevOptions(), &answer)) return exit_failed;
  return client.answer(answer, [&] {
    Table table{{"UUID"},
                {"NUM_BLOCKS", Align::right},
                {"BLK_SIZE", Align::right},
                {"CAPACITY", Align::right},
                {"CLAIMED_BY"},
                {"NAME"},
                {"SHARE_URI"}};
    for (const auto& b : answer.bdevs()) {
      table.add_row({b.uuid(), std::to_string(b.num_blocks()), std::to_string(b.blk_size()),
                     client.output().size(b.num_blocks() * b.blk_size()), b.claimed_by(), b.name(),
                     b.share_uri()});
    }
    client.output().print(table, "no devices");
  });
}

int create(EngineClient& client, const BdevOptions& options) {
  api::CreateBdevRequest request;
  request.set_uri(options.target);
  api::CreateBdevResponse answer;
  if (!client.call<Bdevs>(&Bdevs::Stub::Create, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(answer.bdev().name()); });
}

// The device that the user named by its name or its URI. False: an error was written.
bool find(EngineClient& client, const std::string& target, std::optional<api::Bdev>& found) {
  api::ListBdevResponse all;
  if (!client.call<Bdevs>(&Bdevs::Stub::List, api::ListBdevOptions(), &all)) return false;
  const auto it = std::find_if(all.bdevs().begin(), all.bdevs().end(),
                               [&](const api::Bdev& b) { return b.name() == target || b.uri() == target; });
  if (it != all.bdevs().end()) found = *it;
  return true;
}

int destroy(EngineClient& client, const BdevOptions& options) {
  std::optional<api::Bdev> bdev;
  if (!find(client, options.target, bdev)) return exit_failed;
  if (!bdev && options.target.find(':') == std::string::npos) {
    return client.output().error("NOT_FOUND", fmt::format("device '{}' does not exist", options.target),
                                 "see 'holdfast engine bdev list'");
  }
  if (bdev && bdev->share_uri().starts_with("nvmf")) {
    api::BdevUnshareRequest unshare;
    unshare.set_name(bdev->name());
    google::protobuf::Empty nothing;
    if (!client.call<Bdevs>(&Bdevs::Stub::Unshare, unshare, &nothing)) return exit_failed;
  }
  api::DestroyBdevRequest request;
  request.set_uri(bdev ? bdev->uri() : options.target);
  google::protobuf::Empty answer;
  if (!client.call<Bdevs>(&Bdevs::Stub::Destroy, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(bdev ? bdev->name() : options.target); });
}

int share(EngineClient& client, const BdevOptions& options) {
  api::BdevShareRequest request;
  request.set_name(options.target);
  request.set_protocol(api::NVMF);
  for (const auto& host : options.allowed_hosts) request.add_allowed_hosts(host);
  api::BdevShareResponse answer;
  if (!client.call<Bdevs>(&Bdevs::Stub::Share, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(answer.bdev().share_uri()); });
}

int unshare(EngineClient& client, const BdevOptions& options) {
  api::BdevUnshareRequest request;
  request.set_name(options.target);
  google::protobuf::Empty answer;
  if (!client.call<Bdevs>(&Bdevs::Stub::Unshare, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(options.target); });
}

constexpr const char* create_footer =
    "Schemes, with the parameters that each takes (all take uuid=UUID):\n"
    "  malloc:///NAME?size_mb=N          memory; or num_blocks=N; blk_size=512|4096; resize grows one that "
    "exists\n"
    "  null:///NAME?size_mb=N            discards writes, reads zeroes; or num_blocks=N; blk_size=512|4096\n"
    "  uring:///PATH                     file or block device; blk_size=N (a power of two from 512)\n"
    "  aio:///PATH                       the same; rescan reads the size of one that exists again\n"
    "  nvmf://HOST:PORT/NQN              namespace of an NVMe/TCP target; hostnqn=NQN\n"
    "  bdev:///NAME, loopback:///NAME    another name for a device that exists\n"
    "  nexus:///NAME?size=N&children=URI,URI\n"
    "Prints the name under which the device can be shared.";

}  // namespace

void add_bdev_commands(CLI::App& engine, EngineClient& client) {
  Tool& tool = client.tool();
  auto& options = tool.keep<BdevOptions>();
  auto& group = tool.add_group(engine, "bdev", "Block devices of the engine");

  tool.add_command(group, "list", "List the devices", [&client] { return list(client); });

  auto& c = tool.add_command(group, "create", "Open the device that a URI names",
                             [&client, &options] { return create(client, options); });
  c.add_option("URI", options.target, "What to open")->required();
  c.footer(create_footer);

  auto& d = tool.add_command(group, "destroy",
                             "Close a device; it is unshared first. What is on a disk stays there",
                             [&client, &options] { return destroy(client, options); });
  d.add_option("NAME|URI", options.target, "Name, or the URI given to create")->required();

  auto& s = tool.add_command(group, "share", "Export a device to hosts and other engines. Prints its URI",
                             [&client, &options] { return share(client, options); });
  s.add_option("NAME", options.target, "Name of the device")->required();
  s.add_option("PROTOCOL", options.protocol, "nvmf")->check(CLI::IsMember({"nvmf"}))->capture_default_str();
  s.add_option("--allowed-host", options.allowed_hosts,
               "NQN of a host that may connect (repeatable); none: every host")
      ->type_name("NQN")
      ->allow_extra_args(false);

  auto& u = tool.add_command(group, "unshare", "End the export of a device",
                             [&client, &options] { return unshare(client, options); });
  u.add_option("NAME", options.target, "Name of the device")->required();
}

}  // namespace holdfast::cli
