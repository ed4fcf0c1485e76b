// Opening a nexus and its children.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/log.h"
#include "block/uri.h"
#include "nexus/device_events.h"
#include "nexus/layout.h"

namespace holdfast::nexus {
namespace {

bool is_local(const Uri& uri) noexcept { return !uri.scheme.starts_with("nvmf"); }
bool is_alias(const Uri& uri) noexcept { return uri.scheme == "bdev" || uri.scheme == "loopback"; }

Status check_params(const NexusParams& params) {
  if (params.children.empty())
    return Error(Errc::invalid_argument, "a nexus needs at least one child; give one child URI or more");
  if (params.children.size() > children_max) {
    return Error(Errc::invalid_argument, fmt::format("{} children are too many; a nexus has at most {}",
                                                     params.children.size(), children_max));
  }
  for (std::size_t i = 0; i < params.children.size(); ++i) {
    const auto& uri = params.children[i];
    if (std::count(params.children.begin(), params.children.end(), uri) > 1)
      return Error(Errc::invalid_argument, fmt::format("child '{}' is given twice", uri));
  }
  return Status();
}

// To copy from after an unclean end: one that can tell what has changed, then one on this machine.
bool is_better_source(const Child& a, const Child& b) noexcept {
  if ((a.epochs != nullptr) != (b.epochs != nullptr)) return a.epochs != nullptr;
  return a.local && !b.local;
}

// An epoch is sealed once the next one was announced.
std::uint64_t told_by(std::uint64_t sealed) noexcept {
  return sealed == 0 ? 0 : std::max(sealed, sealed + 1);
}

}  // namespace

Record Control::wanted_record() const {
  Record r;
  r.clean_shutdown = clean_;
  r.epoch = epoch_;
  for (const auto& c : children_) {
    if (c->removing) continue;
    r.children.push_back({c->uuid, c->recorded_healthy, c->recorded_healthy ? sealed_ : c->in_sync_through});
  }
  r.children.insert(r.children.end(), former_.begin(), former_.end());
  return r;
}

Task<Status> Control::open(Nexus& device) {
  // Before the first rebuilds nobody starts another.
  const Semaphore::Permit turn = co_await ops_.acquire();
  device_ = &device;
  Status opened = co_await open_first_time();
  if (opened.ok()) {
    open_ = true;
    co_await start_tasks();
    changed(nullptr);
    co_return opened;
  }
  stopping_ = true;
  stop_.request_stop();
  co_await keeper_.stop();
  co_await stop_cores();
  co_await close_children();
  co_await scope_.join();  // a child that failed meanwhile may still be leaving
  children_.clear();
  co_return opened.error().with_context(fmt::format("{} was not created", label()));
}

Task<Status> Control::open_first_time() {
  HF_CO_CHECK(check_params(params_));
  HF_CO_CHECK(check(params_.reservation));
  std::vector<ChildGeometry> geometries;
  for (const auto& uri : params_.children) {
    children_.push_back(std::make_unique<Child>(home_, uri, ChildKey{next_key_++}));
    Child& c = *children_.back();
    const Status opened = co_await open_device(c);
    if (!opened.ok()) co_return of_child(opened.error());
    geometries.push_back(c.geometry());
  }
  HF_CO_TRY(const std::uint64_t blocks, volume_blocks(geometries, params_.size_bytes));
  geometry_.block_count = blocks;
  shape();
  HF_CO_CHECK(co_await choose_in_sync());
  const std::uint32_t block_bytes = geometry_.block_bytes;
  const Volume volume{block_bytes, blocks, data_start_block(block_bytes)};
  for (Reactor* core : cores_) {
    states_.push_back(std::make_unique<CoreState>(*core, home_, *this, volume, options_));
  }
  for (const auto& c : children_) {
    const Status opened = co_await open_channels(*c);
    if (!opened.ok()) co_return of_child(opened.error());
  }
  const bool any_lost =
      std::any_of(children_.begin(), children_.end(), [](const auto& c) { return c->lost; });
  if (any_lost) HF_CO_CHECK(co_await record_losses());
  HF_CO_CHECK(co_await open_epochs());
  for (const auto& c : children_) {
    const Mode behind = c->catching_up ? Mode::catching_up : Mode::rebuilding;
    co_await attach(*c, c->recorded_healthy ? Mode::in_sync : behind);
    if (!c->catching_up) continue;
    // Copies: what home knows of the child may change before a core has looked at it.
    const ChildId id = c->id;
    std::vector<DirtyMap> behind_at;
    for (unsigned i = 0; i < cores_.count(); ++i) behind_at.push_back(c->missed->copy());
    auto tell = [&](CoreState& s) { s.set_behind(id, std::move(behind_at[s.reactor().core()])); };
    co_await tell_cores(tell);
  }
  // What the run before wrote may still be in the caches of those that are in sync.
  if (unsettled_) home_state().unsettle();
  // Fenced meanwhile, maybe before there were cores to tell: then the record is the newer one's.
  HF_CO_CHECK(usable());
  const Status recorded = co_await keeper_.persist(home_.now() + options_.hold_timeout);
  if (recorded.code() == Errc::timed_out) {
    co_return Error(Errc::not_connected, recorded.error().message() + "; try again when it answers");
  }
  if (!recorded.ok()) co_return recorded.error();
  co_return usable();
}

// A record tells who has every acknowledged write. After an unclean end its healthy children may differ in
// writes that were never acknowledged, so one of them is taken and copied to the others.
Task<Status> Control::choose_in_sync() {
  auto loaded = co_await keeper_.load();
  if (loaded.code() == Errc::io_error)  // of the store: it can be tried again
    co_return Error(Errc::not_connected, loaded.error().message());
  HF_CO_TRY(const auto record, std::move(loaded));
  if (!record) {
    for (const auto& c : children_) c->recorded_healthy = true;
    co_return Status();
  }
  unsettled_ = !record->clean_shutdown;
  Child* source = nullptr;
  for (const auto& c : children_) {
    const ChildRecord* known = record->find(c->uuid);
    if (known == nullptr) continue;
    c->in_sync_through = known->in_sync_through;
    if (lost_its_past(*c, told_by(known->in_sync_through))) {
      c->in_sync_through = 0;
      c->lost = true;
      continue;
    }
    if (!known->healthy) continue;
    c->recorded_healthy = true;
    sealed_ = std::max(sealed_, c->epochs != nullptr ? c->epoch_state.sealed : 0);
  }
  // The record may be older than the last seal: whoever was in sync then had been told the next epoch.
  for (const auto& c : children_) {
    if (!c->recorded_healthy) continue;
    if (lost_its_past(*c, told_by(sealed_))) {
      c->recorded_healthy = false;
      c->in_sync_through = 0;
      c->lost = true;
    } else if (source == nullptr || is_better_source(*c, *source)) {
      source = c.get();
    }
  }
  if (source == nullptr) {
    std::vector<std::string> named_healthy;
    for (const auto& c : record->children) {
      if (c.healthy) named_healthy.push_back(c.uuid);
    }
    co_return Error(Errc::failed_precondition,
                    fmt::format("none of the children given is healthy in the membership record '{}' and has "
                                "what was written to it; it calls these healthy: {}. Give one of them",
                                keeper_.key(), fmt::join(named_healthy, ", ")));
  }
  keep_former(*record);
  for (const auto& c : children_) {
    if (c.get() == source) continue;
    if (c->recorded_healthy && !record->clean_shutdown) HF_CO_CHECK(co_await doubt_healthy(*c, *source));
    const bool tells = c->epochs != nullptr && c->epoch_state.current > c->in_sync_through;
    if (!c->recorded_healthy && tells && c->in_sync_through > 0) {
      c->since = static_cast<std::uint32_t>(c->in_sync_through);
    }
  }
  co_return Status();
}

// After an unclean end. It has every acknowledged write, as the source has, but perhaps others, too: in regions of
// epochs that were not sealed. Without epochs these may be anywhere.
Task<Status> Control::doubt_healthy(Child& c, Child& source) {
  const bool both_tell = c.epochs != nullptr && source.epochs != nullptr && c.epoch_state.current > sealed_ &&
                         source.epoch_state.current > sealed_;
  if (!both_tell) {
    c.recorded_healthy = false;
    c.in_sync_through = 0;
    co_return Status();
  }
  DirtyMap differs(geometry_.block_bytes, geometry_.block_count);
  HF_CO_CHECK(co_await add_changes(c, source, sealed_, differs));
  if (differs.empty()) co_return Status();
  c.missed = std::move(differs);
  c.since = sealed_;
  c.catching_up = true;
  c.recorded_healthy = false;
  c.in_sync_through = sealed_;
  co_return Status();
}

// Children that were not given now: they may be added later. Whoever the record calls healthy was in sync when the
// last epoch was sealed.
void Control::keep_former(const Record& record) {
  for (const ChildRecord& r : record.children) {
    const bool given =
        std::any_of(children_.begin(), children_.end(), [&](const auto& c) { return c->uuid == r.uuid; });
    if (given || former_.size() == children_max) continue;
    ChildRecord kept = r;
    kept.in_sync_through = r.healthy ? sealed_ : r.in_sync_through;
    kept.healthy = false;
    if (kept.in_sync_through > 0) former_.push_back(std::move(kept));
  }
}

Task<Status> Control::open_device(Child& c) {
  const std::string context = fmt::format("child '{}'", c.uri);
  auto parsed = Uri::parse(c.uri);
  if (!parsed.ok()) co_return parsed.error().with_context(context);
  const Uri& uri = parsed.value();
  BlockDevice* device = registry_.find(c.uri);
  const bool existed = device != nullptr;
  auto made = co_await registry_.create(c.uri);
  if (made.ok()) {
    device = made.value();
  } else if (made.code() != Errc::already_exists || device == nullptr) {
    co_return made.error().with_context(context);
  }
  for (const auto& other : children_) {
    if (other.get() != &c && other->device == device) {
      co_return Error(Errc::invalid_argument, fmt::format("children '{}' and '{}' are the same device; give "
                                                          "each once",
                                                          other->uri, c.uri));
    }
  }
  const auto given = uri.query.find("uuid");
  const std::string uuid = given != uri.query.end() ? given->second : device->identity().uuid.to_string();
  const bool ours = !existed && !is_alias(uri);
  const DeviceUse use = params_.reservation.wanted() ? DeviceUse::guarded : DeviceUse::sole;
  auto claim = registry_.claim(*device, label(), use);
  if (!claim.ok()) {
    if (ours) (co_await registry_.destroy(device->name())).ignore("the claim's error is told");
    co_return claim.error().with_context(context);
  }
  c.claim = std::move(claim).value();
  c.device = device;
  c.device_is_ours = ours;
  c.local = is_local(uri);
  c.id = ChildId{next_id_++};
  c.attached.reset();
  events_.push_back(std::make_unique<DeviceEvents>(*this, c.id));
  device->subscribe(*events_.back());
  if (device->capabilities().read_only)
    co_return Error(Errc::invalid_argument, context + " is read-only; give a device that can be written");
  for (const auto& other : children_) {
    if (other.get() != &c && other->uuid == uuid) {
      co_return Error(Errc::invalid_argument,
                      fmt::format("children '{}' and '{}' have the same uuid {}", other->uri, c.uri, uuid));
    }
  }
  if (!c.uuid.empty() && c.uuid != uuid) {
    co_return Error(Errc::invalid_argument,
                    fmt::format("{} has now uuid {}, it had {}: another device is there; remove the child "
                                "and add it anew",
                                context, uuid, c.uuid));
  }
  c.uuid = uuid;
  const Status reserved = co_await reserve(c);
  if (!reserved.ok()) co_return reserved.error().with_context(context);
  const Status epochs = co_await read_epochs(c);
  if (!epochs.ok()) co_return epochs.error().with_context(context);
  co_return Status();
}

namespace {

// A local child is reached through the guard of its device, as every host is that it is exported to.
Task<Result<std::unique_ptr<Channel>>> open_child_channel(const Child& c, Uuid host, Reactor& core) {
  if (c.guard == nullptr) return c.device->open_channel(core);
  return open_guarded_channel(*c.device, *c.guard, host, core);
}

}  // namespace

Task<Status> Control::open_channels(Child& c) {
  const Capabilities can = c.device->capabilities();
  // To another target than ours it is a hint, whatever a block reads as that was deallocated.
  const bool reads_zero = c.device->geometry().deallocated_reads_zero && (c.local || c.epochs != nullptr);
  std::vector<std::optional<Error>> failures(cores_.count());
  auto there = [&](Reactor& core) -> Task<void> {
    auto channel = co_await open_child_channel(c, options_.host_id, core);
    if (!channel.ok()) {
      failures[core.core()] = channel.error();
      co_return;
    }
    state_of(core).open(
        std::make_unique<CoreChild>(core, c.id, std::move(channel).value(), can, reads_zero, c.local));
  };
  co_await run_on_all(home_, cores_, there);
  for (const auto& failure : failures) {
    if (failure) co_return failure->with_context(fmt::format("channel to child '{}'", c.uri));
  }
  co_return Status();
}

Task<void> Control::attach(Child& c, Mode mode) {
  const auto subscribed =
      std::find_if(events_.begin(), events_.end(), [&](const auto& e) { return e->id() == c.id; });
  DeviceEvents& events = **subscribed;
  events.expect_use();
  std::vector<DirtyMap> missed(cores_.count());
  auto join_lists = [&](CoreState& s) { missed[s.reactor().core()] = s.attach(c.id, c.key, mode); };
  co_await tell_cores(join_lists);
  if (c.missed) {
    for (const auto& m : missed) c.missed->merge(m);
  }
  c.phase = Phase::open;
  c.in_sync = mode == Mode::in_sync;
  c.suspended = false;
  c.attached.set();
  c.fault.reset();
  events.tell_all();
  // It may have been taken again before anybody listened.
  if (c.reserved && c.guard == nullptr) scope_.spawn(check_reservation(c.id));
}

void Control::shape() {
  geometry_.block_bytes = children_.front()->device->geometry().block_bytes;
  geometry_.deallocated_reads_zero = true;
  geometry_.buffer_alignment = geometry_.block_bytes;
  geometry_.atomic_write_blocks = ~std::uint32_t{0};
  capabilities_.flush = true;
  capabilities_.write_zeroes = true;
  capabilities_.deallocate = true;
  capabilities_.compare = true;
  capabilities_.volatile_cache = true;  // of a child that comes later, perhaps; others are not flushed
  for (const auto& c : children_) {
    const Geometry& g = c->device->geometry();
    geometry_.optimal_io_blocks = std::max(geometry_.optimal_io_blocks, g.optimal_io_blocks);
    geometry_.atomic_write_blocks = std::min(geometry_.atomic_write_blocks, g.atomic_write_blocks);
    geometry_.buffer_alignment = std::max(geometry_.buffer_alignment, g.buffer_alignment);
  }
}

Task<void> Control::start_tasks() {
  for (const auto& c : children_) {
    if (!c->in_sync) co_await launch_rebuild(*c);
  }
  if (unsettled_) writes_began();
}

}  // namespace holdfast::nexus
