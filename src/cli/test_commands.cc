// holdfast engine test ...
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/engine_client.h"
#include "cli/messages.h"
#include "cli/tool/choice.h"
#include "mayastor/v1/test.grpc.pb.h"

namespace holdfast::cli {
namespace {

namespace api = mayastor::v1;
using Tests = api::TestRpc;
using Wipe = api::WipeOptions;

struct TestOptions {
  std::string resource = "replica";
  std::string uuid;
  std::string pool_uuid, pool_name;
  int method = Wipe::WRITE_ZEROES;
  std::uint64_t chunk_size = 0;
  std::vector<std::string> added, removed;
};

const std::map<std::string, int>& methods() {
  static const std::map<std::string, int> words = {{"none", Wipe::NONE},
                                                   {"writezeroes", Wipe::WRITE_ZEROES},
                                                   {"unmap", Wipe::UNMAP},
                                                   {"writepattern", Wipe::WRITE_PATTERN},
                                                   {"checksum", Wipe::CHECKSUM}};
  return words;
}

// WRITE_ZEROES, as `test features` has it, is writezeroes.
std::string without_case_and_underscores(std::string word) {
  return CLI::ignore_underscore(CLI::ignore_case(std::move(word)));
}

int features(EngineClient& client) {
  api::TestFeatures answer;
  if (!client.call<Tests>(&Tests::Stub::GetFeatures, google::protobuf::Empty(), &answer)) return exit_failed;
  return client.answer(answer, [&] {
    Table table{{"WIPE_METHOD"}};
    for (const int method : answer.wipe_methods()) table.add_row({Wipe::WipeMethod_Name(method)});
    client.output().print(table);
  });
}

int wipe(EngineClient& client, const TestOptions& o) {
  api::WipeReplicaRequest request;
  request.set_uuid(o.uuid);
  if (!o.pool_uuid.empty()) request.set_pool_uuid(o.pool_uuid);
  if (!o.pool_name.empty()) request.set_pool_name(o.pool_name);
  request.mutable_wipe_options()->set_chunk_size(o.chunk_size);
  request.mutable_wipe_options()->mutable_options()->set_wipe_method(static_cast<Wipe::WipeMethod>(o.method));
  api::WipeReplicaResponse last;
  const auto each = [&](const api::WipeReplicaResponse& progress) {
    last = progress;
    const std::uint64_t percent =
        progress.total_bytes() == 0 ? 100 : progress.wiped_bytes() * 100 / progress.total_bytes();
    client.output().live_line(fmt::format("{}%", percent));
  };
  const grpc::Status status =
      client.try_stream<Tests, api::WipeReplicaResponse>(&Tests::Stub::WipeReplica, request, each);
  client.output().clear_live();
  if (!status.ok()) return client.report(status);
  return client.answer(last, [&] {
    Table table{{"UUID"}, {"TOTAL", Align::right}, {"CHUNKS", Align::right}, {"CHECKSUM"}};
    table.add_row({last.uuid(), client.output().size(last.wiped_bytes()), std::to_string(last.wiped_chunks()),
                   last.has_crc32() ? fmt::format("{:#010x}", last.crc32()) : ""});
    client.output().print(table);
  });
}

int list_faults(EngineClient& client) {
  api::ListFaultInjectionsReply answer;
  if (!client.call<Tests>(&Tests::Stub::ListFaultInjections, api::ListFaultInjectionsRequest(), &answer))
    return exit_failed;
  return client.answer(answer, [&] {
    Table table{{"DEVICE"}, {"ACTIVE"}, {"URI"}};
    for (const auto& i : answer.injections())
      table.add_row({i.device_name(), i.is_active() ? "yes" : "no", i.uri()});
    client.output().print(table, "no faults are injected");
  });
}

int inject(EngineClient& client, const TestOptions& o) {
  if (o.added.empty() && o.removed.empty()) return list_faults(client);
  google::protobuf::Empty nothing;
  for (const auto& uri : o.added) {
    api::AddFaultInjectionRequest request;
    request.set_uri(uri);
    if (!client.call<Tests>(&Tests::Stub::AddFaultInjection, request, &nothing)) return exit_failed;
  }
  for (const auto& uri : o.removed) {
    api::RemoveFaultInjectionRequest request;
    request.set_uri(uri);
    if (!client.call<Tests>(&Tests::Stub::RemoveFaultInjection, request, &nothing)) return exit_failed;
  }
  return client.answer(nothing, [] {});
}

}  // namespace

void add_test_commands(CLI::App& engine, EngineClient& client) {
  Tool& tool = client.tool();
  auto& o = tool.keep<TestOptions>();
  auto& group = tool.add_group(engine, "test", "For tests: inject faults, erase or sum up a replica");
  tool.add_command(group, "features", "List what can be done", [&client] { return features(client); });
  auto& i = tool.add_command(group, "inject", "Add and remove faults of inject devices, or list them",
                             [&client, &o] { return inject(client, o); });
  i.add_option("-a,--add", o.added, "Inject URI of a fault to add; may be given several times")
      ->type_name("URI")
      ->allow_extra_args(false);
  i.add_option("-r,--remove", o.removed, "Inject URI of a fault to remove; may be given several times")
      ->type_name("URI")
      ->allow_extra_args(false);
  auto& w = tool.add_command(group, "wipe", "Erase a replica that nobody uses, or sum it up",
                             [&client, &o] { return wipe(client, o); });
  w.add_option("RESOURCE", o.resource, "replica")->required()->check(CLI::IsMember({"replica"}));
  w.add_option("UUID", o.uuid, "UUID of the replica")->required();
  auto* by_uuid = w.add_option("--pool-uuid", o.pool_uuid, "Only if it is in this pool");
  w.add_option("--pool-name", o.pool_name, "Only if it is in this pool")->excludes(by_uuid);
  w.add_option("-m,--method", o.method, "none, writezeroes, unmap, writepattern or checksum (CRC-32C)")
      ->transform(choice(methods(), without_case_and_underscores))
      ->type_name("METHOD")
      ->default_str("writezeroes");
  add_size(w, "-c,--chunk-size", o.chunk_size, "Report after each so many bytes; absent: at the end");
}

}  // namespace holdfast::cli
