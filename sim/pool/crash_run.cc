#include "sim/pool/crash_run.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/units.h"
#include "sim/reactor.h"

namespace holdfast::sim {
namespace {

constexpr std::uint64_t disk_bytes = MiB + CrashRun::journal_bytes + 28 * CrashRun::cluster_bytes;

}  // namespace

// A disk that was used before: what a volume never wrote must not show.
DiskImage CrashRun::used_disk() {
  DiskImage image(disk_bytes);
  DiskImage::Page page;
  page.fill(std::byte{0xee});
  image.fill(MiB, page);
  return image;
}

pool::PoolOptions CrashRun::pool_options() const {
  pool::PoolOptions o;
  o.journal_bytes = CrashRun::journal_bytes;
  o.background_completion = options_.completion;
  o.clusters_per_turn = 1;  // what is deleted is given back in as many steps as possible
  return o;
}

const char* name(CrashOp op) noexcept {
  switch (op) {
    case CrashOp::create:
      return "create";
    case CrashOp::remove:
      return "delete";
    case CrashOp::resize:
      return "resize";
    case CrashOp::snapshot:
      return "snapshot";
    case CrashOp::clone:
      return "clone";
    case CrashOp::remove_snapshot:
      return "delete-snapshot";
    case CrashOp::first_write:
      return "first-write";
    case CrashOp::overwrite:
      return "overwrite";
    case CrashOp::deallocate:
      return "deallocate";
    case CrashOp::add_disk:
      return "add-disk";
    case CrashOp::grow:
      return "grow";
    case CrashOp::checkpoint:
      return "checkpoint";
    case CrashOp::flush:
      return "flush";
    case CrashOp::reopen:
      return "reopen";
    case CrashOp::revert:
      return "revert";
    case CrashOp::part:
      return "part";
    case CrashOp::epoch:
      return "epoch";
  }
  return "";
}

CrashRun::CrashRun(std::uint64_t seed, CrashRunOptions run_options)
    : world_(seed),
      node_(world_.add_node("a")),
      process_(node_.start()),
      registry_(process_.cores()),
      options_(run_options),
      random_(seed ^ 0x6372'6173'68),
      faults_(seed ^ 0x6661'756c'74) {
  make();
  if (!failure_.empty()) return;
  create();
  if (!failure_.empty()) return;
  write(*objects().begin(), {{0, 2 * block_sectors}}, false);
  snapshot(*objects().begin());
  flush();
  settle();
}

CrashRun::CrashRun(std::uint64_t seed, CrashRunOptions run_options, std::vector<DiskImage> disks,
                   const Objects& objects, std::uint64_t tags)
    : world_(seed),
      node_(world_.add_node("a")),
      process_(node_.start()),
      registry_(process_.cores()),
      options_(run_options),
      random_(seed ^ 0x6372'6173'68),
      faults_(seed ^ 0x6661'756c'74),
      members_(disks.size()),
      tags_(tags),
      names_(100) {
  for (DiskImage& image : disks) add(std::move(image));
  steps_.push_back(std::make_unique<Step>());
  Step& first = *steps_.back();
  first.ended = 0;
  first.disks = members_;
  // The histories of the first life are over: what was found is all that there is.
  for (const auto& [object_name, object] : objects) {
    Object& copy = objects_[object_name] = object;
    copy.sectors = std::make_shared<Sectors>(*object.sectors);
    for (auto& history : *copy.sectors) {
      Version& v = versions_.emplace_back(*history.back());
      v.begun = v.acked = v.durable = 0;
      history = {&v};
    }
  }
  first.after = objects_;
  if (options_.faults) faults_.draw(members_, MiB, MiB + journal_bytes);
  open();
}

CrashRun::~CrashRun() {
  if (pool_) {
    const Status closed = await(pool_->close());
    closed.ignore("the run is over");
    pool_.reset();
  }
  await(registry_.close());
}

CrashDisk& CrashRun::add(DiskImage image) {
  auto made = std::make_unique<CrashDisk>("d" + std::to_string(disks_.size()), process_.cores(),
                                          std::move(image), &log_, &faults_, disks_.size());
  CrashDisk* const disk = made.get();
  const auto there = registry_.adopt(std::move(made));
  if (!there.ok()) panic("a disk's name is taken");
  disks_.push_back(disk);
  return *disk;
}

std::vector<std::string> CrashRun::uris(std::size_t disks) const {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < disks; ++i) all.push_back(disks_[i]->name());
  return all;
}

