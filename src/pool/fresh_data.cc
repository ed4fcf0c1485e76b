#include "pool/fresh_data.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "block/leaf_device.h"

namespace holdfast::pool {
namespace {

// Above that the flush costs less than writing everything twice.
constexpr std::uint64_t carried_bytes_max = 16 * KiB;
// How long data may stay fresh when nobody waits: many first writes share the flush then.
constexpr Nanos settle_pause = 200ms;
constexpr Nanos retry_pause = 1s;

}  // namespace

FreshData::~FreshData() { HF_ASSERT(!later_ && !settling_ && !letting_go_); }

bool FreshData::carries(Cluster cluster, std::uint64_t bytes) const noexcept {
  const std::uint64_t ring = journal_.ring().bytes;
  // The rest of the ring is for those that need little of it while a checkpoint is being written.
  if (closing_ || bytes > std::min(carried_bytes_max, ring / 16) || journal_.used_bytes() > ring / 4 * 3)
    return false;
  return disks_.at(disks_.locate(cluster).disk).has_volatile_cache();
}

bool FreshData::has(Cluster cluster, std::uint32_t first_block, std::uint32_t block_count) const noexcept {
  const auto at = clusters_.find(cluster);
  if (at == clusters_.end()) return false;
  return std::any_of(at->second.begin(), at->second.end(), [&](const Run& run) {
    return run.sequence > settled_ && run.first_block < first_block + block_count &&
           first_block < run.first_block + std::uint32_t{run.block_count};
  });
}

bool FreshData::alone_holds(Cluster cluster) const noexcept {
  return clusters_.contains(cluster) && counts_.holds(cluster) == 1;
}

void FreshData::recorded(const WriteRecord& write, std::uint64_t sequence) {
  std::vector<Run>& runs = clusters_[write.cluster];
  if (runs.empty()) counts_.hold(write.cluster);
  runs.push_back(Run{sequence, write.first_block, write.block_count});
  order_.push_back(Place{sequence, write.cluster});
  newest_ = sequence;
  if (later_ || closing_) return;
  later_ = true;
  scope_.spawn(settle_later());
}

void FreshData::settled(std::uint64_t sequence) {
  settled_ = std::max(settled_, sequence);
  const bool done = let_go_some();
  if (done || letting_go_ || closing_) return;
  letting_go_ = true;
  scope_.spawn(let_go());
}

Task<void> FreshData::let_go() {
  do {
    co_await home_.yield();
  } while (!closing_ && !let_go_some());
  letting_go_ = false;
}

// True: nothing is left that could be let go of. A cluster may have been forgotten, and written again later.
bool FreshData::let_go_some() {
  const auto settled = [this] { return !order_.empty() && order_.front().sequence <= settled_; };
  for (std::size_t n = 0; n < writes_per_turn_ && settled(); ++n) {
    const auto at = clusters_.find(order_.front().cluster);
    order_.pop_front();
    if (at == clusters_.end()) continue;
    std::erase_if(at->second, [this](const Run& run) { return run.sequence <= settled_; });
    if (!at->second.empty()) continue;
    counts_.release(at->first);
    clusters_.erase(at);
  }
  return !settled();
}

void FreshData::forget(ClusterRun freed) {
  const std::uint32_t end = to_index(freed.first) + freed.count;
  for (auto at = clusters_.lower_bound(freed.first); at != clusters_.end() && to_index(at->first) < end;) {
    counts_.release(at->first);
    at = clusters_.erase(at);
  }
}

Task<void> FreshData::settle_later() {
  Nanos pause = settle_pause;
  while (any() && !closing_ && !journal_.frozen()) {
    const bool on = co_await home_.sleep(pause, stop_.token());
    if (!on) break;
    const Status done = co_await settle();
    pause = done.ok() ? settle_pause : retry_pause;
    if (!done.ok()) HF_LOG(warn, "pool", "new data stays in the journal for now", {"error", done.error()});
  }
  later_ = false;
}

Task<Status> FreshData::settle() {
  const std::uint64_t wanted = newest_;
  while (settled_ < wanted && !clusters_.empty()) {
    if (settling_) {
      co_await ended_.wait();
      continue;
    }
    if (closing_) co_return Error(Errc::failed_precondition, "the pool is being closed");
    settling_ = true;
    Status done = co_await settle_once();
    settling_ = false;
    ended_.wake_all();
    if (!done.ok()) co_return done;
  }
  co_return Status();
}

// The record is durable before the blocks are written in place, because such a write may be durable at once. It is
// flushed by itself: a durable commit would hold up all that come behind it.
Task<Status> FreshData::settle_once() {
  SettledRecord record;
  record.sequence = journal_.mark().sequence;
  HF_CO_CHECK(co_await disks_.flush(home_.core()));
  std::vector<Record> records;
  records.emplace_back(record);
  HF_CO_CHECK(co_await journal_.commit(std::move(records), Durable::no));
  HF_CO_CHECK(co_await journal_.flush());
  settled(record.sequence);
  co_return Status();
}

Task<void> FreshData::close() {
  closing_ = true;
  stop_.request_stop();
  while (settling_) co_await ended_.wait();
  co_await scope_.join();
}

void CarriedData::see(std::uint64_t sequence, const Record& record) {
  if (const auto* settled = std::get_if<SettledRecord>(&record)) {
    settled_ = std::max(settled_, settled->sequence);
    for (auto& [cluster, writes] : found_)
      std::erase_if(writes, [this](const Found& found) { return found.sequence <= settled_; });
    std::erase_if(found_, [](const auto& entry) { return entry.second.empty(); });
  } else if (const auto* write = std::get_if<WriteDataRecord>(&record);
             write != nullptr && sequence > settled_) {
    found_[write->write.cluster].push_back(Found{sequence, *write});
  }
}

void CarriedData::forget(ClusterRun freed) {
  const auto beyond = [freed](Cluster c) { return to_index(c) - to_index(freed.first) >= freed.count; };
  for (auto at = found_.lower_bound(freed.first); at != found_.end() && !beyond(at->first);)
    at = found_.erase(at);
}

Task<Status> CarriedData::restore(Reactor& home, DiskSet& disks) {
  if (found_.empty()) co_return Status();
  std::size_t writes = 0;
  for (const auto& [cluster, of_cluster] : found_) {
    for (const Found& found : of_cluster) {
      const WriteRecord& write = found.write.write;
      const ScratchBuffer buffer(home, found.write.data.size());
      std::memcpy(buffer.data(), found.write.data.data(), buffer.size());
      const DiskPlace place = disks.locate(cluster, std::uint32_t{write.first_block} * block_bytes);
      DiskPort& disk = disks.at(place.disk).home();
      const IoVec vec{buffer.data(), buffer.size()};
      const Status done = co_await disk.write(place.offset, IoVecs(&vec, 1), Durable::no);
      if (!done.ok()) co_return disk.disk().explain(done.error(), "writing what the journal has of it");
      ++writes;
    }
  }
  HF_LOG(info, "pool", "data of new blocks was taken from the journal", {"writes", writes});
  co_return co_await disks.flush(home.core());
}

}  // namespace holdfast::pool
