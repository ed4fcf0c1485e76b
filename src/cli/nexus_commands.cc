// holdfast engine nexus ...
#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/engine_client.h"
#include "cli/messages.h"
#include "cli/tool/choice.h"
#include "mayastor/v1/nexus.grpc.pb.h"

namespace holdfast::cli {
namespace {

namespace api = mayastor::v1;
using Nexuses = api::NexusRpc;

struct NexusOptions {
  std::string uuid;
  std::uint64_t size = 0;
  std::vector<std::string> children;
  std::string name;
  std::uint32_t cntlid_min = 1;
  std::uint32_t cntlid_max = 0xffef;
  std::uint64_t resv_key = 0;
  std::uint64_t preempt_key = 0;
  int resv_type = -1;
  int preempt_policy = api::ArgKey;
  std::string info_key;

  std::string key;  // publish
  std::string protocol = "nvmf";
  std::vector<std::string> allowed_hosts;

  int ana_state = api::NVME_ANA_INVALID_STATE;
  std::string uri;
  bool no_rebuild = false;
  bool show_children = false;
};

int create(EngineClient& client, const NexusOptions& o) {
  api::CreateNexusRequest request;
  request.set_uuid(o.uuid.empty() ? random_uuid() : o.uuid);
  request.set_name(o.name.empty() ? request.uuid() : o.name);
  request.set_size(o.size);
  request.set_mincntlid(o.cntlid_min);
  request.set_maxcntlid(o.cntlid_max);
  request.set_resvkey(o.resv_key);
  request.set_preemptkey(o.preempt_key);
  for (const auto& child : o.children) request.add_children(child);
  request.set_nexusinfokey(o.info_key);
  if (o.resv_type >= 0) request.set_resvtype(static_cast<api::NvmeReservation>(o.resv_type));
  request.set_preemptpolicy(static_cast<api::NexusNvmePreemption>(o.preempt_policy));
  api::CreateNexusResponse answer;
  if (!client.call<Nexuses>(&Nexuses::Stub::CreateNexus, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(answer.nexus().uuid()); });
}

// For the calls that take a UUID and nothing else. People get the UUID back.
template <class Request, class Answer>
int by_uuid(EngineClient& client,
            grpc::Status (Nexuses::Stub::*rpc)(grpc::ClientContext*, const Request&, Answer*),
            const NexusOptions& o) {
  Request request;
  request.set_uuid(o.uuid);
  Answer answer;
  if (!client.call<Nexuses>(rpc, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(o.uuid); });
}

int publish(EngineClient& client, const NexusOptions& o) {
  api::PublishNexusRequest request;
  request.set_uuid(o.uuid);
  request.set_key(o.key);
  request.set_share(api::NVMF);
  for (const auto& host : o.allowed_hosts) request.add_allowed_hosts(host);
  api::PublishNexusResponse answer;
  if (!client.call<Nexuses>(&Nexuses::Stub::PublishNexus, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(answer.nexus().device_uri()); });
}

int ana_state(EngineClient& client, const NexusOptions& o) {
  if (o.ana_state == api::NVME_ANA_INVALID_STATE) {
    api::GetNvmeAnaStateRequest request;
    request.set_uuid(o.uuid);
    api::GetNvmeAnaStateResponse answer;
    if (!client.call<Nexuses>(&Nexuses::Stub::GetNvmeAnaState, request, &answer)) return exit_failed;
    return client.answer(answer, [&] { client.output().line(ana_state_word(answer.ana_state())); });
  }
  api::SetNvmeAnaStateRequest request;
  request.set_uuid(o.uuid);
  request.set_ana_state(static_cast<api::NvmeAnaState>(o.ana_state));
  api::SetNvmeAnaStateResponse answer;
  if (!client.call<Nexuses>(&Nexuses::Stub::SetNvmeAnaState, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(o.uuid); });
}

int add(EngineClient& client, const NexusOptions& o) {
  api::AddChildNexusRequest request;
  request.set_uuid(o.uuid);
  request.set_uri(o.uri);
  request.set_norebuild(o.no_rebuild);
  api::AddChildNexusResponse answer;
  if (!client.call<Nexuses>(&Nexuses::Stub::AddChildNexus, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(o.uri); });
}

int remove(EngineClient& client, const NexusOptions& o) {
  api::RemoveChildNexusRequest request;
  request.set_uuid(o.uuid);
  request.set_uri(o.uri);
  api::RemoveChildNexusResponse answer;
  if (!client.call<Nexuses>(&Nexuses::Stub::RemoveChildNexus, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(o.uri); });
}

int resize(EngineClient& client, const NexusOptions& o) {
  api::ResizeNexusRequest request;
  request.set_uuid(o.uuid);
  request.set_requested_size(o.size);
  api::ResizeNexusResponse answer;
  if (!client.call<Nexuses>(&Nexuses::Stub::ResizeNexus, request, &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(o.uuid); });
}

int list(EngineClient& client, const NexusOptions& o) {
  api::ListNexusResponse answer;
  if (!client.call<Nexuses>(&Nexuses::Stub::ListNexus, api::ListNexusOptions(), &answer)) return exit_failed;
  return client.answer(answer, [&] {
    Table table{{"NAME"}, {"UUID"}, {"SIZE", Align::right}, {"STATE"}, {"REBUILDS", Align::right}, {"PATH"}};
    if (o.show_children) table.add_column("CHILDREN");
    for (const auto& n : answer.nexus_list()) {
      std::vector<std::string> row = {n.name(),
                                      n.uuid(),
                                      client.output().size(n.size()),
                                      nexus_state_word(n.state()),
                                      std::to_string(n.rebuilds()),
                                      n.device_uri()};
      if (o.show_children) {
        std::string uris;
        for (const auto& c : n.children()) uris += (uris.empty() ? "" : ",") + c.uri();
        row.push_back(uris);
      }
      table.add_row(std::move(row));
    }
    client.output().print(table, "no nexus");
  });
}

int children(EngineClient& client, const NexusOptions& o) {
  api::ListNexusResponse all;
  if (!client.call<Nexuses>(&Nexuses::Stub::ListNexus, api::ListNexusOptions(), &all)) return exit_failed;
  const auto nexus = std::find_if(all.nexus_list().begin(), all.nexus_list().end(), [&](const api::Nexus& n) {
    return n.uuid() == o.uuid || n.name() == o.uuid;
  });
  if (nexus == all.nexus_list().end()) {
    return client.output().error("NOT_FOUND", fmt::format("nexus '{}' does not exist", o.uuid),
                                 "see 'holdfast engine nexus list'");
  }
  client.output().answer(to_tree(*nexus)["children"], [&] {
    Table table{{"NAME"}, {"STATE"}, {"REASON"}, {"PROGRESS", Align::right}, {"LOG"}, {"LAST_FAULTED_AT"}};
    for (const auto& c : nexus->children()) {
      table.add_row({c.uri(), child_state_word(c.state()), child_reason_word(c.state_reason()),
                     c.rebuild_progress() < 0 ? "" : fmt::format("{}%", c.rebuild_progress()),
                     c.has_io_log() ? "yes" : "no",
                     c.has_fault_timestamp() ? format_time(c.fault_timestamp()) : ""});
    }
    client.output().print(table);
  });
  return exit_ok;
}

void add_create(CLI::App& group, EngineClient& client, NexusOptions& o) {
  auto& c = client.tool().add_command(group, "create", "Make a mirrored device of devices. Prints its UUID",
                                      [&client, &o] { return create(client, o); });
  c.add_option("UUID", o.uuid, "Identity of the nexus; \"\" makes one up")->required();
  add_size(c, "SIZE", o.size, "Size with a unit, at most that of the smallest child: 10GiB")->required();
  c.add_option("CHILDREN", o.children,
               "URIs of the devices to mirror over: bdev:///NAME, nvmf://HOST:PORT/NQN, ...")
      ->required();
  c.add_option("--name", o.name, "Name, also the last part of its NQN; the UUID if absent");
  c.add_option("--min-cntlid", o.cntlid_min, "Lowest NVMe controller id for hosts")->capture_default_str();
  c.add_option("--max-cntlid", o.cntlid_max, "Highest NVMe controller id for hosts")->capture_default_str();
  c.add_option("--resv-key", o.resv_key,
               "NVMe reservation key to hold the children with; 0: they are not reserved");
  c.add_option("--preempt-key", o.preempt_key, "Key whose reservation is taken over; 0: nobody's");
  static const std::map<std::string, int> types = {{"Reserved", api::Reserved},
                                                   {"WriteExclusive", api::WriteExclusive},
                                                   {"ExclusiveAccess", api::ExclusiveAccess},
                                                   {"WriteExclusiveRegsOnly", api::WriteExclusiveRegsOnly},
                                                   {"ExclusiveAccessRegsOnly", api::ExclusiveAccessRegsOnly},
                                                   {"WriteExclusiveAllRegs", api::WriteExclusiveAllRegs},
                                                   {"ExclusiveAccessAllRegs", api::ExclusiveAccessAllRegs}};
  c.add_option("--resv-type", o.resv_type,
               "Reservation type: WriteExclusive, ExclusiveAccess, each also with\n"
               "RegsOnly or AllRegs; WriteExclusiveAllRegs if absent")
      ->transform(choice(types, CLI::ignore_case))
      ->type_name("TYPE");
  static const std::map<std::string, int> policies = {{"ArgKey", api::ArgKey}, {"Holder", api::Holder}};
  c.add_option("--preempt-policy", o.preempt_policy,
               "ArgKey: as --preempt-key says; Holder: whoever holds it")
      ->transform(choice(policies, CLI::ignore_case))
      ->type_name("POLICY")
      ->default_str("ArgKey");
  c.add_option("--nexus-info-key", o.info_key,
               "Key of the membership record in the store; the UUID if absent");
}

void add_publishing(CLI::App& group, EngineClient& client, NexusOptions& o) {
  Tool& tool = client.tool();
  auto uuid = [&o](CLI::App& c) { c.add_option("UUID", o.uuid, "UUID of the nexus")->required(); };

  auto& p = tool.add_command(group, "publish", "Export a nexus to hosts. Prints the URI that they connect to",
                             [&client, &o] { return publish(client, o); });
  uuid(p);
  p.add_option("KEY", o.key, "Unused: empty, or 16 characters");
  p.add_option("-p,--protocol", o.protocol, "nvmf")->check(CLI::IsMember({"nvmf"}))->capture_default_str();
  p.add_option("--allowed-host", o.allowed_hosts,
               "NQN of a host that may connect (repeatable); none: every host")
      ->type_name("NQN")
      ->allow_extra_args(false);

  uuid(tool.add_command(group, "unpublish", "End the export of a nexus",
                        [&client, &o] { return by_uuid(client, &Nexuses::Stub::UnpublishNexus, o); }));

  auto& a = tool.add_command(group, "ana_state", "Show or set the ANA state that hosts see on this path",
                             [&client, &o] { return ana_state(client, o); });
  uuid(a);
  static const std::map<std::string, int> states = {{"optimized", api::NVME_ANA_OPTIMIZED_STATE},
                                                    {"non_optimized", api::NVME_ANA_NON_OPTIMIZED_STATE},
                                                    {"inaccessible", api::NVME_ANA_INACCESSIBLE_STATE}};
  a.add_option("STATE", o.ana_state, "optimized, non_optimized or inaccessible")
      ->transform(choice(states))
      ->type_name("");
}

void add_children(CLI::App& group, EngineClient& client, NexusOptions& o) {
  Tool& tool = client.tool();
  auto& a = tool.add_command(group, "add", "Add a child; it is rebuilt, then in sync",
                             [&client, &o] { return add(client, o); });
  a.add_option("UUID", o.uuid, "UUID of the nexus")->required();
  a.add_option("URI", o.uri, "URI of the new child")->required();
  static const std::map<std::string, bool> words = {{"norebuild", true}, {"true", true}, {"false", false}};
  a.add_option("NOREBUILD", o.no_rebuild, "'norebuild' or 'true': the rebuild is started later, by hand")
      ->transform(choice(words))
      ->type_name("");

  auto& r = tool.add_command(group, "remove", "Take a child out for good; never the last one in sync",
                             [&client, &o] { return remove(client, o); });
  r.add_option("UUID", o.uuid, "UUID of the nexus")->required();
  r.add_option("URI", o.uri, "URI of the child, as 'children' shows it")->required();

  auto& c = tool.add_command(group, "children", "List the children of a nexus",
                             [&client, &o] { return children(client, o); });
  c.add_option("UUID", o.uuid, "UUID or name of the nexus")->required();
}

}  // namespace

void add_nexus_commands(CLI::App& engine, EngineClient& client) {
  Tool& tool = client.tool();
  auto& o = tool.keep<NexusOptions>();
  auto& group = tool.add_group(engine, "nexus", "Mirrored devices");
  auto uuid = [&o](CLI::App& c) { c.add_option("UUID", o.uuid, "UUID of the nexus")->required(); };

  auto& l = tool.add_command(group, "list", "List the nexuses", [&client, &o] { return list(client, o); });
  l.add_flag("-c,--show-children", o.show_children, "With the URIs of their children");
  add_create(group, client, o);
  uuid(tool.add_command(group, "destroy", "Remove a nexus; its children keep the data",
                        [&client, &o] { return by_uuid(client, &Nexuses::Stub::DestroyNexus, o); }));
  uuid(tool.add_command(group, "shutdown", "Stop serving and record a clean state, without removing",
                        [&client, &o] { return by_uuid(client, &Nexuses::Stub::ShutdownNexus, o); }));
  add_publishing(group, client, o);
  add_children(group, client, o);
  auto& r = tool.add_command(group, "resize", "Grow a nexus, after all of its children have grown",
                             [&client, &o] { return resize(client, o); });
  uuid(r);
  add_size(r, "SIZE", o.size, "New size with a unit: 20GiB")->required();
  add_nexus_child_commands(group, client);
}

}  // namespace holdfast::cli