// Where a disk fails the user looks after it, and tries again.
void CrashRun::open() {
  while (pool_ == nullptr) {
    const std::uint64_t failures = faults_.failures();
    std::string why;
    for (const std::size_t disks : {members_, unknown_ != nullptr ? unknown_->disks : members_}) {
      look_after_disks();
      auto opened =
          await(pool::Pool::open(registry_, uris(disks), pool_name, std::nullopt, pool_options(), nullptr));
      if (opened.ok()) {
        pool_ = std::move(opened).value();
        break;
      }
      why = opened.error().message();
      if (disks == members_ && unknown_ == nullptr) break;
    }
    if (pool_ == nullptr && faults_.failures() == failures) return fail("opening: " + why);
    if (pool_ == nullptr) check_unused(0, disks_.size());
    if (pool_ == nullptr && random_.chance(1, 2)) faults_.lift();
  }
  resolve();
}

// What an operation leaves to be done in the background.
void CrashRun::settle() { world_.run_for(std::chrono::milliseconds(options_.completion ? 600 : 20)); }

void CrashRun::fail(const std::string& why) {
  if (failure_.empty()) failure_ = why;
}

void CrashRun::check(const Status& status, const std::string& what, Before before) {
  if (status.ok() || before.faulted || faults_.failures() != before.failures) return;
  if (faults_.failed_flushes() != flushes_failed_) return;  // none succeeds until the pool is opened again
  fail(what + ": " + status.error().message());
}

