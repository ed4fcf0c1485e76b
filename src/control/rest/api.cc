#include "control/rest/api.h"

#include <array>
#include <ctime>

#include <fmt/format.h>

#include "base/log.h"
#include "control/model/kind.h"
#include "control/rest/agent_metrics.h"
#include "control/rest/documents.h"

namespace holdfast::control::rest {
namespace {

using http::Reply;
using http::Request;
using Clock = std::chrono::steady_clock;

Reply json_reply(int status, const Json& json) {
  Reply reply;
  reply.status = status;
  reply.body = to_text(json);
  return reply;
}

Reply error_json(int status, Kind kind, const std::string& text) {
  return json_reply(status, {{"details", text}, {"message", text}, {"kind", name(kind)}});
}

Reply text_reply(int status, std::string text) {
  Reply reply;
  reply.status = status;
  reply.content_type = "text/plain; charset=utf-8";
  reply.body = std::move(text);
  return reply;
}

Reply unauthorized(const Error& error) {
  Reply reply = error_reply(with_kind(error, Kind::unauthorized));
  reply.headers.emplace_back("WWW-Authenticate", "Bearer");
  return reply;
}

Reply wrong_method(const Request& request, const std::set<std::string>& allowed) {
  const std::string list = fmt::format("{}", fmt::join(allowed, ", "));
  // No kind is about methods; this one says most nearly what is wrong.
  Reply reply =
      error_json(405, Kind::not_acceptable,
                 fmt::format("{} is not for {:.200}; it has {}", request.method, request.target, list));
  reply.headers.emplace_back("Allow", list);
  return reply;
}

constexpr std::string_view pages[] = {"",      "v0/swagger-ui", "v0/api/spec", "v0/api/spec.yaml",
                                      "livez", "readyz"};

}  // namespace

struct Api::Count {
  // By hundreds of the status: 2xx at 0, 4xx at 1, 5xx at 2.
  std::array<std::atomic<std::uint64_t>, 3> requests{};
  std::atomic<std::uint64_t> microseconds{0};

