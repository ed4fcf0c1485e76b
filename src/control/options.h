// How an agent works.
#pragma once

#include <optional>
#include <string>

#include "control/plan/decide.h"
#include "rt/time.h"

namespace holdfast::control {

struct Options {
  std::string cluster = "default";  // keys begin with /holdfast/v1/clusters/<cluster>/
  std::string agent = "agent";      // this one's name, unique among those of the cluster
  std::string advertise;            // URL where others find its REST API: changes are sent on to the leader's
  std::string registration;  // host:port where engines register with it: registrations are sent on, too
  Policy policy;
  std::int64_t lease_ttl_s = 10;  // of leadership
  // A former run of this agent that was not stopped cleanly is certainly over: what it has of leadership ends at once.
  bool former_run_is_over = false;
  // Changes lead to a pass at once, over what they may matter to, and so does the time for which something waits.
  // Besides, there is one so often while something is to be done, and one over everything so often.
  Nanos reconcile_period = 10s;
  Nanos reconcile_idle_period = 30s;
  // For tests: each pass is compared with one over everything.
  bool check_looks = false;
  Nanos poll_period = 5s;          // how often an engine is asked for all that it has
  Nanos heartbeat_deadline = 10s;  // an engine not heard of for so long is offline
  // A request waits so long for another change of the same resource: longer than a target tries to reach a child in
  // vain, which the agent asks for again and again while a link is cut.
  Nanos guard_patience = 10s;
  std::size_t volume_creations_max = 10;                // at once
  std::optional<std::uint64_t> cluster_capacity_limit;  // bytes of all volumes
  std::size_t page_limit = 500;                         // records read at once
};

}  // namespace holdfast::control
