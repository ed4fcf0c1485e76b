#include "engine/replica_rebuilds.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "base/log.h"
#include "base/units.h"
#include "base/zeroes.h"
#include "block/leaf_device.h"
#include "engine/engine.h"
#include "engine/naming.h"
#include "engine/nexus_messages.h"
#include "engine/peer_engine.h"
#include "engine/pool_messages.h"
#include "engine/replica_operations.h"
#include "engine/used_device.h"
#include "rt/stop.h"

namespace holdfast::engine {
namespace {

constexpr std::uint64_t piece_bytes = MiB;
constexpr std::uint64_t unit_bytes = pool::block_bytes;  // in which pools tell differences

Error odd(const std::string& what) {
  return Error(Errc::protocol, "the source's engine gives " + what + " that cannot be");
}

bool has_users(DeviceRegistry& devices, const std::string& name) {
  const auto entry = devices.entries().find(name);
  return entry != devices.entries().end() && !entry->second.users.empty();
}

}  // namespace

// One snapshot of the source.
struct ReplicaRebuilds::Layer {
  Uuid uuid;  // there
  std::string name;
  Uuid copy;  // here
  std::string copy_name;
  std::uint64_t size_bytes = 0;
  pool::Attributes attributes;
};

struct ReplicaRebuilds::Job {
  Job(Reactor& home, const ReplicaRebuildParams& params)
      : peer(home, params.endpoint), buffer(home, piece_bytes), ended(home) {
    view.params = params;
    view.start = home.wall_now();
  }
  ReplicaRebuildView view;
  PeerEngine peer;
  UsedDevice replica, source;
  std::optional<Uuid> holds;  // the snapshot whose content the replica has; nullopt: it is empty
  ScratchBuffer buffer;
  StopSource stop;
  Event ended;

