// A whole pool against plain bytes: random operations on volumes, snapshots and clones, several at once and on two
// cores, disks that get full, and the pool closed, checked and opened again in between.
#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "pool/check.h"
#include "pool/testing/pool_bench.h"
#include "rt/cross_core.h"
#include "rt/scope.h"

namespace holdfast::pool {
namespace {

using testing_support::BenchParams;
using testing_support::Bytes;
using testing_support::OpenChannel;
using testing_support::PoolBench;
using testing_support::uuid_of;
using testing_support::vec;

constexpr std::uint64_t sector = 512;
constexpr std::uint64_t cluster = 64 * KiB;

struct ModelVolume {
  bool snapshot = false;
  bool thick = false;
  std::string source;
  Bytes bytes;
  std::set<std::uint64_t> written;  // clusters that may be allocated
};

enum class IoKind : std::uint8_t { write, zero, zero_and_unmap, deallocate };

// One operation of a batch; those of a batch do not overlap.
struct Io {
  IoKind kind = IoKind::write;
  std::string volume;
  BlockDevice* device = nullptr;
  Reactor* core = nullptr;
  std::uint64_t offset = 0;
  Bytes data;
  Errc result = Errc::ok;
};

Task<void> do_io(Io& io) {
  auto opened = co_await io.device->open_channel(*io.core);
  if (!opened.ok()) panic("cannot open a channel");
  const std::unique_ptr<Channel> channel = std::move(opened).value();
  const BlockRange range{Lba{io.offset / sector}, io.data.size() / sector};
  const IoVec data = vec(io.data);
  const IoVecs vecs(&data, 1);
  if (io.kind == IoKind::write) {
    const Status done = co_await channel->write(range.first, vecs, Durable::no);
    io.result = done.code();
  } else if (io.kind == IoKind::deallocate) {
    const Status done = co_await channel->deallocate(range);
    io.result = done.code();
  } else {
    const Unmap unmap = io.kind == IoKind::zero ? Unmap::no : Unmap::yes;
    const Status done = co_await channel->write_zeroes(range, unmap, Durable::no);
    io.result = done.code();
  }
  const Status flushed = co_await channel->flush();
  EXPECT_TRUE(flushed.ok());
  co_await channel->close();
}

Task<void> do_io_there(Reactor& home, Io& io) {
  auto there = [&io]() -> Task<void> { return do_io(io); };
  co_await run_on(home, *io.core, there);
}

struct Snapshotting {
  Pool* pool = nullptr;
  Uuid volume;
  SnapshotParams params;
  Errc result = Errc::ok;
};

Task<void> take_snapshot(Snapshotting& s) {
  SnapshotParams params = s.params;
  const auto made = co_await s.pool->create_snapshot(s.volume, params);
  s.result = made.code();
}

Task<void> do_batch(Reactor& home, std::vector<Io>& batch, Snapshotting* snapshot) {
  TaskScope scope(home);
  for (Io& io : batch) {
    Task<void> one = do_io_there(home, io);
    scope.spawn(std::move(one));
  }
  if (snapshot != nullptr) {
    Task<void> one = take_snapshot(*snapshot);
    scope.spawn(std::move(one));
  }
  co_await scope.join();
}

BenchParams params_of(std::uint64_t seed) {
  Prng prng(seed);
  BenchParams p;
  p.seed = seed;
  p.cores = 2;
  p.disks = static_cast<unsigned>(prng.between(1, 3));
  p.disk_bytes = prng.between(3, 9) * MiB;
  p.completion = prng.chance(1, 2);
  if (prng.chance(1, 2)) p.clusters_per_turn = 1;
  return p;
}

class World {
 public:
  explicit World(std::uint64_t seed) : prng_(seed), bench_(params_of(seed)) {
    checkpoint();
    empty_ = bench_.used();
  }

  void run(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) step();
    verify_all();
    reopen();
    verify_all();
    // Nothing is lost when all are gone, in whatever order.
    while (!model_.empty() && !testing::Test::HasFailure()) destroy();
    bench_.settle();
    checkpoint();
    EXPECT_EQ(bench_.used(), empty_);
  }

