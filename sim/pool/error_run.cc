// What a CrashRun promises while its disks fail, and afterwards: what was acknowledged is there as long as its disk
// answers; a change that failed happened or did not; the pool says how it is, and works again when its disks do.
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "base/units.h"
#include "sim/pool/crash_run.h"
#include "sim/pool/verifier.h"
#include "sim/reactor.h"

namespace holdfast::sim {
namespace {

// Longer than whatever the pool does again after a pause.
constexpr Nanos quiet = std::chrono::seconds(3);

}  // namespace

bool CrashRun::faulted() const {
  return options_.faults && pool_ != nullptr && pool_->view().status == pool::PoolStatus::faulted;
}

// A pool that is faulted changes nothing. The one whose commit failed does not know: what it shows has not happened.
void CrashRun::unknown(std::unique_ptr<Step> step, Before before) {
  if (before.faulted || !failure_.empty()) return;
  const auto there = pool_->volumes();
  const std::string not_before = sim::differs(objects_, there);
  if (not_before.empty() && !faulted()) return;
  if (not_before.empty()) {
    steps_.push_back(std::move(step));
    unknown_ = steps_.back().get();
    return;
  }
  const std::string not_after = sim::differs(step->after, there);
  if (!not_after.empty()) return fail(step->what + " failed: " + not_before + "; " + not_after);
  happened(std::move(step));  // and perhaps not durably
}

void CrashRun::resolve() {
  if (!options_.faults || !failure_.empty()) return;
  if (unknown_ != nullptr) faults_.lift();
  std::string difference = differs(objects_);
  if (difference.empty() && pool_->view().disks.size() != members_) difference = "another number of disks";
  if (!difference.empty() && unknown_ != nullptr) {
    const std::string second = differs(unknown_->after);
    if (!second.empty()) return fail("opened again: " + difference + "; " + second);
    objects_ = unknown_->after;
    members_ = unknown_->disks;
    difference.clear();
  }
  if (!difference.empty()) return fail("opened again: " + difference);
  unknown_ = nullptr;
  auto known = std::make_unique<Step>();
  known->what = "opening";
  known->begun = known->ended = log_.tick();
  known->after = objects_;
  known->disks = members_;
  steps_.push_back(std::move(known));
}

void CrashRun::trouble() {
  if (random_.chance(1, 6)) faults_.lift();
  look();
  if (failure_.empty() && random_.chance(1, 2)) read_all();
  if (!failure_.empty() || !faulted()) return;
  // Whatever is written in place: what may have happened stays as right as if it had not.
  if (random_.chance(1, 2)) faults_.lift();
  for (std::uint64_t n = random_.below(5); n > 0 && failure_.empty(); --n) overwrite();
  if (failure_.empty() && random_.chance(1, 2)) reopen();
}

void CrashRun::look() {
  world_.run_for(std::chrono::milliseconds(1));  // what a disk's core tells the pool's
  const std::string difference = sim::differs(objects_, pool_->volumes());
  if (!difference.empty()) return fail("the pool shows: " + difference);
  look_at_health();
}

void CrashRun::look_at_health() {
  const pool::PoolView view = pool_->view();
  std::uint64_t failures = 0;
  for (std::size_t i = 0; i < view.disks.size(); ++i) {
    const pool::DiskView& disk = view.disks[i];
    const CrashFaults::Counts now = faults_.counts(i);
    const std::uint64_t reads = now.reads - counted_[i].reads;
    const std::uint64_t changes = now.changes - counted_[i].changes;
    failures += reads + changes;
    if (disk.read_errors == reads && disk.write_errors == changes) continue;
    return fail(fmt::format("disk {} failed {} reads and {} changes; the pool says {} and {}", i, reads,
                            changes, disk.read_errors, disk.write_errors));
  }
  if (view.status == pool::PoolStatus::faulted) {
    if (view.status_reason.find("export the pool and import it again") != std::string::npos) return;
    return fail("a faulted pool does not say what to do: " + view.status_reason);
  }
  if ((view.status == pool::PoolStatus::degraded) == (failures > 0)) return;
  fail(fmt::format("{} operations of disks failed, and the pool's reason is '{}'", failures,
                   view.status_reason));
}

void CrashRun::read_all() {
  for (const auto& [object_name, object] : objects_) {
    const std::string difference = differs(object_name, object);
    if (!difference.empty()) return fail("while it runs: " + difference);
  }
}

std::string CrashRun::differs(const Objects& objects) {
  std::string difference = sim::differs(objects, pool_->volumes());
  for (auto at = objects.begin(); at != objects.end() && difference.empty(); ++at)
    difference = differs(at->first, at->second);
  return difference;
}

// A cluster of which a read fails on a disk may be anything.
std::string CrashRun::differs(const std::string& object_name, const Object& object) {
  std::vector<std::byte> bytes(cluster_bytes);
  BlockDevice* const device = pool_->device(object.uuid);
  if (device == nullptr) return "there is no device of " + object_name;
  auto opened = await(device->open_channel(process_.core(0)));
  if (!opened.ok()) return opened.error().message();
  const std::unique_ptr<Channel> channel = std::move(opened).value();
  std::string difference;
  SeenTags seen;
  for (std::uint64_t first = 0; first < object.sectors->size() && difference.empty();
       first += cluster_sectors) {
    const std::uint64_t failures = faults_.failures();
    const IoVec vec{bytes.data(), bytes.size()};
    const Status read = await(channel->read(Lba{first}, IoVecs(&vec, 1)));
    if (!read.ok() && faults_.failures() != failures) continue;
    if (!read.ok()) difference = object_name + " cannot be read: " + read.error().message();
    for (std::uint64_t i = 0; i < cluster_sectors && difference.empty(); ++i) {
      const std::size_t sector = DiskImage::sector_bytes;
      const auto tag = tag_of(std::span(bytes).subspan(i * sector, sector), first + i);
      if (!tag) {
        difference = fmt::format("{}, sector {} shows what was never written there", object_name, first + i);
      } else if (!may_be((*object.sectors)[first + i], *tag, log_.now(), Crash::process)) {
        difference = fmt::format("{}, sector {} shows write {}", object_name, first + i, *tag);
      }
      if (tag && object.epochs.current != 0) seen.insert({region_of(first + i), *tag});
    }
  }
  await(channel->close());
  if (difference.empty()) difference = unrecorded(object, seen);
  return difference;
}

void CrashRun::heal() {
  if (!options_.faults || !failure_.empty()) return;
  healed_ = true;
  faults_.lift();
  world_.run_for(quiet);
  if (faulted()) reopen();
  if (failure_.empty()) look();
  if (failure_.empty()) read_all();
  for (const CrashOp op : {CrashOp::remove_snapshot, CrashOp::create, CrashOp::first_write, CrashOp::snapshot,
                           CrashOp::overwrite, CrashOp::deallocate, CrashOp::checkpoint, CrashOp::flush}) {
    run(op);
  }
  const std::uint64_t used = used_at_rest();
  if (failure_.empty()) reopen();
  const std::uint64_t again = used_at_rest();
  if (used != again) fail(fmt::format("{} bytes are used; {} when the pool was opened again", used, again));
  if (failure_.empty()) look();
  if (failure_.empty()) read_all();
}

std::uint64_t CrashRun::used_at_rest() {
  if (!failure_.empty()) return 0;
  world_.run_for(quiet);
  check(await(pool_->checkpoint()), "checkpoint", before());
  world_.run_for(quiet);
  return pool_->view().used_bytes;
}

void CrashRun::clear() {
  while (failure_.empty() && !objects_.empty()) remove(*objects_.begin());
  const std::uint64_t used = used_at_rest();
  if (used != cluster_bytes) fail(fmt::format("a pool that has nothing uses {} bytes", used));
}

}  // namespace holdfast::sim
