// The epochs of the volumes of a CrashRun, as a mirror uses them: what is in a region is of no later epoch than the table
// says, whatever failed and crashed.
#include <algorithm>
#include <utility>

#include "sim/pool/crash_run.h"

namespace holdfast::sim {

void CrashRun::epoch() {
  auto* volume = pick(false);
  if (volume == nullptr) return;
  const Epochs& epochs = volume->second.epochs;
  if (epochs.current == 0 || random_.chance(1, 4)) return announce(volume->first);
  if (random_.chance(1, 2)) return begin_epoch(*volume);
  if (random_.chance(1, 2)) return raise(*volume);
  const auto sealed = static_cast<std::uint32_t>(random_.below(epochs.current + 1));
  const Uuid uuid = volume->second.uuid;
  if (sealed <= epochs.sealed) {  // no change, also of a pool that takes none
    const Before when = before();
    return check(await(pool_->device(uuid)->epochs()->seal(sealed)), "sealing again", when);
  }
  Objects after = objects();
  after[volume->first].epochs.sealed = sealed;
  step("seal " + volume->first, std::move(after),
       [this, uuid, sealed] { return pool_->device(uuid)->epochs()->seal(sealed); });
}

void CrashRun::announce(const std::string& volume_name) {
  const auto volume = objects().find(volume_name);
  if (!failure_.empty() || volume == objects().end()) return;
  const std::uint32_t next = volume->second.epochs.current + 1 + static_cast<std::uint32_t>(random_.below(2));
  const Uuid uuid = volume->second.uuid;
  Objects after = objects();
  after[volume_name].epochs.current = next;
  step("announce " + volume_name, std::move(after),
       [this, uuid, next] { return pool_->device(uuid)->epochs()->announce(next); });
}

// The first write of an epoch is to a new cluster, if there is one: then the region has the epoch. What it has already is
// written next.
void CrashRun::begin_epoch(Objects::value_type& volume) {
  const std::string name = volume.first;
  announce(name);
  for (std::uint64_t at = 0; failure_.empty(); at += cluster_sectors) {
    auto& now = *objects().find(name);
    const Sectors& sectors = *now.second.sectors;
    if (at == sectors.size()) break;
    const auto* begin = sectors.data() + at;
    if (std::any_of(begin, begin + cluster_sectors, [](const auto& h) { return h.back()->tag != 0; }))
      continue;
    write(now, {{at, (1 + random_.below(8)) * block_sectors}}, false);
    break;
  }
  for (std::uint64_t n = 1 + random_.below(2); n > 0 && failure_.empty(); --n)
    overwrite(*objects().find(name));
}

// Content of another volume, with its epochs.
void CrashRun::raise(Objects::value_type& volume) {
  Object& object = volume.second;
  const std::uint64_t first = random_.below(object.regions());
  const std::uint64_t count = 1 + random_.below(object.regions() - first);
  const auto epoch = static_cast<std::uint32_t>(1 + random_.below(object.epochs.current));
  Version& v = versions_.emplace_back();
  v.begun = log_.tick();
  object.epochs.writes->push_back({&v, first, count, epoch});
  std::vector<pool::RegionRun> runs;
  runs.push_back({first, count, epoch});
  const Before when = before();
  const Status done = await(pool_->raise_regions(object.uuid, std::move(runs)));
  check(done, "raising regions of " + volume.first, when);
  if (done.ok()) v.acked = v.durable = log_.tick();
}

std::string CrashRun::unrecorded(const Object& object, const SeenTags& seen) {
  if (object.snapshot || object.epochs.current == 0) return "";
  const auto table = pool_->region_epochs(object.uuid, 0, object.regions());
  if (!table.ok()) return table.error().message();
  return sim::unrecorded(object, table.value(), seen, log_.now(), Crash::process);
}

}  // namespace holdfast::sim