 private:
  void step() {
    const std::uint64_t dice = prng_.below(100);
    if (dice < 45) return batch(false);
    if (dice < 50) return batch(true);
    if (dice < 58) return create();
    if (dice < 64) return create_from(true);
    if (dice < 69) return create_from(false);
    if (dice < 75) return destroy();
    if (dice < 78) return revert();
    if (dice < 81) return resize();
    if (dice < 83) return checkpoint();
    if (dice < 85) return grow();
    if (dice < 88) return bench_.settle();
    if (dice < 91) return reopen();
    if (dice < 95) return verify_diff();
    verify_all();
  }

  std::string pick(bool snapshots, bool volumes) {
    std::vector<std::string> names;
    for (const auto& [name, v] : model_) {
      if (v.snapshot ? snapshots : volumes) names.push_back(name);
    }
    return names.empty() ? "" : names[prng_.below(names.size())];
  }
  std::string new_name() { return "v" + std::to_string(++named_); }

  // Several writes at once, and perhaps a snapshot in the midst of them.
  void batch(bool with_snapshot) {
    std::vector<Io> ios;
    const std::uint64_t wanted = prng_.between(1, 6);
    for (std::uint64_t i = 0; i < wanted; ++i) add_io(ios);
    if (ios.empty()) return;
    Snapshotting snapshot;
    const std::string of = ios.front().volume;
    if (with_snapshot && model_.size() < 14) {
      snapshot.pool = bench_.pool.get();
      snapshot.volume = uuid_of(of);
      snapshot.params = PoolBench::named(new_name());
    }
    const ModelVolume before = model_[of];
    Task<void> all = do_batch(bench_.machine.home(), ios, snapshot.pool != nullptr ? &snapshot : nullptr);
    bench_.machine.run(std::move(all));
    for (Io& io : ios) learn(io);
    if (snapshot.pool == nullptr) return;
    ASSERT_TRUE(snapshot.result == Errc::ok || snapshot.result == Errc::out_of_space);
    if (snapshot.result == Errc::ok) learn_snapshot(of, snapshot.params.name, before);
  }
  void add_io(std::vector<Io>& ios) {
    const std::string name = pick(false, true);
    if (name.empty()) return;
    const ModelVolume& v = model_[name];
    Io io;
    io.volume = name;
    io.device = bench_.pool->device(uuid_of(name));
    io.core = &bench_.machine.process.core(static_cast<unsigned>(prng_.below(2)));
    const std::uint64_t dice = prng_.below(10);
    io.kind = dice < 7    ? IoKind::write
              : dice == 7 ? IoKind::zero
              : dice == 8 ? IoKind::zero_and_unmap
                          : IoKind::deallocate;
    // Of sectors, blocks or clusters.
    const std::uint64_t unit = prng_.chance(1, 2) ? 4 * KiB : prng_.chance(1, 2) ? sector : cluster;
    const std::uint64_t units = v.bytes.size() / unit;
    const std::uint64_t first = prng_.below(units);
    const std::uint64_t most = std::min(units - first, std::max<std::uint64_t>(3 * cluster / unit, 1));
    const std::uint64_t count =
        prng_.chance(1, 2) ? std::min<std::uint64_t>(most, 2) : prng_.between(1, most);
    io.offset = first * unit;
    io.data = Bytes(count * unit);
    if (io.kind == IoKind::write) {
      ++value_;
      for (std::size_t i = 0; i < io.data.size(); ++i) {
        io.data[i] = static_cast<std::byte>(1 + (value_ * 31 + i / sector * 7 + i) % 255);
      }
    }
    for (const Io& other : ios) {
      const bool apart =
          other.offset + other.data.size() <= io.offset || io.offset + io.data.size() <= other.offset;
      if (other.volume == name && !apart) return;
    }
    ios.push_back(std::move(io));
  }
  void learn(Io& io) {
    ModelVolume& v = model_[io.volume];
    const std::uint64_t end = io.offset + io.data.size();
    const bool ok = io.result == Errc::ok;
    ASSERT_TRUE(ok || io.result == Errc::out_of_space) << name(io.result);
    ASSERT_TRUE(ok || !v.thick) << "a thick volume had no space";
    const Bytes data = io.kind == IoKind::write ? io.data : Bytes(io.data.size());
    const auto at = [](Bytes& bytes, std::uint64_t offset) {
      return bytes.begin() + static_cast<std::ptrdiff_t>(offset);
    };
    if (!ok) {
      // Some of it may have been done: each sector is the old one or the new one.
      Bytes now = content(io.volume, io.offset, io.data.size());
      Bytes old(at(v.bytes, io.offset), at(v.bytes, end));
      expect_either(now, old, data);
      std::copy(now.begin(), now.end(), at(v.bytes, io.offset));
    } else {
      std::copy(data.begin(), data.end(), at(v.bytes, io.offset));
    }
    const bool gone = ok && (io.kind == IoKind::deallocate || io.kind == IoKind::zero_and_unmap);
    for (std::uint64_t c = io.offset / cluster; c * cluster < end; ++c) {
      if (!gone) {
        v.written.insert(c);
      } else if (io.offset <= c * cluster && (c + 1) * cluster <= end) {
        v.written.erase(c);
      }
    }
  }
  static void expect_either(const Bytes& now, const Bytes& old, const Bytes& as_well) {
    for (std::size_t s = 0; s < now.size(); s += sector) {
      const auto from = static_cast<std::ptrdiff_t>(s), to = static_cast<std::ptrdiff_t>(s + sector);
      const bool is_old = std::equal(now.begin() + from, now.begin() + to, old.begin() + from);
      const bool is_new = std::equal(now.begin() + from, now.begin() + to, as_well.begin() + from);
      ASSERT_TRUE(is_old || is_new) << "sector " << s / sector;
    }
  }
  void learn_snapshot(const std::string& of, const std::string& name, const ModelVolume& before) {
    ModelVolume& v = model_[name];
    v.snapshot = true;
    v.source = of;
    v.bytes = content(name, 0, before.bytes.size());
    v.written = before.written;
    v.written.insert(model_[of].written.begin(), model_[of].written.end());
    expect_either(v.bytes, before.bytes, model_[of].bytes);
  }

