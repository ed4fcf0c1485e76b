#include "sim/pool/verifier.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "block/registry.h"
#include "pool/check.h"
#include "pool/pool.h"
#include "sim/pool/crash_run.h"
#include "sim/reactor.h"

namespace holdfast::sim {
namespace {

constexpr std::uint64_t sector = DiskImage::sector_bytes;
constexpr std::size_t runs_max = 64;  // regions of the largest volume

}  // namespace

std::string differs(const Objects& objects, const std::vector<pool::VolumeView>& there) {
  if (there.size() != objects.size())
    return std::to_string(there.size()) + " volumes and snapshots instead of " +
           std::to_string(objects.size());
  for (const pool::VolumeView& view : there) {
    const auto expected = objects.find(view.spec.name);
    if (expected == objects.end()) return view.spec.name + " should not be there";
    if (expected->second.bytes() != view.spec.size_bytes) return view.spec.name + " has another size";
    const bool snapshot = view.spec.kind == pool::VolumeKind::snapshot;
    if (expected->second.snapshot != snapshot) return view.spec.name + " is of another kind";
    const Epochs& epochs = expected->second.epochs;
    if (epochs.current != view.spec.epoch || epochs.sealed != view.spec.sealed)
      return fmt::format("{} has epoch {}, {} sealed, not {} and {}", view.spec.name, view.spec.epoch,
                         view.spec.sealed, epochs.current, epochs.sealed);
  }
  return "";
}

// One opening of one set of crashed disks.
class Verifier::Attempt {
 public:
  Attempt(Verifier& verifier, std::span<const CrashedDisk> crashed)
      : verifier_(verifier), registry_(verifier.process_.cores()) {
    for (const CrashedDisk& one : crashed) {
      const std::string disk = "d" + std::to_string(uris_.size());
      const auto there = registry_.adopt(std::make_unique<CrashDisk>(disk, verifier.process_.cores(), one));
      if (!there.ok()) panic("a disk's name is taken");
      uris_.push_back(disk);
    }
  }
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;
  ~Attempt() {
    if (pool_) {
      const Status closed = await(pool_->close());
      closed.ignore("checked by close()");
      pool_.reset();
    }
    await(registry_.close());
  }

  std::string check() {
    const auto checked = await(pool::check_pool(registry_, uris_, false));
    if (!checked.ok()) return "check: " + checked.error().message();
    if (!checked.value().findings.empty()) return "check: " + checked.value().findings.front();
    return "";
  }
  std::string open() {
    pool::PoolOptions options;
    options.background_completion = false;
    auto opened = await(pool::Pool::open(registry_, uris_, "p", std::nullopt, options, nullptr));
    if (!opened.ok()) return "opening: " + opened.error().message();
    pool_ = std::move(opened).value();
    return "";
  }
  // Where there is no pool, one can be made.
  std::string make_anew(bool by_force) {
    pool::PoolParams params;
    params.name = CrashRun::pool_name;
    params.disks = uris_;
    params.cluster_bytes = CrashRun::cluster_bytes;
    pool::PoolOptions options;
    options.journal_bytes = CrashRun::journal_bytes;
    for (;;) {
      auto made = await(pool::Pool::create(registry_, params, options, nullptr));
      if (made.ok()) {
        pool_ = std::move(made).value();
        return pool_->volumes().empty() ? close() : "a new pool has volumes";
      }
      if (!by_force || params.force || !CrashRun::may_be_forced(made.error()))
        return "making it anew: " + made.error().message();
      params.force = true;
    }
  }
  std::string compare(const Step& step, const Expectation& expected, Objects& found) {
    std::string difference = differs(step.after, pool_->volumes());
    if (!difference.empty()) return difference;
    if (pool_->view().disks.size() != step.disks) return "another number of disks";
    found.clear();
    for (const auto& [name, object] : step.after) {
      difference = compare(name, object, expected, found[name]);
      if (!difference.empty()) return difference;
    }
    return "";
  }
  std::string close() {
    const Status closed = await(pool_->close());
    pool_.reset();
    return closed.ok() ? "" : "closing: " + closed.error().message();
  }

