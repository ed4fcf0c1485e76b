#include "control/agent.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "base/log.h"
#include "control/plan/fills.h"
#include "store/keys.h"
#include "store/schema.h"

namespace holdfast::control {
namespace {

// A replica that its target could not take in so often counts as out for too long: another takes its place.
constexpr unsigned child_failures_max = 8;

// Passes follow each other no sooner, so that many changes lead to one.
constexpr Nanos pass_pause = 10ms;
constexpr Nanos backoff_first = 250ms;
constexpr Nanos backoff_last = 30s;
constexpr Nanos look_again_last = 4s;
constexpr Nanos unfit_pause = 5s;  // before it stands for election again

void tell_given_up(Events& events, const Action& action, const Error& why) {
  events.add("Nexus", "AddChild", action.nexus.to_string(), action.node,
             fmt::format(
                 "replica {} of volume {} is to be replaced elsewhere: its target failed {} times to take it "
                 "in: {}",
                 action.replica.to_string(), action.volume.to_string(), child_failures_max, why.message()),
             true);
}

// Of the search for a place for a volume's replica: each try is another replica, often in another pool.
std::string place_key(const Uuid& volume) { return volume_guard(volume) + " a place for a replica"; }

bool seeks_place(Do what) {
  return what == Do::add_replica || what == Do::replace_replica || what == Do::start_move;
}

std::string backoff_key(const Action& a) {
  if (seeks_place(a.what)) return place_key(a.volume);
  Action plain = a;
  plain.why.clear();
  return a.guard + " " + to_string(plain);
}

}  // namespace

Agent::Claim::Claim(Claims& claims, const PoolId& pool, std::uint64_t bytes, bool thin,
                    std::optional<std::string> group_node)
    : claims_(&claims), pool_(pool), bytes_(bytes), thin_(thin), group_node_(std::move(group_node)) {
  if (group_node_) claims_->group_nodes.insert(*group_node_);
  claims_->bytes[pool_] += bytes_;
  if (!thin_) claims_->thick_bytes[pool_] += bytes_;
}
Agent::Claim::Claim(Claim&& o) noexcept
    : claims_(std::exchange(o.claims_, nullptr)),
      pool_(std::move(o.pool_)),
      bytes_(o.bytes_),
      thin_(o.thin_),
      group_node_(std::move(o.group_node_)) {}
Agent::Claim::~Claim() {
  if (claims_ == nullptr) return;
  if (group_node_) claims_->group_nodes.extract(*group_node_);
  const auto give_back = [&](std::map<PoolId, std::uint64_t>& from) {
    const auto found = from.find(pool_);
    found->second -= bytes_;
    if (found->second == 0) from.erase(found);
  };
  give_back(claims_->bytes);
  if (!thin_) give_back(claims_->thick_bytes);
}

bool Agent::may_rebuild() const {
  const auto& limit = options_.policy.rebuilds_max;
  if (!limit) return true;
  const Cluster now = cluster();
  return now.rebuilds() + running_fills(now) < *limit;
}

Agent::Claim Agent::claim_for(const VolumeSpec& volume, const PoolId& pool) {
  std::optional<std::string> group_node;
  if (volume.affinity_group) group_node = *volume.affinity_group + "\n" + cluster().node_id_of_pool(pool);
  return Claim(claims_, pool, volume.size_bytes, volume.thin, std::move(group_node));
}

Agent::Agent(Reactor& home, store::Kv& kv, EngineDirectory& engines, Options options)
    : home_(home),
      kv_(kv),
      options_(std::move(options)),
      events_(home),
      news_(home),
      nodes_(home, engines, options_, news_,
             [this](const NodeState& n) {
               const bool warning = n.status != NodeStatus::online;
               events_.add("Node", "StateChange", n.id, n.id,
                           fmt::format("node {} is {}", n.id, name(n.status)), warning);
             }),
      registry_(home, kv, options_.cluster, options_.page_limit, nodes_.observed().memberships, news_),
      election_(home, kv, registry_, options_),
      guards_(home),
      operations_(home),
      creations_(home, options_.volume_creations_max),
      work_(home) {}

Agent::~Agent() = default;

Task<void> Agent::run(StopToken stop) {
  TaskScope scope(home_);
  StopSource following;
  scope.spawn(registry_.follow(following.token()));
  co_await lead_when_elected(stop);
  co_await operations_.close();
  following.request_stop();
  co_await scope.join();
  co_await nodes_.close();
}

Task<void> Agent::lead_when_elected(StopToken stop) {
  // Those that do not lead follow the engines, too: they answer reads.
  TaskScope scope(home_);
  scope.spawn(reconcile(stop));
  while (!stop.stop_requested()) {
    const auto term = co_await election_.win(stop);
    if (!term) break;
    const bool fit = co_await open_records();
    if (fit) co_await lead(*term, stop);
    co_await election_.resign(*term);
    if (!fit) co_await home_.sleep(unfit_pause, stop);
  }
  co_await scope.join();
}

// Whoever leads brings older records up to date. It leaves those of a newer program alone, and what an interrupted
// restore left behind.
Task<bool> Agent::open_records() {
  auto keys = store::Keys::of_cluster(options_.cluster);
  HF_ASSERT(keys.ok());  // checked with the options
  const auto opened = co_await store::open_schema(kv_, std::move(keys).value());
  if (!opened.ok()) {
    HF_LOG(error, "control", "this agent does not lead: it cannot use the store's records as they are",
           {"error", opened.error().message()});
  }
  co_return opened.ok();
}

Task<void> Agent::end_when_lost(StopSource& term) {
  (void)co_await registry_.term_lost().wait(no_deadline, term.token());
  term.request_stop();
}

namespace {

// A stop source that also hears of another.
class LinkedStop final : StopCallback {
 public:
  explicit LinkedStop(StopToken outer) { outer.subscribe(*this); }
  ~LinkedStop() { unregister(); }
  StopSource& source() noexcept { return source_; }