  // An end that does not answer is not waited for.
  void give_up() noexcept {
    stop.request_stop();
    if (source) source.channel().cancel_all();
    if (replica) replica.channel().cancel_all();
  }
};

ReplicaRebuilds::ReplicaRebuilds(Engine& engine)
    : engine_(engine), host_nqn_(node_host_nqn(engine.options().node_name)), scope_(engine.cores().home()) {}

ReplicaRebuilds::~ReplicaRebuilds() { HF_ASSERT(jobs_.empty()); }

Task<Result<ReplicaRebuildView>> ReplicaRebuilds::create(ReplicaRebuildParams params) {
  const Uuid replica = params.replica;
  const auto there = jobs_.find(replica);
  if (there != jobs_.end() && !there->second->ended.is_set()) {
    if (there->second->view.params == params) co_return there->second->view;
    co_return Error(
        Errc::already_exists,
        fmt::format("replica {} is being rebuilt from {} of {} already", replica.to_string(),
                    there->second->view.params.source.to_string(), there->second->view.params.endpoint));
  }
  if (there == jobs_.end() && jobs_.size() >= jobs_max) {
    co_return Error(
        Errc::resource_exhausted,
        fmt::format("there are {} rebuilds of replicas: destroy those that have ended", jobs_max));
  }
  HF_CO_TRY(const auto locked, co_await lock_volume(engine_, "replica", replica));
  const std::string& name = locked.volume.spec.name;
  if (is_snapshot(locked.volume.spec)) {
    co_return Error(Errc::invalid_argument, fmt::format("replica_uuid: '{}' is a snapshot", name));
  }
  if (has_users(engine_.devices(), device_name(*locked.known, locked.volume.spec))) {
    co_return Error(Errc::busy, fmt::format("replica '{}' is in use; end that first", name));
  }
  auto made = std::make_unique<Job>(engine_.cores().home(), params);
  Job& job = *made;
  jobs_[replica] = std::move(made);
  const ReplicaRebuildView view = job.view;
  scope_.spawn(run(job));
  co_return view;
}

Task<void> ReplicaRebuilds::run(Job& job) {
  const Status done = co_await work(job);
  co_await job.source.close();
  co_await job.replica.close();
  job.view.state = done.ok() ? ReplicaRebuildState::successful : ReplicaRebuildState::failed;
  if (!done.ok()) job.view.error = done.error().message();
  job.view.end = engine_.cores().home().wall_now();
  HF_LOG(info, "engine", "rebuild of a replica with its snapshots ended",
         {"replica", job.view.params.replica.to_string()}, {"snapshots", job.view.copied.size()},
         {"error", job.view.error});
  job.ended.set();
}

Task<Status> ReplicaRebuilds::work(Job& job) {
  for (bool begun = false;; begun = true) {
    if (job.stop.stop_requested()) co_return Error(Errc::cancelled, "it was destroyed");
    HF_CO_TRY(const Chain chain, co_await chain_of_source(job));
    job.view.snapshots = chain.size();
    const std::size_t present = count_present(job, chain);
    const Layer* newest = present == 0 ? nullptr : &chain[present - 1];
    if (!begun) HF_CO_CHECK(co_await begin(job, newest));
    if (job.holds != (newest == nullptr ? std::nullopt : std::optional<Uuid>(newest->uuid))) {
      co_return Error(Errc::failed_precondition,
                      "a snapshot was deleted while it was being copied; repeat the request");
    }
    if (present == chain.size()) co_return co_await finish(job, newest);
    HF_CO_CHECK(co_await copy_layer(job, newest, chain[present]));
  }
}

// Snapshots that are made while the job runs come with the next look.
Task<Result<ReplicaRebuilds::Chain>> ReplicaRebuilds::chain_of_source(Job& job) {
  HF_CO_TRY(const auto found, co_await job.peer.snapshots(job.view.params.source));
  const auto& all = job.view.params.wanted;
  Chain chain;
  for (const auto& s : found) {
    Layer& layer = chain.emplace_back();
    HF_CO_TRY(layer.uuid, to_uuid("snapshot_uuid", s.snapshot_uuid()));
    layer.name = s.snapshot_name();
    layer.copy = layer.uuid;
    layer.copy_name = layer.name;
    const auto wanted =
        std::find_if(all.begin(), all.end(), [&](const auto& w) { return w.source == layer.uuid; });
    if (wanted == all.end() && !all.empty()) {
      chain.pop_back();
      continue;
    }
    if (wanted != all.end()) {
      layer.copy = wanted->uuid;
      if (!wanted->name.empty()) layer.copy_name = wanted->name;
    }
    HF_CO_CHECK(check_name("snapshot name", layer.copy_name));
    layer.size_bytes = s.source_size();
    if (layer.size_bytes == 0) co_return odd("a snapshot of no size");
    HF_CO_TRY(const WallTime created, to_wall_time(s.timestamp()));
    layer.attributes[attribute::created] = std::to_string(static_cast<std::uint64_t>(created));
    if (!s.entity_id().empty()) layer.attributes[attribute::entity_id] = s.entity_id();
    if (!s.txn_id().empty()) layer.attributes[attribute::txn_id] = s.txn_id();
  }
  co_return chain;
}

// Up to the newest of them that the replica has.
std::size_t ReplicaRebuilds::count_present(const Job& job, const Chain& chain) const {
  for (std::size_t n = chain.size(); n > 0; --n) {
    const auto found = engine_.pools().find_volume(chain[n - 1].copy);
    if (!found || !is_snapshot(found->volume.spec)) continue;
    if (found->volume.spec.source_uuid == job.view.params.replica) return n;
  }
  return 0;
}

// The replica has the content of `newest` and nothing else, and is the job's.
Task<Status> ReplicaRebuilds::begin(Job& job, const Layer* newest) {
  HF_CO_CHECK(co_await discard_rest(job, newest));
  HF_CO_TRY(const auto locked, co_await lock_volume(engine_, "replica", job.view.params.replica));
  HF_CO_TRY(BlockDevice * device, Pools::device_of(*locked.known, locked.volume.spec));
  HF_CO_CHECK(
      co_await job.replica.open(engine_.devices(), *device, "a rebuild with snapshots", DeviceUse::sole));
  if (newest != nullptr) {
    job.holds = newest->uuid;
    co_return Status();
  }
  HF_CO_TRY(const auto left_over, locked.known->pool->diff(std::nullopt, job.view.params.replica, 0,
                                                           std::numeric_limits<std::size_t>::max()));
  const std::uint64_t block = device->geometry().block_bytes;
  for (const auto& range : left_over) {
    const BlockRange blocks{Lba{range.offset / block}, range.length / block};
    HF_CO_CHECK(co_await job.replica.channel().write_zeroes(blocks, Unmap::yes, Durable::no));
  }
  co_return Status();
}

// A mirror has told the replica of epochs: then it is not to be changed behind the mirror's back, unless it was an
// earlier job that did.
Task<Status> ReplicaRebuilds::discard_rest(Job& job, const Layer* newest) {
  std::uint32_t by_a_job = 0;
  if (newest != nullptr) {
    HF_CO_TRY(const auto epochs, co_await job.peer.epochs(newest->uuid));
    by_a_job = epochs.sealed() + 1;
  }
  const Uuid replica = job.view.params.replica;
  HF_CO_TRY(const auto locked, co_await lock_volume(engine_, "replica", replica));
  const pool::VolumeSpec& spec = locked.volume.spec;
  if (spec.epoch != 0 && spec.epoch != by_a_job) {
    co_return Error(Errc::failed_precondition,
                    fmt::format("replica '{}' has been part of a mirror; create a new one", spec.name));
  }
  if (newest == nullptr) co_return Status();
  pool::Pool& pool = *locked.known->pool;
  HF_CO_TRY(const auto rest, pool.diff(newest->copy, replica, 0, 1));
  if (rest.empty()) co_return Status();
  co_return co_await pool.revert_volume(replica, newest->copy);
}

Task<Status> ReplicaRebuilds::copy_layer(Job& job, const Layer* before, const Layer& wanted) {
  ReplicaRebuildView::Copied& shown = job.view.copied.emplace_back();
  shown.uuid = wanted.copy;
  shown.name = wanted.copy_name;
  HF_CO_CHECK(co_await resize(job, wanted.size_bytes));
  HF_CO_TRY(std::string uri, co_await share(job, wanted));
  Status done = co_await job.source.open(engine_.devices(), std::move(uri), "a rebuild with snapshots",
                                         DeviceUse::guarded);
  if (done.ok()) done = co_await copy_differences(job, before, wanted);
  co_await job.source.close();
  co_await end_share(job, wanted);
  if (!done.ok()) co_return done.error();
  HF_CO_CHECK(co_await make_snapshot(job, wanted));
  job.holds = wanted.uuid;
  co_return Status();
}

Task<Status> ReplicaRebuilds::copy_differences(Job& job, const Layer* before, const Layer& wanted) {
  if (job.source.device().geometry().size_bytes() != wanted.size_bytes) co_return odd("a size");
  const std::optional<Uuid> earlier = before == nullptr ? std::nullopt : std::optional<Uuid>(before->uuid);
  std::uint64_t at = 0;
  for (;;) {
    HF_CO_TRY(const auto page, co_await job.peer.diff(earlier, wanted.uuid, at));
    for (const auto& range : page.ranges()) {
      const bool fits = range.offset() >= at && range.offset() % unit_bytes == 0 && range.length() > 0 &&
                        range.length() % unit_bytes == 0 && range.offset() <= wanted.size_bytes &&
                        range.length() <= wanted.size_bytes - range.offset();
      if (!fits) co_return odd("a range");
      HF_CO_CHECK(co_await copy_range(job, range.offset(), range.length()));
      at = range.offset() + range.length();
    }
    if (!page.has_next_offset()) break;
    if (page.ranges().empty() || page.next_offset() != at) co_return odd("a page");
  }
  co_return co_await job.replica.channel().flush();
}

Task<Status> ReplicaRebuilds::copy_range(Job& job, std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t end = offset + length;
  const std::uint64_t block = job.source.device().geometry().block_bytes;
  while (offset < end) {
    if (job.stop.stop_requested()) co_return Error(Errc::cancelled, "it was destroyed");
    const std::uint64_t bytes = std::min(piece_bytes - offset % piece_bytes, end - offset);
    const IoVec into{job.buffer.data(), bytes};
    HF_CO_CHECK(co_await job.source.channel().read(Lba{offset / block}, IoVecs(&into, 1)));
    HF_CO_CHECK(co_await write_piece(job, offset, job.buffer.data(), bytes));
    job.view.copied.back().bytes += bytes;
    offset += bytes;
  }
  co_return Status();
}

// What is zero takes no room.
Task<Status> ReplicaRebuilds::write_piece(Job& job, std::uint64_t offset, std::byte* data,
                                          std::uint64_t length) {
  const std::uint64_t block = job.replica.device().geometry().block_bytes;
  for (std::uint64_t at = 0; at < length;) {
    const bool zero = is_zero(std::span(data + at, unit_bytes));
    std::uint64_t end = at + unit_bytes;
    while (end < length && is_zero(std::span(data + end, unit_bytes)) == zero) end += unit_bytes;
    const Lba lba{(offset + at) / block};
    const IoVec from{data + at, end - at};
    const BlockRange blocks{lba, (end - at) / block};
    Channel& to = job.replica.channel();
    Task<Status> put = zero ? to.write_zeroes(blocks, Unmap::yes, Durable::no)
                            : to.write(lba, IoVecs(&from, 1), Durable::no);
    HF_CO_CHECK(co_await put);
    at = end;
  }
  co_return Status();
}

Task<Status> ReplicaRebuilds::make_snapshot(Job& job, const Layer& wanted) {
  HF_CO_TRY(const auto unique, co_await engine_.locks().acquire(Pools::lock_key_of_new(wanted.copy)));
  HF_CO_TRY(const auto locked, co_await lock_volume(engine_, "replica", job.view.params.replica));
  HF_CO_CHECK(check_unused(engine_, wanted.copy_name, wanted.copy, locked.known));
  pool::SnapshotParams params;
  params.name = wanted.copy_name;
  params.uuid = wanted.copy;
  params.attributes = wanted.attributes;
  const auto made = co_await locked.known->pool->create_snapshot(job.view.params.replica, std::move(params));
  if (!made.ok()) co_return made.error();
  co_return Status();
}

Task<Status> ReplicaRebuilds::resize(Job& job, std::uint64_t size_bytes) {
  HF_CO_TRY(const auto locked, co_await lock_volume(engine_, "replica", job.view.params.replica));
  HF_CO_CHECK(co_await locked.known->pool->resize_volume(job.view.params.replica, size_bytes));
  const auto now = locked.known->pool->find(job.view.params.replica);
  if (now.ok() && now.value().spec.size_bytes == size_bytes) co_return Status();
  co_return Error(
      Errc::failed_precondition,
      fmt::format("the replica cannot have the source's size, {} bytes: its pool has other clusters",
                  size_bytes));
}

// The URI at which this engine reads a snapshot of the other.
Task<Result<std::string>> ReplicaRebuilds::share(Job& job, const Layer& wanted) {
  HF_CO_TRY(const auto now, co_await job.peer.find(wanted.uuid));
  const bool shared = now.share() == mayastor::v1::ShareProtocol::NVMF;
  std::vector<std::string> hosts(now.allowed_hosts().begin(), now.allowed_hosts().end());
  const bool allowed =
      shared && (hosts.empty() || std::find(hosts.begin(), hosts.end(), host_nqn_) != hosts.end());
  if (allowed) co_return now.uri();
  if (!shared) hosts.clear();
  hosts.push_back(host_nqn_);
  HF_CO_TRY(const auto done, co_await job.peer.share(wanted.uuid, std::move(hosts)));
  co_return done.uri();
}

// Nobody but this engine is kept out again; a share that is left is one that the snapshot's end ends.
Task<void> ReplicaRebuilds::end_share(Job& job, const Layer& wanted) {
  const auto now = co_await job.peer.find(wanted.uuid);
  if (!now.ok()) co_return;
  std::vector<std::string> hosts(now.value().allowed_hosts().begin(), now.value().allowed_hosts().end());
  if (std::erase(hosts, host_nqn_) == 0) co_return;
  Errc outcome = Errc::ok;
  if (hosts.empty()) {
    const Status done = co_await job.peer.unshare(wanted.uuid);
    outcome = done.code();
  } else {
    const auto done = co_await job.peer.share(wanted.uuid, std::move(hosts));
    outcome = done.code();
  }
  if (outcome == Errc::ok) co_return;
  HF_LOG(warn, "engine", "a snapshot is still shared with this engine", {"snapshot", wanted.name});
}

// The size of the source as it is now, and what its epochs say of the content that was copied.
Task<Status> ReplicaRebuilds::finish(Job& job, const Layer* newest) {
  HF_CO_TRY(const auto source, co_await job.peer.find(job.view.params.source));
  HF_CO_CHECK(co_await resize(job, source.size()));
  if (newest == nullptr) co_return Status();
  HF_CO_TRY(const auto epochs, co_await job.peer.epochs(newest->uuid));
  // What was written after the snapshot counts for a later epoch than the one that was sealed then.
  const std::uint32_t through = epochs.sealed();
  if (through == 0 || epochs.current() <= through) co_return Status();
  HF_CO_CHECK(co_await take_epochs(job, through));
  job.view.in_sync_through = through;
  co_return Status();
}

// Regions that the source may have changed later are told as of the last epoch that counts: whoever comes back
// gets them from this replica as well.
Task<Status> ReplicaRebuilds::take_epochs(Job& job, std::uint32_t through) {
  EpochClient* client = job.replica.device().epochs();
  if (client == nullptr) co_return Error(Errc::not_supported, "the replica keeps no epochs");
  // No higher: a mirror that knew the replica to be further must not believe it any more.
  HF_CO_CHECK(co_await client->announce(through + 1));
  HF_CO_TRY(const auto state, co_await client->state());
  std::vector<pool::RegionRun> runs;
  for (std::uint64_t at = 0;;) {
    HF_CO_TRY(const auto page, co_await job.peer.region_epochs(job.view.params.source, at));
    for (const auto& run : page.runs()) {
      const bool fits = run.first() >= at && run.first() < state.regions && run.count() > 0 &&
                        run.count() <= state.regions - run.first() && run.epoch() > 0;
      if (!fits) co_return odd("regions");
      runs.push_back({run.first(), run.count(), std::min(run.epoch(), through)});
      at = run.first() + run.count();
    }
    if (!page.has_next_first()) break;
    if (page.runs().empty() || page.next_first() != at) co_return odd("a page of regions");
  }
  HF_CO_TRY(const auto locked, co_await lock_volume(engine_, "replica", job.view.params.replica));
  co_return co_await locked.known->pool->raise_regions(job.view.params.replica, std::move(runs));
}

Task<Status> ReplicaRebuilds::destroy(Uuid replica) {
  const auto found = jobs_.find(replica);
  if (found == jobs_.end()) {
    co_return Error(Errc::not_found, fmt::format("replica {} is not being rebuilt", replica.to_string()));
  }
  found->second->give_up();
  co_await found->second->ended.wait();
  jobs_.erase(replica);
  co_return Status();
}

std::vector<ReplicaRebuildView> ReplicaRebuilds::list() const {
  std::vector<ReplicaRebuildView> all;
  for (const auto& [replica, job] : jobs_) all.push_back(job->view);
  return all;
}

Task<void> ReplicaRebuilds::close() {
  for (const auto& [replica, job] : jobs_) job->give_up();
  co_await scope_.join();
  jobs_.clear();
}

}  // namespace holdfast::engine
