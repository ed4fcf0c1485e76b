#include "sim/pool/verifier.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "block/registry.h"
#include "pool/check.h"
#include "pool/pool.h"
#include "sim/pool/crash_run.h"
#include "sim/reactor.h"

namespace holdfast::sim {
namespace {

constexpr std::uint64_t sector = DiskImage::sector_bytes;

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
  }
  return "";
}

// One opening of one set of crashed disks.
class Verifier::Attempt {
 public:
  Attempt(Verifier& verifier, const std::vector<DiskImage>& images)
      : verifier_(verifier), registry_(verifier.process_.cores()) {
    for (const DiskImage& image : images) {
      const std::string disk = "d" + std::to_string(uris_.size());
      const auto there =
          registry_.adopt(std::make_unique<CrashDisk>(disk, verifier.process_.cores(), image, nullptr));
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
    found = Object{object.uuid, object.snapshot, std::make_shared<Sectors>(object.sectors->size())};
    std::map<std::uint64_t, const Version*> known;
    for (std::uint64_t i = 0; i < object.sectors->size(); ++i) {
      const auto tag = tag_of(std::span(bytes).subspan(i * sector, sector), i);
      const std::string where = name + ", sector " + std::to_string(i);
      if (!tag) return where + " shows what was never written there";
      if (!may_be((*object.sectors)[i], *tag, expected.at, expected.crash))
        return where + " shows write " + std::to_string(*tag) + ", not write " +
               std::to_string((*object.sectors)[i].back()->tag);
      const Version*& v = known[*tag];
      if (v == nullptr) {
        Version& made = verifier_.versions_.emplace_back();
        made.tag = *tag;
        v = &made;
      }
      (*found.sectors)[i].push_back(v);
    }
    return "";
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

Verifier::Found Verifier::verify(const std::vector<DiskImage>& disks, const Expectation& expected) {
  ++verified_;
  versions_.clear();
  Found found;
  // A disk that was being added belongs to the pool or not; who opens it gives what the pool asks for.
  for (const Step* step : expected.steps) {
    std::vector<DiskImage> those(disks.begin(), disks.begin() + static_cast<std::ptrdiff_t>(step->disks));
    Attempt attempt(*this, those);
    std::string failure = attempt.check();
    if (failure.empty()) failure = attempt.open();
    if (!failure.empty() && expected.may_be_nothing) return found;
    if (failure.empty()) failure = attempt.compare(*step, expected, found.objects);
    if (failure.empty()) failure = attempt.close();
    if (failure.empty()) {
      found.failure.clear();
      found.disks = std::move(those);
      return found;
    }
    found.failure += (found.failure.empty() ? "" : "; ") + failure;
  }
  return found;
}

}  // namespace holdfast::sim
