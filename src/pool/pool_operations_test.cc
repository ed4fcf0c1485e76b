// Volumes, snapshots and clones: what is made, what is refused, what is counted.
#include <gtest/gtest.h>

#include "pool/testing/pool_bench.h"

namespace holdfast::pool {
namespace {

using namespace testing_support;  // NOLINT: tests only

constexpr std::uint64_t cluster = 64 * KiB;
constexpr std::uint64_t size = 16 * cluster;

VolumeParams params(const std::string& name, std::uint64_t bytes = size) {
  VolumeParams p;
  p.name = name;
  p.uuid = uuid_of(name);
  p.size_bytes = bytes;
  return p;
}

TEST(PoolOperations, HostileNamesUuidsSizesAndAttributesAreRefused) {
  PoolBench b;
  b.volume("v", size);
  struct Case {
    const char* what;
    std::function<void(VolumeParams&)> change;
    Errc expected;
  };
  const Case cases[] = {
      {"no name", [](VolumeParams& p) { p.name = ""; }, Errc::invalid_argument},
      {"a control character", [](VolumeParams& p) { p.name = "a\nb"; }, Errc::invalid_argument},
      {"a zero byte", [](VolumeParams& p) { p.name = std::string("a\0b", 3); }, Errc::invalid_argument},
      {"a long name", [](VolumeParams& p) { p.name = std::string(256, 'x'); }, Errc::invalid_argument},
      {"no uuid", [](VolumeParams& p) { p.uuid = Uuid(); }, Errc::invalid_argument},
      {"no size", [](VolumeParams& p) { p.size_bytes = 0; }, Errc::invalid_argument},
      {"all sizes", [](VolumeParams& p) { p.size_bytes = ~std::uint64_t{0}; }, Errc::invalid_argument},
      {"more than there can be", [](VolumeParams& p) { p.size_bytes = volume_bytes_max + 1; },
       Errc::invalid_argument},
      {"a long key", [](VolumeParams& p) { p.attributes[std::string(65, 'k')] = "v"; },
       Errc::invalid_argument},
      {"a key of two lines", [](VolumeParams& p) { p.attributes["a\nb"] = "v"; }, Errc::invalid_argument},
      {"many attributes",
       [](VolumeParams& p) {
         for (int i = 0; i < 1025; ++i) p.attributes[std::to_string(i)] = "v";
       },
       Errc::invalid_argument},
      {"no key", [](VolumeParams& p) { p.attributes[""] = "v"; }, Errc::invalid_argument},
      {"a long value", [](VolumeParams& p) { p.attributes["k"] = std::string(33 * KiB, 'v'); },
       Errc::invalid_argument},
      {"the name of another", [](VolumeParams& p) { p.name = "v"; }, Errc::already_exists},
      {"the uuid of another", [](VolumeParams& p) { p.uuid = uuid_of("v"); }, Errc::already_exists},
      {"the name of a device", [&b](VolumeParams& p) { p.name = b.paths[0]; }, Errc::already_exists},
  };
  for (const Case& c : cases) {
    VolumeParams p = params("new");
    c.change(p);
    const auto made = b.machine.run(b.pool->create_volume(p));
    EXPECT_EQ(made.code(), c.expected) << c.what;
    SnapshotParams s;
    s.name = p.name;
    s.uuid = p.uuid;
    s.attributes = p.attributes;
    if (p.size_bytes == size) {
      EXPECT_EQ(b.machine.run(b.pool->create_snapshot(uuid_of("v"), s)).code(), c.expected) << c.what;
    }
  }
  EXPECT_EQ(b.pool->volumes().size(), 1u);
}

void fill(PoolBench& b, BlockDevice& device, int value) {
  OpenChannel channel(b.machine, device);
  EXPECT_EQ(channel.write(0, filled(4096, value)), Errc::ok);
}
bool has(PoolBench& b, BlockDevice* device, int value) {
  if (device == nullptr) return false;
  OpenChannel channel(b.machine, *device);
  return channel.content(0, 4096) == filled(4096, value);
}

// A second pool on the bench's machine, made when the first was not open. Each has a volume "v" with 1s or 2s, and its
// snapshot "s". Both are closed.
struct OtherPool {
  explicit OtherPool(PoolBench& on) : bench(on) {
    fill(bench, bench.volume("v", size), 1);
    EXPECT_EQ(bench.snapshot("v", "s"), Errc::ok);
    bench.close();
    sim::DiskOptions disk;
    disk.size_bytes = bench.disk_bytes();
    bench.machine.node.add_disk("/dev/q", disk);
    PoolParams wanted;
    wanted.name = "q";
    wanted.disks = {"/dev/q"};
    wanted.cluster_bytes = cluster;
    take(bench.machine.run(Pool::create(bench.machine.registry, wanted, bench.options, nullptr)));
    VolumeParams p = params("v");
    p.uuid = volume;
    EXPECT_TRUE(bench.machine.run(pool->create_volume(p)).ok());
    fill(bench, *device(volume), 2);
    EXPECT_EQ(snap("s"), Errc::ok);
    close();
  }
  ~OtherPool() {
    if (pool) close();
  }
  void open() {
    take(bench.machine.run(
        Pool::open(bench.machine.registry, {"/dev/q"}, "q", std::nullopt, bench.options, nullptr)));
  }
  void close() {
    EXPECT_TRUE(bench.machine.run(pool->close()).ok());
    pool.reset();
  }
  Errc snap(const std::string& name) {
    SnapshotParams s = PoolBench::named(name);
    s.uuid = uuid_of(name + " of q");
    return bench.machine.run(pool->create_snapshot(volume, s)).code();
  }
  BlockDevice* device(const Uuid& uuid) { return pool->device(uuid); }