 private:
  template <class T>
  T await(Task<T> task) {
    return verifier_.world_.run(verifier_.process_.core(0), std::move(task));
  }
  std::string compare(const std::string& name, const Object& object, const Expectation& expected,
                      Object& found) {
    std::vector<std::byte> bytes(object.bytes());
    const Status read = await(read_all(*pool_->device(object.uuid), verifier_.process_.core(0), bytes));
    if (!read.ok()) return name + " cannot be read: " + read.error().message();
    std::map<std::uint64_t, const Version*> known;
    SeenTags seen;
    std::pair<std::uint64_t, std::uint64_t> last;  // that was seen
    if (expected.keep)
      found = Object{object.uuid, object.snapshot, std::make_shared<Sectors>(object.sectors->size()),
                     Epochs(), object.thick};
    for (std::uint64_t i = 0; i < object.sectors->size(); ++i) {
      const auto tag = tag_of(std::span(bytes).subspan(i * sector, sector), i);
      if (!tag) return fmt::format("{}, sector {} shows what was never written there", name, i);
      if (!may_be((*object.sectors)[i], *tag, expected.at, expected.crash))
        return fmt::format("{}, sector {} shows write {}, not write {}", name, i, *tag,
                           (*object.sectors)[i].back()->tag);
      const std::pair<std::uint64_t, std::uint64_t> here{region_of(i), *tag};
      if (object.epochs.current != 0 && (i == 0 || here != last)) seen.insert(here);
      last = here;
      if (!expected.keep) continue;
      const Version*& v = known[*tag];
      if (v == nullptr) {
        Version& made = verifier_.versions_.emplace_back();
        made.tag = *tag;
        v = &made;
      }
      (*found.sectors)[i].push_back(v);
    }
    found.epochs.current = object.epochs.current;
    found.epochs.sealed = object.epochs.sealed;
    if (object.snapshot || object.epochs.current == 0) return "";
    const auto table = pool_->region_epochs(object.uuid, 0, runs_max);
    if (!table.ok()) return table.error().message();
    for (const pool::RegionRun& run : table.value())
      found.epochs.writes->push_back({&always(), run.first, run.count, run.epoch});
    const std::string missing = unrecorded(object, table.value(), seen, expected.at, expected.crash);
    return missing.empty() ? "" : name + ": " + missing;
  }
  static Task<Status> read_all(BlockDevice& device, Reactor& core, std::span<std::byte> into) {
    HF_CO_TRY(const std::unique_ptr<Channel> channel, co_await device.open_channel(core));
    const IoVec vec{into.data(), into.size()};
    Status read = co_await channel->read(Lba{0}, IoVecs(&vec, 1));
    co_await channel->close();
    co_return read;
  }

  Verifier& verifier_;
  DeviceRegistry registry_;
  std::vector<std::string> uris_;
  std::unique_ptr<pool::Pool> pool_;
};

Verifier::Verifier(std::uint64_t seed) : world_(seed), process_(world_.add_node("v").start()) {}

Verifier::Found Verifier::verify(const std::vector<CrashedDisk>& disks, const Expectation& expected) {
  ++verified_;
  versions_.clear();
  Found found;
  // A disk that was being added belongs to the pool or not; who opens it gives what the pool asks for.
  for (const Step* step : expected.steps) {
    const std::span<const CrashedDisk> those(disks.data(), step->disks);
    Attempt attempt(*this, those);
    std::string failure = attempt.check();
    if (failure.empty()) failure = attempt.open();
    if (!failure.empty() && expected.may_be_nothing) {
      found.failure = attempt.make_anew(expected.by_force);
      return found;
    }
    if (failure.empty()) failure = attempt.compare(*step, expected, found.objects);
    if (failure.empty()) failure = attempt.close();
    if (failure.empty()) {
      found.failure.clear();
      const bool later =
          std::any_of(those.begin(), those.end(), [](const CrashedDisk& d) { return !d.late.empty(); });
      for (const CrashedDisk& disk : those) {
        if (expected.keep && !later) found.disks.push_back(disk.image);
      }
      return found;
    }
    found.failure += (found.failure.empty() ? "" : "; ") + failure;
  }
  return found;
}

}  // namespace holdfast::sim
