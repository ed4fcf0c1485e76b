#include "sim/control/users.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace holdfast::sim {

using namespace control;

namespace {

constexpr std::uint64_t MiB = std::uint64_t{1} << 20;
constexpr const char* user_label = "user";
constexpr const char* ask_names[] = {
    "create volume",  "delete volume", "publish",         "unpublish",       "resize",
    "set replicas",   "move replica",  "create snapshot", "delete snapshot", "restore",
    "cordon",         "uncordon",      "drain",           "drain replicas",  "evacuate",
    "end evacuation", "create pool",   "delete pool",     "purge node",
};
static_assert(std::size(ask_names) == ask_count);

// What a user may be told. The rest would be a bug of the agent or of what it asked.
bool is_legal(Kind kind) {
  switch (kind) {
    case Kind::internal:
    case Kind::deserialize:
    case Kind::unimplemented:
    case Kind::unauthenticated:
    case Kind::unauthorized:
    case Kind::permission_denied:
    case Kind::not_acceptable:
      return false;
    default:
      return true;
  }
}

template <class T>
Status status_of(Result<T>&& r) {
  if (r.ok()) return Status();
  return r.error();
}

}  // namespace

std::string to_string(const UserRequest& r) {
  std::string text = fmt::format("{}. {}", r.number, ask_names[static_cast<std::size_t>(r.what)]);
  if (!r.volume.is_nil()) text += " volume " + r.volume.to_string();
  if (!r.snapshot.is_nil()) text += " snapshot " + r.snapshot.to_string();
  if (r.size_bytes != 0) text += fmt::format(" of {} MiB", r.size_bytes / MiB);
  if (r.count != 0) text += fmt::format(" x {}", r.count);
  if (!r.node.empty()) text += " node " + r.node;
  if (!r.pool.empty()) text += " pool " + r.pool;
  return text;
}

// ---- choosing

std::optional<Uuid> Users::idle_volume(bool published) {
  std::vector<Uuid> found;
  for (const auto& [id, v] : volumes_) {
    if (!v.busy && v.exists != Sure::no && !v.doomed && (!published || v.published != Sure::no))
      found.push_back(id);
  }
  if (found.empty()) return std::nullopt;
  return found[random_.below(found.size())];
}

std::optional<Uuid> Users::idle_snapshot() {
  std::vector<Uuid> found;
  for (const auto& [id, s] : snapshots_) {
    if (!s.busy && s.exists != Sure::no) found.push_back(id);
  }
  if (found.empty()) return std::nullopt;
  return found[random_.below(found.size())];
}

bool Users::fill_in(UserRequest& r) {
  const auto& nodes = cluster_.nodes();
  r.size_bytes = (1 + random_.below(16)) * 64 * MiB;
  r.count = static_cast<std::uint32_t>(1 + random_.below(3));
  r.flag = random_.below(2) == 0;
  r.node = nodes[random_.below(nodes.size())];
  r.pool = fmt::format("pool-{}{}", r.node, random_.below(4) == 0 ? "-b" : "-a");
  switch (r.what) {
    case Ask::create_volume:
      r.volume = new_uuid();
      return volumes_.size() < 12;
    case Ask::create_snapshot: {
      const auto volume = idle_volume(false);
      r.snapshot = new_uuid();
      if (volume) r.volume = *volume;
      return volume && snapshots_.size() < 12;
    }
    case Ask::restore:
    case Ask::delete_snapshot: {
      const auto snapshot = idle_snapshot();
      if (!snapshot) return false;
      r.snapshot = *snapshot;
      if (r.what == Ask::restore) r.volume = new_uuid();
      return r.what != Ask::restore || volumes_.size() < 16;
    }
    case Ask::delete_volume:
    case Ask::publish:
    case Ask::unpublish:
    case Ask::resize:
    case Ask::set_replicas:
    case Ask::move_replica: {
      const auto volume = idle_volume(r.what == Ask::unpublish);
      if (!volume) return false;
      r.volume = *volume;
      return true;
    }
    case Ask::create_pool:
    case Ask::delete_pool:
      r.pool = fmt::format("pool-{}-b", r.node);
      return true;
    case Ask::cordon:
    case Ask::uncordon:
    case Ask::drain:
    case Ask::drain_replicas:
    case Ask::evacuate:
    case Ask::end_evacuation:
      return true;
    case Ask::purge_node:
      return false;
  }
  return false;
}

