// holdfast engine rebuild ...
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/engine_client.h"
#include "cli/messages.h"
#include "mayastor/v1/nexus.grpc.pb.h"

namespace holdfast::cli {
namespace {

namespace api = mayastor::v1;
using Nexuses = api::NexusRpc;

struct RebuildOptions {
  std::string uuid;
  std::string uri;
};

template <class Request>
Request request_for(const RebuildOptions& o) {
  Request request;
  request.set_nexus_uuid(o.uuid);
  request.set_uri(o.uri);
  return request;
}

// start, stop, pause, resume.
template <class Request, class Answer>
int change(EngineClient& client, const RebuildOptions& o,
           grpc::Status (Nexuses::Stub::*rpc)(grpc::ClientContext*, const Request&, Answer*)) {
  Answer answer;
  if (!client.call<Nexuses>(rpc, request_for<Request>(o), &answer)) return exit_failed;
  return client.answer(answer, [&] { client.output().line(o.uri); });
}

int state(EngineClient& client, const RebuildOptions& o) {
  api::RebuildStateResponse answer;
  if (!client.call<Nexuses>(&Nexuses::Stub::GetRebuildState, request_for<api::RebuildStateRequest>(o),
                            &answer)) {
    return exit_failed;
  }
  return client.answer(answer, [&] {
    Table table{{"STATE"}};
    table.add_row({answer.state()});
    client.output().print(table);
  });
}

int stats(EngineClient& client, const RebuildOptions& o) {
  api::RebuildStatsResponse s;
  if (!client.call<Nexuses>(&Nexuses::Stub::GetRebuildStats, request_for<api::RebuildStatsRequest>(o), &s)) {
    return exit_failed;
  }
  return client.answer(s, [&] {
    constexpr auto right = Align::right;
    Table table{{"TOTAL", right},
                {"RECOVERED", right},
                {"TRANSFERRED", right},
                {"REMAINING", right},
                {"PROGRESS", right},
                {"BLK_PER_TASK", right},
                {"BLK_SIZE", right},
                {"PARTIAL"},
                {"TASKS_TOTAL", right},
                {"TASKS_ACTIVE", right},
                {"START"}};
    table.add_row({std::to_string(s.blocks_total()), std::to_string(s.blocks_recovered()),
                   std::to_string(s.blocks_transferred()), std::to_string(s.blocks_remaining()),
                   fmt::format("{}%", s.progress()), std::to_string(s.blocks_per_task()),
                   std::to_string(s.block_size()), s.is_partial() ? "yes" : "no",
                   std::to_string(s.tasks_total()), std::to_string(s.tasks_active()),
                   s.has_start_time() ? format_time(s.start_time()) : ""});
    client.output().print(table);
  });
}

int progress(EngineClient& client, const RebuildOptions& o) {
  api::RebuildStatsResponse s;
  if (!client.call<Nexuses>(&Nexuses::Stub::GetRebuildStats, request_for<api::RebuildStatsRequest>(o), &s)) {
    return exit_failed;
  }
  return client.answer(s, [&] {
    Table table{{"PROGRESS", Align::right}};
    table.add_row({fmt::format("{}%", s.progress())});
    client.output().print(table);
  });
}

int history(EngineClient& client, const RebuildOptions& o) {
  api::RebuildHistoryRequest request;
  request.set_uuid(o.uuid);
  api::RebuildHistoryResponse answer;
  if (!client.call<Nexuses>(&Nexuses::Stub::GetRebuildHistory, request, &answer)) return exit_failed;
  return client.answer(answer, [&] {
    constexpr auto right = Align::right;
    Table table{{"CHILD"},           {"SOURCE"},
                {"TOTAL", right},    {"TRANSFERRED", right},
                {"STATE"},           {"BLK_PER_TASK", right},
                {"BLK_SIZE", right}, {"PARTIAL"},
                {"START"},           {"END"}};
    for (const auto& r : answer.records()) {
      table.add_row({r.child_uri(), r.src_uri(), std::to_string(r.blocks_total()),
                     std::to_string(r.blocks_transferred()), rebuild_state_word(r.state()),
                     std::to_string(r.blocks_per_task()), std::to_string(r.block_size()),
                     r.is_partial() ? "yes" : "no", r.has_start_time() ? format_time(r.start_time()) : "",
                     r.has_end_time() ? format_time(r.end_time()) : ""});
    }
    client.output().print(table, "no rebuild has ended yet");
  });
}

void add_watch(CLI::App& group, EngineClient& client) {
  auto& o = client.tool().keep<WatchOptions>();
  auto& w = client.tool().add_command(group, "watch",
                                      "Show progress until the nexus, or one child of it, is in sync",
                                      [&client, &o] { return watch_rebuild(client, o); });
  w.add_option("UUID", o.uuid, "UUID of the nexus")->required();
  w.add_option("URI", o.uri, "URI of one child; every child if absent");
  w.add_option("--interval", o.interval_seconds, "Seconds between two looks")
      ->check(CLI::Range(0.01, 3600.0).description(""))
      ->type_name("SECONDS")
      ->capture_default_str();
  w.footer(
      "Ends with 0 when everything watched is in sync, with 1 when it will not get there by itself\n"
      "(faulted, taken offline, its rebuild stopped or paused).");
}

}  // namespace

void add_rebuild_commands(CLI::App& engine, EngineClient& client) {
  Tool& tool = client.tool();
  auto& o = tool.keep<RebuildOptions>();
  auto& group = tool.add_group(engine, "rebuild", "Copies that bring a child back in sync");
  auto named = [&o](CLI::App& c) {
    c.add_option("UUID", o.uuid, "UUID of the nexus")->required();
    c.add_option("URI", o.uri, "URI of the child that is rebuilt")->required();
  };
  named(tool.add_command(group, "start", "Start the rebuild of a child",
                         [&client, &o] { return change(client, o, &Nexuses::Stub::StartRebuild); }));
  named(tool.add_command(group, "stop", "Give it up; the child stays out of sync",
                         [&client, &o] { return change(client, o, &Nexuses::Stub::StopRebuild); }));
  named(tool.add_command(group, "pause", "Hold it where it is",
                         [&client, &o] { return change(client, o, &Nexuses::Stub::PauseRebuild); }));
  named(tool.add_command(group, "resume", "Go on after a pause",
                         [&client, &o] { return change(client, o, &Nexuses::Stub::ResumeRebuild); }));
  named(tool.add_command(group, "state", "Show its state", [&client, &o] { return state(client, o); }));
  named(tool.add_command(group, "stats", "Show its counters, in blocks",
                         [&client, &o] { return stats(client, o); }));
  named(tool.add_command(group, "progress", "Show how far it is",
                         [&client, &o] { return progress(client, o); }));
  add_watch(group, client);
  auto& h = tool.add_command(group, "history", "List the rebuilds of a nexus that have ended",
                             [&client, &o] { return history(client, o); });
  h.add_option("UUID", o.uuid, "UUID of the nexus")->required();
}

}  // namespace holdfast::cli