 private:
  void on_stop() noexcept override { source_.request_stop(); }
  StopSource source_;
};

}  // namespace

Task<void> Agent::lead(Election::Term term, StopToken stop) {
  const bool caught_up = co_await registry_.caught_up(term.created, stop);
  if (!caught_up || !registry_.complete()) co_return;
  LinkedStop ending(stop);
  registry_.begin_term(term.created, ending.source().token());
  nodes_.ask_anew();
  unasked_.clear();
  fill_failures_.clear();
  leading_ = true;
  HF_LOG(info, "control", "this agent leads", {"agent", options_.agent});
  news_.everything();
  TaskScope scope(home_);
  scope.spawn(end_when_lost(ending.source()));
  co_await election_.hold(term, ending.source().token());
  leading_ = false;
  news_.everything();  // whoever does not lead looks at nothing: nothing is to gather meanwhile
  ending.source().request_stop();
  registry_.end_term();
  HF_LOG(info, "control", "this agent leads no longer", {"agent", options_.agent});
  co_await scope.join();
  co_await work_.join();
}

// ---- reconciling

void Agent::sync_nodes() {
  for (const auto& [id, spec] : registry_.specs().nodes) nodes_.watch(id, spec.grpc_endpoint);
  std::vector<NodeId> gone;
  for (const auto& [id, state] : nodes_.observed().nodes) {
    if (!registry_.specs().nodes.contains(id)) gone.push_back(id);
  }
  for (const NodeId& id : gone) nodes_.forget(id);
}

Nanos Agent::next_pass() const noexcept {
  Nanos next = home_.now() + (idle_ ? options_.reconcile_idle_period : options_.reconcile_period);
  const Nanos over_everything = looked_over_at_ + options_.reconcile_idle_period;
  if (over_everything > home_.now()) next = std::min(next, over_everything);
  if (due_) next = std::min(next, home_.now() + Nanos(std::max<UnixNanos>(*due_ - unix_now(), 0)));
  for (const auto& [key, b] : backoffs_) {
    if (b.not_before > home_.now()) next = std::min(next, b.not_before);
  }
  return next;
}

Task<void> Agent::reconcile(StopToken stop) {
  while (!stop.stop_requested()) {
    (void)co_await news_.arrived().wait(next_pass(), stop);
    if (stop.stop_requested()) break;
    news_.arrived().reset();
    due_.reset();
    idle_ = false;
    if (!registry_.complete()) continue;
    const Nanos begun = home_.now();
    sync_nodes();
    if (leading_) pass();
    // What a pass takes grows with the cluster: however much changes, others have the core for most of the time.
    co_await home_.sleep(std::max(pass_pause, 4 * (home_.now() - begun)), stop);
  }
}

// Everything, when something changed that all may depend on, and once in a while; else what changed, and what was not
// at rest the last time.
Decision Agent::look() {
  std::optional<std::set<Uuid>> some = news_.take(specs());
  if (home_.now() - looked_over_at_ >= options_.reconcile_idle_period) some.reset();
  if (some) {
    some->insert(restless_.begin(), restless_.end());
  } else {
    looked_over_at_ = home_.now();
  }
  const Look look{options_.policy, unix_now(), &registry_.digests(), some ? &*some : nullptr};
  const Cluster now = cluster();
  if (!options_.check_looks || !some) return decide(now, outages_, look);
  const Outages before = outages_;
  Decision decided = decide(now, outages_, look);
  check_look(now, before, look, decided);
  return decided;
}

void Agent::check_look(const Cluster& now, const Outages& before, const Look& narrow,
                       const Decision& decided) const {
  Look wide = narrow;
  wide.volumes = nullptr;
  Outages outages = before;
  const Decision all = decide(now, outages, wide);
  HF_ASSERT(all.actions == decided.actions);
  HF_ASSERT(all.due == decided.due && all.held == decided.held);
  HF_ASSERT(all.restless == decided.restless && outages == outages_);
}

void Agent::pass() {
  Decision decision = look();
  due_ = decision.due;
  idle_ = decision.actions.empty() && !decision.held;
  restless_ = std::move(decision.restless);
  ++passes_;
  std::map<std::string, std::vector<Action>> by_guard;
  for (Action& a : decision.actions) {
    const auto waiting = backoffs_.find(backoff_key(a));
    if (waiting != backoffs_.end() && home_.now() < waiting->second.not_before) continue;
    by_guard[a.guard].push_back(std::move(a));
  }
  for (auto& [guard, actions] : by_guard) {
    Guards::Guard taken = guards_.try_take(guard);
    Gate::Hold hold = operations_.enter();
    if (!taken || !hold) continue;
    Op op(std::move(hold), std::move(taken), registry_.term());
    work_.spawn(work_off(std::move(op), std::move(actions)));
  }
}

unsigned Agent::back_off(const std::string& key) {
  Backoff& b = backoffs_[key];
  b.not_before =
      home_.now() + std::min(backoff_last, Nanos(backoff_first.count() << std::min(b.failures, 10U)));
  return ++b.failures;
}

// What goes on at an engine is looked at again, less and less often.
void Agent::look_again(const std::string& key) {
  Backoff& b = backoffs_[key];
  b.not_before =
      home_.now() + std::min(look_again_last, Nanos(backoff_first.count() << std::min(b.failures, 10U)));
  ++b.failures;
}

void Agent::note_outcome(const Action& action, const Status& outcome) {
  std::optional<std::string> place;
  const auto replica = specs().replicas.find(action.replica);
  if (action.what == Do::create_replica && replica != specs().replicas.end()) {
    const ReplicaSpec& spec = replica->second;
    if (const auto& volume = spec.owners.volume ? spec.owners.volume : spec.released_by)
      place = place_key(*volume);
  }
  if (outcome.ok()) {
    // A place is found once there is a replica in it.
    if (action.what == Do::fill_replica) {
      look_again(backoff_key(action));
    } else if (!seeks_place(action.what)) {
      backoffs_.erase(backoff_key(action));
    }
    if (place) backoffs_.erase(*place);
    HF_LOG(debug, "control", to_string(action));
    return;
  }
  const unsigned failures = back_off(backoff_key(action));
  if (place && replica->second.status == SpecStatus::deleting) back_off(*place);
  if (failures == child_failures_max && (action.what == Do::add_child || action.what == Do::online_child)) {
    outages_[action.replica] = {unix_now() - options_.policy.faulted_wait, 0};
    news_.of_volume(action.volume);
    tell_given_up(events_, action, outcome.error());
  }
  HF_LOG(info, "control", to_string(action), {"error", outcome.error().message()});
}

Task<void> Agent::work_off(Op op, std::vector<Action> actions) {
  for (const Action& action : actions) {
    if (!leading_ || op.term != registry_.term()) break;
    const Status done = co_await execute(op, action);
    note_outcome(action, done);
  }
  // What was forgotten long ago is not tried again.
  std::erase_if(backoffs_,
                [&](const auto& b) { return b.second.not_before + 10 * backoff_last < home_.now(); });
  news_.anything();
}

// ---- operations

Status Agent::check_leading() const {
  if (leading_ && election_.sure()) {
    if (registry_.complete()) return Status();
    return refusal(Kind::unavailable,
                   "a record of the store cannot be read: nothing is changed until it is repaired");
  }
  const auto leading = leader();
  if (leading && !leading->empty()) {
    return refusal(Kind::unavailable, fmt::format("this agent does not lead: ask {}", *leading));
  }
  return refusal(Kind::unavailable, "no agent leads at the moment: try again");
}

Task<Status> Agent::commit_put(const Op& op, AnySpec spec) {
  Changes changes;
  changes.put(std::move(spec));
  return commit(op, std::move(changes));
}

Task<Status> Agent::commit_remove(const Op& op, AnySpec spec) {
  Changes changes;
  changes.remove(std::move(spec));
  return commit(op, std::move(changes));
}

Task<Result<Agent::Op>> Agent::begin(std::string guard) {
  Gate::Hold hold = operations_.enter();
  if (!hold) co_return refusal(Kind::unavailable, "this agent is stopping");
  HF_CO_CHECK(check_leading());
  HF_CO_TRY(auto taken, co_await guards_.take(std::move(guard), options_.guard_patience));
  HF_CO_CHECK(check_leading());
  co_return Op(std::move(hold), std::move(taken), registry_.term());
}

}  // namespace holdfast::control
