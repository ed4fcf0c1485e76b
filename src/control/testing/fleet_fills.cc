// Fills of the model: new replicas that get copies of snapshots.
#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "control/testing/fleet.h"

namespace holdfast::control::fake {
namespace {

const NewFill::Copy* wanted(const NewFill& request, const Uuid& snapshot) {
  for (const NewFill::Copy& c : request.copies) {
    if (c.from == snapshot) return &c;
  }
  return nullptr;
}

bool same(const NewFill& a, const NewFill& b) {
  const auto equal = [](const NewFill::Copy& x, const NewFill::Copy& y) {
    return x.from == y.from && x.to == y.to && x.name == y.name;
  };
  return a.source == b.source && a.source_endpoint == b.source_endpoint &&
         std::equal(a.copies.begin(), a.copies.end(), b.copies.begin(), b.copies.end(), equal);
}

}  // namespace

bool Fleet::is_child(const Uuid& replica) const {
  for (const auto& [node, m] : machines_) {
    for (const auto& [id, n] : m.nexuses) {
      for (const Child& c : n.children) {
        if (c.open && c.replica == replica) return true;
      }
    }
  }
  return false;
}

bool Fleet::is_filled(const Machine& m, const Uuid& replica) const {
  const auto job = m.fills.find(replica);
  return job != m.fills.end() && job->second.state.status == FillStatus::running;
}

Status Fleet::start_fill(Machine& m, const NewFill& request) {
  const auto there = m.fills.find(request.replica);
  if (there != m.fills.end() && there->second.state.status == FillStatus::running) {
    if (same(there->second.request, request)) return Status();
    return refused(m, Kind::already_exists, request.replica.to_string() + " is being filled already");
  }
  HF_TRY(const Copy* copy, need_copy(m, request.replica, false, nullptr));
  if (copy->share != Protocol::none || is_child(request.replica))
    return refused(m, Kind::failed_precondition, request.replica.to_string() + " is in use");
  Fill job;
  job.request = request;
  job.volume = copy->volume;
  job.state.source = request.source;
  job.next = now_ + options_.fill_step;
  m.fills[request.replica] = std::move(job);
  return Status();
}

Result<std::optional<FillState>> Fleet::fill(Machine& m, const Uuid& replica) {
  const auto job = m.fills.find(replica);
  if (job == m.fills.end()) return std::optional<FillState>();
  return std::optional<FillState>(job->second.state);
}

Status Fleet::end_fill(Machine& m, const Uuid& replica) {
  m.fills.erase(replica);
  return Status();
}

void Fleet::advance_fill(Machine& m, Fill& job) {
  if (!m.running || job.state.status != FillStatus::running || now_ < job.next) return;
  job.next = now_ + options_.fill_step;
  const auto more = fill_one(m, job);
  if (more.ok() && more.value()) return;
  job.state.status = more.ok() ? FillStatus::successful : FillStatus::failed;
  if (!more.ok()) failed_fills_.insert(job.volume);
  if (!more.ok()) job.state.error = more.error().message();
}

// One copy, or the end: whether there is more to do.
Result<bool> Fleet::fill_one(Machine& m, Fill& job) {
  const auto address =
      std::string_view(job.request.source_endpoint).substr(0, job.request.source_endpoint.find(':'));
  Machine* from = machine_at(address);
  if (from == nullptr || !from->running || cuts_.contains(std::minmax(m.node, from->node)))
    return refused(m, Kind::unavailable, job.request.source_endpoint + " does not answer");
  Pool *pool = nullptr, *source_pool = nullptr;
  HF_TRY(Copy * to, need_copy(m, job.request.replica, false, &pool));
  HF_TRY(const Copy* source, need_copy(*from, job.request.source, false, &source_pool));
  std::vector<const Copy*> chain;
  for (const auto& [uuid, copy] : source_pool->copies) {
    const bool fits =
        copy.is_snapshot && copy.made_of == source->uuid && wanted(job.request, uuid) != nullptr;
    if (fits) chain.push_back(&copy);
  }
  std::sort(chain.begin(), chain.end(), [](const Copy* a, const Copy* b) { return a->taken < b->taken; });
  std::size_t present = chain.size();
  while (present > 0 && !pool->copies.contains(wanted(job.request, chain[present - 1]->uuid)->to)) --present;
  const std::optional<Uuid> newest = present > 0 ? std::optional(chain[present - 1]->uuid) : std::nullopt;
  if (!job.begun) {
    if (to->epoch != 0) return refused(m, Kind::failed_precondition, to->name + " has been part of a mirror");
    to->content = newest ? chain[present - 1]->content : Content{};
    job.begun = true;
  } else if (job.holds != newest) {
    return refused(m, Kind::failed_precondition, "a snapshot was deleted while it was being copied");
  }
  job.holds = newest;
  if (present == chain.size()) {
    to->size_bytes = source->size_bytes;
    if (newest) job.state.in_sync_through = static_cast<std::uint32_t>(chain[present - 1]->written_through);
    return false;
  }
  const Copy next = *chain[present];
  if (!copy_all(next.content, *pool, *to, 0))
    return refused(m, Kind::resource_exhausted, fmt::format("pool '{}' has no room", pool->id));
  NewReplicaSnapshot made;
  made.replica = to->uuid;
  made.snapshot = wanted(job.request, next.uuid)->to;
  made.name = wanted(job.request, next.uuid)->name;
  made.entity_id = next.entity_id;
  made.transaction = next.transaction;
  to->size_bytes = next.size_bytes;
  HF_TRY(const SnapshotState done, create_snapshot(m, made));
  Copy& copy = pool->copies.at(done.uuid);
  copy.taken = next.taken;
  copy.written_through = next.written_through;
  job.holds = next.uuid;
  return true;
}

}  // namespace holdfast::control::fake
