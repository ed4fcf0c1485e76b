// holdfast engine pool ...
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/engine_client.h"
#include "cli/messages.h"
#include "holdfast/v1/pool.grpc.pb.h"
#include "mayastor/v1/pool.grpc.pb.h"

namespace holdfast::cli {
namespace {

namespace api = mayastor::v1;
namespace own = holdfast::v1;
using Pools = api::PoolRpc;
using MorePools = own::PoolRpc;

struct PoolOptions {
  std::string name;
  std::vector<std::string> disks;
  std::string uuid;
  std::string type = "lvs";
  std::uint64_t cluster_size = 0;
  float metadata_ratio = 0;
  bool force = false;
  std::uint32_t warning = 0;
  std::uint32_t critical = 0;
};

template <class Request>
Request named(const PoolOptions& o) {
  Request request;
  request.set_name(o.name);
  if (!o.uuid.empty()) request.mutable_uuid()->set_value(o.uuid);
  return request;
}

// What mayastor.v1 cannot say goes by our own service.
int create_forced(EngineClient& client, const PoolOptions& o) {
  own::CreatePoolRequest request;
  request.set_name(o.name);
  if (!o.uuid.empty()) request.set_uuid(o.uuid);
  for (const auto& disk : o.disks) request.add_disks(disk);
  if (o.cluster_size != 0) request.set_cluster_size(static_cast<std::uint32_t>(o.cluster_size));
  request.set_force(true);
  own::PoolDetail answer;
  if (!client.call<MorePools>(&MorePools::Stub::CreatePool, request, &answer)) return exit_failed;
  return client.answer(answer.pool(), [&] { client.output().line(answer.pool().name()); });
}

int create(EngineClient& client, const PoolOptions& o) {
  if (o.force) return create_forced(client, o);
  auto request = named<api::CreatePoolRequest>(o);
  for (const auto& disk : o.disks) request.add_disks(disk);
  if (o.cluster_size != 0) request.set_cluster_size(static_cast<std::uint32_t>(o.cluster_size));
  if (o.metadata_ratio > 0) request.mutable_md_args()->set_md_resv_ratio(o.metadata_ratio);
  api::Pool answer;
  if (!client.call<Pools>(&Pools::Stub::CreatePool, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(answer.name()); });
}

int import(EngineClient& client, const PoolOptions& o) {
  auto request = named<api::ImportPoolRequest>(o);
  for (const auto& disk : o.disks) request.add_disks(disk);
  api::Pool answer;
  if (!client.call<Pools>(&Pools::Stub::ImportPool, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(answer.name()); });
}

// For the calls that answer nothing. People get the name back.
template <class Request>
int by_name(EngineClient& client,
            grpc::Status (Pools::Stub::*rpc)(grpc::ClientContext*, const Request&, google::protobuf::Empty*),
            const PoolOptions& o) {
  google::protobuf::Empty answer;
  if (!client.call<Pools>(rpc, named<Request>(o), &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(o.name); });
}

int grow(EngineClient& client, const PoolOptions& o) {
  api::GrowPoolResponse answer;
  if (!client.call<Pools>(&Pools::Stub::GrowPool, named<api::GrowPoolRequest>(o), &answer))
    return exit_failed;
  return client.answer(answer, [&] {
    Table table{{"POOL"}, {"CAPACITY_BEFORE", Align::right}, {"CAPACITY", Align::right}};
    table.add_row({answer.current_pool().name(), client.output().size(answer.previous_pool().capacity()),
                   client.output().size(answer.current_pool().capacity())});
    client.output().print(table);
  });
}

std::string joined(const google::protobuf::RepeatedPtrField<std::string>& parts) {
  std::string text;
  for (const auto& part : parts) text += (text.empty() ? "" : ",") + part;
  return text;
}

int list(EngineClient& client, const PoolOptions& o) {
  api::ListPoolOptions request;
  if (!o.name.empty()) request.mutable_name()->set_value(o.name);
  if (!o.uuid.empty()) request.mutable_uuid()->set_value(o.uuid);
  api::ListPoolsResponse answer;
  if (!client.call<Pools>(&Pools::Stub::ListPools, request, &answer)) return exit_failed;
  return client.answer(answer, [&] {
    constexpr auto right = Align::right;
    Table table{{"NAME"},
                {"UUID"},
                {"STATE"},
                {"CAPACITY", right},
                {"USED", right},
                {"COMMITTED", right},
                {"CLUSTER_SIZE", right},
                {"PAGE_SIZE", right},
                {"MD_PAGE_SIZE", right},
                {"MD_PAGES", right},
                {"MD_USED_PAGES", right},
                {"DISKS"},
                {"DISK_CAPACITY", right}};
    const Output& out = client.output();
    for (const auto& p : answer.pools()) {
      const auto& metadata = p.md_info();
      const bool known = p.has_md_info();
      table.add_row({p.name(), p.uuid(), pool_state_word(p.state()), out.size(p.capacity()),
                     out.size(p.used()), out.size(p.committed()), out.size(p.cluster_size()),
                     p.has_page_size() ? out.size(p.page_size()) : "",
                     known ? out.size(metadata.md_page_size()) : "",
                     known ? std::to_string(metadata.md_pages()) : "",
                     known ? std::to_string(metadata.md_used_pages()) : "", joined(p.disks()),
                     out.size(p.disk_capacity())});
    }
    client.output().print(table, "no pool");
  });
}

// Disk by disk.
void print_disks(EngineClient& client, const own::PoolDetail& detail) {
  constexpr auto right = Align::right;
  Table table{{"DISK"},
              {"STATE"},
              {"SIZE", right},
              {"CAPACITY", right},
              {"USED", right},
              {"READ_ERRORS", right},
              {"WRITE_ERRORS", right},
              {"STALLS", right}};
  const Output& out = client.output();
  for (const auto& d : detail.disks()) {
    table.add_row({d.uri(), pool_state_word(d.state()), out.size(d.size()), out.size(d.capacity()),
                   out.size(d.used()), std::to_string(d.read_errors()), std::to_string(d.write_errors()),
                   std::to_string(d.stalls())});
  }
  client.output().print(table, "its disks are not known while it is not open");
}

int show(EngineClient& client, const PoolOptions& o) {
  own::ListPoolDetailsRequest request;
  request.set_pool(o.name);
  own::ListPoolDetailsResponse answer;
  if (!client.call<MorePools>(&MorePools::Stub::ListPoolDetails, request, &answer)) return exit_failed;
  return client.answer(answer, [&] {
    for (const auto& d : answer.pools()) {
      Output& out = client.output();
      out.line(fmt::format("pool {} ({}): {}{}", d.pool().name(), d.pool().uuid(),
                           pool_state_word(d.pool().state()),
                           d.state_reason().empty() ? "" : ": " + d.state_reason()));
      out.line(
          fmt::format("capacity {}, used {} ({} of it set aside), committed {}; warns at {} % and {} % used",
                      out.size(d.pool().capacity()), out.size(d.pool().used()), out.size(d.reserved()),
                      out.size(d.pool().committed()), d.thresholds().warning(), d.thresholds().critical()));
      print_disks(client, d);
    }
  });
}

int add_disk(EngineClient& client, const PoolOptions& o) {
  own::AddDiskRequest request;
  request.set_pool(o.name);
  request.set_disk(o.disks.front());
  request.set_force(o.force);
  own::PoolDetail answer;
  if (!client.call<MorePools>(&MorePools::Stub::AddDisk, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { print_disks(client, answer); });
}

int thresholds(EngineClient& client, const PoolOptions& o) {
  own::SetPoolThresholdsRequest request;
  request.set_pool(o.name);
  request.mutable_thresholds()->set_warning(o.warning);
  request.mutable_thresholds()->set_critical(o.critical);
  own::PoolDetail answer;
  if (!client.call<MorePools>(&MorePools::Stub::SetPoolThresholds, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(answer.pool().name()); });
}

int reset_health(EngineClient& client, const PoolOptions& o) {
  own::ResetDiskHealthRequest request;
  request.set_pool(o.name);
  if (!o.disks.empty()) request.set_disk(o.disks.front());
  own::PoolDetail answer;
  if (!client.call<MorePools>(&MorePools::Stub::ResetDiskHealth, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { print_disks(client, answer); });
}

void add_identity(CLI::App& c, PoolOptions& o) {
  c.add_option("--uuid", o.uuid, "UUID that the pool has");
  c.add_option("-t,--type", o.type, "lvs")->check(CLI::IsMember({"lvs"}))->capture_default_str();
}

void add_making(CLI::App& group, EngineClient& client, PoolOptions& o) {
  Tool& tool = client.tool();
  auto& c = tool.add_command(group, "create",
                             "Make a pool of disks, or import the one that they hold. Prints its name",
                             [&client, &o] { return create(client, o); });
  c.add_option("POOL", o.name, "Name of the pool")->required();
  c.add_option("DISK", o.disks,
               "Paths of disks or files, or URIs: /dev/sdb, aio:///dev/sdb?blk_size=4096, ...")
      ->required();
  c.add_option("--uuid", o.uuid, "UUID that the pool gets; made up if absent");
  add_size(c, "--cluster-size", o.cluster_size,
           "Unit of allocation: a power of two, 64KiB to 16MiB; 1MiB if absent")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{0xFFFFFFFF}).description(""));
  c.add_option("--md-resv-ratio", o.metadata_ratio, "Accepted and not needed: metadata grows with the pool");
  c.add_option("-t,--type", o.type, "lvs")->check(CLI::IsMember({"lvs"}))->capture_default_str();
  c.add_flag("--force", o.force, "Overwrite what is on the disks: a file system, another pool");

  auto& i = tool.add_command(group, "import", "Open the pool that disks hold. Prints its name",
                             [&client, &o] { return import(client, o); });
  i.add_option("POOL", o.name, "Name of the pool")->required();
  i.add_option("DISK", o.disks, "All of its disks, in any order")->required();
  add_identity(i, o);

  auto& d = tool.add_command(group, "destroy", "Delete a pool with everything in it",
                             [&client, &o] { return by_name(client, &Pools::Stub::DestroyPool, o); });
  d.add_option("POOL", o.name, "Name of the pool")->required();
  add_identity(d, o);

  auto& e = tool.add_command(group, "export", "Let go of the disks of a pool; everything stays on them",
                             [&client, &o] { return by_name(client, &Pools::Stub::ExportPool, o); });
  e.add_option("POOL", o.name, "Name of the pool")->required();
  add_identity(e, o);
}

void add_growing(CLI::App& group, EngineClient& client, PoolOptions& o) {
  Tool& tool = client.tool();
  auto& g = tool.add_command(group, "grow", "Take in what the disks of a pool have grown by",
                             [&client, &o] { return grow(client, o); });
  g.add_option("POOL", o.name, "Name of the pool")->required();
  add_identity(g, o);

  auto& a = tool.add_command(group, "add-disk", "Add a disk to a pool",
                             [&client, &o] { return add_disk(client, o); });
  a.add_option("POOL", o.name, "Name or UUID of the pool")->required();
  a.add_option("DISK", o.disks, "Path of a disk or file, or URI")->required()->expected(1);
  a.add_flag("--force", o.force, "Overwrite what is on the disk");
}

}  // namespace

void add_pool_commands(CLI::App& engine, EngineClient& client) {
  Tool& tool = client.tool();
  auto& o = tool.keep<PoolOptions>();
  auto& group = tool.add_group(engine, "pool", "Pools: disks from which replicas are made");
  auto& l = tool.add_command(group, "list", "List the pools", [&client, &o] { return list(client, o); });
  l.add_option("--name", o.name, "Only the one of this name");
  add_identity(l, o);
  auto& s =
      tool.add_command(group, "show", "Show a pool and its disks", [&client, &o] { return show(client, o); });
  s.add_option("POOL", o.name, "Name or UUID of the pool")->required();
  add_making(group, client, o);
  add_growing(group, client, o);
  auto& t = tool.add_command(group, "thresholds", "Set from where on a pool warns that it fills up",
                             [&client, &o] { return thresholds(client, o); });
  t.add_option("POOL", o.name, "Name or UUID of the pool")->required();
  t.add_option("WARNING", o.warning, "Percent of the capacity, 1 to 100")->required();
  t.add_option("CRITICAL", o.critical, "Percent of the capacity, 1 to 100")->required();
  auto& r = tool.add_command(group, "reset-health",
                             "Count errors and stalls of the disks of a pool from zero: it is online again",
                             [&client, &o] { return reset_health(client, o); });
  r.add_option("POOL", o.name, "Name or UUID of the pool")->required();
  r.add_option("DISK", o.disks, "Path or URI of one of its disks; all of them if absent")->expected(0, 1);
}

}  // namespace holdfast::cli