  void create() {
    if (model_.size() > 12) return;
    VolumeParams p;
    p.name = new_name();
    p.uuid = uuid_of(p.name);
    p.size_bytes = prng_.between(1, 24) * cluster;
    p.thick = prng_.chance(1, 3);
    if (!made(bench_.machine.run(bench_.pool->create_volume(p)).code())) return;
    ModelVolume& v = model_[p.name];
    v.thick = p.thick;
    v.bytes = Bytes(p.size_bytes);
  }
  void create_from(bool snapshot) {
    const std::string of = pick(!snapshot, snapshot);
    if (of.empty() || model_.size() > 14) return;
    const std::string name = new_name();
    if (!made(snapshot ? bench_.snapshot(of, name) : bench_.clone(of, name))) return;
    ModelVolume v = model_[of];
    v.snapshot = snapshot;
    v.thick = bench_.pool->find(uuid_of(name)).value().spec.thick;
    v.source = of;
    model_[name] = std::move(v);
  }
  static bool made(Errc result) {
    EXPECT_TRUE(result == Errc::ok || result == Errc::out_of_space) << name(result);
    return result == Errc::ok;
  }
  static const char* name(Errc code) { return holdfast::name(code); }

  void destroy() {
    const std::string name = pick(true, true);
    if (name.empty()) return;
    ASSERT_EQ(bench_.destroy(name), Errc::ok);
    model_.erase(name);
  }
  void revert() {
    const std::string snapshot = pick(true, false);
    if (snapshot.empty() || !model_.contains(model_[snapshot].source)) return;
    const std::string volume = model_[snapshot].source;
    const Status done = bench_.machine.run(bench_.pool->revert_volume(uuid_of(volume), uuid_of(snapshot)));
    if (!made(done.code())) return;
    model_[volume].bytes = model_[snapshot].bytes;
    model_[volume].written = model_[snapshot].written;
  }
  void resize() {
    const std::string name = pick(false, true);
    if (name.empty()) return;
    const std::uint64_t clusters = prng_.between(1, 30);
    const Status done = bench_.machine.run(bench_.pool->resize_volume(uuid_of(name), clusters * cluster));
    if (!made(done.code())) return;
    ModelVolume& v = model_[name];
    v.bytes.resize(clusters * cluster);
    v.written.erase(v.written.lower_bound(clusters), v.written.end());
  }
  void checkpoint() {
    const Status done = bench_.machine.run(bench_.pool->checkpoint());
    ASSERT_TRUE(done.ok()) << done.error().message();
  }
  void grow() {
    if (bench_.paths.size() > 4) return;
    bench_.add_disk(4 * MiB);
    const Status done = bench_.machine.run(bench_.pool->add_disk(bench_.paths.back(), false));
    ASSERT_TRUE(done.ok()) << done.error().message();
  }
  void reopen() {
    bench_.close();
    auto checked = bench_.machine.run(check_pool(bench_.machine.registry, bench_.paths, false));
    ASSERT_TRUE(checked.ok()) << checked.error().message();
    for (const std::string& finding : checked.value().findings) ADD_FAILURE() << finding;
    bench_.open();
    ASSERT_EQ(bench_.pool->volumes().size(), model_.size());
  }

