// holdfast engine snapshot-rebuild ..., stats ..., test ...
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/engine_client.h"
#include "cli/messages.h"
#include "mayastor/v1/snapshot_rebuild.grpc.pb.h"
#include "mayastor/v1/stats.grpc.pb.h"

namespace holdfast::cli {

namespace api = mayastor::v1;

namespace {

using Rebuilds = api::SnapshotRebuildRpc;
using Stats = api::StatsRpc;

struct SnapshotRebuildOptions {
  std::string uuid;
  std::string uri;
};

void print_rebuilds(Output& out, const google::protobuf::RepeatedPtrField<api::SnapshotRebuild>& rebuilds) {
  constexpr auto right = Align::right;
  Table table{{"UUID"},           {"SOURCE"},           {"STATUS"}, {"TOTAL", right},
              {"REBUILT", right}, {"REMAINING", right}, {"START"},  {"END"}};
  for (const auto& r : rebuilds) {
    table.add_row({r.uuid(), r.snapshot_uri(), snapshot_rebuild_word(r.status()), out.size(r.total()),
                   out.size(r.rebuilt()), out.size(r.remaining()), format_time(r.start_timestamp()),
                   r.has_end_timestamp() ? format_time(r.end_timestamp()) : ""});
  }
  out.print(table, "no snapshot rebuild");
}

int create(EngineClient& client, const SnapshotRebuildOptions& o) {
  api::CreateSnapshotRebuildRequest request;
  request.set_uuid(o.uuid);
  request.set_replica_uuid(o.uuid);
  request.set_snapshot_uri(o.uri);
  api::SnapshotRebuild answer;
  if (!client.call<Rebuilds>(&Rebuilds::Stub::CreateSnapshotRebuild, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(answer.uuid()); });
}

int list(EngineClient& client, const SnapshotRebuildOptions& o) {
  api::ListSnapshotRebuildRequest request;
  if (!o.uuid.empty()) request.set_uuid(o.uuid);
  api::ListSnapshotRebuildResponse answer;
  if (!client.call<Rebuilds>(&Rebuilds::Stub::ListSnapshotRebuild, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { print_rebuilds(client.output(), answer.rebuilds()); });
}

int destroy(EngineClient& client, const SnapshotRebuildOptions& o) {
  api::DestroySnapshotRebuildRequest request;
  request.set_uuid(o.uuid);
  google::protobuf::Empty answer;
  if (!client.call<Rebuilds>(&Rebuilds::Stub::DestroySnapshotRebuild, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(o.uuid); });
}

struct StatsOptions {
  std::string name;
};

template <class Answer>
int counters(EngineClient& client,
             grpc::Status (Stats::Stub::*rpc)(grpc::ClientContext*, const api::ListStatsOption&, Answer*),
             const StatsOptions& o) {
  api::ListStatsOption request;
  if (!o.name.empty()) request.set_name(o.name);
  Answer answer;
  if (!client.call<Stats>(rpc, request, &answer)) return exit_failed;
  return client.answer(answer, [&] {
    Table table = io_stats_table();
    for (const auto& s : answer.stats()) {
      if constexpr (std::is_same_v<Answer, api::ReplicaIoStatsResponse>) {
        add_io_stats(client.output(), table, s.stats());
      } else {
        add_io_stats(client.output(), table, s);
      }
    }
    client.output().print(table, "nothing to count");
  });
}

int reset(EngineClient& client) {
  google::protobuf::Empty nothing, answer;
  if (!client.call<Stats>(&Stats::Stub::ResetIoStats, nothing, &answer)) return exit_failed;
  return client.answer(answer, [] {});
}

}  // namespace

Table io_stats_table() {
  constexpr auto right = Align::right;
  return Table{{"NAME"},
               {"UUID"},
               {"NUM_RD_OPS", right},
               {"TOTAL_RD", right},
               {"NUM_WR_OPS", right},
               {"TOTAL_WR", right},
               {"NUM_UNMAP_OPS", right},
               {"TOTAL_UNMAPPED", right}};
}

void add_io_stats(const Output& out, Table& table, const api::IoStats& s) {
  table.add_row({s.name(), s.uuid(), std::to_string(s.num_read_ops()), out.size(s.bytes_read()),
                 std::to_string(s.num_write_ops()), out.size(s.bytes_written()),
                 std::to_string(s.num_unmap_ops()), out.size(s.bytes_unmapped())});
}

void add_snapshot_rebuild_commands(CLI::App& engine, EngineClient& client) {
  Tool& tool = client.tool();
  auto& o = tool.keep<SnapshotRebuildOptions>();
  auto& group = tool.add_group(engine, "snapshot-rebuild", "Copies of a snapshot into a replica");
  auto& c =
      tool.add_command(group, "create", "Give a replica the content of a snapshot. Prints the job's UUID",
                       [&client, &o] { return create(client, o); });
  c.add_option("REPLICA_UUID", o.uuid, "UUID of a replica of this engine; also that of the job")->required();
  c.add_option("SNAPSHOT_URI", o.uri, "Where the snapshot is: bdev:///NAME, or nvmf://HOST:PORT/NQN")
      ->required();
  auto& l = tool.add_command(group, "list", "List the jobs", [&client, &o] { return list(client, o); });
  l.add_option("UUID", o.uuid, "Only this one");
  auto& d = tool.add_command(group, "destroy", "End a job and forget it",
                             [&client, &o] { return destroy(client, o); });
  d.add_option("UUID", o.uuid, "UUID of the job")->required();
}

void add_stats_commands(CLI::App& engine, EngineClient& client) {
  Tool& tool = client.tool();
  auto& o = tool.keep<StatsOptions>();
  auto& group = tool.add_group(engine, "stats", "I/O counters");
  auto name = [&o](CLI::App& c) { c.add_option("NAME", o.name, "Only of this one"); };
  name(tool.add_command(group, "pool", "Of the replicas of each pool, together",
                        [&client, &o] { return counters(client, &Stats::Stub::GetPoolIoStats, o); }));
  name(tool.add_command(group, "nexus", "Of each nexus",
                        [&client, &o] { return counters(client, &Stats::Stub::GetNexusIoStats, o); }));
  name(tool.add_command(group, "replica", "Of each replica",
                        [&client, &o] { return counters(client, &Stats::Stub::GetReplicaIoStats, o); }));
  tool.add_command(group, "reset", "Start all counters at zero again", [&client] { return reset(client); });
}

}  // namespace holdfast::cli
