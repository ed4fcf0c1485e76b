// holdfast engine replica rebuild ...: a new replica with its snapshots.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/engine_client.h"
#include "cli/messages.h"
#include "holdfast/v1/rebuild.grpc.pb.h"

namespace holdfast::cli {

namespace own = holdfast::v1;

namespace {

using Rebuilds = own::ReplicaRebuildRpc;

struct ReplicaRebuildOptions {
  std::string replica;
  std::string source;
  std::string endpoint;
  std::string nexus;
  std::string uri;
  std::uint32_t in_sync_through = 0;
};

const char* word(own::ReplicaRebuild::Status status) {
  switch (status) {
    case own::ReplicaRebuild::RUNNING:
      return "running";
    case own::ReplicaRebuild::SUCCESSFUL:
      return "successful";
    case own::ReplicaRebuild::FAILED:
      return "failed";
    default:
      return "unknown";
  }
}

void print_rebuilds(Output& out, const google::protobuf::RepeatedPtrField<own::ReplicaRebuild>& rebuilds) {
  constexpr auto right = Align::right;
  Table table{{"REPLICA"},       {"SOURCE"},       {"STATUS"},         {"SNAPSHOTS", right},
              {"COPIED", right}, {"BYTES", right}, {"IN_SYNC", right}, {"START"},
              {"END"},           {"ERROR"}};
  for (const auto& r : rebuilds) {
    std::uint64_t bytes = 0;
    for (const auto& one : r.copied()) bytes += one.copied();
    table.add_row({r.replica_uuid(), fmt::format("{} at {}", r.source_uuid(), r.source_endpoint()),
                   word(r.status()), std::to_string(r.snapshots()), std::to_string(r.copied_size()),
                   out.size(bytes), std::to_string(r.in_sync_through()), format_time(r.start()),
                   r.has_end() ? format_time(r.end()) : "", r.error()});
  }
  out.print(table, "no rebuild of a replica");
}

int start(EngineClient& client, const ReplicaRebuildOptions& o) {
  own::RebuildReplicaRequest request;
  request.set_replica_uuid(o.replica);
  request.set_source_uuid(o.source);
  request.set_source_endpoint(o.endpoint);
  own::ReplicaRebuild answer;
  if (!client.call<Rebuilds>(&Rebuilds::Stub::RebuildReplica, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(answer.replica_uuid()); });
}

int list(EngineClient& client, const ReplicaRebuildOptions& o) {
  own::ListReplicaRebuildsRequest request;
  if (!o.replica.empty()) request.set_replica_uuid(o.replica);
  own::ListReplicaRebuildsResponse answer;
  if (!client.call<Rebuilds>(&Rebuilds::Stub::ListReplicaRebuilds, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { print_rebuilds(client.output(), answer.rebuilds()); });
}

int destroy(EngineClient& client, const ReplicaRebuildOptions& o) {
  own::DestroyReplicaRebuildRequest request;
  request.set_replica_uuid(o.replica);
  google::protobuf::Empty answer;
  if (!client.call<Rebuilds>(&Rebuilds::Stub::DestroyReplicaRebuild, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(o.replica); });
}

int add_child(EngineClient& client, const ReplicaRebuildOptions& o) {
  own::AddChildNexusRequest request;
  request.set_uuid(o.nexus);
  request.set_uri(o.uri);
  request.set_in_sync_through(o.in_sync_through);
  mayastor::v1::Nexus answer;
  if (!client.call<Rebuilds>(&Rebuilds::Stub::AddChildNexus, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(answer.uuid()); });
}

}  // namespace

void add_replica_rebuild_commands(CLI::App& replica, EngineClient& client) {
  Tool& tool = client.tool();
  auto& o = tool.keep<ReplicaRebuildOptions>();
  auto& group = tool.add_group(replica, "rebuild", "New replicas with the snapshots of others");
  const auto uuid = [&o](CLI::App& c) {
    return c.add_option("REPLICA_UUID", o.replica, "UUID of a replica of this engine");
  };
  auto& s = tool.add_command(group, "start",
                             "Give a replica all snapshots that one of another engine has, oldest first",
                             [&client, &o] { return start(client, o); });
  uuid(s)->required();
  s.add_option("SOURCE_UUID", o.source, "UUID of a replica in sync, on another engine")->required();
  s.add_option("SOURCE_ENDPOINT", o.endpoint, "gRPC address of that engine, HOST:PORT")->required();
  s.footer(
      "What the replica holds besides is lost. The same again goes on behind the last snapshot that is "
      "there.");
  uuid(tool.add_command(group, "list", "List the jobs", [&client, &o] { return list(client, o); }));
  auto& d = tool.add_command(group, "destroy", "End a job and forget it; its snapshots stay",
                             [&client, &o] { return destroy(client, o); });
  uuid(d)->required();
  auto& a = tool.add_command(group, "add-to-nexus",
                             "Add the replica to a nexus, which copies what was written after its snapshots",
                             [&client, &o] { return add_child(client, o); });
  a.add_option("NEXUS_UUID", o.nexus, "UUID of the nexus")->required();
  a.add_option("URI", o.uri, "The replica as the nexus reaches it")->required();
  a.add_option("IN_SYNC", o.in_sync_through,
               "IN_SYNC of the job that was successful; 0: everything is copied")
      ->required();
}

}  // namespace holdfast::cli
