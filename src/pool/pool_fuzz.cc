// A pool that ended without a word, with values in its metadata changed and all checksums right again. The check finds
// what is wrong and the pool is refused, or the check finds nothing, the pool opens, works, and is clean afterwards.
//
// The input is a list of changes of 8 bytes each: which structure, what kind of change, where (2), a value (4).
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "block/builtin.h"
#include "block/registry.h"
#include "pool/check.h"
#include "pool/pool.h"
#include "pool/testing/disk_editor.h"
#include "pool/testing/pool_exercise.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

using namespace holdfast;
using namespace holdfast::pool;
using testing_support::DiskEditor;
using testing_support::PoolExercise;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

constexpr std::uint64_t disk_bytes = 3 * MiB;
const std::string path = "/dev/d0";

class Bench {
 public:
  Bench() : world_(1), node_(world_.add_node("a")), process_(node_.start()), registry_(process_.cores()) {
    log::configure(log::Level::off, log::Format::text);
    register_builtin_schemes(registry_, process_.cores(), "a");
    sim::DiskOptions disk;
    disk.size_bytes = disk_bytes;
    node_.add_disk(path, disk);
    options_.journal_bytes = 128 * KiB;
    options_.background_completion = false;
    make();
    whole_.resize(disk_bytes);
    node_.disk(path).peek(0, whole_);
    require(run(pool_->close()).ok());
  }

  void restore() { node_.disk(path).poke(0, whole_); }
  DiskEditor editor() { return DiskEditor(node_.disk(path)); }
  PoolOnDisk check() {
    auto checked = run(check_pool(registry_, {path}, true));
    require(checked.ok());
    return std::move(checked).value();
  }
  void try_it() {
    const PoolOnDisk before = check();
    auto opened = run(Pool::open(registry_, {path}, "", std::nullopt, options_, nullptr));
    if (!opened.ok()) {
      require(opened.code() == Errc::bad_format || opened.code() == Errc::failed_precondition ||
              opened.code() == Errc::not_supported || opened.code() == Errc::already_exists);
      const std::string text = opened.error().message();
      require(text.find("pool '") != std::string::npos || text.find("disk '") != std::string::npos);
      // One that a newer release made may only be read, which needs data in its place; and a name may be taken.
      require(!before.findings.empty() || before.superblock.read_only() ||
              opened.code() == Errc::already_exists);
      return;
    }
    pool_ = std::move(opened).value();
    const auto end = [this](auto task) { return run(std::move(task)); };
    PoolExercise(*pool_, process_.core(0), end).all();
    require(run(pool_->close()).ok());
    require(!before.findings.empty() || check().findings.empty());
  }

 private:
  template <class T>
  T run(Task<T> task) {
    return world_.run(process_.core(0), std::move(task));
  }
  static Uuid uuid(const char* name) { return Uuid::from_name(name); }
  void make() {
    PoolParams params;
    params.name = "p";
    params.disks = {path};
    params.cluster_bytes = 64 * KiB;
    auto made = run(Pool::create(registry_, params, options_, nullptr));
    require(made.ok());
    pool_ = std::move(made).value();
    for (const char* name : {"v", "thick"}) {
      VolumeParams volume;
      volume.name = name;
      volume.uuid = uuid(name);
      volume.size_bytes = 256 * KiB;
      volume.thick = name[0] == 't';
      require(run(pool_->create_volume(volume)).ok());
    }
    write(0, 64 * KiB);
    SnapshotParams snapshot, clone;
    snapshot.name = "s";
    snapshot.uuid = uuid("s");
    clone.name = "c";
    clone.uuid = uuid("c");
    require(run(pool_->create_snapshot(uuid("v"), snapshot)).ok());
    write(4 * KiB, 4 * KiB);
    require(run(pool_->create_clone(uuid("s"), clone)).ok());
    require(run(pool_->device(uuid("v"))->epochs()->announce(7)).ok());
    write(128 * KiB, 4 * KiB);
    require(run(pool_->checkpoint()).ok());
    write(192 * KiB, 64 * KiB);
    require(run(pool_->set_attributes(uuid("v"), {{"a", "b"}})).ok());
    require(run(pool_->revert_volume(uuid("c"), uuid("s"))).ok());
    require(run(pool_->resize_volume(uuid("c"), 128 * KiB)).ok());
    require(run(pool_->destroy_volume(uuid("thick"))).ok());
  }
  void write(std::uint64_t offset, std::size_t length) {
    auto opened = run(pool_->device(uuid("v"))->open_channel(process_.core(0)));
    require(opened.ok());
    std::vector<std::byte> data(length, std::byte{0x5a});
    const IoVec vec{data.data(), data.size()};
    require(run(opened.value()->write(Lba{offset / 512}, IoVecs(&vec, 1), Durable::yes)).ok());
    run(opened.value()->close());
  }