  void add(int status, Clock::duration took) {
    const std::size_t group = status < 400 ? 0 : status < 500 ? 1 : 2;
    requests[group].fetch_add(1, std::memory_order_relaxed);
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(took).count();
    microseconds.fetch_add(static_cast<std::uint64_t>(us), std::memory_order_relaxed);
  }
};

Reply error_reply(const Error& error) {
  const Kind kind = kind_of(error);
  return error_json(http_status(kind), kind, error.message());
}

Api::Api(Home& home, ApiOptions options)
    : home_(home),
      options_(std::move(options)),
      forwarder_(options_.forwarding),
      watches_(home),
      operations_(all_operations()),
      counts_(std::make_unique<Count[]>(operations_.size() + 1)) {
  const auto with_query = operations_with_query();
  for (const Operation& operation : operations_) {
    router_.add(operation.method, operation.path);
    // The query of a child's URI that stands in the path as it is has become the request's.
    const bool child = std::string_view(operation.path).find("{child_id") != std::string_view::npos;
    without_query_.push_back(!child && !with_query.contains(operation.id));
  }
}

Api::~Api() = default;

Reply Api::refuse(int status, std::string why) {
  const Kind kind = status == 503   ? Kind::unavailable
                    : status >= 500 ? Kind::internal
                                    : Kind::invalid_argument;
  return error_json(status, kind, why);
}

Reply Api::handle(const Request& request) {
  const auto begun = Clock::now();
  std::size_t route = operations_.size();
  Reply reply = dispatch(request, &route);
  const auto took = Clock::now() - begun;
  counts_[route].add(reply.status, took);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(took).count();
  if (reply.status >= 500) {
    HF_LOG(warn, "rest", "request failed", {"method", request.method}, {"target", request.target},
           {"status", reply.status}, {"ms", ms}, {"answer", reply.body});
  } else {
    HF_LOG(debug, "rest", "request", {"method", request.method}, {"target", request.target},
           {"status", reply.status}, {"ms", ms}, {"peer", request.peer});
  }
  return reply;
}

Status Api::authenticate(const Request& request) const {
  if (options_.tokens == nullptr) return Status();
  return options_.tokens->check(request.authorization, std::time(nullptr));
}

Reply Api::dispatch(const Request& request, std::size_t* route) {
  const auto target = http::Target::parse(request.target);
  if (!target.ok()) return error_reply(with_kind(target.error(), Kind::deserialize));
  if (auto page = open_page(request, target.value())) return std::move(*page);
  const Status allowed = authenticate(request);
  if (!allowed.ok()) return unauthorized(allowed.error());
  const auto& segments = target.value().segments;
  if (segments.size() == 1 && segments[0] == "metrics") {
    return request.method == "GET" ? metrics() : wrong_method(request, {"GET"});
  }
  const auto found = router_.find(request.method, segments);
  if (found.match) {
    *route = found.match->route;
    return run(*route, request, target.value(), found.match->parameters);
  }
  if (!found.allowed.empty()) return wrong_method(request, found.allowed);
  return error_json(
      404, Kind::not_found,
      fmt::format("there is no path {:.200}; /v0/api/spec has those that there are", request.target));
}

Reply Api::run(std::size_t route, const Request& request, const http::Target& target,
               const http::PathParameters& path) {
  const Operation& operation = operations_[route];
  Parameters parameters(path, target.query);
  if (without_query_[route]) {
    const Status none_given = parameters.finish();
    if (!none_given.ok()) return error_reply(none_given.error());
  }
  const auto minimum = options_.minimum_timeouts ? operation.patience_min : std::chrono::milliseconds(0);
  const auto patience = std::max(options_.request_timeout, minimum);
  if (auto reply = forward(operation, request, patience)) return std::move(*reply);
  Call call{home_, parameters, target, request, patience, watches_, options_.version};
  auto answer = operation.run(call);
  if (!answer.ok()) return error_reply(answer.error());
  if (answer.value().reply) return std::move(*answer.value().reply);
  if (answer.value().body) return json_reply(200, *answer.value().body);
  Reply reply;
  reply.status = 204;
  return reply;
}

std::optional<Reply> Api::forward(const Operation& operation, const Request& request,
                                  std::chrono::milliseconds patience) {
  // Watches are this agent's own: it is the one that calls back.
  const bool own = std::string_view(operation.path).starts_with("/v0/watches/");
  if (request.method == "GET" || own) return std::nullopt;
  const auto leader = home_.read([](const Service& service) -> std::optional<std::string> {
    return service.leading() ? std::nullopt : service.leader();
  });
  // Without a leader the service says so.
  if (!leader.ok() || !leader.value() || leader.value()->empty()) return std::nullopt;
  if (!request.forwarded_by.empty()) {
    return error_reply(
        refusal(Kind::unavailable,
                fmt::format("agent {:.100} took this one for the leader, which is {} now: try again",
                            request.forwarded_by, *leader.value())));
  }
  return forwarder_.send(*leader.value(), request, patience);
}

std::optional<Reply> Api::open_page(const Request& request, const http::Target& target) {
  const std::string path = fmt::format("{}", fmt::join(target.segments, "/"));
  if (std::find(std::begin(pages), std::end(pages), path) == std::end(pages)) return std::nullopt;
  if (request.method != "GET") return wrong_method(request, {"GET"});
  Reply reply;
  if (path == "livez") return text_reply(200, "alive\n");
  if (path == "readyz") {
    const auto ready = home_.read([](const Service& service) { return service.ready(); });
    const bool yes = ready.ok() && ready.value();
    return text_reply(yes ? 200 : 503, yes ? "ready\n" : "not ready\n");
  }
  if (path == "v0/api/spec") {
    reply.body = openapi_json();
  } else if (path == "v0/api/spec.yaml") {
    reply.content_type = "application/yaml";
    reply.body = openapi_yaml();
  } else {
    reply.content_type = "text/html; charset=utf-8";
    // The page is whole in itself: nothing is loaded from elsewhere.
    reply.headers.emplace_back("Content-Security-Policy",
                               "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
                               "connect-src 'self'");
    reply.body = documentation_page();
  }
  return reply;
}

Reply Api::metrics() {
  auto families = home_.read([](const Service& service) { return agent_metrics(service); });
  if (!families.ok()) return error_reply(families.error());
  auto& f = families.value();
  f.gauge("holdfast_build_info", "Always 1", {{"version", options_.version}}, 1);
  for (std::size_t i = 0; i <= operations_.size(); ++i) {
    const char* id = i < operations_.size() ? operations_[i].id : "none";
    constexpr const char* groups[] = {"2xx", "4xx", "5xx"};
    double all = 0;
    for (std::size_t group = 0; group < 3; ++group) {
      const auto count = static_cast<double>(counts_[i].requests[group].load(std::memory_order_relaxed));
      all += count;
      if (count == 0) continue;
      f.counter("holdfast_rest_requests_total", "Requests answered",
                {{"operation", id}, {"code", groups[group]}}, count);
    }
    if (all == 0) continue;
    f.counter("holdfast_rest_request_seconds_total", "Time spent on answering requests", {{"operation", id}},
              static_cast<double>(counts_[i].microseconds.load(std::memory_order_relaxed)) * 1e-6);
  }
  Reply reply = text_reply(200, f.text());
  reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
  return reply;
}

}  // namespace holdfast::control::rest