  PoolBench& bench;
  const Uuid volume = uuid_of("v of q"), snapshot = uuid_of("s of q");
  std::unique_ptr<Pool> pool;

 private:
  void take(Result<std::unique_ptr<Pool>> opened) {
    if (!opened.ok()) panic(opened.error().message().c_str());
    pool = std::move(opened).value();
  }
};

TEST(PoolOperations, PoolsWithVolumesOfOneNameAreOpenTogether) {
  PoolBench b;
  OtherPool q(b);
  b.open();
  q.open();
  EXPECT_EQ(b.device("v").name(), "v");
  EXPECT_EQ(b.device("s").name(), "s");
  EXPECT_EQ(q.device(q.volume)->name(), "v@" + q.volume.to_string());
  EXPECT_EQ(q.device(q.snapshot)->name(), "s@" + q.snapshot.to_string());
  EXPECT_EQ(q.pool->find(q.volume).value().spec.name, "v");
  for (const char* name : {"v", "s"}) EXPECT_TRUE(has(b, &b.device(name), 1)) << name;
  for (const Uuid& uuid : {q.volume, q.snapshot}) EXPECT_TRUE(has(b, q.device(uuid), 2));
  EXPECT_EQ(b.machine.run(q.pool->destroy_volume(q.snapshot)).code(), Errc::ok);
  EXPECT_EQ(b.machine.registry.find("s"), &b.device("s"));
  EXPECT_EQ(b.destroy("v"), Errc::ok);
  EXPECT_TRUE(has(b, q.device(q.volume), 2));
}

// Whichever pool is opened first: a name with its UUID says which of them is meant.
TEST(PoolOperations, AVolumeIsFoundByItsUriWhateverItsDeviceIsCalled) {
  PoolBench b;
  OtherPool q(b);
  b.open();
  q.open();
  const std::string ours = b.device("v").identity().uri;
  const std::string theirs = q.device(q.volume)->identity().uri;
  b.close();
  q.close();
  q.open();
  b.open();
  EXPECT_EQ(q.device(q.volume)->name(), "v");
  for (const std::string& uri : {ours, "bdev:///v?uuid=" + uuid_of("v").to_string()})
    EXPECT_EQ(b.machine.registry.find(uri), &b.device("v")) << uri;
  for (const std::string& uri : {theirs, "bdev:///v?uuid=" + q.volume.to_string()})
    EXPECT_EQ(b.machine.create(uri), q.device(q.volume)) << uri;
  b.machine.refused("bdev:///v?uuid=" + uuid_of("none").to_string(), Errc::invalid_argument);
}

// The parts of a nexus's snapshot have one name.
TEST(PoolOperations, OnlyASnapshotIsMadeUnderANameThatAnotherPoolHas) {
  PoolBench b;
  OtherPool q(b);
  b.open();
  q.open();
  ASSERT_EQ(b.snapshot("v", "t"), Errc::ok);
  EXPECT_EQ(q.snap("t"), Errc::ok);
  EXPECT_TRUE(has(b, q.device(uuid_of("t of q")), 2));
  EXPECT_EQ(q.snap("t"), Errc::already_exists);
  b.volume("w", size);
  EXPECT_EQ(q.snap("w"), Errc::already_exists);
  for (const char* name : {"w", "t"})
    EXPECT_EQ(b.machine.run(q.pool->create_volume(params(name))).code(), Errc::already_exists) << name;
}

TEST(PoolOperations, AVolumeHasADeviceAlthoughBothItsNamesAreTaken) {
  PoolBench b;
  OtherPool q(b);
  const std::string longer = "v@" + q.volume.to_string();
  ASSERT_NE(b.machine.create("malloc:///v?size_mb=1"), nullptr);
  ASSERT_NE(b.machine.create("malloc:///" + longer + "?size_mb=1"), nullptr);
  q.open();
  EXPECT_EQ(q.device(q.volume)->name(), longer + "-2");
  EXPECT_TRUE(has(b, q.device(q.volume), 2));
}

TEST(PoolOperations, SizesAreRoundedUpToClusters) {
  PoolBench b;
  EXPECT_EQ(b.volume("v", 1).geometry().size_bytes(), cluster);
  EXPECT_EQ(b.volume("w", cluster + 1).geometry().size_bytes(), 2 * cluster);
}

TEST(PoolOperations, WhatIsNotThereOrOfTheWrongKindIsRefused) {
  PoolBench b;
  b.volume("v", size);
  ASSERT_EQ(b.snapshot("v", "s"), Errc::ok);
  const Uuid none = uuid_of("none");
  EXPECT_EQ(b.destroy("none"), Errc::not_found);
  EXPECT_EQ(b.snapshot("none", "x"), Errc::not_found);
  EXPECT_EQ(b.snapshot("s", "x"), Errc::invalid_argument);
  EXPECT_EQ(b.clone("v", "x"), Errc::invalid_argument);
  EXPECT_EQ(b.clone("none", "x"), Errc::not_found);
  EXPECT_EQ(b.machine.run(b.pool->resize_volume(uuid_of("s"), size)).code(), Errc::invalid_argument);
  EXPECT_EQ(b.machine.run(b.pool->revert_volume(uuid_of("v"), none)).code(), Errc::not_found);
  EXPECT_EQ(b.machine.run(b.pool->revert_volume(uuid_of("s"), uuid_of("s"))).code(), Errc::invalid_argument);
  EXPECT_EQ(b.machine.run(b.pool->set_attributes(none, Attributes())).code(), Errc::not_found);
  EXPECT_EQ(b.pool->find(none).code(), Errc::not_found);
  EXPECT_EQ(b.pool->find("none").code(), Errc::not_found);
  EXPECT_EQ(b.pool->diff(none, uuid_of("v"), 0, 10).code(), Errc::not_found);
  EXPECT_EQ(b.pool->diff(std::nullopt, uuid_of("v"), 0, 0).code(), Errc::invalid_argument);
  EXPECT_EQ(b.pool->device(none), nullptr);
}

TEST(PoolOperations, WhatIsInUseStays) {
  PoolBench b;
  Tracked v(b, b.volume("v", size));
  ASSERT_EQ(b.snapshot("v", "s"), Errc::ok);
  EXPECT_EQ(b.destroy("v"), Errc::busy);
  EXPECT_EQ(b.machine.run(b.pool->revert_volume(uuid_of("v"), uuid_of("s"))).code(), Errc::busy);
  EXPECT_EQ(b.machine.run(b.pool->close()).code(), Errc::busy);
  auto claim = b.machine.registry.claim(b.device("s"), "a test");
  ASSERT_TRUE(claim.ok());
  EXPECT_EQ(b.destroy("s"), Errc::busy);
  claim.value().release();
  EXPECT_EQ(b.destroy("s"), Errc::ok);
  EXPECT_EQ(v.write(0, 4 * KiB), Errc::ok);
}

TEST(PoolOperations, SnapshotsAndClonesGoInAnyOrderAndTheSpaceComesBack) {
  const std::string names[] = {"s1", "s2", "c1", "c2", "v"};
  // The orders in which they go.
  const int orders[][5] = {
      {0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {1, 0, 4, 2, 3}, {2, 4, 0, 3, 1}, {4, 0, 2, 1, 3}};
  for (const auto& order : orders) {
    PoolBench b;
    std::map<std::string, Bytes> bytes;
    const std::uint64_t empty = b.used();
    const auto write_some = [&](const std::string& name, std::uint64_t offset, std::uint64_t length) {
      Tracked t(b, b.device(name));
      if (bytes.contains(name)) t.bytes = bytes[name];
      ASSERT_EQ(t.write(offset, length), Errc::ok);
      bytes[name] = t.bytes;
    };
    b.volume("v", size);
    write_some("v", 0, 4 * cluster);
    ASSERT_EQ(b.snapshot("v", "s1"), Errc::ok);
    bytes["s1"] = bytes["v"];
    write_some("v", cluster + 512, 3 * KiB);
    ASSERT_EQ(b.snapshot("v", "s2"), Errc::ok);
    bytes["s2"] = bytes["v"];
    ASSERT_EQ(b.clone("s1", "c1"), Errc::ok);
    bytes["c1"] = bytes["s1"];
    ASSERT_EQ(b.clone("s2", "c2"), Errc::ok);
    bytes["c2"] = bytes["s2"];
    write_some("c2", cluster + 2048, 9 * KiB);
    write_some("c1", 6 * cluster, cluster);
    write_some("v", 0, size);
    EXPECT_EQ(b.pool->find(uuid_of("s1")).value().clones, 1u);
    for (const int gone : order) {
      ASSERT_EQ(b.destroy(names[gone]), Errc::ok) << names[gone];
      bytes.erase(names[gone]);
      for (const auto& [name, expected] : bytes) {
        Tracked t(b, b.device(name));
        EXPECT_EQ(t.difference_to(expected), "") << name << " after " << names[gone];
      }
    }
    b.settle();
    EXPECT_EQ(b.used(), empty);
  }
}

TEST(PoolOperations, ARevertedVolumeHasTheSnapshotsContentAndSize) {
  PoolBench b;
  Bytes then;
  {
    Tracked v(b, b.volume("v", size));
    ASSERT_EQ(v.write(0, 3 * cluster), Errc::ok);
    ASSERT_EQ(b.snapshot("v", "s"), Errc::ok);
    then = v.bytes;
    ASSERT_EQ(v.write(cluster, 4 * cluster), Errc::ok);
  }
  ASSERT_EQ(b.machine.run(b.pool->resize_volume(uuid_of("v"), 2 * size)).code(), Errc::ok);
  EXPECT_EQ(b.machine.run(b.pool->revert_volume(uuid_of("v"), uuid_of("s"))).code(), Errc::ok);
  EXPECT_EQ(b.device("v").geometry().size_bytes(), size);
  {
    Tracked v(b, b.device("v"));
    EXPECT_EQ(v.difference_to(then), "");
    v.bytes = then;
    ASSERT_EQ(v.write(2 * cluster, 4 * KiB), Errc::ok);
    EXPECT_EQ(v.difference(), "");
    Tracked s(b, b.device("s"));
    EXPECT_EQ(s.difference_to(then), "");
  }
  b.volume("other", size);
  EXPECT_EQ(b.machine.run(b.pool->revert_volume(uuid_of("other"), uuid_of("s"))).code(),
            Errc::invalid_argument);
}

struct Ear final : DeviceObserver {
  void on_device_event(BlockDevice&, DeviceEvent event) noexcept override { events.push_back(event); }
  std::vector<DeviceEvent> events;
};

TEST(PoolOperations, AVolumeIsResizedWhileItIsUsed) {
  PoolBench b;
  Tracked v(b, b.volume("v", size));
  Ear ear;
  b.device("v").subscribe(ear);
  ASSERT_EQ(v.write(size - 4 * KiB, 4 * KiB), Errc::ok);
  ASSERT_EQ(b.machine.run(b.pool->resize_volume(uuid_of("v"), 2 * size - 1)).code(), Errc::ok);
  EXPECT_EQ(ear.events, std::vector<DeviceEvent>{DeviceEvent::resized});
  v.bytes.resize(2 * size);
  ASSERT_EQ(v.write(2 * size - 4 * KiB, 4 * KiB), Errc::ok);
  EXPECT_EQ(v.difference(), "");
  ASSERT_EQ(b.machine.run(b.pool->resize_volume(uuid_of("v"), 2 * size)).code(), Errc::ok);  // as it is
  EXPECT_EQ(ear.events.size(), 1u);
  ASSERT_EQ(b.machine.run(b.pool->resize_volume(uuid_of("v"), cluster)).code(), Errc::ok);
  EXPECT_EQ(b.usage("v").allocated, 0u);
  Bytes data = filled(512, 1);
  EXPECT_EQ(v.channel.write(cluster / 512, data), Errc::out_of_range);
  ASSERT_EQ(b.machine.run(b.pool->resize_volume(uuid_of("v"), size)).code(), Errc::ok);
  EXPECT_EQ(v.difference_to(filled(size, 0)), "") << "what was cut off does not come back";
  EXPECT_EQ(b.machine.run(b.pool->resize_volume(uuid_of("v"), 0)).code(), Errc::invalid_argument);
  EXPECT_EQ(b.machine.run(b.pool->resize_volume(uuid_of("v"), ~std::uint64_t{0})).code(),
            Errc::invalid_argument);
}

TEST(PoolOperations, AttributesLiveWithTheVolume) {
  PoolBench b;
  VolumeParams p = params("v");
  p.attributes = {{"a", "1"}, {"b", "2"}, {"empty", ""}};
  ASSERT_TRUE(b.machine.run(b.pool->create_volume(p)).ok());
  const Attributes changes{{"a", ""}, {"c", "3"}};
  ASSERT_TRUE(b.machine.run(b.pool->set_attributes(p.uuid, changes)).ok());
  const Attributes expected{{"b", "2"}, {"c", "3"}};
  EXPECT_EQ(b.pool->find("v").value().spec.attributes, expected);
  b.reopen();
  EXPECT_EQ(b.pool->find("v").value().spec.attributes, expected);
}

TEST(PoolOperations, UsageTellsWhatIsSharedAndWhatADeletionGivesBack) {
  PoolBench b;
  Tracked v(b, b.volume("v", size));
  ASSERT_EQ(v.write(0, 4 * cluster), Errc::ok);
  ASSERT_EQ(b.snapshot("v", "s"), Errc::ok);
  EXPECT_EQ(b.usage("v").shared, 4 * cluster);
  EXPECT_EQ(b.usage("s").exclusive, 0u);
  ASSERT_EQ(v.write(0, cluster), Errc::ok);
  EXPECT_EQ(b.usage("v").exclusive, cluster);
  EXPECT_EQ(b.usage("s").exclusive, cluster);
  const VolumeView view = b.pool->find(uuid_of("v")).value();
  EXPECT_EQ(view.ancestor_bytes, 4 * cluster);
  EXPECT_EQ(b.pool->volumes()[0].ancestor_bytes, 4 * cluster);
  const std::vector<ByteRange> expected{{0, cluster}};
  EXPECT_EQ(b.pool->diff(uuid_of("s"), uuid_of("v"), 0, 10).value(), expected);
  const std::vector<ByteRange> all{{0, 4 * cluster}};
  EXPECT_EQ(b.pool->diff(std::nullopt, uuid_of("v"), 0, 10).value(), all);
  b.settle();
  const std::uint64_t before = b.used(), frees = b.usage("s").exclusive;
  ASSERT_EQ(b.destroy("s"), Errc::ok);
  b.settle();
  EXPECT_EQ(b.used() + frees, before);
}

TEST(PoolOperations, ADeviceThatSomebodyDestroysLeavesTheVolumeInThePool) {
  PoolBench b;
  b.volume("v", size);
  ASSERT_TRUE(b.machine.run(b.machine.registry.destroy("v")).ok());
  EXPECT_EQ(b.pool->device(uuid_of("v")), nullptr);
  EXPECT_EQ(b.snapshot("v", "s"), Errc::ok);
  b.reopen();
  EXPECT_NE(b.pool->device(uuid_of("v")), nullptr);
}

// Clusters with another one behind them become whole when nobody writes, and give up what was behind.
TEST(PoolOperations, PartialClustersAreCompletedInTheBackground) {
  BenchParams with;
  with.completion = true;
  PoolBench b(with);
  Tracked v(b, b.volume("v", size));
  ASSERT_EQ(v.write(0, 2 * cluster), Errc::ok);
  ASSERT_EQ(v.deallocate(cluster + 8 * KiB, 16 * KiB), Errc::ok);
  ASSERT_EQ(b.snapshot("v", "s"), Errc::ok);
  const Bytes then = v.bytes;
  ASSERT_EQ(v.write(4 * KiB, 4 * KiB), Errc::ok);
  ASSERT_EQ(v.write(cluster + 512, 512), Errc::ok);
  EXPECT_EQ(b.usage("v").allocated, 4 * cluster);
  b.settle();
  EXPECT_EQ(b.usage("v").partial_clusters, 0u);
  EXPECT_EQ(b.usage("v").exclusive, 2 * cluster);
  EXPECT_EQ(b.usage("s").exclusive, 2 * cluster);
  EXPECT_EQ(v.difference(), "");
  Tracked s(b, b.device("s"));
  EXPECT_EQ(s.difference_to(then), "");
}

// A volume with a cluster whose completion waits for the disk, for a second.
void begin_completion(PoolBench& b, Tracked& v, const std::string& volume) {
  ASSERT_EQ(v.write(0, cluster), Errc::ok);
  ASSERT_EQ(b.snapshot(volume, "s"), Errc::ok);
  ASSERT_EQ(v.write(0, 20 * KiB), Errc::ok);  // more than the journal carries: it can be completed at once
  b.disk(0).faults().stalled_until = b.machine.world.now() + std::chrono::seconds(1);
  b.machine.world.run_for(std::chrono::milliseconds(500));
}

TEST(PoolOperations, AVolumeIsResizedWhileAWriteWaitsForTheCompletionOfItsCluster) {
  struct Together {
    static Task<void> write(Channel& channel, Bytes& data, bool& done) {
      const IoVec from = vec(data);
      const Status written = co_await channel.write(Lba{40 * KiB / 512}, IoVecs(&from, 1), Durable::no);
      EXPECT_TRUE(written.ok());
      done = true;
    }
    static Task<void> resize(Pool& pool, bool& done) {
      const Status resized = co_await pool.resize_volume(uuid_of("v"), 2 * size);
      EXPECT_TRUE(resized.ok());
      done = true;
    }
  };
  BenchParams with;
  with.completion = true;
  PoolBench b(with);
  Tracked v(b, b.volume("v", size));
  begin_completion(b, v, "v");
  bool written = false, resized = false;
  Bytes data = filled(4 * KiB, 1);
  b.machine.world.spawn(b.machine.process.core(0), Together::write(*v.channel.channel, data, written));
  b.machine.world.spawn(b.machine.process.core(0), Together::resize(*b.pool, resized));
  b.machine.world.run_for(std::chrono::seconds(10));
  EXPECT_TRUE(written);
  EXPECT_TRUE(resized);
}

TEST(PoolOperations, NoDeviceIsThereAnyMoreOnceThePoolIsBeingClosed) {
  struct Closing {
    static Task<void> run(Pool& pool, bool& done) {
      const Status closed = co_await pool.close();
      EXPECT_TRUE(closed.ok());
      done = true;
    }
  };
  BenchParams with;
  with.completion = true;
  PoolBench b(with);
  {
    Tracked v(b, b.volume("v", size));
    b.volume("w", size);
    begin_completion(b, v, "v");
  }
  bool done = false;
  b.machine.world.spawn(b.machine.process.core(0), Closing::run(*b.pool, done));
  b.machine.world.run_for(std::chrono::milliseconds(1));
  EXPECT_FALSE(done);
  EXPECT_EQ(b.machine.registry.find("w"), nullptr);
  b.machine.world.run_for(std::chrono::seconds(10));
  EXPECT_TRUE(done);
  b.pool.reset();
}

TEST(PoolOperations, ACompletionThatARevertOvertookCompletesNothing) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    BenchParams with;
    with.completion = true;
    with.seed = seed;
    with.disk.read_latency = std::chrono::seconds(2);
    with.disk.tail_per_mille = 0;
    PoolBench b(with);
    b.volume("v", size);
    Bytes then;
    {
      Tracked v(b, b.device("v"));
      ASSERT_EQ(v.write(0, cluster), Errc::ok);
      ASSERT_EQ(b.snapshot("v", "a"), Errc::ok);
      ASSERT_EQ(v.write(0, 20 * KiB), Errc::ok);  // partial, the snapshot's behind it
      ASSERT_EQ(b.snapshot("v", "s0"), Errc::ok);
      then = v.bytes;
      ASSERT_EQ(v.write(0, 20 * KiB), Errc::ok);  // whole
      ASSERT_EQ(b.snapshot("v", "s1"), Errc::ok);
      ASSERT_EQ(v.write(0, 20 * KiB), Errc::ok);  // partial again, and v's alone
    }
    b.machine.world.run_for(std::chrono::milliseconds(300));  // its completion reads
    ASSERT_TRUE(b.machine.run(b.pool->revert_volume(uuid_of("v"), uuid_of("s0"))).ok());
    ASSERT_EQ(b.destroy("s0"), Errc::ok);
    const Nanos began = b.machine.world.now();
    while (b.machine.world.now() - began < std::chrono::seconds(5)) {
      ASSERT_TRUE(b.machine.run(b.pool->resize_volume(uuid_of("v"), size + cluster)).ok());
      ASSERT_TRUE(b.machine.run(b.pool->resize_volume(uuid_of("v"), size)).ok());
    }
    Tracked v(b, b.device("v"));
    EXPECT_EQ(v.difference_to(then), "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace holdfast::pool
