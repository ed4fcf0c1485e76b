#include "cli/up/bring_up.h"

#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/up/ports.h"

namespace holdfast::cli {
namespace {

RestOptions options_for(const ClusterPlan& plan) {
  RestOptions options;
  options.urls = {plan.rest_url()};
  options.anonymous = true;  // the environment's token is another agent's
  options.timeout_seconds = 5;
  return options;
}

// An agent that starts is out of reach, then has no leader, then knows no engine.
bool may_pass(const RestFailure& failure) {
  for (const char* kind : {kind_unreachable, "Unavailable", "Timeout", "DeadlineExceeded", "Aborted",
                           "Conflict", "FailedPersist"}) {
    if (failure.kind == kind) return true;
  }
  return false;
}

Error as_error(const RestFailure& failure, const std::string& what) {
  return Error(Errc::failed_precondition, fmt::format("{}: {}: {}", what, failure.kind, failure.text));
}

}  // namespace

BringUp::BringUp(const ClusterPlan& plan, bool agent, std::function<void(const std::string&)> say)
    : plan_(plan), agent_(agent), say_(std::move(say)), rest_(options_for(plan)) {}

bool BringUp::engines_answer() {
  for (const EnginePlan& e : plan_.engines) {
    if (port_answers(plan_.address, e.grpc_port)) continue;
    waiting_for_ = fmt::format("{} to answer on port {}", e.name, e.grpc_port);
    return false;
  }
  return true;
}

Result<bool> BringUp::nodes_online() {
  const RestAnswer agent = rest_.get("/v1/status");
  if (!agent.ok() && !may_pass(agent.failure())) return as_error(agent.failure(), "the agent");
  waiting_for_ = "the agent to lead";
  if (!agent.ok() || !flag(agent.body(), "leading")) return false;
  const RestAnswer answer = rest_.get("/v0/nodes");
  if (!answer.ok() && !may_pass(answer.failure())) return as_error(answer.failure(), "the nodes");
  waiting_for_ = "the agent to answer";
  if (!answer.ok()) return false;
  std::set<std::string> online;
  for (const Tree& node : answer.body()) {
    if (text(node, "state/status") == "Online") online.insert(text(node, "id"));
  }
  for (const EnginePlan& e : plan_.engines) {
    if (online.contains(e.name)) continue;
    waiting_for_ = fmt::format("{} to register with the agent", e.name);
    return false;
  }
  return true;
}

Result<bool> BringUp::pool_online(const EnginePlan& engine) {
  waiting_for_ = fmt::format("{} on {}", engine.pool, engine.name);
  const RestAnswer found = rest_.get("/v0/pools/" + engine.pool);
  if (found.ok()) {
    const std::string status = text(found.body(), "state/status");
    return status == "Online" || status == "Degraded";
  }
  if (found.failure().kind != "NotFound") {
    if (may_pass(found.failure())) return false;
    return as_error(found.failure(), engine.pool);
  }
  const RestAnswer made = rest_.put(fmt::format("/v0/nodes/{}/pools/{}", engine.name, engine.pool),
                                    Tree{{"disks", plan_.disks(engine)}});
  if (!made.ok()) {
    if (may_pass(made.failure())) return false;
    return as_error(made.failure(), engine.pool);
  }
  say_(
      fmt::format("{} on {}: 2 sparse disks of {}", engine.pool, engine.name, format_size(plan_.disk_bytes)));
  return text(made.body(), "state/status") == "Online";
}

Result<bool> BringUp::advance() {
  if (stage_ == Stage::engines) {
    if (!engines_answer()) return false;
    say_(fmt::format("{} engines answer", plan_.engines.size()));
    stage_ = agent_ ? Stage::nodes : Stage::done;
  }
  if (stage_ == Stage::nodes) {
    HF_TRY(const bool online, nodes_online());
    if (!online) return false;
    say_(fmt::format("the agent knows all {} nodes", plan_.engines.size()));
    stage_ = Stage::pools;
  }
  while (stage_ == Stage::pools && next_pool_ < plan_.engines.size()) {
    HF_TRY(const bool online, pool_online(plan_.engines[next_pool_]));
    if (!online) return false;
    ++next_pool_;
  }
  stage_ = Stage::done;
  return true;
}

}  // namespace holdfast::cli
