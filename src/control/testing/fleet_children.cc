// Children of the model's nexuses: reached, opened, taken out; rebuilds.
#include <algorithm>

#include <fmt/format.h>

#include "control/testing/fleet.h"

namespace holdfast::control::fake {
namespace {

// The text between two others; empty when they are not there.
std::string_view between(std::string_view text, std::string_view from, std::string_view to) {
  const auto begin = text.find(from);
  if (begin == std::string_view::npos) return {};
  text.remove_prefix(begin + from.size());
  return text.substr(0, text.find(to));
}

std::optional<Uuid> uuid_of(const std::string& uri) {
  auto parsed = Uuid::parse(between(uri, "uuid=", "&"));
  if (!parsed.ok()) return std::nullopt;
  return parsed.value();
}

}  // namespace

Machine* Fleet::home_of(Machine& from, const std::string& uri) noexcept {
  return uri.starts_with("bdev:///") ? &from : machine_at(between(uri, "nvmf://", ":"));
}

Copy* Fleet::reach(Machine& from, const std::string& uri, Pool** in) {
  Pool* pool = nullptr;
  Copy* copy = find_child_copy(from, uri, &pool);
  if (in != nullptr) *in = pool;
  return copy != nullptr && !pool->stalled ? copy : nullptr;
}

Copy* Fleet::find_child_copy(Machine& from, const std::string& uri, Pool** in) {
  const auto uuid = uuid_of(uri);
  if (!uuid || !from.running) return nullptr;
  if (uri.starts_with("bdev:///")) {
    Copy* copy = from.find(*uuid, in);
    return copy != nullptr && !copy->is_snapshot ? copy : nullptr;
  }
  Machine* to = home_of(from, uri);
  if (to == nullptr || !to->running || cuts_.contains(std::minmax(from.node, to->node))) return nullptr;
  Copy* copy = to->find(*uuid, in);
  if (copy == nullptr || copy->is_snapshot || copy->share != Protocol::nvmf) return nullptr;
  const auto& hosts = copy->allowed_hosts;
  const bool allowed = hosts.empty() || std::find(hosts.begin(), hosts.end(), from.nqn) != hosts.end();
  return allowed ? copy : nullptr;
}

Status Fleet::open_child(Machine& m, Nexus& n, Child& c) {
  const auto uuid = uuid_of(c.uri);
  if (!uuid) return refused(m, Kind::invalid_argument, fmt::format("child '{}': no uuid", c.uri));
  Copy* copy = reach(m, c.uri);
  if (copy == nullptr)
    return refused(m, Kind::invalid_argument, fmt::format("child '{}' cannot be opened", c.uri));
  if (copy->size_bytes < n.size_bytes)
    return refused(m, Kind::invalid_argument, fmt::format("child '{}' is too small", c.uri));
  for (const auto& [node, owner] : machines_) {
    if (is_filled(owner, *uuid))
      return refused(m, Kind::invalid_argument, fmt::format("child '{}' is being filled", c.uri));
  }
  for (const auto& [id, other] : m.nexuses) {
    const bool claims = id != n.request.nexus && !other.stopped &&
                        std::any_of(other.children.begin(), other.children.end(),
                                    [&](const Child& o) { return o.open && o.uri == c.uri; });
    if (claims)
      return refused(m, Kind::invalid_argument,
                     fmt::format("child '{}' is in use by {}", c.uri, id.to_string()));
  }
  if (n.request.reservation_key == 0 && !copy->holder.is_nil() && copy->holder != n.run)
    return refused(m, Kind::invalid_argument, fmt::format("child '{}' is reserved by another host", c.uri));
  if (n.request.reservation_key != 0) copy->holder = n.run;
  copy->volume = n.request.name;
  c.replica = *uuid;
  c.open = true;
  c.silent_since.reset();
  c.suspended = false;
  c.reason = ChildReason::none;
  return Status();
}

void Fleet::child_failed(Nexus& n, Child& c, ChildReason reason) {
  if (c.in_sync && n.in_sync() == 1 && !c.suspended) {
    c.suspended = true;  // never the last one: what it has is waited for
    c.faulted_at = unix_now();
    return;
  }
  if (c.suspended) return;
  if (c.rebuild) end_rebuild(n, c, RebuildStatus::failed);
  const bool was_healthy = c.healthy;
  c.has_log = c.in_sync;
  c.since = 0;
  c.open = c.in_sync = c.healthy = false;
  c.reason = reason;
  c.faulted_at = unix_now();
  if (was_healthy) record(n, false).ignore("it is tried again; meanwhile nothing is acknowledged");
}

Result<NexusState> Fleet::add_child(Machine& m, const Uuid& nexus, const std::string& uri, bool rebuild,
                                    std::uint32_t in_sync_through) {
  HF_TRY(Nexus * n, find_nexus(m, nexus));
  HF_CHECK(usable(*n));
  if (find_child(*n, uri) != nullptr) return nexus_state(m, *n);
  const auto uuid = uuid_of(uri);
  for (const Child& c : n->children) {
    if (uuid && c.replica == *uuid)
      return refused(m, Kind::invalid_argument, fmt::format("'{}' and '{}' have the same uuid", c.uri, uri));
  }
  Child c;
  c.uri = uri;
  HF_CHECK(open_child(m, *n, c));
  const std::string replica = c.replica.to_string();
  c.since = in_sync_through;
  c.has_log = in_sync_through != 0;
  n->children.push_back(std::move(c));
  std::erase_if(n->former, [&](const nexus::ChildRecord& r) { return r.uuid == replica; });
  const Status recorded = record(*n, false);
  if (!recorded.ok()) {
    n->children.pop_back();
    HF_CHECK(usable(*n));
    return recorded.error();
  }
  if (rebuild) begin_rebuild(*n, n->children.back());
  return nexus_state(m, *n);
}

Result<NexusState> Fleet::remove_child(Machine& m, const Uuid& nexus, const std::string& uri) {
  HF_TRY(Nexus * n, find_nexus(m, nexus));
  HF_CHECK(usable(*n));
  Child* c = find_child(*n, uri);
  if (c == nullptr) return nexus_state(m, *n);
  const bool last = n->children.size() == 1 || n->in_sync() - (c->open && c->in_sync && !c->suspended) == 0;
  if (last)
    return refused(m, Kind::failed_precondition, fmt::format("child '{}' is the last healthy child", uri));
  if (c->rebuild) end_rebuild(*n, *c, RebuildStatus::stopped);
  Copy* copy = c->open ? reach(m, uri) : nullptr;
  if (copy != nullptr && copy->holder == n->run) copy->holder = Uuid();
  const Child removed = *c;
  n->children.erase(n->children.begin() + (c - n->children.data()));
  const Status recorded = record(*n, false);
  if (recorded.ok()) return nexus_state(m, *n);
  n->children.push_back(removed);  // out of service, and still a child until the record says otherwise
  n->children.back().open = n->children.back().in_sync = n->children.back().healthy = false;
  n->children.back().reason = ChildReason::closed;
  HF_CHECK(usable(*n));
  return recorded.error();
}

Result<NexusState> Fleet::online_child(Machine& m, const Uuid& nexus, const std::string& uri) {
  HF_TRY(Nexus * n, find_nexus(m, nexus));
  HF_CHECK(usable(*n));
  Child* c = find_child(*n, uri);
  if (c == nullptr) return refused(m, Kind::not_found, "no such child: " + uri);
  if (c->open) {
    if (!c->in_sync && !c->rebuild) begin_rebuild(*n, *c);
    return nexus_state(m, *n);
  }
  if (c->for_good) return refused(m, Kind::failed_precondition, fmt::format("child '{}' left for good", uri));
  const bool log = c->has_log;
  const ChildReason reason = c->reason;
  const Status opened = open_child(m, *n, *c);
  if (!opened.ok()) {
    c->reason = reason;
    return opened.error();
  }
  c->has_log = log;
  begin_rebuild(*n, *c);
  return nexus_state(m, *n);
}

Result<NexusState> Fleet::fault_child(Machine& m, const Uuid& nexus, const std::string& uri, bool for_good) {
  HF_TRY(Nexus * n, find_nexus(m, nexus));
  HF_CHECK(usable(*n));
  Child* c = find_child(*n, uri);
  if (c == nullptr) return refused(m, Kind::not_found, "no such child: " + uri);
  if (c->open) {
    if (n->in_sync() - (c->in_sync && !c->suspended) == 0)
      return refused(m, Kind::failed_precondition, fmt::format("child '{}' is the last healthy child", uri));
    child_failed(*n, *c, ChildReason::by_client);
  }
  c->reason = ChildReason::by_client;
  c->for_good = c->for_good || for_good;
  return nexus_state(m, *n);
}

// ---- rebuilds

Copy* Fleet::source_of(Machine& m, Nexus& n) {
  for (const Child& c : n.children) {
    Copy* copy = c.open && c.in_sync && !c.suspended ? reach(m, c.uri) : nullptr;
    if (copy != nullptr) return copy;
  }
  return nullptr;
}

void Fleet::begin_rebuild(Nexus& n, Child& c) {
  const auto seconds =
      static_cast<double>(n.size_bytes) / static_cast<double>(options_.rebuild_bytes_per_second);
  Rebuild job;
  job.started = now_;
  job.partial = c.has_log;
  job.ends =
      now_ + (c.has_log ? options_.partial_rebuild : Nanos(static_cast<std::int64_t>(seconds * 1e9)) + 10ms);
  c.rebuild = job;
  c.has_log = false;
}

RebuildRecord Fleet::rebuild_record(const Nexus& n, const Child& c) const {
  RebuildRecord r;
  r.child_uri = c.uri;
  r.status = c.rebuild->paused ? RebuildStatus::paused : RebuildStatus::rebuilding;
  r.block_bytes = 512;
  r.blocks_total = r.blocks_remaining = n.size_bytes / r.block_bytes;
  r.partial = c.rebuild->partial;
  r.started = unix_base + c.rebuild->started.count();
  return r;
}

void Fleet::end_rebuild(Nexus& n, Child& c, RebuildStatus how) {
  RebuildRecord r = rebuild_record(n, c);
  r.status = how;
  r.ended = unix_now();
  if (how == RebuildStatus::completed) r.blocks_recovered = r.blocks_transferred = r.blocks_total;
  r.blocks_remaining = r.blocks_total - r.blocks_recovered;
  n.history.push_back(std::move(r));
  c.rebuild.reset();
}

// What was written later than that. False: there is no room for it; some of it was copied all the same.
bool Fleet::copy_all(const Content& from, Pool& pool, Copy& to, std::uint64_t since) {
  for (unsigned r = 0; r < region_count; ++r) {
    const bool had_it = since != 0 && from[r] <= since && to.content[r] <= since;
    if (from[r] == to.content[r] || had_it) continue;
    if (!allocate(pool, to, r)) return false;
    to.content[r] = from[r];
  }
  return true;
}

void Fleet::finish_rebuild(Machine& m, Nexus& n, Child& c) {
  Pool* pool = nullptr;
  Copy* to = reach(m, c.uri, &pool);
  const Copy* from = source_of(m, n);
  if (to == nullptr || from == nullptr) return;  // it waits for its source
  if (!copy_all(from->content, *pool, *to, c.since)) {
    child_failed(n, c, ChildReason::out_of_space);
    return;
  }
  c.healthy = true;
  const bool unrecorded = n.unrecorded;
  const Status recorded = record(n, false);
  if (!recorded.ok()) {  // in sync once the record says so
    c.healthy = false;
    n.unrecorded = unrecorded;
    return;
  }
  c.in_sync = true;
  c.since = 0;
  if (to->content != from->content)
    violated(fmt::format("replica {} is taken for one in sync, and differs", c.replica.to_string()));
  end_rebuild(n, c, RebuildStatus::completed);
}

Status Fleet::start_rebuild(Machine& m, const Uuid& nexus, const std::string& uri) {
  HF_TRY(Nexus * n, find_nexus(m, nexus));
  HF_CHECK(usable(*n));
  Child* c = find_child(*n, uri);
  if (c == nullptr) return refused(m, Kind::not_found, "no such child: " + uri);
  if (c->rebuild) return Status();
  if (!c->open || c->in_sync)
    return refused(m, Kind::failed_precondition, "there is nothing to rebuild: " + uri);
  begin_rebuild(*n, *c);
  return Status();
}

Result<Child*> Fleet::rebuilt_child(Machine& m, const Uuid& nexus, const std::string& uri) {
  HF_TRY(Nexus * n, find_nexus(m, nexus));
  Child* c = find_child(*n, uri);
  if (c == nullptr || !c->rebuild) return refused(m, Kind::not_found, "no rebuild of " + uri);
  return c;
}

Status Fleet::stop_rebuild(Machine& m, const Uuid& nexus, const std::string& uri) {
  HF_TRY(Child * c, rebuilt_child(m, nexus, uri));
  end_rebuild(m.nexuses.at(nexus), *c, RebuildStatus::stopped);
  return Status();
}

Status Fleet::pause_rebuild(Machine& m, const Uuid& nexus, const std::string& uri, bool paused) {
  HF_TRY(Child * c, rebuilt_child(m, nexus, uri));
  Rebuild& job = *c->rebuild;
  if (!paused && job.paused) job.ends += now_ - *job.paused;
  if (paused != job.paused.has_value()) job.paused = paused ? std::optional(now_) : std::nullopt;
  return Status();
}

Result<RebuildRecord> Fleet::rebuild(Machine& m, const Uuid& nexus, const std::string& uri) {
  HF_TRY(const Child* c, rebuilt_child(m, nexus, uri));
  return rebuild_record(m.nexuses.at(nexus), *c);
}

}  // namespace holdfast::control::fake