bool Users::may_be_asked(const UserRequest& r) {
  if (!r.volume.is_nil() && volumes_[r.volume].busy) return false;
  if (!r.snapshot.is_nil() && snapshots_[r.snapshot].busy) return false;
  const bool deletes = r.what == Ask::delete_volume || r.what == Ask::delete_snapshot;
  return deletes || ((r.volume.is_nil() || !volumes_[r.volume].doomed) &&
                     (r.snapshot.is_nil() || !snapshots_[r.snapshot].doomed));
}

void Users::ask_something() {
  if (!again_.empty() && random_.below(3) == 0) {
    UserRequest r = std::move(again_.front());
    again_.erase(again_.begin());
    if (may_be_asked(r)) return ask(std::move(r));
  }
  static constexpr std::pair<Ask, unsigned> weights[] = {
      {Ask::create_volume, 10},  {Ask::delete_volume, 4},  {Ask::publish, 14},     {Ask::unpublish, 6},
      {Ask::resize, 4},          {Ask::set_replicas, 10},  {Ask::move_replica, 5}, {Ask::create_snapshot, 8},
      {Ask::delete_snapshot, 4}, {Ask::restore, 4},        {Ask::cordon, 2},       {Ask::uncordon, 4},
      {Ask::drain, 2},           {Ask::drain_replicas, 2}, {Ask::evacuate, 2},     {Ask::end_evacuation, 3},
      {Ask::create_pool, 3},     {Ask::delete_pool, 2},
  };
  unsigned sum = 0;
  for (const auto& [what, weight] : weights) sum += weight;
  std::uint64_t drawn = random_.below(sum);
  UserRequest r;
  for (const auto& [what, weight] : weights) {
    r.what = what;
    if (drawn < weight) break;
    drawn -= weight;
  }
  UserRequest filled;
  filled.what = r.what;
  if (fill_in(filled)) ask(std::move(filled));
}

void Users::make_pools() {
  for (const NodeId& node : cluster_.nodes()) {
    UserRequest r;
    r.what = Ask::create_pool;
    r.node = node;
    r.pool = fmt::format("pool-{}-a", node);
    ask(std::move(r));
  }
}

// ---- asking

void Users::ask(UserRequest r) {
  r.number = ++asked_;
  cluster_.log(to_string(r));
  begin(r);
  const UserRequest copy = r;
  const std::uint64_t run = cluster_.on_agent([this, copy](Agent& agent) { return carry_out(agent, copy); });
  if (run == 0) {
    end(r, refusal(Kind::unavailable, "no agent runs"));
  } else {
    waiting_.emplace(r.number, Waiting{std::move(r), run});
  }
}

Task<void> Users::carry_out(Agent& agent, UserRequest r) {
  UserRequest submitted = r;
  const Status outcome = co_await submit(agent, std::move(submitted));
  waiting_.erase(r.number);
  end(r, outcome);
}

Task<Status> Users::submit(Agent& agent, UserRequest r) {
  CreateVolume volume;
  volume.volume = r.volume;
  volume.size_bytes = r.size_bytes;
  volume.replicas = r.count;
  volume.thin = r.flag;
  switch (r.what) {
    case Ask::create_volume:
      co_return status_of(co_await agent.create_volume(std::move(volume)));
    case Ask::delete_volume:
      co_return co_await agent.delete_volume(r.volume);
    case Ask::publish: {
      PublishVolume publish;
      publish.volume = r.volume;
      if (random_.below(3) == 0) publish.node = r.node;
      publish.republish = r.repeats == UserRequest::Repeats::nothing && random_.below(4) == 0;
      co_return status_of(co_await agent.publish_volume(std::move(publish)));
    }
    case Ask::unpublish:
      co_return status_of(co_await agent.unpublish_volume(r.volume, r.flag));
    case Ask::resize:
      co_return status_of(co_await agent.resize_volume(r.volume, r.size_bytes));
    case Ask::set_replicas:
      co_return status_of(co_await agent.set_replica_count(r.volume, r.count));
    case Ask::create_snapshot:
      co_return status_of(co_await agent.create_snapshot(r.volume, r.snapshot));
    case Ask::delete_snapshot:
      co_return co_await agent.delete_snapshot(r.snapshot, std::nullopt);
    case Ask::restore: {
      const auto from = agent.snapshot(r.snapshot, std::nullopt);
      if (!from.ok()) co_return from.error();
      volume.size_bytes = from.value().spec.size_bytes;
      volume.thin = true;
      co_return status_of(co_await agent.restore_snapshot(r.snapshot, std::move(volume)));
    }
    default:
      co_return co_await submit_other(agent, std::move(r));
  }
}

