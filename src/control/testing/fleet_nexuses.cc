// Nexuses of the model: opening, membership, snapshots.
#include <algorithm>

#include <fmt/format.h>

#include "control/testing/fleet.h"

namespace holdfast::control::fake {
namespace {

ChildStatus status_of(const Child& c) {
  if (c.open && c.suspended) return ChildStatus::faulted;
  if (c.open) return c.in_sync ? ChildStatus::online : ChildStatus::degraded;
  const bool mild = c.reason == ChildReason::out_of_space || c.reason == ChildReason::closed ||
                    (c.reason == ChildReason::by_client && !c.for_good);
  return mild ? ChildStatus::degraded : ChildStatus::faulted;
}

ChildReason reason_of(const Child& c) {
  if (c.open && c.suspended) return ChildReason::io_failure;
  if (!c.open) return c.reason;
  return c.in_sync ? ChildReason::none : ChildReason::out_of_sync;
}

}  // namespace

NexusState Fleet::nexus_state(const Machine& m, const Nexus& n) const {
  NexusState s;
  s.uuid = n.request.nexus;
  s.name = n.request.name;
  s.node = m.node;
  s.size_bytes = n.size_bytes;
  s.status = n.status();
  if (n.shared && !n.stopped) {
    s.device_uri = fmt::format("nvmf://{}:8420/nqn.2019-05.io.openebs:{}", m.address, n.request.name);
    s.protocol = Protocol::nvmf;
    s.allowed_hosts = n.allowed_hosts;
  }
  for (const Child& c : n.children) {
    ChildState child;
    child.uri = c.uri;
    child.replica = c.replica;
    child.status = status_of(c);
    child.reason = reason_of(c);
    child.faulted_at = c.faulted_at;
    child.has_io_log = !c.open && c.has_log;
    if (c.rebuild) {
      const auto whole = std::max<std::int64_t>(1, (c.rebuild->ends - c.rebuild->started).count());
      const auto gone = std::min<std::int64_t>(whole, (now_ - c.rebuild->started).count());
      child.rebuild_percent = static_cast<std::uint32_t>(gone * 100 / whole);
      ++s.rebuilds;
    }
    s.children.push_back(std::move(child));
  }
  return s;
}

Result<Nexus*> Fleet::find_nexus(Machine& m, const Uuid& nexus) {
  const auto found = m.nexuses.find(nexus);
  if (found == m.nexuses.end()) return refused(m, Kind::not_found, "no nexus with uuid " + nexus.to_string());
  advance_nexus(m, found->second);
  return &found->second;
}

Status Fleet::usable(const Nexus& n) const {
  const std::string label = "nexus " + n.request.nexus.to_string();
  if (n.stopped) return refusal(Kind::failed_precondition, label + " is shut down");
  if (n.fenced) return refusal(Kind::failed_precondition, label + " is fenced: another one has taken over");
  return Status();
}

// Brings the membership record to what is.
Status Fleet::record(Nexus& n, bool clean) {
  if (n.request.membership_key.empty()) return Status();  // made by a user: nobody asks for it
  nexus::Record next;
  next.clean_shutdown = clean;
  next.epoch = ++n.record_epoch;
  next.owner = n.run;
  for (const Child& c : n.children) {
    nexus::ChildRecord child;
    child.uuid = c.replica.to_string();
    child.healthy = c.healthy;
    next.children.push_back(std::move(child));
  }
  next.children.insert(next.children.end(), n.former.begin(), n.former.end());
  auto swapped = records_.swap(n.request.membership_key, n.record_revision, next);
  if (swapped.code() == Errc::fenced) {
    // Its own record at another revision is not another owner's.
    const auto stored = records_.load(n.request.membership_key);
    const bool ours = stored.ok() && stored.value() && stored.value()->record.owner == n.run;
    if (ours) swapped = records_.swap(n.request.membership_key, stored.value()->revision, next);
  }
  if (swapped.code() == Errc::fenced) n.fenced = true;
  n.unrecorded = !swapped.ok() && !n.fenced;
  if (!swapped.ok()) return refusal(Kind::unavailable, "the store has not recorded it yet");
  n.record_revision = swapped.value();
  announce(n);
  return Status();
}

// Every membership begins an epoch, which those that take part in it hear of.
void Fleet::announce(Nexus& n) {
  for (const Child& c : n.children) {
    Copy* copy = c.open ? reach(machine(n.node), c.uri) : nullptr;
    if (copy != nullptr) copy->epoch = std::max(copy->epoch, static_cast<std::uint32_t>(n.record_epoch));
  }
}

// A record tells who has every acknowledged write. After an unclean end one of them is taken, for all.
Status Fleet::choose_in_sync(Machine& m, Nexus& n, const nexus::Record* record) {
  if (record == nullptr) {
    for (Child& c : n.children) c.in_sync = c.healthy = true;
    return Status();
  }
  Child* source = nullptr;
  for (Child& c : n.children) {
    const nexus::ChildRecord* known = record->find(c.replica.to_string());
    c.healthy = known != nullptr && known->healthy;
    c.has_log = known != nullptr;  // how much it misses is told by its epochs
    if (c.healthy && (source == nullptr || c.uri.starts_with("bdev:"))) source = &c;
  }
  if (source == nullptr)
    return refused(m, Kind::failed_precondition,
                   "none of the children given is healthy in the membership record");
  for (const nexus::ChildRecord& known : record->children) {
    const bool given = std::any_of(n.children.begin(), n.children.end(),
                                   [&](const Child& c) { return c.replica.to_string() == known.uuid; });
    if (!given) n.former.emplace_back(known).healthy = false;
  }
  for (Child& c : n.children) {
    if (&c != source && !record->clean_shutdown) c.healthy = false;
    c.in_sync = c.healthy;
  }
  return Status();
}

// What its users would see has to be what they were told.
void Fleet::check_opened(Machine& m, Nexus& n, bool has_record) {
  const bool first = !acknowledged_.contains(n.request.name);
  Content& told = acknowledged_[n.request.name];
  const Content& source = source_of(m, n)->content;
  if (first) told = source;
  for (const Child& c : n.children) {
    if (!c.in_sync) continue;
    const Content& content = reach(m, c.uri)->content;
    if (content != source) {
      violated(fmt::format("nexus {} of volume {} on {}: replicas that it takes for in sync differ",
                           n.request.nexus.to_string(), n.request.name, m.node));
    }
    if (!covers(content, told)) {
      violated(
          fmt::format("nexus {} of volume {} on {} took replica {} for one in sync, which misses writes that "
                      "were acknowledged ({} record)",
                      n.request.nexus.to_string(), n.request.name, m.node, c.replica.to_string(),
                      has_record ? "by its" : "without a"));
    }
  }
}

Result<NexusState> Fleet::create_nexus(Machine& m, const NewNexus& request) {
  for (auto& [id, other] : m.nexuses) {
    if (id != request.nexus && other.request.name != request.name) continue;
    auto ours = request.children, theirs = other.request.children;
    std::sort(ours.begin(), ours.end());
    std::sort(theirs.begin(), theirs.end());
    const bool same = id == request.nexus && other.request.name == request.name && ours == theirs &&
                      other.request.size_bytes == request.size_bytes &&
                      other.request.reservation_key == request.reservation_key;
    if (same) return nexus_state(m, other);
    return refused(m, Kind::already_exists,
                   fmt::format("nexus '{}' ({}) exists already", other.request.name, id.to_string()));
  }
  if (request.children.empty()) return refused(m, Kind::invalid_argument, "a nexus needs at least one child");
  Nexus n;
  n.request = request;
  n.size_bytes = request.size_bytes;
  n.node = m.node;
  n.run = next_uuid("nexus");
  for (const std::string& uri : request.children) {
    if (find_child(n, uri) != nullptr) return refused(m, Kind::invalid_argument, "child given twice: " + uri);
    n.children.emplace_back();
    n.children.back().uri = uri;
    HF_CHECK(open_child(m, n, n.children.back()));
  }
  using Loaded = Result<std::optional<nexus::StoredRecord>>;
  const std::string& key = request.membership_key;
  auto loaded = key.empty() ? Loaded(std::nullopt) : records_.load(key);
  if (!loaded.ok())
    return refused(m, Kind::invalid_argument, "the store does not answer; try again when it does");
  const auto& stored = loaded.value();
  if (stored) {
    n.record_revision = stored->revision;
    n.record_epoch = stored->record.epoch;
  }
  HF_CHECK(choose_in_sync(m, n, stored ? &stored->record : nullptr));
  const Status recorded = record(n, false);
  if (n.fenced) return refused(m, Kind::failed_precondition, "another nexus has the membership record");
  if (!recorded.ok()) return refused(m, Kind::invalid_argument, recorded.error().message());
  check_opened(m, n, stored.has_value());
  Nexus& kept = m.nexuses[request.nexus] = std::move(n);
  for (Child& c : kept.children) {
    if (!c.in_sync) begin_rebuild(kept, c);
  }
  return nexus_state(m, kept);
}

void Fleet::release_children(Machine& m, Nexus& n) {
  for (Child& c : n.children) {
    Copy* copy = c.open ? reach(m, c.uri) : nullptr;
    if (copy != nullptr && copy->holder == n.run) copy->holder = Uuid();
    if (c.rebuild) end_rebuild(n, c, RebuildStatus::stopped);
    c.open = c.in_sync = c.suspended = false;
    c.reason = ChildReason::closed;
  }
}

Status Fleet::destroy_nexus(Machine& m, const Uuid& nexus) {
  if (!m.nexuses.contains(nexus)) return Status();
  HF_TRY(Nexus * n, find_nexus(m, nexus));
  if (!n->stopped) {
    if (!n->fenced) record(*n, true).ignore("it reads unclean, then");
    release_children(m, *n);
  }
  m.nexuses.erase(nexus);
  return Status();
}

Result<NexusState> Fleet::shutdown_nexus(Machine& m, const Uuid& nexus) {
  HF_TRY(Nexus * n, find_nexus(m, nexus));
  if (n->stopped) return nexus_state(m, *n);
  const Status recorded = n->fenced ? Status() : record(*n, true);
  release_children(m, *n);
  n->stopped = true;
  if (!recorded.ok()) return recorded.error();
  return nexus_state(m, *n);
}

Result<NexusState> Fleet::share_nexus(Machine& m, const Uuid& nexus, bool shared,
                                      std::vector<std::string> hosts) {
  HF_TRY(Nexus * n, find_nexus(m, nexus));
  std::sort(hosts.begin(), hosts.end());
  n->shared = shared;
  n->allowed_hosts = shared ? std::move(hosts) : std::vector<std::string>();
  return nexus_state(m, *n);
}

Result<NexusState> Fleet::resize_nexus(Machine& m, const Uuid& nexus, std::uint64_t size_bytes) {
  HF_TRY(Nexus * n, find_nexus(m, nexus));
  HF_CHECK(usable(*n));
  if (size_bytes < n->size_bytes) return refused(m, Kind::invalid_argument, "a nexus cannot shrink");
  for (const Child& c : n->children) {
    if (!c.open) continue;
    const Copy* copy = reach(m, c.uri);
    if (copy == nullptr)
      return refused(m, Kind::unavailable, fmt::format("child '{}' does not answer", c.uri));
    if (copy->size_bytes < size_bytes)
      return refused(m, Kind::failed_precondition,
                     fmt::format("child '{}' is too small: grow it first", c.uri));
  }
  n->size_bytes = size_bytes;
  return nexus_state(m, *n);
}

Result<NexusState> Fleet::set_ana(Machine& m, const Uuid& nexus, AnaState state) {
  HF_TRY(Nexus * n, find_nexus(m, nexus));
  if (!n->shared) return refused(m, Kind::invalid_argument, "it is not published");
  n->ana = state;
  return nexus_state(m, *n);
}

// ---- snapshots of a nexus

Result<NexusSnapshotOutcome> Fleet::create_nexus_snapshot(Machine& m, const NewNexusSnapshot& request) {
  HF_TRY(Nexus * n, find_nexus(m, request.nexus));
  HF_CHECK(usable(*n));
  const auto named = [&](const Uuid& replica) {
    return std::any_of(request.parts.begin(), request.parts.end(),
                       [&](const auto& p) { return p.replica == replica; });
  };
  for (const auto& part : request.parts) {
    const bool child = std::any_of(n->children.begin(), n->children.end(),
                                   [&](const Child& c) { return c.replica == part.replica; });
    if (!child) return refused(m, Kind::not_found, part.replica.to_string() + " is no child of the nexus");
  }
  for (const Child& c : n->children) {
    const bool good = c.open && c.in_sync && !c.suspended;
    if (good != named(c.replica))
      return refused(m, Kind::failed_precondition,
                     fmt::format("child '{}' is {}", c.uri, good ? "not named" : "not in sync"));
  }
  NexusSnapshotOutcome outcome;
  outcome.taken = unix_now();
  for (const auto& part : request.parts) {
    constexpr int no_connection = 107, no_room = 28, other_error = 5;
    NexusSnapshotOutcome::Part done;
    done.replica = part.replica;
    const auto child = std::find_if(n->children.begin(), n->children.end(),
                                    [&](const Child& c) { return c.replica == part.replica; });
    Machine* owner = reach(m, child->uri) != nullptr ? home_of(m, child->uri) : nullptr;
    NewReplicaSnapshot one;
    one.replica = part.replica;
    one.snapshot = part.snapshot;
    one.name = request.name;
    one.entity_id = request.entity_id;
    one.transaction = request.transaction;
    done.sys_errno = no_connection;
    if (owner != nullptr) {
      const auto made = create_snapshot(*owner, one);
      const bool full = !made.ok() && kind_of(made.error()) == Kind::resource_exhausted;
      done.sys_errno = made.ok() ? 0 : full ? no_room : other_error;
    }
    outcome.parts.push_back(done);
  }
  return outcome;
}

}  // namespace holdfast::control::fake
