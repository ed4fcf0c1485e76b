// holdfast events
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/cluster/cluster.h"
#include "cli/cluster/event_stream.h"
#include "cli/tool/progress.h"

namespace holdfast::cli {
namespace {

constexpr double reconnect_seconds = 1;
// A connection that says nothing for so long is made again: it may be dead.
constexpr double idle_seconds = 120;

struct EventOptions {
  bool follow = false;
  bool warnings = false;
  std::uint64_t after = 0;
  std::string category;
  std::string resource;
};

bool wanted(const EventOptions& o, const Tree& event) {
  if (o.warnings && !flag(event, "warning")) return false;
  if (!o.category.empty() && text(event, "category") != o.category) return false;
  return o.resource.empty() || text(event, "resource") == o.resource || text(event, "node") == o.resource;
}

std::string seconds_of(const Tree& event) {
  const std::string time = text(event, "timestamp");
  const auto dot = time.find('.');
  return dot == std::string::npos ? time : time.substr(0, dot) + "Z";
}

Table events_table() { return {{"TIME"}, {"CATEGORY"}, {"ACTION"}, {"RESOURCE"}, {"NODE"}, {"TEXT"}}; }

void add_event(Table& table, const Tree& event) {
  table.add_row({seconds_of(event), text(event, "category"), text(event, "action"), text(event, "resource"),
                 text(event, "node"), (flag(event, "warning") ? "! " : "") + text(event, "text")});
}

// One event of a stream: a row without titles, or a line of JSON.
void print_event(Output& out, const Tree& event) {
  if (out.format == Format::json) {
    out.line(event.dump(-1, ' ', false, Tree::error_handler_t::replace));
  } else if (out.format == Format::yaml) {
    Tree one = Tree::array();
    one.push_back(event);
    out.answer(one, [] {});
  } else {
    Table row = events_table();
    add_event(row, event);
    std::string line = row.to_string(false);
    line.pop_back();
    out.line(line);
  }
  out.flush();
}

int list(Cluster& c, const EventOptions& o) {
  RestAnswer answer = c.client().get(fmt::format("/v1/events?follow=false&after={}", o.after));
  const char* nothing = "no such event";
  if (answer.ok()) {
    if (o.after == 0 && answer.body().empty()) nothing = "nothing has happened since the agent started";
    Tree kept = Tree::array();
    for (const Tree& event : answer.body()) {
      if (wanted(o, event)) kept.push_back(event);
    }
    answer = std::move(kept);
  }
  return c.show(answer, [&](const Tree& events) {
    Table table = events_table();
    for (const Tree& event : events) add_event(table, event);
    c.out().print(table, nothing);
  });
}

// Numbers begin anew with another agent, or after a restart.
std::uint64_t resume_after(Cluster& c, std::uint64_t last) {
  const RestAnswer all = c.client().get("/v1/events?follow=false");
  if (!all.ok() || !all.body().is_array()) return last;
  const std::uint64_t newest = all.body().empty() ? 0 : number(all.body().back(), "number");
  return newest < last ? 0 : last;
}

// 0: no answer at all. The others are of an agent that stops or starts, or of what stands before it.
bool may_come_back(int status) { return status == 0 || status == 502 || status == 503 || status == 504; }

int follow(Cluster& c, const EventOptions& o) {
  std::uint64_t last = o.after;
  bool heard = false;
  for (;;) {
    EventStream events([&](const std::string& data) {
      const Tree event = Tree::parse(data, nullptr, false);
      if (!event.is_object()) return;
      last = std::max(last, number(event, "number"));
      if (wanted(o, event)) print_event(c.out(), event);
    });
    const RestAnswer ended = c.client().stream(fmt::format("/v1/events?follow=true&after={}", last),
                                               idle_seconds, [&](std::string_view piece) {
                                                 heard = true;
                                                 return events.feed(piece);
                                               });
    // Whoever was never there, or refuses, will not get better by asking again; whoever is away for a while will.
    if (!ended.ok() && (!heard || !may_come_back(ended.failure().status))) return c.fail(ended.failure());
    c.out().verbose(1, "the agent has ended the stream; asking again");
    sleep_seconds(reconnect_seconds);
    last = resume_after(c, last);
  }
}

}  // namespace

void add_events_command(Cluster& c) {
  auto& o = c.tool().keep<EventOptions>();
  auto& command = c.add_command("events", "What happened in the cluster, and what happens",
                                [&] { return o.follow ? follow(c, o) : list(c, o); });
  command.add_flag("-f,--follow", o.follow,
                   "Go on with what happens, until interrupted. With -o json: a line each");
  command.add_flag("-w,--warnings", o.warnings, "Only warnings");
  command
      .add_option("--category", o.category, "Only these: Volume, Pool, Node, Nexus, Replica, Snapshot, ...")
      ->type_name("CATEGORY");
  command.add_option("--resource", o.resource, "Only those of this volume, pool, node, ...")->type_name("ID");
  command.add_option("--after", o.after, "Only those with a higher number")->type_name("NUMBER");
}

}  // namespace holdfast::cli