Task<Status> Users::submit_other(Agent& agent, UserRequest r) {
  switch (r.what) {
    case Ask::move_replica: {
      MoveReplica move;
      move.volume = r.volume;
      const auto view = agent.volume(r.volume);
      if (!view.ok()) co_return view.error();
      const auto& replicas = view.value().state.replicas;
      if (replicas.empty()) co_return refusal(Kind::not_found, "no replica to move");
      move.replica = std::next(replicas.begin(), static_cast<int>(random_.below(replicas.size())))->first;
      co_return status_of(co_await agent.move_replica(std::move(move)));
    }
    case Ask::cordon:
      co_return status_of(co_await agent.cordon_node(r.node, user_label));
    case Ask::uncordon:
      co_return status_of(co_await agent.uncordon_node(r.node, user_label));
    case Ask::drain:
    case Ask::drain_replicas:
      co_return status_of(co_await agent.drain_node(r.node, user_label, r.what == Ask::drain_replicas));
    case Ask::evacuate:
    case Ask::end_evacuation:
      co_return status_of(co_await agent.evacuate_pool(r.pool, r.what == Ask::evacuate));
    case Ask::create_pool: {
      CreatePool pool;
      pool.pool = r.pool;
      pool.node = r.node;
      pool.disks = {r.pool.ends_with("-b") ? "/dev/b" : "/dev/a"};
      co_return status_of(co_await agent.create_pool(std::move(pool)));
    }
    case Ask::delete_pool:
      co_return co_await agent.delete_pool(r.pool, std::nullopt);
    default:
      co_return co_await purge_node(agent, r.node);
  }
}

// A purge that is accepted takes what is nowhere else, and the targets that the node had. No volume is given up that
// nobody asked to delete.
Task<Status> Users::purge_node(Agent& agent, NodeId node) {
  const auto impact = agent.purge_node_impact(node);
  if (!impact.ok()) co_return impact.error();
  const auto& lost = impact.value().lost_volumes;
  Purge purge;
  purge.accept_snapshot_loss = true;
  purge.accept_volume_loss =
      std::all_of(lost.begin(), lost.end(), [&](const Uuid& v) { return volumes_[v].doomed; });
  for (const Uuid& v : lost) volumes_[v].exists = Sure::maybe;
  for (const Uuid& v : impact.value().targets) volumes_[v].published = Sure::maybe;
  for (const Uuid& s : impact.value().lost_snapshots) snapshots_[s].exists = Sure::maybe;
  co_return co_await agent.delete_node(node, purge);
}

// ---- what is known

void Users::begin(const UserRequest& r) {
  if (!r.volume.is_nil()) {
    Volume& v = volumes_[r.volume];
    v.busy = true;
    if (r.what == Ask::delete_volume) {
      v.doomed = true;
      cluster_.fleet().give_up(r.volume.to_string());
    }
  }
  if (!r.snapshot.is_nil()) {
    Snapshot& s = snapshots_[r.snapshot];
    s.busy = true;
    if (r.what == Ask::create_snapshot) s.volume = r.volume;
    if (r.what == Ask::delete_snapshot) s.doomed = true;
  }
}

void Users::end(const UserRequest& r, const Status& outcome) {
  cluster_.log(fmt::format(
      "{} -> {}", to_string(r),
      outcome.ok() ? "ok"
                   : fmt::format("{}: {}", name(kind_of(outcome.error())), outcome.error().message())));
  if (!outcome.ok()) ++refused_;
  if (!outcome.ok() && r.what == Ask::resize) resize_failed_.insert(r.volume);
  if (!outcome.ok() && !is_legal(kind_of(outcome.error())))
    cluster_.fail(
        fmt::format("{}: {}: {}", to_string(r), name(kind_of(outcome.error())), outcome.error().message()));
  check_repeated(r, outcome);
  if (!r.volume.is_nil()) {
    Volume& v = volumes_[r.volume];
    v.busy = false;
    end_volume(r, v, outcome);
  }
  end_snapshot(r, outcome);
  if (outcome.ok()) {
    repeat_some(r, UserRequest::Repeats::success);
  } else if (may_have_happened(outcome.error())) {
    repeat_some(r, UserRequest::Repeats::unknown);
  }
}

