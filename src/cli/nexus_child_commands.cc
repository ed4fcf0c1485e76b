// holdfast engine nexus child ...
#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/engine_client.h"
#include "mayastor/v1/nexus.grpc.pb.h"

namespace holdfast::cli {
namespace {

namespace api = mayastor::v1;
using Nexuses = api::NexusRpc;

struct ChildOptions {
  std::string uuid;
  std::string uri;
};

int operate(EngineClient& client, const ChildOptions& o, api::ChildAction action) {
  api::ChildOperationRequest request;
  request.set_nexus_uuid(o.uuid);
  request.set_uri(o.uri);
  request.set_action(action);
  api::ChildOperationResponse answer;
  if (!client.call<Nexuses>(&Nexuses::Stub::ChildOperation, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(o.uri); });
}

int fault(EngineClient& client, const ChildOptions& o) {
  api::FaultNexusChildRequest request;
  request.set_uuid(o.uuid);
  request.set_uri(o.uri);
  api::FaultNexusChildResponse answer;
  if (!client.call<Nexuses>(&Nexuses::Stub::FaultNexusChild, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(o.uri); });
}

}  // namespace

void add_nexus_child_commands(CLI::App& nexus, EngineClient& client) {
  Tool& tool = client.tool();
  auto& o = tool.keep<ChildOptions>();
  auto& group = tool.add_group(nexus, "child", "One child of a nexus");
  auto named = [&o](CLI::App& c) {
    c.add_option("UUID", o.uuid, "UUID of the nexus")->required();
    c.add_option("URI", o.uri, "URI of the child, as 'nexus children' shows it")->required();
  };
  named(tool.add_command(group, "fault",
                         "Take it out until it is removed or replaced; never the last one in sync",
                         [&client, &o] { return fault(client, o); }));
  named(tool.add_command(group, "offline",
                         "Take it out for a while, for maintenance; what it misses is tracked",
                         [&client, &o] { return operate(client, o, api::Offline); }));
  named(tool.add_command(group, "online", "Bring it back; what it missed is copied to it",
                         [&client, &o] { return operate(client, o, api::Online); }));
  named(tool.add_command(group, "retire", "Treat it as if its I/O had failed: for tests",
                         [&client, &o] { return operate(client, o, api::FaultIOError); }));
}

}  // namespace holdfast::cli
