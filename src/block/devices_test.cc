// malloc, null, the registry: on a simulated machine.
#include <algorithm>
#include <thread>

#include <gtest/gtest.h>

#include "base/units.h"
#include "block/memory_devices.h"
#include "block/sparse_memory.h"
#include "block/testing/test_devices.h"
#include "rt/scope.h"

namespace holdfast {
namespace {

using namespace testing_support;

TEST(Malloc, HoldsWhatWasWritten) {
  Machine m;
  BlockDevice* d =
      m.create("malloc:///m0?size_mb=64&blk_size=4096&uuid=6b29fc40-ca47-1067-b31d-00dd010662da");
  ASSERT_NE(d, nullptr);
  EXPECT_EQ(d->name(), "m0");
  EXPECT_EQ(d->identity().product_name, "Malloc disk");
  EXPECT_EQ(d->identity().uuid.to_string(), "6b29fc40-ca47-1067-b31d-00dd010662da");
  EXPECT_EQ(d->geometry().block_bytes, 4096u);
  EXPECT_EQ(d->geometry().size_bytes(), 64 * MiB);
  OpenChannel c(m, *d);
  EXPECT_EQ(c.content(0, 8192), filled(8192, 0));
  // Across the border between two chunks.
  const std::uint64_t border = SparseMemory::chunk_bytes / 4096;
  EXPECT_EQ(c.write(border - 1, filled(8192, 7)), Errc::ok);
  EXPECT_EQ(c.content(border - 1, 8192), filled(8192, 7));
  EXPECT_EQ(c.compare(border - 1, filled(8192, 7)), Errc::ok);
  EXPECT_EQ(c.compare(border - 1, filled(8192, 6)), Errc::miscompare);
  EXPECT_EQ(m.run(c.channel->write_zeroes(BlockRange{Lba{border}, 1}, Unmap::no, Durable::yes)).code(),
            Errc::ok);
  EXPECT_EQ(c.content(border, 4096), filled(4096, 0));
  EXPECT_EQ(c.content(border - 1, 4096), filled(4096, 7));
  EXPECT_EQ(m.run(c.channel->deallocate(BlockRange{Lba{0}, 64 * MiB / 4096})).code(), Errc::ok);
  EXPECT_EQ(c.content(border - 1, 4096), filled(4096, 0));
  EXPECT_EQ(m.run(c.channel->flush()).code(), Errc::ok);
}

TEST(Malloc, TakesVectorsOfAnyAlignment) {
  Machine m;
  OpenChannel c(m, *m.create("malloc:///m0?num_blocks=16"));
  Bytes data = filled(1024, 3);
  const IoVec odd[] = {{data.data(), 1}, {data.data() + 1, 700}, {data.data() + 701, 323}};
  EXPECT_TRUE(m.run(c.channel->write(Lba{1}, odd, Durable::no)).ok());
  EXPECT_EQ(c.content(1, 1024), data);
  EXPECT_TRUE(m.run(c.channel->compare(Lba{1}, odd)).ok());
}

// How often the core turns to something else before the operation ends.
unsigned turns_of(Machine& m, Task<Status> operation) {
  bool over = false;
  const auto wait = [](Task<Status> of, bool& ended) -> Task<void> {
    const Status done = co_await std::move(of);
    EXPECT_TRUE(done.ok());
    ended = true;
  };
  TaskScope scope(m.home());
  scope.spawn(wait(std::move(operation), over));
  unsigned turns = 0;
  while (!over && m.world.step()) ++turns;
  m.run(scope.join());
  return turns;
}

// By the memory that is cleared, not by the length: nothing else runs on the core within a turn.
TEST(Malloc, MuchIsZeroedInTurns) {
  constexpr std::uint64_t chunk_blocks = SparseMemory::chunk_bytes / 512;
  constexpr std::uint64_t chunks = 6;
  Machine m;
  OpenChannel c(m, *m.create("malloc:///m0?size_mb=1024"));
  const auto fill = [&c] {
    for (std::uint64_t i = 0; i < chunks; ++i)
      EXPECT_EQ(c.write(i * chunk_blocks + 8, filled(512, 5)), Errc::ok);
  };
  const auto expect_zero = [&c] {
    for (std::uint64_t i = 0; i < chunks; ++i)
      EXPECT_EQ(c.content(i * chunk_blocks + 8, 512), filled(512, 0));
  };
  const BlockRange all{Lba{0}, 1024 * MiB / 512};
  EXPECT_LE(turns_of(m, c.channel->deallocate(all)), 1u);
  fill();
  EXPECT_GE(turns_of(m, c.channel->deallocate(all)), chunks);
  expect_zero();
  fill();
  const BlockRange parts{Lba{1}, chunks * chunk_blocks - 2};
  EXPECT_GE(turns_of(m, c.channel->write_zeroes(parts, Unmap::no, Durable::no)), chunks);
  expect_zero();
}

// Each of them is short, and no other task would have its turn between them.
TEST(Malloc, ManyShortOnesAreZeroedInTurns) {
  constexpr std::uint64_t part = 256 * KiB, parts = 40;
  Machine m;
  OpenChannel c(m, *m.create("malloc:///m0?size_mb=16"));
  ASSERT_EQ(c.write(0, filled(parts * part, 5)), Errc::ok);
  const auto all = [](Channel& channel) -> Task<Status> {
    for (std::uint64_t i = 0; i < parts; ++i)
      HF_CO_CHECK(co_await channel.deallocate(BlockRange{Lba{i * part / 512}, part / 512}));
    co_return Status();
  };
  EXPECT_GE(turns_of(m, all(*c.channel)), parts);
  EXPECT_EQ(c.content(0, parts * part), filled(parts * part, 0));
}

TEST(Malloc, RefusesWhatLiesBeyondTheEnd) {
  Machine m;
  OpenChannel c(m, *m.create("malloc:///m0?num_blocks=16"));
  Bytes two = filled(1024, 1);
  EXPECT_EQ(c.read(15, two), Errc::out_of_range);
  EXPECT_EQ(c.write(15, two), Errc::out_of_range);
  EXPECT_EQ(c.write(~std::uint64_t{0}, two), Errc::out_of_range);
  EXPECT_EQ(m.run(c.channel->write_zeroes(BlockRange{Lba{16}, 1}, Unmap::no, Durable::no)).code(),
            Errc::out_of_range);
  EXPECT_EQ(m.run(c.channel->deallocate(BlockRange{Lba{1}, ~std::uint64_t{0}})).code(), Errc::out_of_range);
  EXPECT_EQ(c.compare(16, filled(512, 0)), Errc::out_of_range);
}

TEST(Malloc, CountsWhatItDoes) {
  Machine m;
  BlockDevice* d = m.create("malloc:///m0?num_blocks=16");
  OpenChannel c(m, *d);
  Bytes two = filled(1024, 1);
  EXPECT_EQ(c.write(0, two), Errc::ok);
  EXPECT_EQ(c.read(0, two), Errc::ok);
  EXPECT_EQ(c.read(0, two), Errc::ok);
  EXPECT_EQ(c.read(16, two), Errc::out_of_range);
  m.run(c.channel->deallocate(BlockRange{Lba{0}, 4})).ignore("counted below");
  const IoStats s = m.run(d->stats());
  EXPECT_EQ(s.write_ops, 1u);
  EXPECT_EQ(s.write_bytes, 1024u);
  EXPECT_EQ(s.read_ops, 2u);
  EXPECT_EQ(s.read_bytes, 2048u);
  EXPECT_EQ(s.unmap_ops, 1u);
  EXPECT_EQ(s.unmapped_bytes, 2048u);
  EXPECT_EQ(s.errors, 1u);
}

class Listening final : public DeviceObserver {
 public:
  void on_device_event(BlockDevice&, DeviceEvent event) noexcept override { events.push_back(event); }
  std::vector<DeviceEvent> events;
};

TEST(Malloc, GrowsOnRequest) {
  Machine m;
  BlockDevice* d = m.create("malloc:///m0?size_mb=1");
  Listening listening;
  d->subscribe(listening);
  EXPECT_EQ(m.create("malloc:///m0?size_mb=2&resize"), d);
  EXPECT_EQ(d->geometry().size_bytes(), 2 * MiB);
  EXPECT_EQ(listening.events, std::vector<DeviceEvent>(1, DeviceEvent::resized));
  OpenChannel c(m, *d);
  EXPECT_EQ(c.write(4095, filled(512, 1)), Errc::ok);
  EXPECT_NE(m.refused("malloc:///m0?size_mb=1&resize", Errc::invalid_argument).find("smaller"),
            std::string::npos);
  m.refused("malloc:///m0?size_mb=4", Errc::already_exists);
  m.refused("malloc:///m0?size_mb=4&resize=0", Errc::already_exists);
  EXPECT_NE(
      m.refused("malloc:///m0?size_mb=4&blk_size=4096&resize", Errc::invalid_argument).find("block size"),
      std::string::npos);
}

TEST(Malloc, SaysWhatIsWrongWithItsUri) {
  Machine m;
  const auto why = [&](const char* uri) { return m.refused(uri, Errc::invalid_argument); };
  EXPECT_NE(why("malloc:///m0").find("size_mb or num_blocks"), std::string::npos);
  EXPECT_NE(why("malloc:///m0?size_mb=1&num_blocks=1").find("size_mb or num_blocks"), std::string::npos);
  EXPECT_NE(why("malloc:///m0?size_mb=0").find("zero"), std::string::npos);
  EXPECT_NE(why("malloc:///m0?num_blocks=0").find("zero"), std::string::npos);
  EXPECT_NE(why("malloc:///m0?size_mb=99999999999999").find("1 TiB"), std::string::npos);
  EXPECT_NE(why("malloc:///m0?size_mb=x").find("'size_mb' is 'x'"), std::string::npos);
  EXPECT_NE(why("malloc:///m0?size_mb=1&blk_size=1024").find("512 or 4096"), std::string::npos);
  EXPECT_NE(why("malloc:///m0?size_mb=1&uuid=1").find("uuid"), std::string::npos);
  EXPECT_NE(why("malloc:///m0?sizemb=1").find("no parameter 'sizemb'"), std::string::npos);
  EXPECT_NE(why("malloc:///?size_mb=1").find("name is missing"), std::string::npos);
  EXPECT_NE(why("malloc://m0?size_mb=1").find("three slashes"), std::string::npos);
  EXPECT_NE(why("null:///n0?size_mb=1&resize").find("no parameter 'resize'"), std::string::npos);
  EXPECT_NE(why("floppy:///a").find("unknown scheme 'floppy' (known are bdev, loopback, aio, inject, malloc"),
            std::string::npos);
  EXPECT_TRUE(m.registry.entries().empty());
}

TEST(Null, ReadsZeroesWhateverIsWritten) {
  Machine m;
  OpenChannel c(m, *m.create("null:///n0?size_mb=1&blk_size=4096"));
  EXPECT_EQ(c.write(0, filled(4096, 1)), Errc::ok);
  EXPECT_EQ(c.content(0, 4096), filled(4096, 0));
  EXPECT_EQ(c.write(256, filled(4096, 1)), Errc::out_of_range);
}

TEST(Channel, RefusesOperationsAfterCancelAll) {
  Machine m;
  OpenChannel c(m, *m.create("malloc:///m0?size_mb=1"));
  c.channel->cancel_all();
  EXPECT_EQ(c.write(0, filled(512, 1)), Errc::cancelled);
  EXPECT_EQ(m.run(c.channel->flush()).code(), Errc::cancelled);
}

TEST(SparseMemory, IsSafeFromManyThreads) {
  SparseMemory memory(true);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&memory, t] {
      Prng prng(static_cast<std::uint64_t>(t));
      Bytes block = filled(4096, t + 1), got = filled(4096, 0);
      for (int i = 0; i < 400; ++i) {
        const std::uint64_t at = prng.below(64) * 4096 + prng.below(3) * SparseMemory::chunk_bytes;
        switch (prng.below(8)) {
          case 0:
            memory.zero(at / SparseMemory::chunk_bytes * SparseMemory::chunk_bytes,
                        SparseMemory::chunk_bytes);
            break;
          case 1:
          case 2:
          case 3:
            EXPECT_TRUE(memory.write(at, block.data(), block.size()));
            break;
          default:
            memory.read(at, got.data(), got.size());
            EXPECT_EQ(std::count(got.begin(), got.end(), got[0]), 4096) << "a torn block";
        }
      }
    });
  }
  for (auto& t : threads) t.join();
}