void Users::end_snapshot(const UserRequest& r, const Status& outcome) {
  if (r.snapshot.is_nil()) return;
  Snapshot& s = snapshots_[r.snapshot];
  s.busy = false;
  if (r.what == Ask::restore) return;
  const bool creates = r.what == Ask::create_snapshot;
  if (outcome.ok()) {
    s.exists = creates ? Sure::yes : Sure::no;
  } else if (may_have_happened(outcome.error()) || creates) {
    s.exists = Sure::maybe;  // an attempt may be there, to be repeated
  } else if (kind_of(outcome.error()) == Kind::not_found) {
    s.exists = Sure::no;
  }
}

// What was done is asked for again at once, and what may have been done some time later.
void Users::repeat_some(const UserRequest& r, UserRequest::Repeats outcome) {
  if (r.repeats != UserRequest::Repeats::nothing || random_.below(4) != 0) return;
  UserRequest again = r;
  again.repeats = outcome;
  (outcome == UserRequest::Repeats::success ? at_once_ : again_).push_back(std::move(again));
}

// The second answer to the same request says precisely that it is done (P6).
void Users::check_repeated(const UserRequest& r, const Status& outcome) {
  if (r.repeats != UserRequest::Repeats::success) return;
  if (!outcome.ok() && (may_have_happened(outcome.error()) || kind_of(outcome.error()) == Kind::conflict))
    return;
  std::vector<Kind> kinds;
  bool may_succeed = false;
  switch (r.what) {
    case Ask::create_volume:
    case Ask::create_snapshot:
    case Ask::restore:
      kinds = {Kind::already_exists};
      break;
    case Ask::create_pool:
      kinds = {Kind::already_exists};
      may_succeed = true;  // somebody deleted it meanwhile
      break;
    case Ask::delete_volume:
      kinds = {Kind::not_found};
      break;
    case Ask::delete_snapshot:
    case Ask::delete_pool:
      // Wanted gone, and not gone yet where nobody answers.
      kinds = {Kind::not_found};
      may_succeed = true;
      break;
    case Ask::publish:
      kinds = {Kind::already_published};
      may_succeed = !lost_.empty();  // a purge took its target
      break;
    case Ask::unpublish:
      kinds = {Kind::not_published};
      break;
    case Ask::set_replicas:
      kinds = {Kind::failed_precondition};
      break;
    default:
      return;
  }
  const bool precise = outcome.ok()
                           ? may_succeed
                           : std::find(kinds.begin(), kinds.end(), kind_of(outcome.error())) != kinds.end();
  if (!precise)
    cluster_.fail(
        fmt::format("{}, repeated: {}", to_string(r), outcome.ok() ? "ok" : outcome.error().message()));
}

void Users::end_refused(const UserRequest& r, Volume& v, const Error& why) {
  const Kind kind = kind_of(why);
  // Of a snapshot, or of a replica, there.
  if (kind == Kind::not_found && r.what != Ask::restore && r.what != Ask::move_replica) {
    if (v.exists == Sure::yes && !v.doomed)
      cluster_.fail(fmt::format("{}: {}, but it was never deleted", to_string(r), why.message()));
    v.exists = Sure::no;
  }
  if (kind == Kind::already_exists && r.repeats == UserRequest::Repeats::unknown && !v.doomed)
    v.exists = Sure::yes;
  if (kind == Kind::already_published) v.published = Sure::yes;
  if (kind == Kind::not_published) v.published = Sure::no;
}

void Users::end_volume(const UserRequest& r, Volume& v, const Status& outcome) {
  if (!outcome.ok() && may_have_happened(outcome.error())) {
    unknown(r);
    return;
  }
  if (!outcome.ok()) return end_refused(r, v, outcome.error());
  switch (r.what) {
    case Ask::create_volume:
      v.exists = Sure::yes;
      v.size_bytes = r.size_bytes;
      v.replicas = r.count;
      break;
    case Ask::restore:
      v.exists = Sure::yes;
      v.replicas = r.count;
      break;
    case Ask::delete_volume:
      v.exists = v.published = Sure::no;
      break;
    case Ask::publish:
      v.published = Sure::yes;
      break;
    case Ask::unpublish:
      v.published = Sure::no;
      break;
    case Ask::resize:
      v.size_bytes = r.size_bytes;
      break;
    case Ask::set_replicas:
      v.replicas = r.count;
      break;
    default:
      break;
  }
}

