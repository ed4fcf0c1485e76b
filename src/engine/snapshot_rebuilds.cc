#include "engine/snapshot_rebuilds.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "base/log.h"
#include "base/units.h"
#include "base/zeroes.h"
#include "block/leaf_device.h"
#include "engine/pools.h"
#include "engine/used_device.h"

namespace holdfast::engine {
namespace {

constexpr std::uint64_t piece_bytes = MiB;

}  // namespace

// Bytes.
struct SnapshotRebuilds::Range {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
};

struct SnapshotRebuilds::Job {
  explicit Job(Reactor& home) : ended(home) {}
  SnapshotRebuildView view;
  UsedDevice source, replica;
  std::vector<Range> source_ranges, replica_ranges;
  std::vector<std::pair<Range, bool>> pieces;  // to look at; whether the source has it
  StopSource stop;
  Event ended;

  // An end that does not answer is not waited for.
  void give_up() noexcept {
    stop.request_stop();
    if (source) source.channel().cancel_all();
    if (replica) replica.channel().cancel_all();
  }
};

SnapshotRebuilds::SnapshotRebuilds(DeviceRegistry& devices, const Pools& pools)
    : devices_(devices), pools_(pools), scope_(devices.cores().home()) {}

SnapshotRebuilds::~SnapshotRebuilds() { HF_ASSERT(jobs_.empty()); }

Task<Status> SnapshotRebuilds::open_both(Job& job) {
  constexpr const char* user = "a snapshot rebuild";
  const Status source =
      co_await job.source.open(devices_, job.view.params.snapshot_uri, user, DeviceUse::guarded);
  if (!source.ok()) co_return source.error().with_context("snapshot_uri");
  const Status replica =
      co_await job.replica.open(devices_, job.view.params.replica_uri, user, DeviceUse::guarded);
  if (!replica.ok()) co_return replica.error().with_context("replica_uri");
  const Geometry& from = job.source.device().geometry();
  const Geometry& to = job.replica.device().geometry();
  if (from.block_bytes != to.block_bytes || from.size_bytes() > to.size_bytes()) {
    co_return Error(
        Errc::invalid_argument,
        fmt::format("replica '{}' ({} bytes in blocks of {}) cannot hold the snapshot '{}' ({} bytes in "
                    "blocks of {})",
                    job.replica.device().name(), to.size_bytes(), to.block_bytes, job.source.device().name(),
                    from.size_bytes(), from.block_bytes));
  }
  HF_CO_TRY(job.source_ranges, co_await allocated(job.source.device()));
  HF_CO_TRY(job.replica_ranges, co_await allocated(job.replica.device()));
  co_return Status();
}

// In order, in whole pieces or less.
Task<Result<std::vector<SnapshotRebuilds::Range>>> SnapshotRebuilds::allocated(BlockDevice& device) const {
  std::vector<Range> ranges;
  const std::uint64_t size = device.geometry().size_bytes();
  if (const auto found = pools_.find_volume(device.identity().uuid); found && pools_.is_volume(device)) {
    HF_CO_TRY(const auto all, found->known->pool->diff(std::nullopt, found->volume.spec.uuid, 0,
                                                       std::numeric_limits<std::size_t>::max()));
    for (const auto& r : all) ranges.push_back({r.offset, std::min(r.offset + r.length, size)});
    co_return ranges;
  }
  // Whoever keeps no epochs does not say what is allocated, either.
  EpochState state;
  EpochClient* epochs = device.epochs();
  if (epochs != nullptr) {
    const auto told = co_await epochs->state();
    if (told.ok()) state = told.value();
  }
  if (state.regions == 0) {
    ranges.push_back({0, size});
    co_return ranges;
  }
  const std::uint64_t region = state.region_bytes;
  for (std::uint64_t from = 0; from < state.regions;) {
    const std::uint64_t count = std::min(state.regions - from, EpochClient::regions_per_call_max);
    HF_CO_TRY(const auto bitmap, co_await epochs->allocated(from, count));
    for (std::uint64_t i = from; i < from + count; ++i) {
      if (!bitmap.has(i)) continue;
      const std::uint64_t first = i * region;
      ranges.push_back({first, std::min(first + region, size)});
    }
    from += count;
  }
  co_return ranges;
}

Task<Result<SnapshotRebuildView>> SnapshotRebuilds::create(SnapshotRebuildParams params) {
  if (jobs_.contains(params.uuid)) {
    co_return Error(Errc::already_exists,
                    fmt::format("snapshot rebuild {} exists already", params.uuid.to_string()));
  }
  if (jobs_.size() >= jobs_max) {
    co_return Error(
        Errc::resource_exhausted,
        fmt::format("there are {} snapshot rebuilds: destroy those that have ended", jobs_.size()));
  }
  const Uuid uuid = params.uuid;
  Job& job = *jobs_.emplace(uuid, std::make_unique<Job>(home())).first->second;
  job.view.params = std::move(params);
  job.view.start = home().wall_now();
  const Status opened = co_await open_both(job);
  if (!opened.ok()) {
    co_await job.replica.close();
    co_await job.source.close();
    jobs_.erase(uuid);
    co_return opened.error();
  }
  plan(job);
  const SnapshotRebuildView view = job.view;
  scope_.spawn(run(job));
  co_return view;
}

Task<void> SnapshotRebuilds::run(Job& job) {
  const Status done = co_await copy(job);
  co_await job.replica.close();
  co_await job.source.close();
  job.view.state = done.ok() ? SnapshotRebuildState::successful : SnapshotRebuildState::failed;
  if (!done.ok()) job.view.error = done.error().message();
  job.view.end = home().wall_now();
  HF_LOG(info, "engine", "snapshot rebuild ended", {"uuid", job.view.params.uuid.to_string()},
         {"bytes", job.view.rebuilt_bytes}, {"error", job.view.error});
  job.ended.set();
}

namespace {

// The part of a piece that is in one of the ranges, or none; ranges behind it are dropped as `next` goes on.
template <class Ranges>
bool touches(const Ranges& ranges, std::size_t& next, std::uint64_t first, std::uint64_t end) {
  while (next < ranges.size() && ranges[next].end <= first) ++next;
  return next < ranges.size() && ranges[next].first < end;
}

}  // namespace

void SnapshotRebuilds::plan(Job& job) {
  const std::uint64_t size = job.source.device().geometry().size_bytes();
  const std::uint64_t replica_size = job.replica.device().geometry().size_bytes();
  std::size_t in_source = 0, in_replica = 0;
  for (std::uint64_t at = 0; at < replica_size; at += piece_bytes) {
    const Range piece{at, std::min(at + piece_bytes, replica_size)};
    const bool from = at < size && touches(job.source_ranges, in_source, piece.first, piece.end);
    const bool to = touches(job.replica_ranges, in_replica, piece.first, piece.end);
    if (!from && !to) continue;
    job.pieces.emplace_back(piece, from);
    job.view.total_bytes += piece.end - piece.first;
  }
}

Task<Status> SnapshotRebuilds::copy(Job& job) {
  ScratchBuffer from(home(), piece_bytes);
  ScratchBuffer to(home(), piece_bytes);
  for (const auto& [piece, is_in_source] : job.pieces) {
    if (job.stop.stop_requested()) co_return Error(Errc::cancelled, "it was destroyed");
    HF_CO_CHECK(co_await copy_piece(job, piece, is_in_source, from.data(), to.data()));
    job.view.rebuilt_bytes += piece.end - piece.first;
  }
  co_return co_await job.replica.channel().flush();
}

Task<Status> SnapshotRebuilds::copy_piece(Job& job, Range piece, bool in_source, std::byte* from,
                                          std::byte* to) {
  const std::uint64_t block = job.replica.device().geometry().block_bytes;
  const std::size_t bytes = piece.end - piece.first;
  const Lba lba{piece.first / block};
  const IoVec into_from{from, bytes};
  const IoVec into_to{to, bytes};
  // The snapshot may end in the middle of the last piece.
  const std::uint64_t size = job.source.device().geometry().size_bytes();
  if (in_source && size <= piece.first)
    co_return Error(Errc::failed_precondition, "snapshot_uri: it has become smaller meanwhile");
  const std::size_t there = in_source ? std::min<std::uint64_t>(piece.end, size) - piece.first : 0;
  std::memset(from + there, 0, bytes - there);
  if (there > 0) {
    const IoVec part{from, there};
    HF_CO_CHECK(co_await job.source.channel().read(lba, IoVecs(&part, 1)));
  }
  HF_CO_CHECK(co_await job.replica.channel().read(lba, IoVecs(&into_to, 1)));
  if (std::memcmp(from, to, bytes) == 0) co_return Status();
  if (!is_zero(std::span(from, bytes)) || !job.replica.device().capabilities().write_zeroes)
    co_return co_await job.replica.channel().write(lba, IoVecs(&into_from, 1), Durable::no);
  const BlockRange all{lba, bytes / block};
  co_return co_await job.replica.channel().write_zeroes(all, Unmap::yes, Durable::no);
}

Task<Status> SnapshotRebuilds::destroy(Uuid uuid) {
  const auto found = jobs_.find(uuid);
  if (found == jobs_.end()) {
    co_return Error(Errc::not_found, fmt::format("there is no snapshot rebuild {}", uuid.to_string()));
  }
  found->second->give_up();
  co_await found->second->ended.wait();
  jobs_.erase(uuid);
  co_return Status();
}

std::vector<SnapshotRebuildView> SnapshotRebuilds::list() const {
  std::vector<SnapshotRebuildView> all;
  for (const auto& [uuid, job] : jobs_) all.push_back(job->view);
  return all;
}

Task<void> SnapshotRebuilds::close() {
  for (const auto& [uuid, job] : jobs_) job->give_up();
  co_await scope_.join();
  jobs_.clear();
}

}  // namespace holdfast::engine