TEST(Registry, FindsByNameAliasAndUri) {
  Machine m;
  BlockDevice* d = m.create("malloc:///m0?size_mb=1");
  EXPECT_EQ(m.registry.find("m0"), d);
  EXPECT_EQ(m.registry.find("malloc:///m0?size_mb=1"), d);
  EXPECT_EQ(m.registry.find("malloc:///m0"), d);
  EXPECT_EQ(m.registry.find("bdev:///m0"), d);
  EXPECT_EQ(m.registry.find("m1"), nullptr);
  EXPECT_EQ(m.registry.find("nonsense://"), nullptr);
  EXPECT_EQ(m.create("bdev:///m0"), d);
  EXPECT_EQ(m.create("loopback:///m0?uuid=" + d->identity().uuid.to_string()), d);
  m.refused("bdev:///m0?uuid=6b29fc40-ca47-1067-b31d-00dd010662da", Errc::invalid_argument);
  m.refused("bdev:///m0?size_mb=1", Errc::invalid_argument);
  m.refused("bdev:///m1", Errc::not_found);
  m.refused("bdev:///", Errc::invalid_argument);
  m.refused("not a uri", Errc::invalid_argument);
}

TEST(Registry, ClaimedDevicesStay) {
  Machine m;
  BlockDevice* d = m.create("malloc:///m0?size_mb=1");
  auto claim = m.registry.claim(*d, "nexus 'n0'");
  ASSERT_TRUE(claim.ok());
  auto second = m.registry.claim(*d, "other");
  EXPECT_EQ(second.code(), Errc::busy);
  EXPECT_NE(second.error().message().find("nexus 'n0'"), std::string::npos);
  auto destroyed = m.run(m.registry.destroy("m0"));
  EXPECT_EQ(destroyed.code(), Errc::failed_precondition);
  EXPECT_NE(destroyed.error().message().find("nexus 'n0'"), std::string::npos);
  DeviceClaim moved = std::move(claim).value();
  EXPECT_EQ(&moved.device(), d);
  moved.release();
  EXPECT_TRUE(m.run(m.registry.destroy("malloc:///m0?size_mb=1")).ok());
  EXPECT_EQ(m.run(m.registry.destroy("m0")).code(), Errc::not_found);
  EXPECT_NE(m.create("malloc:///m0?size_mb=1"), nullptr);
}