  sim::World world_;
  sim::Node& node_;
  sim::Process& process_;
  DeviceRegistry registry_;
  PoolOptions options_;
  std::unique_ptr<Pool> pool_;
  std::vector<std::byte> whole_;  // the disk as the crash left it
};

struct Change {
  std::uint8_t where, kind;
  le16 offset;
  le32 value;
};
static_assert(Wire<Change> && sizeof(Change) == 8);

// A field of 1 to 8 bytes gets a value: this one, a shifted one, one near the largest, or a sum.
void change(std::span<std::byte> bytes, const Change& c) {
  const std::size_t width = std::size_t{1} << (c.kind & 3);
  if (bytes.size() < width) return;
  const auto field = bytes.subspan(c.offset % (bytes.size() - width + 1), width);
  std::uint64_t value = 0;
  std::memcpy(&value, field.data(), width);
  switch (c.kind >> 2 & 3) {
    case 0:
      value = c.value;
      break;
    case 1:
      value = std::uint64_t{c.value} << (c.kind >> 4) * 4 % 64;
      break;
    case 2:
      value = ~std::uint64_t{c.value};
      break;
    default:
      value += c.value;
  }
  std::memcpy(field.data(), &value, width);
}

void apply(DiskEditor disk, const Change& c) {
  constexpr std::size_t behind_checksum = 16;
  if (c.where % 8 == 0) {
    wire::Superblock w = disk.label();
    std::byte raw[wire::superblock_bytes];
    store(std::span(raw), w);
    change(std::span(raw).subspan(behind_checksum, 1536 - behind_checksum), c);
    w = load<wire::Superblock>(raw);
    if ((c.where & 8) != 0) return disk.put_copy(w, 1);
    return disk.put_label(w);
  }
  if (c.where % 8 < 4) {
    auto image = disk.image();
    change(image, c);
    return disk.put_image(image);
  }
  auto commit = disk.commit(c.where / 8);
  if (!commit) return;
  constexpr std::size_t records_to = 320;
  change(std::span(commit->bytes).subspan(behind_checksum, records_to - behind_checksum), c);
  disk.put_commit(*commit);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Bench& bench = *new Bench;  // the process ends with it
  constexpr std::size_t changes_max = 16;
  if (size < sizeof(Change)) return 0;
  bench.restore();
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  for (std::size_t i = 0; i < changes_max && (i + 1) * sizeof(Change) <= size; ++i) {
    // Where a change breaks the way to the next one, it is the last.
    const wire::Superblock label = bench.editor().label();
    const bool led = label.journal_bytes >= wire::journal_bytes_min && label.journal_bytes <= MiB &&
                     label.journal_offset <= MiB && label.root.image_bytes <= wire::image_payload_max &&
                     label.cluster_bytes == 64 * KiB && label.root.first_cluster < 8 &&
                     label.data_offset <= 2 * MiB;
    if (!led) break;
    apply(bench.editor(), load<Change>(bytes.subspan(i * sizeof(Change))));
  }
  bench.try_it();
  return 0;
}
