// I/O to the volumes of a CrashRun, and the versions that it makes.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "rt/when_all.h"
#include "sim/pool/crash_run.h"
#include "sim/reactor.h"

namespace holdfast::sim {
namespace {

constexpr std::uint64_t sector = DiskImage::sector_bytes;
constexpr std::uint64_t checkpoint_turns = 24;  // of the reactor, about what a checkpoint takes

}  // namespace

bool CrashRun::on_channel(const std::string& object, const std::function<Task<Status>(Channel&)>& use) {
  BlockDevice* const device = pool_->device(Uuid::from_name(object));
  if (device == nullptr) {
    fail("there is no device of " + object);
    return false;
  }
  const Before when = before();
  auto opened = await(device->open_channel(process_.core(0)));
  if (!opened.ok()) {
    fail("channel of " + object + ": " + opened.error().message());
    return false;
  }
  const std::unique_ptr<Channel> channel = std::move(opened).value();
  const Status done = await(use(*channel));
  if (!done.ok()) HF_LOG(info, "sim", "I/O failed", {"object", object}, {"error", done.error()});
  if (done.code() != Errc::out_of_space) check(done, "I/O to " + object, when);
  await(channel->close());
  return done.ok();
}

// A write that failed may be there or not.
void CrashRun::acknowledge(Version& v, bool done) {
  if (!done) return;
  v.acked = log_.tick();
  unflushed_.push_back(&v);
}

void CrashRun::write(Objects::value_type& object, const std::vector<SectorRange>& ranges, bool checkpoint) {
  struct Prepared {
    Version* version;
    std::uint64_t first;
    std::vector<std::byte> bytes;
    bool done = false;
    bool full = false;
  };
  // Beside a checkpoint a write begins at any step of it.
  struct Later {
    static Task<Status> write(Reactor& core, std::uint64_t turns, Channel& channel, Prepared& one,
                              Durable durable) {
      for (; turns > 0; --turns) co_await core.yield();
      const IoVec vec{one.bytes.data(), one.bytes.size()};
      Status written = co_await channel.write(Lba{one.first}, IoVecs(&vec, 1), durable);
      one.done = written.ok();
      one.full = written.code() == Errc::out_of_space;
      co_return written;
    }
  };
  std::vector<Prepared> all;
  for (const SectorRange& range : ranges) {
    Version& v = versions_.emplace_back();
    v.tag = ++tags_;
    v.begun = log_.tick();
    Prepared& made =
        all.emplace_back(Prepared{&v, range.first, std::vector<std::byte>(range.count * sector)});
    for (std::uint64_t i = 0; i < range.count; ++i) {
      fill_sector(std::span(made.bytes).subspan(i * sector, sector), v.tag, range.first + i);
      (*object.second.sectors)[range.first + i].push_back(&v);
    }
    note_write(object.second, v, range.first, range.count);
    HF_LOG(info, "sim", "a write", {"object", object.first}, {"number", v.tag}, {"sector", range.first},
           {"sectors", range.count});
  }
  const Durable durable = random_.chance(1, 4) ? Durable::yes : Durable::no;
  on_channel(object.first, [this, &all, checkpoint, durable](Channel& channel) -> Task<Status> {
    std::vector<Task<Status>> tasks;
    if (checkpoint) tasks.push_back(pool_->checkpoint());
    for (Prepared& one : all) {
      const std::uint64_t turns = checkpoint ? random_.below(checkpoint_turns) : 0;
      tasks.push_back(Later::write(process_.core(0), turns, channel, one, durable));
    }
    co_return co_await when_all_ok(std::move(tasks));
  });
  for (const Prepared& one : all) {
    if (one.full && object.second.thick && !options_.faults) fail("no space in thick volume " + object.first);
    acknowledge(*one.version, one.done);
    if (one.done && durable == Durable::yes) one.version->durable = one.version->acked;
  }
}

// Into clusters that the volume has nothing of, if there are any: each is a commit of its own.
void CrashRun::first_write() { first_writes(random_.chance(1, 2), false); }

// Two at most, at once or one after the other; more beside a checkpoint.
void CrashRun::first_writes(bool at_once, bool checkpoint) {
  auto* volume = pick(false);
  if (volume == nullptr) return;
  const std::uint64_t clusters = volume->second.sectors->size() / cluster_sectors;
  std::vector<SectorRange> ranges;
  const std::uint64_t skip = random_.below(clusters);
  const std::size_t most = checkpoint ? 4 : 2;
  for (std::uint64_t i = 0; i < clusters && ranges.size() < most; ++i) {
    const std::uint64_t at = (i + skip) % clusters * cluster_sectors;
    const auto* begin = volume->second.sectors->data() + at;
    if (std::any_of(begin, begin + cluster_sectors, [](const auto& h) { return h.back()->tag != 0; }))
      continue;
    const std::uint64_t block = random_.below(cluster_sectors / block_sectors - 1) * block_sectors;
    const bool small = random_.chance(1, 3);
    // Some are more than the journal carries.
    const std::uint64_t blocks = random_.chance(1, 4) ? 5 + random_.below(3) : 1 + random_.below(2);
    const std::uint64_t count = small ? 1 + random_.below(8) : block_sectors * blocks;
    ranges.push_back(
        {at + block + (small ? 3 : 0), std::min(count, at + cluster_sectors - (at + block + 3))});
  }
  if (ranges.empty()) return overwrite();
  if (at_once) return write(*volume, ranges, checkpoint);
  for (const SectorRange& range : ranges) write(*volume, {range}, false);
}

// Half of them while new clusters are written.
void CrashRun::checkpoint() {
  if (random_.chance(1, 2) && pick(false) != nullptr) return first_writes(true, true);
  const Before when = before();
  check(await(pool_->checkpoint()), "checkpoint", when);
}

void CrashRun::overwrite() {
  if (auto* volume = pick(false)) overwrite(*volume);
}

void CrashRun::overwrite(Objects::value_type& volume) {
  const auto& sectors = *volume.second.sectors;
  const std::uint64_t start = random_.below(sectors.size());
  std::uint64_t first = 0;  // of the written ones, if there are any
  for (std::uint64_t i = 0; i < sectors.size(); ++i) {
    if (sectors[(start + i) % sectors.size()].back()->tag == 0) continue;
    first = (start + i) % sectors.size();
    break;
  }
  if (random_.chance(1, 2)) first = first / block_sectors * block_sectors;
  const std::uint64_t most = std::min<std::uint64_t>(sectors.size() - first, random_.chance(1, 6) ? 150 : 12);
  write(volume, {{first, 1 + random_.below(most)}}, false);
}

void CrashRun::deallocate() {
  auto* volume = pick(false);
  if (volume == nullptr) return;
  auto& sectors = *volume->second.sectors;
  std::uint64_t first = 0;
  std::uint64_t count = sectors.size();
  if (random_.chance(1, 2)) {
    first = random_.below(sectors.size() / cluster_sectors) * cluster_sectors;
    count = cluster_sectors;
  } else if (random_.chance(1, 2)) {
    first = random_.below(sectors.size());
    count = 1 + random_.below(std::min<std::uint64_t>(sectors.size() - first, 40));
  }
  deallocate(*volume, {first, count});
}

void CrashRun::deallocate(Objects::value_type& volume, SectorRange range) {
  auto& sectors = *volume.second.sectors;
  Version& v = versions_.emplace_back();
  v.begun = log_.tick();
  for (std::uint64_t i = 0; i < range.count; ++i) sectors[range.first + i].push_back(&v);
  note_write(volume.second, v, range.first, range.count);
  const bool done = on_channel(volume.first, [range](Channel& channel) -> Task<Status> {
    const BlockRange blocks{Lba{range.first}, range.count};
    co_return co_await channel.deallocate(blocks);
  });
  acknowledge(v, done);
}

// Two volumes have what one of them wrote, and nobody else has it. One of them lets go of it, or of a cluster of it;
// from then on the other one has it alone, and overwrites it. That may be durable while the letting go is not.
void CrashRun::part() {
  if (!room(3)) return overwrite();
  const std::string first = create();
  const auto is_there = [this](const std::string& wanted) {
    return failure_.empty() && objects().contains(wanted);
  };
  if (!is_there(first)) return;
  // More than the journal carries: what is fresh there is not overwritten before a flush.
  const std::uint64_t blocks = 5 + random_.below(4);
  write(*objects().find(first), {{0, blocks * block_sectors}, {cluster_sectors, blocks * block_sectors}},
        false);
  const std::string between = is_there(first) ? snapshot(*objects().find(first)) : "";
  if (!is_there(between)) return;
  const std::string second = clone(*objects().find(between));
  if (!is_there(second)) return;
  remove(*objects().find(between));
  if (!failure_.empty()) return;
  const bool swap = random_.chance(1, 2);
  auto& leaves = *objects().find(swap ? first : second);
  auto& stays = *objects().find(swap ? second : first);
  switch (random_.below(3)) {
    case 0:
      deallocate(leaves, {0, leaves.second.sectors->size()});
      break;
    case 1:
      deallocate(leaves, {0, cluster_sectors});
      break;
    default:
      write(leaves, {{0, cluster_sectors}}, false);
      break;
  }
  const std::uint64_t at = random_.below(blocks) * block_sectors;
  if (failure_.empty()) write(stays, {{at, block_sectors}}, false);
}

void CrashRun::flush() {
  const auto* volume = pick(false);
  if (volume == nullptr) return;
  const std::vector<Version*> covered = std::exchange(unflushed_, {});
  if (!on_channel(volume->first, [](Channel& channel) { return channel.flush(); })) {
    unflushed_.insert(unflushed_.end(), covered.begin(), covered.end());
    return;
  }
  const Moment done = log_.tick();
  for (Version* v : covered) v->durable = std::min(v->durable, done);
}

}  // namespace holdfast::sim