Task<int> create_twice_at_once(Machine& m, std::string uri) {
  int made = 0;
  TaskScope scope(m.home());
  struct One {
    static Task<void> run(DeviceRegistry& registry, const std::string& text, int& count) {
      auto got = co_await registry.create(text);
      count += got.ok() ? 1 : 0;
      EXPECT_TRUE(got.ok() || got.code() == Errc::already_exists);
    }
  };
  scope.spawn(One::run(m.registry, uri, made));
  scope.spawn(One::run(m.registry, uri, made));
  co_await scope.join();
  co_return made;
}

TEST(Registry, OneOfTwoRequestsAtOnceWins) {
  Machine m;
  m.node.add_disk("/dev/sda", sim::DiskOptions());
  EXPECT_EQ(m.run(create_twice_at_once(m, "aio:///dev/sda")), 1);
}

// What a URI asks of a device that exists (to grow, to read its size again) takes its time.
Task<Status> refresh_slowly(Reactor& home, BlockDevice& device, std::string& refreshed) {
  co_await home.sleep(1s);
  refreshed = device.name();
  co_return Status();
}

Task<void> note_when_over(Task<Status> task, std::vector<Errc>& outcomes) {
  const Status done = co_await std::move(task);
  outcomes.push_back(done.code());
}

Task<Status> create_again(DeviceRegistry& registry, std::string uri) {
  const auto got = co_await registry.create(std::move(uri));
  if (!got.ok()) co_return got.error();
  co_return Status();
}

