// App nodes, watches, the dumps of specs and states, events, and the agent itself.
#include <utility>

#include "base/units.h"
#include "control/rest/bodies.h"
#include "control/rest/json_views.h"
#include "control/rest/operations.h"
#include "control/rest/watches.h"

namespace holdfast::control::rest {
namespace {

Result<Answer> get_specs(Call& call) {
  HF_TRY(const auto specs, call.read([](const Service& service) { return service.specs(); }));
  return Answer{specs_json(specs), {}};
}

Result<Answer> get_states(Call& call) {
  HF_TRY(const auto observed, call.read([](const Service& service) { return service.observed(); }));
  return Answer{states_json(observed), {}};
}

Result<Answer> get_app_nodes(Call& call) {
  HF_TRY(const auto page, call.parameters.page());
  HF_CHECK(call.parameters.finish());
  HF_TRY(const auto views, call.read([page](const Service& service) { return service.app_nodes(page); }));
  return Answer{page_json(views, app_node_json), {}};
}

Result<Answer> get_app_node(Call& call) {
  HF_TRY(const auto view, call.read([id = call.parameters.text("app_node_id")](const Service& service) {
    return service.app_node(id);
  }));
  return Answer{app_node_json(view), {}};
}

Result<Answer> put_app_node(Call& call) {
  HF_TRY(auto spec, parse_register_app_node(call.request.body));
  spec.id = call.parameters.text("app_node_id");
  HF_CHECK(call.change([spec = std::move(spec)](Service& service) mutable {
    return service.register_app_node(std::move(spec));
  }));
  return no_content();
}

Result<Answer> delete_app_node(Call& call) {
  HF_CHECK(call.change([id = call.parameters.text("app_node_id")](Service& service) {
    return service.deregister_app_node(id);
  }));
  return no_content();
}

Result<std::string> callback_of(Call& call) {
  HF_TRY(auto callback, call.parameters.query_text("callback"));
  HF_CHECK(call.parameters.finish());
  if (!callback) return refusal(Kind::deserialize, "callback: is missing: give the URI that is to be called");
  return std::move(*callback);
}

Result<Answer> get_watches(Call& call) {
  HF_TRY(const auto volume, call.parameters.uuid("volume_id"));
  const auto watch_json = [&](const std::string& callback) {
    return Json{{"callback", callback}, {"resource", volume.to_string()}};
  };
  return Answer{list_json(call.watches.of(volume), watch_json), {}};
}

Result<Answer> put_watch(Call& call) {
  HF_TRY(const auto volume, call.parameters.uuid("volume_id"));
  HF_TRY(auto callback, callback_of(call));
  HF_TRY(const auto last, call.read([volume](Service& service) -> Result<std::uint64_t> {
    HF_CHECK(service.volume(volume));
    return service.events().last_number();
  }));
  HF_CHECK(call.watches.add(volume, std::move(callback), last));
  return no_content();
}

Result<Answer> delete_watch(Call& call) {
  HF_TRY(const auto volume, call.parameters.uuid("volume_id"));
  HF_TRY(const auto callback, callback_of(call));
  HF_CHECK(call.watches.remove(volume, callback));
  return no_content();
}

// WHATWG HTML, "Server-sent events": what a browser's EventSource reads.
std::string to_stream(const std::vector<Event>& events) {
  std::string text;
  for (const Event& event : events) {
    text += fmt::format("id: {}\nevent: {}\ndata: {}\n\n", event.number, event.category,
                        to_text(event_json(event)));
  }
  return text;
}

Result<Answer> get_events(Call& call) {
  // A client that comes back says where it was, in a header field of its own.
  std::uint64_t otherwise = 0;
  const auto resumed = parse_number(call.request.last_event_id);
  if (resumed.ok()) otherwise = resumed.value();
  HF_TRY(auto after, call.parameters.query_number("after", otherwise));
  HF_TRY(const auto follow, call.parameters.query_flag("follow", true));
  HF_CHECK(call.parameters.finish());
  HF_TRY(const auto last, call.read([](Service& service) { return service.events().last_number(); }));
  // A number of another run of an agent.
  if (after > last) after = 0;
  if (!follow) {
    HF_TRY(const auto events, call.read([after](Service& service) { return service.events().since(after); }));
    return Answer{list_json(events, event_json), {}};
  }
  Answer answer;
  answer.reply.emplace();
  answer.reply->content_type = "text/event-stream";
  answer.reply->stream = [&home = call.home, after](std::string& piece) mutable {
    auto events = home.next_events(after);
    if (!events.ok()) return events.error().code() == Errc::timed_out;
    if (!events.value().empty()) after = events.value().back().number;
    piece = to_stream(events.value());
    return true;
  };
  return answer;
}

Result<Answer> get_status(Call& call) {
  HF_TRY(auto status, call.read([](const Service& service) {
    Json json = {{"ready", service.ready()}, {"leading", service.leading()}};
    if (const auto leader = service.leader()) json["leader"] = *leader;
    return json;
  }));
  status["version"] = call.version;
  return Answer{std::move(status), {}};
}

Result<Answer> put_adopt(Call& call) {
  HF_TRY(auto request, parse_adopt(call.request.body));
  HF_TRY(const auto report, call.change([request = std::move(request)](Service& service) mutable {
    return service.adopt(std::move(request));
  }));
  return Answer{adopt_json(report), {}};
}

constexpr Operation operations[] = {
    {"GET", "/v0/specs", "get_specs", no_minimum, get_specs},
    {"GET", "/v0/states", "get_states", no_minimum, get_states},
    {"GET", "/v0/app-nodes", "get_app_nodes", no_minimum, get_app_nodes},
    {"GET", "/v0/app-nodes/{app_node_id}", "get_app_node", no_minimum, get_app_node},
    {"PUT", "/v0/app-nodes/{app_node_id}", "register_app_node", no_minimum, put_app_node},
    {"DELETE", "/v0/app-nodes/{app_node_id}", "deregister_app_node", no_minimum, delete_app_node},
    {"GET", "/v0/watches/volumes/{volume_id}", "get_watch_volume", no_minimum, get_watches},
    {"PUT", "/v0/watches/volumes/{volume_id}", "put_watch_volume", no_minimum, put_watch},
    {"DELETE", "/v0/watches/volumes/{volume_id}", "del_watch_volume", no_minimum, delete_watch},
    {"GET", "/v1/events", "get_events", no_minimum, get_events},
    {"PUT", "/v1/adopt", "put_adopt", volume_patience, put_adopt},
    {"GET", "/v1/status", "get_status", no_minimum, get_status},
};

}  // namespace

std::span<const Operation> cluster_operations() { return operations; }

std::vector<Operation> all_operations() {
  std::vector<Operation> all;
  const std::span<const Operation> groups[] = {
      nexus_operations(),  node_operations(),     pool_operations(),   replica_operations(),
      volume_operations(), snapshot_operations(), cluster_operations()};
  for (const auto& group : groups) all.insert(all.end(), group.begin(), group.end());
  return all;
}

}  // namespace holdfast::control::rest
