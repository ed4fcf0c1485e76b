// holdfast engine snapshot ...
#include <cstring>
#include <sstream>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/engine_client.h"
#include "cli/messages.h"
#include "holdfast/v1/pool.grpc.pb.h"
#include "mayastor/v1/snapshot.grpc.pb.h"

namespace holdfast::cli {
namespace {

namespace api = mayastor::v1;
namespace own = holdfast::v1;
using Snapshots = api::SnapshotRpc;

struct SnapshotOptions {
  std::string nexus;
  std::string replica;
  std::string snapshot;
  std::string name;
  std::string entity_id;
  std::string txn_id;
  std::string replicas;   // separated by commas
  std::string snapshots;  // likewise
  std::vector<std::string> skipped;
  std::string source;
  std::string pool_uuid, pool_name;
  std::string clone;
  std::string later;
};

std::string entity_or_nothing(const std::string& text) { return text == "-" ? std::string() : text; }

int create_for_replica(EngineClient& client, const SnapshotOptions& o) {
  api::CreateReplicaSnapshotRequest request;
  request.set_replica_uuid(o.replica);
  request.set_snapshot_uuid(o.snapshot.empty() ? random_uuid() : o.snapshot);
  request.set_snapshot_name(o.name);
  request.set_entity_id(entity_or_nothing(o.entity_id));
  request.set_txn_id(entity_or_nothing(o.txn_id));
  api::CreateReplicaSnapshotResponse answer;
  if (!client.call<Snapshots>(&Snapshots::Stub::CreateReplicaSnapshot, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(answer.snapshot().snapshot_uuid()); });
}

// What stands between the commas.
std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
  return parts;
}

int create_for_nexus(EngineClient& client, const SnapshotOptions& o) {
  const auto replicas = split(o.replicas);
  const auto snapshots = split(o.snapshots);
  if (replicas.size() != snapshots.size()) {
    return client.output().error(
        "INVALID_ARGUMENT", fmt::format("{} replicas and {} snapshot UUIDs are given: one for each is needed",
                                        replicas.size(), snapshots.size()));
  }
  api::NexusCreateSnapshotRequest request;
  request.set_nexus_uuid(o.nexus);
  request.set_entity_id(entity_or_nothing(o.entity_id));
  request.set_txn_id(entity_or_nothing(o.txn_id));
  request.set_snapshot_name(o.name);
  for (std::size_t i = 0; i < replicas.size(); ++i) {
    auto* r = request.add_replicas();
    r->set_replica_uuid(replicas[i]);
    r->set_snapshot_uuid(snapshots[i]);
  }
  for (const auto& skipped : o.skipped) {
    auto* r = request.add_replicas();
    r->set_replica_uuid(skipped);
    r->set_skip(true);
  }
  api::NexusCreateSnapshotResponse answer;
  if (!client.call<Snapshots>(&Snapshots::Stub::CreateNexusSnapshot, request, &answer)) return exit_failed;
  bool all = true;
  const int status = client.answer(answer, [&] {
    Table table{{"REPLICA"}, {"STATUS"}};
    for (const auto& done : answer.replicas_done()) {
      table.add_row({done.replica_uuid(), done.status_code() == 0
                                              ? "ok"
                                              : std::string(strerror(static_cast<int>(done.status_code())))});
    }
    for (const auto& skipped : answer.replicas_skipped()) table.add_row({skipped, "skipped"});
    client.output().print(table);
  });
  for (const auto& done : answer.replicas_done()) all = all && done.status_code() == 0;
  return all ? status : exit_failed;
}

int list(EngineClient& client, const SnapshotOptions& o) {
  api::ListSnapshotsRequest request;
  if (!o.source.empty()) request.set_source_uuid(o.source);
  if (!o.snapshot.empty()) request.set_snapshot_uuid(o.snapshot);
  api::ListSnapshotsResponse answer;
  if (!client.call<Snapshots>(&Snapshots::Stub::ListSnapshot, request, &answer)) return exit_failed;
  return client.answer(answer, [&] {
    constexpr auto right = Align::right;
    Table table{{"UUID"},
                {"NAME"},
                {"SIZE", right},
                {"CLONES", right},
                {"TIMESTAMP"},
                {"SOURCE_UUID"},
                {"SOURCE_SIZE", right},
                {"POOL_UUID"},
                {"POOL"},
                {"ENTITY_ID"},
                {"TXN_ID"},
                {"VALID"},
                {"REFERENCED", right},
                {"DISCARDED"}};
    const Output& out = client.output();
    for (const auto& s : answer.snapshots()) {
      table.add_row({s.snapshot_uuid(), s.snapshot_name(), out.size(s.snapshot_size()),
                     std::to_string(s.num_clones()), format_time(s.timestamp()), s.source_uuid(),
                     out.size(s.source_size()), s.pool_uuid(), s.pool_name(), s.entity_id(), s.txn_id(),
                     s.valid_snapshot() ? "true" : "false", out.size(s.referenced_bytes()),
                     s.discarded_snapshot() ? "true" : "false"});
    }
    client.output().print(table, "no snapshot");
  });
}

int destroy(EngineClient& client, const SnapshotOptions& o) {
  api::DestroySnapshotRequest request;
  request.set_snapshot_uuid(o.snapshot);
  if (!o.pool_uuid.empty()) request.set_pool_uuid(o.pool_uuid);
  if (!o.pool_name.empty()) request.set_pool_name(o.pool_name);
  google::protobuf::Empty answer;
  if (!client.call<Snapshots>(&Snapshots::Stub::DestroySnapshot, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(o.snapshot); });
}

int create_clone(EngineClient& client, const SnapshotOptions& o) {
  api::CreateSnapshotCloneRequest request;
  request.set_snapshot_uuid(o.snapshot);
  request.set_clone_name(o.name);
  request.set_clone_uuid(o.clone.empty() ? random_uuid() : o.clone);
  api::Replica answer;
  if (!client.call<Snapshots>(&Snapshots::Stub::CreateSnapshotClone, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(answer.uuid()); });
}

int list_clone(EngineClient& client, const SnapshotOptions& o) {
  api::ListSnapshotCloneRequest request;
  if (!o.snapshot.empty()) request.set_snapshot_uuid(o.snapshot);
  api::ListSnapshotCloneResponse answer;
  if (!client.call<Snapshots>(&Snapshots::Stub::ListSnapshotClone, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { print_replicas(client.output(), answer.replicas(), "no clone"); });
}

// All of it, however many answers that takes.
int diff(EngineClient& client, const SnapshotOptions& o) {
  own::DiffSnapshotsRequest request;
  if (!o.source.empty()) request.set_earlier(o.source);
  request.set_later(o.later);
  own::DiffSnapshotsResponse all;
  for (;;) {
    own::DiffSnapshotsResponse answer;
    if (!client.call<own::PoolRpc>(&own::PoolRpc::Stub::DiffSnapshots, request, &answer)) return exit_failed;
    for (const auto& range : answer.ranges()) *all.add_ranges() = range;
    if (!answer.has_next_offset()) break;
    request.set_offset(answer.next_offset());
  }
  return client.answer(all, [&] {
    Table table{{"OFFSET", Align::right}, {"LENGTH", Align::right}};
    for (const auto& r : all.ranges())
      table.add_row({std::to_string(r.offset()), std::to_string(r.length())});
    client.output().print(table, "no difference");
  });
}

void add_making(CLI::App& group, EngineClient& client, SnapshotOptions& o) {
  Tool& tool = client.tool();
  auto& r = tool.add_command(group, "create_for_replica", "Take a snapshot of a replica. Prints its UUID",
                             [&client, &o] { return create_for_replica(client, o); });
  r.add_option("REPLICA_UUID", o.replica, "UUID of the replica")->required();
  r.add_option("NAME", o.name, "Name of the snapshot")->required();
  r.add_option("ENTITY_ID", o.entity_id, "Volume that it is of; - for none")->required();
  r.add_option("TXN_ID", o.txn_id, "Identity of the transaction; - for none")->required();
  r.add_option("SNAPSHOT_UUID", o.snapshot, "UUID of the snapshot; \"\" makes one up")->required();

  auto& n = tool.add_command(group, "create_for_nexus", "Take one snapshot of all replicas of a nexus",
                             [&client, &o] { return create_for_nexus(client, o); });
  n.add_option("NEXUS_UUID", o.nexus, "UUID of the nexus")->required();
  n.add_option("ENTITY_ID", o.entity_id, "Volume that it is of; - for none")->required();
  n.add_option("TXN_ID", o.txn_id, "Identity of the transaction; - for none")->required();
  n.add_option("NAME", o.name, "Name of the snapshot, on every replica")->required();
  n.add_option("REPLICA_UUIDS", o.replicas,
               "UUIDs of the replicas, separated by commas: every one that is in sync")
      ->required();
  n.add_option("SNAPSHOT_UUIDS", o.snapshots, "UUIDs of their snapshots, in the same order")->required();
  n.add_option("--skip", o.skipped, "UUID of a replica that is not in sync (repeatable)")
      ->allow_extra_args(false);
}

}  // namespace

void add_snapshot_commands(CLI::App& engine, EngineClient& client) {
  Tool& tool = client.tool();
  auto& o = tool.keep<SnapshotOptions>();
  auto& group = tool.add_group(engine, "snapshot", "Snapshots of replicas, and clones of snapshots");
  add_making(group, client, o);

  auto& l = tool.add_command(group, "list", "List snapshots", [&client, &o] { return list(client, o); });
  l.add_option("SOURCE_UUID", o.source, "Only those of this replica");
  l.add_option("SNAPSHOT_UUID", o.snapshot, "Only this one");
  auto& d = tool.add_command(group, "destroy", "Delete a snapshot; its clones stay",
                             [&client, &o] { return destroy(client, o); });
  d.add_option("SNAPSHOT_UUID", o.snapshot, "UUID of the snapshot")->required();
  auto* by_uuid = d.add_option("--pool-uuid", o.pool_uuid, "Only if it is in this pool");
  d.add_option("--pool-name", o.pool_name, "Only if it is in this pool")->excludes(by_uuid);
  auto& c = tool.add_command(group, "create_clone", "Make a replica of a snapshot. Prints its UUID",
                             [&client, &o] { return create_clone(client, o); });
  c.add_option("SNAPSHOT_UUID", o.snapshot, "UUID of the snapshot")->required();
  c.add_option("NAME", o.name, "Name of the clone")->required();
  c.add_option("UUID", o.clone, "UUID of the clone; \"\" makes one up")->required();
  auto& k =
      tool.add_command(group, "list_clone", "List clones", [&client, &o] { return list_clone(client, o); });
  k.add_option("SNAPSHOT_UUID", o.snapshot, "Only those of this snapshot");
  auto& f =
      tool.add_command(group, "diff", "List the ranges that differ between two snapshots, or allocated ones",
                       [&client, &o] { return diff(client, o); });
  f.add_option("LATER", o.later, "UUID of a snapshot or replica")->required();
  f.add_option("--since", o.source, "UUID of an earlier one in the same pool; absent: everything allocated")
      ->type_name("UUID");
}

}  // namespace holdfast::cli