TEST(Registry, ADeviceIsNotDestroyedWhileItIsRefreshed) {
  Machine m;
  std::string refreshed;
  DeviceRegistry::Scheme scheme = null_scheme(m.process.cores());
  scheme.refresh = [&](const Uri&, BlockDevice& device) {
    return refresh_slowly(m.home(), device, refreshed);
  };
  m.registry.add_scheme("slow", scheme);
  ASSERT_NE(m.create("slow:///d0?size_mb=1"), nullptr);
  std::vector<Errc> outcomes;
  TaskScope scope(m.home());
  scope.spawn(note_when_over(create_again(m.registry, "slow:///d0?size_mb=1"), outcomes));
  scope.spawn(note_when_over(m.registry.destroy("d0"), outcomes));
  m.run(scope.join());
  EXPECT_EQ(refreshed, "d0");
  // Whoever asked for it does not get a device that is gone.
  EXPECT_EQ(outcomes, (std::vector<Errc>{Errc::not_found, Errc::ok}));
}

TEST(Registry, AdoptsAndGivesBack) {
  Machine m;
  Machine other;
  BlockDevice* d = other.create("malloc:///n0?size_mb=1");
  std::unique_ptr<BlockDevice> taken = other.registry.withdraw(*d);
  auto adopted = m.registry.adopt(std::move(taken));
  ASSERT_TRUE(adopted.ok());
  EXPECT_EQ(m.registry.find("n0"), d);
  m.refused("malloc:///n0?size_mb=1", Errc::already_exists);
  EXPECT_EQ(m.registry.withdraw(*d).get(), d);
}

}  // namespace
}  // namespace holdfast