  Bytes content(const std::string& name, std::uint64_t offset, std::size_t bytes) {
    OpenChannel channel(bench_.machine, bench_.device(name));
    return channel.content(offset / sector, bytes);
  }
  void verify_all() {
    for (auto& [name, v] : model_) {
      SCOPED_TRACE(name);
      ASSERT_TRUE(content(name, 0, v.bytes.size()) == v.bytes);
      verify_usage(name, v);
    }
  }
  // What has bytes is allocated, what was never written is not.
  void verify_usage(const std::string& name, const ModelVolume& v) {
    const VolumeView view = bench_.pool->find(uuid_of(name)).value();
    ASSERT_EQ(view.spec.size_bytes, v.bytes.size());
    ASSERT_EQ(view.spec.kind == VolumeKind::snapshot, v.snapshot);
    const Usage& usage = view.usage;
    std::uint64_t filled = 0;
    for (std::size_t c = 0; c * cluster < v.bytes.size(); ++c) {
      const auto begin = v.bytes.begin() + static_cast<std::ptrdiff_t>(c * cluster);
      const auto end = begin + static_cast<std::ptrdiff_t>(cluster);
      filled += std::any_of(begin, end, [](std::byte b) { return b != std::byte{0}; }) ? 1 : 0;
    }
    ASSERT_GE(usage.allocated, filled * cluster);
    ASSERT_LE(usage.allocated, (v.written.size() + usage.partial_clusters) * cluster);
    ASSERT_EQ(usage.allocated, usage.exclusive + usage.shared);
  }
  // Every block that differs is in the list, in whatever pages it is asked for.
  void verify_diff() {
    const std::string a = pick(true, true), b = pick(true, true);
    if (a.empty()) return;
    const bool all = prng_.chance(1, 3);
    const Bytes& later = model_[b].bytes;
    Bytes earlier = all ? Bytes() : model_[a].bytes;
    earlier.resize(later.size());
    std::vector<bool> listed(later.size() / block_bytes);
    const std::size_t page = prng_.between(1, 8);
    for (std::uint64_t from = 0;;) {
      const std::optional<Uuid> from_volume = all ? std::nullopt : std::optional(uuid_of(a));
      const auto ranges = bench_.pool->diff(from_volume, uuid_of(b), from, page);
      ASSERT_TRUE(ranges.ok()) << ranges.error().message();
      for (const ByteRange& range : ranges.value()) {
        ASSERT_GE(range.offset, from);
        from = range.offset + range.length;
        ASSERT_LE(from, later.size());
        for (std::uint64_t at = range.offset; at < from; at += block_bytes) listed[at / block_bytes] = true;
      }
      if (ranges.value().size() < page) break;
    }
    for (std::size_t block = 0; block < listed.size(); ++block) {
      const auto first = static_cast<std::ptrdiff_t>(block * block_bytes);
      const bool same = std::equal(later.begin() + first, later.begin() + first + std::ptrdiff_t{block_bytes},
                                   earlier.begin() + first);
      ASSERT_TRUE(same || listed[block]) << "block " << block << " of " << b << " since " << a;
      ASSERT_FALSE(a == b && !all && listed[block]);
    }
  }

  Prng prng_;
  PoolBench bench_;
  std::map<std::string, ModelVolume> model_;
  std::uint64_t empty_ = 0;  // used by the pool without volumes
  std::uint32_t named_ = 0;
  std::uint64_t value_ = 0;
};

TEST(PoolModel, RandomOperationsDoWhatTheModelSays) {
  for (std::uint64_t seed = 1; seed <= 60 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    World(seed).run(60);
  }
}

}  // namespace
}  // namespace holdfast::pool
