// holdfast engine replica ...
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/engine_client.h"
#include "cli/messages.h"
#include "holdfast/v1/pool.grpc.pb.h"
#include "mayastor/v1/replica.grpc.pb.h"
#include "mayastor/v1/stats.grpc.pb.h"

namespace holdfast::cli {

namespace api = mayastor::v1;
namespace own = holdfast::v1;
using Replicas = api::ReplicaRpc;

namespace {

struct ReplicaOptions {
  std::string name;
  std::string uuid;
  std::string pool;
  std::uint64_t size = 0;
  std::string protocol = "none";
  std::string share_protocol = "nvmf";
  bool thin = false;
  std::vector<std::string> allowed_hosts;
  std::string type = "lvs";
  std::string entity_id;
  std::string pool_uuid, pool_name;
  std::string snapshot;
};

api::ShareProtocol protocol_of(const std::string& word) {
  return word == "nvmf" ? api::ShareProtocol::NVMF : api::ShareProtocol::NONE;
}

int create(EngineClient& client, const ReplicaOptions& o) {
  api::CreateReplicaRequest request;
  request.set_name(o.name);
  request.set_uuid(o.uuid.empty() ? random_uuid() : o.uuid);
  request.set_pooluuid(o.pool);
  request.set_size(o.size);
  request.set_thin(o.thin);
  request.set_share(protocol_of(o.protocol));
  for (const auto& host : o.allowed_hosts) request.add_allowed_hosts(host);
  if (!o.entity_id.empty()) request.set_entity_id(o.entity_id);
  api::Replica answer;
  if (!client.call<Replicas>(&Replicas::Stub::CreateReplica, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(answer.uri()); });
}

int destroy(EngineClient& client, const ReplicaOptions& o) {
  api::DestroyReplicaRequest request;
  request.set_uuid(o.uuid);
  if (!o.pool_uuid.empty()) request.set_pool_uuid(o.pool_uuid);
  if (!o.pool_name.empty()) request.set_pool_name(o.pool_name);
  google::protobuf::Empty answer;
  if (!client.call<Replicas>(&Replicas::Stub::DestroyReplica, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(o.uuid); });
}

int share(EngineClient& client, const ReplicaOptions& o) {
  api::ShareReplicaRequest request;
  request.set_uuid(o.uuid);
  request.set_share(api::ShareProtocol::NVMF);
  for (const auto& host : o.allowed_hosts) request.add_allowed_hosts(host);
  api::Replica answer;
  if (!client.call<Replicas>(&Replicas::Stub::ShareReplica, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(answer.uri()); });
}

int unshare(EngineClient& client, const ReplicaOptions& o) {
  api::UnshareReplicaRequest request;
  request.set_uuid(o.uuid);
  api::Replica answer;
  if (!client.call<Replicas>(&Replicas::Stub::UnshareReplica, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(answer.uri()); });
}

int resize(EngineClient& client, const ReplicaOptions& o) {
  api::ResizeReplicaRequest request;
  request.set_uuid(o.uuid);
  request.set_requested_size(o.size);
  api::Replica answer;
  if (!client.call<Replicas>(&Replicas::Stub::ResizeReplica, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(client.output().size(answer.size())); });
}

int set_entity(EngineClient& client, const ReplicaOptions& o) {
  api::SetReplicaEntityIdRequest request;
  request.set_uuid(o.uuid);
  request.set_entity_id(o.entity_id);
  api::Replica answer;
  if (!client.call<Replicas>(&Replicas::Stub::SetReplicaEntityId, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(answer.uuid()); });
}

int revert(EngineClient& client, const ReplicaOptions& o) {
  own::RevertReplicaRequest request;
  request.set_uuid(o.uuid);
  request.set_snapshot_uuid(o.snapshot);
  api::Replica answer;
  if (!client.call<own::PoolRpc>(&own::PoolRpc::Stub::RevertReplica, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(answer.uuid()); });
}

int epochs(EngineClient& client, const ReplicaOptions& o) {
  own::GetReplicaEpochsRequest request;
  request.set_uuid(o.uuid);
  own::ReplicaEpochs answer;
  if (!client.call<own::PoolRpc>(&own::PoolRpc::Stub::GetReplicaEpochs, request, &answer)) return exit_failed;
  return client.answer(answer, [&] {
    constexpr auto right = Align::right;
    Table table{{"CURRENT", right},
                {"SEALED", right},
                {"REGION_SIZE", right},
                {"REGIONS", right},
                {"REGIONS_SINCE_SEALED", right}};
    table.add_row({std::to_string(answer.current()), std::to_string(answer.sealed()),
                   client.output().size(answer.region_size()), std::to_string(answer.regions()),
                   std::to_string(answer.regions_since_sealed())});
    client.output().print(table);
  });
}

int list(EngineClient& client) {
  api::ListReplicaOptions request;
  api::ListReplicasResponse answer;
  if (!client.call<Replicas>(&Replicas::Stub::ListReplicas, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { print_replicas(client.output(), answer.replicas(), "no replica"); });
}

int stats(EngineClient& client, const ReplicaOptions& o) {
  api::ListStatsOption request;
  if (!o.name.empty()) request.set_name(o.name);
  api::ReplicaIoStatsResponse answer;
  if (!client.call<api::StatsRpc>(&api::StatsRpc::Stub::GetReplicaIoStats, request, &answer))
    return exit_failed;
  return client.answer(answer, [&] {
    Table table = io_stats_table();
    for (const auto& r : answer.stats()) add_io_stats(client.output(), table, r.stats());
    client.output().print(table, "no replica");
  });
}

void add_hosts(CLI::App& c, ReplicaOptions& o) {
  c.add_option("--allowed-host", o.allowed_hosts,
               "NQN of a host that may connect (repeatable); none: every host")
      ->type_name("NQN")
      ->allow_extra_args(false);
}

void add_making(CLI::App& group, EngineClient& client, ReplicaOptions& o) {
  Tool& tool = client.tool();
  auto& c = tool.add_command(group, "create", "Make a replica in a pool. Prints its URI",
                             [&client, &o] { return create(client, o); });
  c.add_option("NAME", o.name, "Name of the replica, also the last part of its NQN")->required();
  c.add_option("UUID", o.uuid, "Identity of the replica; \"\" makes one up")->required();
  c.add_option("POOL", o.pool, "UUID or name of the pool")->required();
  add_size(c, "-s,--size", o.size, "Size with a unit: 10GiB")->required();
  c.add_option("-p,--protocol", o.protocol, "none, or nvmf: exported at once")
      ->check(CLI::IsMember({"none", "nvmf"}))
      ->capture_default_str();
  c.add_flag("-t,--thin", o.thin, "Take room when it is written, not now");
  add_hosts(c, o);
  c.add_option("--entity-id", o.entity_id, "Volume that it belongs to");
  c.add_option("--type", o.type, "lvs")->check(CLI::IsMember({"lvs"}))->capture_default_str();

  auto& d = tool.add_command(group, "destroy", "Delete a replica; its snapshots stay",
                             [&client, &o] { return destroy(client, o); });
  d.add_option("UUID", o.uuid, "UUID of the replica")->required();
  auto* by_uuid = d.add_option("--pool-uuid", o.pool_uuid, "Only if it is in this pool");
  d.add_option("--pool-name", o.pool_name, "Only if it is in this pool")->excludes(by_uuid);
}

}  // namespace

void print_replicas(Output& out, const google::protobuf::RepeatedPtrField<api::Replica>& replicas,
                    const char* nothing) {
  constexpr auto right = Align::right;
  Table table{{"POOL"},
              {"NAME"},
              {"UUID"},
              {"THIN"},
              {"SHARE"},
              {"SIZE", right},
              {"CAP", right},
              {"ALLOC", right},
              {"URI"},
              {"IS_SNAPSHOT"},
              {"IS_CLONE"},
              {"SNAP_ANCESTOR_SIZE", right},
              {"CLONE_SNAP_ANCESTOR_SIZE", right}};
  const auto yes = [](bool b) { return std::string(b ? "true" : "false"); };
  for (const auto& r : replicas) {
    const auto& u = r.usage();
    table.add_row({r.poolname(), r.name(), r.uuid(), yes(r.thin()),
                   r.share() == api::ShareProtocol::NVMF ? "nvmf" : "none", out.size(r.size()),
                   out.size(u.capacity_bytes()), out.size(u.allocated_bytes()), r.uri(), yes(r.is_snapshot()),
                   yes(r.is_clone()), out.size(u.allocated_bytes_snapshots()),
                   u.has_allocated_bytes_snapshot_from_clone()
                       ? out.size(u.allocated_bytes_snapshot_from_clone())
                       : ""});
  }
  out.print(table, nothing);
}

void add_replica_commands(CLI::App& engine, EngineClient& client) {
  Tool& tool = client.tool();
  auto& o = tool.keep<ReplicaOptions>();
  auto& group = tool.add_group(engine, "replica", "Replicas: volumes of a pool");
  auto uuid = [&o](CLI::App& c) { c.add_option("UUID", o.uuid, "UUID of the replica")->required(); };

  auto& l = tool.add_command(group, "list", "List replicas, snapshots and clones",
                             [&client] { return list(client); });
  l.add_option("--type", o.type, "lvs")->check(CLI::IsMember({"lvs"}))->capture_default_str();
  add_making(group, client, o);

  auto& s = tool.add_command(group, "share", "Export a replica. Prints its URI",
                             [&client, &o] { return share(client, o); });
  uuid(s);
  s.add_option("PROTO", o.share_protocol, "nvmf")->check(CLI::IsMember({"nvmf"}))->capture_default_str();
  add_hosts(s, o);
  uuid(tool.add_command(group, "unshare", "End the export of a replica. Prints its URI",
                        [&client, &o] { return unshare(client, o); }));
  auto& r =
      tool.add_command(group, "resize", "Grow a replica, or shrink one that is not in use. Prints its size",
                       [&client, &o] { return resize(client, o); });
  uuid(r);
  add_size(r, "SIZE", o.size, "New size with a unit: 20GiB")->required();
  auto& e = tool.add_command(group, "set-entity", "Say which volume a replica belongs to",
                             [&client, &o] { return set_entity(client, o); });
  uuid(e);
  e.add_option("ENTITY_ID", o.entity_id, "Identity of the volume")->required();
  auto& v = tool.add_command(group, "revert", "Give a replica the content and size of its snapshot again",
                             [&client, &o] { return revert(client, o); });
  uuid(v);
  v.add_option("SNAPSHOT_UUID", o.snapshot, "UUID of a snapshot in the same pool")->required();
  uuid(tool.add_command(group, "epochs", "Show how much a rebuild after a crash would look at",
                        [&client, &o] { return epochs(client, o); }));
  auto& t = tool.add_command(group, "stats", "Show I/O counters", [&client, &o] { return stats(client, o); });
  t.add_option("NAME", o.name, "Name of the replica; all if absent");
  add_replica_rebuild_commands(group, client);
}

}  // namespace holdfast::cli