std::vector<Moment> CrashRun::moments(Moment from) const {
  std::vector<Moment> all;
  for (const CrashDisk* disk : disks_) disk->moments(from, all);
  all.push_back(log_.now());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

void CrashRun::run(CrashOp op) {
  if (!failure_.empty()) return;
  ++operations_;
  HF_LOG(info, "sim", "operation", {"what", name(op)}, {"at", log_.now()});
  if (options_.faults && !healed_) {
    const std::size_t disks = members_ + (op == CrashOp::add_disk ? 1 : 0);
    faults_.draw(disks, MiB, MiB + journal_bytes);
  }
  switch (op) {
    case CrashOp::create:
      if (room(1)) create();
      break;
    case CrashOp::remove:
      if (const auto* volume = pick(false)) remove(*volume);
      break;
    case CrashOp::resize:
      resize();
      break;
    case CrashOp::snapshot:
      if (const auto* volume = pick(false); volume != nullptr && room(1)) snapshot(*volume);
      break;
    case CrashOp::clone:
      if (const auto* source = pick(true); source != nullptr && room(1)) clone(*source);
      break;
    case CrashOp::remove_snapshot:
      if (const auto* taken = pick(true)) remove(*taken);
      break;
    case CrashOp::first_write:
      first_write();
      break;
    case CrashOp::overwrite:
      overwrite();
      break;
    case CrashOp::deallocate:
      deallocate();
      break;
    case CrashOp::add_disk:
      add_disk();
      break;
    case CrashOp::grow:
      grow();
      break;
    case CrashOp::checkpoint:
      checkpoint();
      break;
    case CrashOp::flush:
      flush();
      break;
    case CrashOp::reopen:
      reopen();
      break;
    case CrashOp::revert:
      revert();
      break;
    case CrashOp::part:
      part();
      break;
    case CrashOp::epoch:
      epoch();
      break;
  }
  if (random_.chance(1, 2)) settle();  // or the next one begins while the last one's remains are cleared away
  if (options_.faults && !healed_ && failure_.empty()) trouble();
}

void CrashRun::step(const std::string& what, Objects after, const std::function<Task<Status>()>& change,
                    std::size_t disks) {
  auto made = std::make_unique<Step>();
  made->what = what;
  made->begun = log_.tick();
  made->after = std::move(after);
  made->disks = disks;
  const Before when = before();
  const Status done = await(change());
  HF_LOG(info, "sim", "change", {"what", what}, {"outcome", done.ok() ? "ok" : done.error().message()});
  if (done.code() == Errc::out_of_space) return;  // as if it had not been asked for
  check(done, what, when);
  if (!done.ok()) return unknown(std::move(made), when);
  made->ended = log_.tick();
  happened(std::move(made));
}

void CrashRun::happened(std::unique_ptr<Step> step) {
  objects_ = step->after;
  members_ = step->disks;
  steps_.push_back(std::move(step));
}

Objects::value_type* CrashRun::pick(bool snapshot) {
  std::vector<Objects::value_type*> those;
  for (auto& item : objects()) {
    if (item.second.snapshot == snapshot) those.push_back(&item);
  }
  return those.empty() ? nullptr : those[random_.below(those.size())];
}

std::string CrashRun::create() {
  pool::VolumeParams params;
  params.name = new_name("v");
  params.uuid = Uuid::from_name(params.name);
  // Some have two regions.
  const std::uint64_t clusters = options_.epochs && random_.chance(1, 4) ? 18 : 3;
  params.size_bytes = clusters * cluster_bytes;
  params.thick = random_.chance(1, 4);
  Objects after = objects();
  Version& zeroes = versions_.emplace_back();
  zeroes.acked = zeroes.durable = 0;
  after[params.name] =
      Object{params.uuid, false,
             std::make_shared<Sectors>(clusters * cluster_sectors, std::vector<const Version*>{&zeroes})};
  after[params.name].thick = params.thick;
  step("create " + params.name, std::move(after), [this, &params]() -> Task<Status> {
    const auto made = co_await pool_->create_volume(params);
    if (!made.ok()) co_return made.error();
    co_return Status();
  });
  if (options_.epochs && random_.chance(2, 3)) announce(params.name);
  return params.name;
}

void CrashRun::remove(const Objects::value_type& victim) {
  const Uuid uuid = victim.second.uuid;
  Objects after = objects();
  const std::string what = victim.first;
  after.erase(what);
  step("delete " + what, std::move(after), [this, uuid] { return pool_->destroy_volume(uuid); });
  // That is what heals a full pool.
  if (!options_.faults && objects().contains(what)) fail("delete " + what + ": no space for it");
}

void CrashRun::resize() {
  const auto* volume = pick(false);
  if (volume == nullptr) return;
  const std::uint64_t now = volume->second.sectors->size() / cluster_sectors;
  const std::uint64_t wanted =
      now > 2 && random_.chance(1, 2) ? now - 1 - random_.below(now - 1) : now + 1 + random_.below(2);
  const Uuid uuid = volume->second.uuid;
  Objects after = objects();
  Object& changed = after[volume->first];
  Version& zeroes = versions_.emplace_back();
  zeroes.acked = zeroes.durable = 0;
  changed.sectors = std::make_shared<Sectors>(*changed.sectors);
  changed.sectors->resize(wanted * cluster_sectors, std::vector<const Version*>{&zeroes});
  changed.epochs = with_regions(changed.epochs, changed.regions());
  step("resize " + volume->first, std::move(after),
       [this, uuid, wanted] { return pool_->resize_volume(uuid, wanted * cluster_bytes); });
}

std::string CrashRun::snapshot(const Objects::value_type& volume) {
  pool::SnapshotParams params;
  params.name = new_name("s");
  params.uuid = Uuid::from_name(params.name);
  Objects after = objects();
  Object& taken = after[params.name] =
      Object{params.uuid, true, std::make_shared<Sectors>(*volume.second.sectors)};
  taken.epochs.current = volume.second.epochs.current;
  taken.epochs.sealed = volume.second.epochs.sealed;
  const Uuid uuid = volume.second.uuid;
  step("snapshot " + volume.first + " " + params.name, std::move(after),
       [this, &params, uuid]() -> Task<Status> {
         const auto made = co_await pool_->create_snapshot(uuid, params);
         if (!made.ok()) co_return made.error();
         co_return Status();
       });
  return params.name;
}

std::string CrashRun::clone(const Objects::value_type& source) {
  pool::SnapshotParams params;
  params.name = new_name("c");
  params.uuid = Uuid::from_name(params.name);
  Objects after = objects();
  after[params.name] = Object{params.uuid, false, std::make_shared<Sectors>(*source.second.sectors)};
  const Uuid uuid = source.second.uuid;
  step("clone " + source.first + " " + params.name, std::move(after),
       [this, &params, uuid]() -> Task<Status> {
         const auto made = co_await pool_->create_clone(uuid, params);
         if (!made.ok()) co_return made.error();
         co_return Status();
       });
  return params.name;
}

void CrashRun::revert() {
  const auto* snapshot = pick(true);
  if (snapshot == nullptr) return;
  auto found = pool_->find(snapshot->second.uuid);
  const Uuid source = found.ok() ? found.value().spec.source_uuid : Uuid();
  for (const auto& [volume_name, volume] : objects()) {
    if (volume.snapshot || volume.uuid != source) continue;
    Objects after = objects();
    sim::revert(after[volume_name], snapshot->second);
    const Uuid to = snapshot->second.uuid;
    step("revert " + volume_name + " to " + snapshot->first, std::move(after),
         [this, source, to] { return pool_->revert_volume(source, to); });
    return;
  }
}

void CrashRun::grow() {
  CrashDisk& disk = *disks_[random_.below(members_)];
  if (disk.image().size() < 4 * MiB) disk.grow(disk.image().size() + 5 * cluster_bytes);
  step("grow", objects(), [this] { return pool_->grow(); });
}

void CrashRun::reopen() {
  check(await(pool_->close()), "close", Before{faults_.failures()});
  pool_.reset();
  open();
}

}  // namespace holdfast::sim
