#include "pool/space.h"

#include <algorithm>

#include "base/log.h"
#include "base/units.h"

namespace holdfast::pool {

namespace {

// A run of a volume on one disk ends after this, so that what is read together is spread over the disks.
constexpr std::uint64_t stripe_bytes = 64 * MiB;
constexpr std::uint64_t discard_bytes_max = 256 * MiB;  // of one command
constexpr std::size_t clusters_per_discard = 64;        // whose counting takes as long as one command
constexpr unsigned turns_per_round = 16;
constexpr Nanos retry_pause = std::chrono::seconds(1);

std::uint64_t clusters_of(const Effects& effects) {
  std::uint64_t n = 0;
  for (const ClusterRun& run : effects.freed) n += run.count;
  return n;
}

}  // namespace

Space::Space(Reactor& home, State& state, DiskSet& disks, CoreGuard& guard, Log& log,
             std::size_t clusters_per_turn)
    : home_(home),
      state_(state),
      disks_(disks),
      guard_(guard),
      log_(log),
      clusters_per_turn_(clusters_per_turn),
      changed_(home),
      discarding_(home, 1),
      scope_(home) {}

Space::~Space() { HF_ASSERT(retired_.empty() && scope_.running() == 0); }

// The reserve of thick volumes sinks when a pick of theirs is recorded; until then the pick is in it, too.
std::uint64_t Space::spare(std::uint64_t free) const noexcept {
  const std::uint64_t reserved = state_.reserved_clusters();
  const std::uint64_t kept = reserved - std::min<std::uint64_t>(thick_picks_.size(), reserved) + promised_ +
                             image_reserve_ - std::min(image_taken_, image_reserve_);
  return free > kept ? free - kept : 0;
}

std::uint64_t Space::thick_picks(VolumeId volume) const noexcept {
  return static_cast<std::uint64_t>(
      std::count_if(thick_picks_.begin(), thick_picks_.end(),
                    [volume](const auto& pick) { return pick.second == volume; }));
}

std::uint64_t Space::available() const noexcept {
  return spare(state_.clusters().free_clusters() + returning_);
}

bool Space::may_take(VolumeId volume, std::uint64_t free) const noexcept {
  if (free == 0) return false;
  return state_.reserved_clusters(volume) > thick_picks(volume) || spare(free) > 0;
}

void Space::Pick::reset() noexcept {
  Space* space = std::exchange(space_, nullptr);
  if (space == nullptr) return;
  space->state_.clusters().release(cluster_);
  space->changed_.wake_all();
  space->recorded(cluster_);
}

void Space::recorded(Cluster cluster) noexcept { thick_picks_.erase(cluster); }

Task<Result<Space::Pick>> Space::pick(VolumeId volume, std::optional<Cluster> after) {
  for (bool recounted = false;;) {
    const std::uint64_t free = state_.clusters().free_clusters();
    if (may_take(volume, free)) {
      const bool from_reserve = state_.reserved_clusters(volume) > thick_picks(volume);
      if (!from_reserve) HF_CO_CHECK(log_.may_grow());
      const auto cluster = choose(after);
      HF_ASSERT(cluster);
      state_.clusters().hold(*cluster);
      if (from_reserve) thick_picks_.emplace(*cluster, volume);
      co_return Pick(*this, *cluster);
    }
    if (!recounted) {
      state_.recount_reserved();
      recounted = true;
      continue;
    }
    const bool some_will_be = may_take(volume, free + returning_) || taking_apart_;
    if (!some_will_be || closing_ || stuck_ || failing_) co_return Error(Errc::out_of_space);
    co_await changed_.wait();
    recounted = false;
  }
}

std::optional<Cluster> Space::pick_for_image() {
  const auto cluster = choose(std::nullopt);
  if (!cluster) return cluster;
  state_.clusters().hold(*cluster);
  ++image_taken_;
  return cluster;
}

void Space::free_image_cluster(Cluster cluster) {
  state_.clusters().release(cluster);
  if (image_taken_ > 0) --image_taken_;
  changed_.wake_all();
}

Task<Result<Space::Promise>> Space::promise(std::uint64_t clusters) {
  while (available() < clusters && taking_apart_ && !closing_ && !stuck_ && !failing_)
    co_await changed_.wait();
  if (available() < clusters) {
    state_.recount_reserved();
    if (available() < clusters) {
      const std::uint64_t missing = (clusters - available()) * state_.cluster_bytes();
      co_return Error(Errc::out_of_space,
                      std::to_string(missing) + " bytes are missing for what is to be reserved");
    }
  }
  co_return Promise(*this, clusters);
}

std::optional<Cluster> Space::choose(std::optional<Cluster> after) {
  const ClusterCounts& counts = state_.clusters();
  const std::uint64_t stripe = std::max<std::uint64_t>(1, stripe_bytes / state_.cluster_bytes());
  if (after && to_index(*after) + 1 < counts.size()) {
    const Cluster next{to_index(*after) + 1};
    const bool same_stripe = to_index(next) % stripe != 0 || disks_.count() == 1;
    if (same_stripe && counts.is_free(next)) return next;
  }
  const auto disk = choose_disk();
  return disk ? next_on_disk(*disk) : std::nullopt;
}

// Each disk gets its share by its free space: credit grows by what is free, who has most is taken and pays.
std::optional<std::uint16_t> Space::choose_disk() {
  const ClusterCounts& counts = state_.clusters();
  turns_.resize(disks_.count());
  std::optional<std::uint16_t> best;
  std::int64_t total = 0;
  for (std::uint16_t d = 0; d < turns_.size(); ++d) {
    const auto free = static_cast<std::int64_t>(counts.free_clusters(d));
    if (free == 0) continue;
    turns_[d].credit += free;
    total += free;
    if (!best || turns_[d].credit > turns_[*best].credit) best = d;
  }
  if (best) turns_[*best].credit -= total;
  return best;
}

std::optional<Cluster> Space::next_on_disk(std::uint16_t disk) {
  const ClusterCounts& counts = state_.clusters();
  DiskTurn& turn = turns_[disk];
  // First from where the last search ended, then from the start.
  for (const std::uint32_t from : {turn.next, std::uint32_t{0}}) {
    for (const Segment& s : counts.segments()) {
      if (s.disk != disk || s.first + s.count <= from) continue;
      const auto found = counts.find_free(std::max(from, s.first), s.first + s.count);
      if (!found) continue;
      turn.next = to_index(*found) + 1;
      return found;
    }
  }
  return std::nullopt;
}

void Space::retire(Effects&& effects) {
  const bool more = state_.has_fallen() && !taking_apart_ && !closing_ && !stuck_;
  if (more) state_.take_apart(clusters_per_turn_, false, effects);
  add(std::move(effects));
  if (!more) return;
  taking_apart_ = true;
  scope_.spawn(take_apart());
}

void Space::add(Effects&& effects) {
  if (effects.empty()) return;
  returning_ += clusters_of(effects);
  retired_.append(std::move(effects));
  if (returning_now_ || closing_ || stuck_) return;
  returning_now_ = true;
  scope_.spawn(return_space());
}

// One portion in each turn. What a round settles is bounded, too, and so is the memory that waits for it.
Task<void> Space::take_apart() {
  co_await home_.yield();
  while (state_.has_fallen() && !closing_ && !stuck_) {
    for (unsigned turn = 0; turn < turns_per_round && state_.has_fallen(); ++turn) {
      Effects effects;
      state_.take_apart(clusters_per_turn_, true, effects);
      add(std::move(effects));
      co_await home_.yield();
    }
    const std::uint64_t until = newest_round();
    while (settled_rounds_ < until && !closing_ && !stuck_) co_await changed_.wait();
  }
  taking_apart_ = false;
  changed_.wake_all();
}

Task<void> Space::settled() {
  const std::uint64_t until = newest_round();
  while (settled_rounds_ < until && !closing_ && !stuck_ && !failing_) co_await changed_.wait();
}

// One round after the other as long as something is there; each takes all that has come.
Task<void> Space::return_space() {
  // Records of the same commit, and often of the next ones, go in one round.
  co_await home_.yield();
  while (!retired_.empty() && !closing_) {
    Effects round = std::move(retired_);
    retired_ = Effects();
    ++retired_rounds_;
    const Status durable = co_await make_durable();
    if (!durable.ok()) {  // it stays held: only opening the pool again tells what is free
      round.append(std::move(retired_));
      retired_ = std::move(round);
      stuck_ = true;
      break;
    }
    co_await guard_.grace_period();
    std::vector<ClusterRun> freed = std::move(round.freed);
    round.freed.clear();
    co_await settle(round);
    ++settled_rounds_;
    changed_.wake_all();
    if (!freed.empty()) scope_.spawn(give_back(std::move(freed)));
  }
  returning_now_ = false;
  changed_.wake_all();
}

Task<void> Space::settle(Effects& effects) {
  while (!state_.settle_some(effects, clusters_per_turn_)) co_await home_.yield();
}

Task<Status> Space::make_durable() {
  for (;;) {
    Status done = co_await log_.make_durable();
    failing_ = !done.ok();
    if (done.ok() || done.code() == Errc::failed_precondition || closing_) co_return done;
    HF_LOG(warn, "pool", "freed space waits for the journal's disk", {"error", done.error()});
    changed_.wake_all();
    const bool on = co_await home_.sleep(retry_pause, stop_.token());
    if (!on) co_return done;
  }
}

Task<void> Space::give_back(std::vector<ClusterRun> freed) {
  const Semaphore::Permit alone = co_await discarding_.acquire();
  const auto piece_max = static_cast<std::uint32_t>(std::max<std::uint64_t>(
      1, std::min<std::uint64_t>(discard_bytes_max / state_.cluster_bytes(), clusters_per_turn_)));
  std::size_t this_turn = 0;
  for (const ClusterRun& run : freed) {
    for (std::uint32_t at = 0; at < run.count; at += piece_max) {
      const ClusterRun piece{Cluster{to_index(run.first) + at}, std::min(piece_max, run.count - at)};
      // A disk that has nothing to discard answers at once, and a command costs more than a cluster.
      this_turn += piece.count + clusters_per_discard;
      if (this_turn > clusters_per_turn_) {
        co_await home_.yield();
        this_turn = 0;
      }
      if (!closing_) co_await discard(piece);
      log_.about_to_free(piece);
      Effects free;
      free.freed.push_back(piece);
      state_.settle(free);
      returning_ -= piece.count;
    }
    log_.space_returned();
    changed_.wake_all();
  }
}

// Runs may cross segments, and so disks.
Task<void> Space::discard(ClusterRun run) {
  std::uint32_t at = to_index(run.first);
  const std::uint32_t end = at + run.count;
  while (at < end) {
    const DiskPlace place = disks_.locate(Cluster{at});
    std::uint32_t stop = at + 1;
    while (stop < end) {
      const DiskPlace next = disks_.locate(Cluster{stop});
      const std::uint64_t distance = std::uint64_t{stop - at} * state_.cluster_bytes();
      if (next.disk != place.disk || next.offset != place.offset + distance) break;
      ++stop;
    }
    const std::uint64_t length = std::uint64_t{stop - at} * state_.cluster_bytes();
    const Status done = co_await disks_.port(home_.core(), place.disk).discard(place.offset, length);
    done.ignore("a hint; the disk counts it");
    at = stop;
  }
}

Task<void> Space::close() {
  closing_ = true;
  stop_.request_stop();
  changed_.wake_all();
  co_await scope_.join();
  co_await guard_.grace_period();
  returning_ -= clusters_of(retired_);
  co_await settle(retired_);
}

}  // namespace holdfast::pool