void Users::unknown(const UserRequest& r) {
  if (!r.snapshot.is_nil() && r.what != Ask::restore) snapshots_[r.snapshot].exists = Sure::maybe;
  if (!r.snapshot.is_nil()) snapshots_[r.snapshot].busy = false;
  if (r.volume.is_nil()) return;
  Volume& v = volumes_[r.volume];
  v.busy = false;
  switch (r.what) {
    case Ask::create_volume:
    case Ask::restore:
    case Ask::delete_volume:
      v.exists = Sure::maybe;
      break;
    case Ask::publish:
    case Ask::unpublish:
      v.published = Sure::maybe;
      break;
    case Ask::resize:
      resize_failed_.insert(r.volume);
      v.size_bytes.reset();
      break;
    case Ask::set_replicas:
      v.replicas.reset();
      break;
    default:
      break;
  }
}

std::size_t Users::waiting() {
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (cluster_.run_is_alive(it->second.run)) {
      ++it;
      continue;
    }
    const UserRequest lost = it->second.request;
    it = waiting_.erase(it);
    unknown(lost);
    repeat_some(lost, UserRequest::Repeats::unknown);
  }
  for (UserRequest& r : std::exchange(at_once_, {})) {
    if (may_be_asked(r)) ask(std::move(r));
  }
  return waiting_.size();
}

// ---- the end

void Users::lift_restrictions() {
  const Agent* leader = cluster_.leader();
  if (leader == nullptr) return;
  std::vector<UserRequest> requests;
  for (const auto& [id, node] : leader->specs().nodes) {
    UserRequest r;
    r.node = id;
    r.what = lost_.contains(id) ? Ask::purge_node : Ask::uncordon;
    if (lost_.contains(id) || node.cordoned()) requests.push_back(std::move(r));
  }
  for (const auto& [id, pool] : leader->specs().pools) {
    UserRequest r;
    r.pool = id;
    r.what = Ask::end_evacuation;
    if (pool.evacuating && !lost_.contains(pool.node)) requests.push_back(std::move(r));
  }
  for (UserRequest& r : requests) ask(std::move(r));
}

bool Users::delete_everything() {
  std::vector<UserRequest> requests;
  for (const auto& [id, v] : volumes_) {
    if (v.exists == Sure::no || v.busy) continue;
    UserRequest r;
    r.what = Ask::delete_volume;
    r.volume = id;
    requests.push_back(std::move(r));
  }
  for (const auto& [id, s] : snapshots_) {
    if (s.exists == Sure::no || s.busy) continue;
    UserRequest r;
    r.what = Ask::delete_snapshot;
    r.snapshot = id;
    requests.push_back(std::move(r));
  }
  const bool any = !requests.empty();
  for (UserRequest& r : requests) ask(std::move(r));
  return any || waiting() > 0;
}

std::vector<std::string> Users::contradictions(const Specs& specs) const {
  std::vector<std::string> found;
  for (const auto& known : volumes_) {
    const Uuid& id = known.first;
    const auto& v = known.second;
    if (v.busy) continue;
    const auto spec = specs.volumes.find(id);
    const bool there = spec != specs.volumes.end();
    const auto add = [&](std::string text) {
      found.push_back(fmt::format("volume {}: {}", id.to_string(), text));
    };
    if (v.exists == Sure::yes && !there) add("it was created, and is gone");
    if (v.exists == Sure::no && there) add("it was deleted, or never created, and is there");
    if (!there || v.exists != Sure::yes) continue;
    if (v.size_bytes && spec->second.size_bytes != *v.size_bytes)
      add(fmt::format("it should have {} bytes, and has {}", *v.size_bytes, spec->second.size_bytes));
    if (v.replicas && spec->second.num_replicas != *v.replicas)
      add(fmt::format("it should have {} replicas, and has {}", *v.replicas, spec->second.num_replicas));
    if (v.published == Sure::yes && !spec->second.target) add("it was published, and has no target");
    if (v.published == Sure::no && spec->second.target) add("it was unpublished, and has a target");
  }
  for (const auto& [id, s] : snapshots_) {
    if (s.busy) continue;
    const auto spec = specs.snapshots.find(id);
    const bool there = spec != specs.snapshots.end();
    if (s.exists == Sure::yes && !there)
      found.push_back(fmt::format("snapshot {} was taken, and is gone", id.to_string()));
    if (s.exists == Sure::no && there)
      found.push_back(fmt::format("snapshot {} was deleted, and is there", id.to_string()));
  }
  return found;
}

}  // namespace holdfast::sim
