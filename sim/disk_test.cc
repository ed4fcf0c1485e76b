#include "sim/disk.h"

#include <cerrno>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "rt/scope.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::sim {
namespace {

constexpr std::size_t sector = 512;

struct Machine {
  explicit Machine(std::uint64_t seed, DiskOptions options = DiskOptions())
      : world(seed), node(world.add_node("a")), disk(node.add_disk("/dev/sda", options)) {
    boot();
  }
  void boot() { r = &node.start().core(0); }
  Result<std::unique_ptr<File>> open(OpenOptions o = OpenOptions()) {
    return world.run(*r, r->open_file("/dev/sda", o));
  }
  World world;
  Node& node;
  SimDisk& disk;
  SimReactor* r = nullptr;
};

Task<Status> write(SimReactor& r, File& f, std::uint64_t at, char fill, std::size_t sectors,
                   bool durable = false) {
  Buffer b = co_await r.buffers().acquire(sectors * sector);
  std::fill_n(b.data(), b.size(), static_cast<std::byte>(fill));
  const IoVec vec = b.vec();
  auto done = co_await f.write(at, IoVecs(&vec, 1), durable);
  if (!done.ok()) co_return done.error();
  co_return Status();
}

Task<Result<std::string>> read(SimReactor& r, File& f, std::uint64_t at, std::size_t sectors) {
  Buffer b = co_await r.buffers().acquire(sectors * sector);
  const IoVec vec = b.vec();
  HF_CO_TRY(const std::size_t n, co_await f.read(at, IoVecs(&vec, 1)));
  co_return std::string(reinterpret_cast<const char*>(b.data()), n);
}

Task<Status> sync(File& f) {
  auto done = co_await f.sync();
  if (!done.ok()) co_return done.error();
  co_return Status();
}

char first_byte(SimDisk& disk, std::uint64_t at) {
  std::byte b{};
  disk.peek(at, std::span(&b, 1));
  return static_cast<char>(b);
}

TEST(SimDisk, ReadsBackWhatWasWritten) {
  Machine m(1);
  auto file = m.open();
  ASSERT_TRUE(file.ok());
  File& f = *file.value();
  EXPECT_TRUE(m.world.run(*m.r, write(*m.r, f, 4 * sector, 'x', 2)).ok());
  auto got = m.world.run(*m.r, read(*m.r, f, 3 * sector, 4));
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got.value(), std::string(512, '\0') + std::string(1024, 'x') + std::string(512, '\0'));
  EXPECT_EQ(m.open().code(), Errc::busy);
  // The end of the disk: a short read, no space for a write.
  got = m.world.run(*m.r, read(*m.r, f, f.info().size_bytes - sector, 2));
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got.value().size(), sector);
  EXPECT_FALSE(m.world.run(*m.r, write(*m.r, f, f.info().size_bytes - sector, 'x', 2)).ok());
  EXPECT_EQ(m.world.run(*m.r, write(*m.r, f, 100, 'x', 1)).code(), Errc::invalid_argument);
  m.world.run(*m.r, f.close());
}

// Goal: what was synced, or written durably, survives power loss; the rest may be old, new or garbage.
TEST(SimDisk, PowerLossKeepsWhatWasSyncedAndMayLoseTheRest) {
  std::set<char> seen;
  bool garbage = false;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Machine m(seed);
    auto file = m.open();
    ASSERT_TRUE(file.ok());
    File& f = *file.value();
    ASSERT_TRUE(m.world.run(*m.r, write(*m.r, f, 0, 'a', 1)).ok());
    ASSERT_TRUE(m.world.run(*m.r, sync(f)).ok());
    ASSERT_TRUE(m.world.run(*m.r, write(*m.r, f, 0, 'b', 1)).ok());
    ASSERT_TRUE(m.world.run(*m.r, write(*m.r, f, sector, 'd', 1, true)).ok());
    EXPECT_EQ(m.disk.undurable_sectors(), 1u);
    bury(file.value().release());
    m.node.crash(CrashKind::power);
    EXPECT_EQ(first_byte(m.disk, sector), 'd');
    std::vector<std::byte> s(sector);
    m.disk.peek(0, s);
    const bool whole = std::all_of(s.begin(), s.end(), [&](std::byte b) { return b == s[0]; });
    if (whole) seen.insert(static_cast<char>(s[0]));
    garbage = garbage || !whole;
    m.boot();
  }
  EXPECT_EQ(seen, (std::set<char>{'a', 'b'}));
  EXPECT_TRUE(garbage);
}

TEST(SimDisk, ProcessCrashKeepsCompletedWritesAndSplitsThoseInFlight) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Machine m(seed);
    auto file = m.open();
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(m.world.run(*m.r, write(*m.r, *file.value(), 0, 'a', 2)).ok());
    auto in_flight = [](SimReactor& r, File& f) -> Task<void> {
      (co_await write(r, f, 0, 'b', 2)).ignore("never ends");
    };
    m.disk.faults().stalled_until = m.world.now() + 1s;
    m.world.spawn(*m.r, in_flight(*m.r, *file.value()));
    m.world.run_for(1ms);
    bury(file.value().release());
    m.node.crash(CrashKind::process);
    seen.insert({first_byte(m.disk, 0), first_byte(m.disk, sector)});
  }
  EXPECT_EQ(seen, (std::set<std::string>{"aa", "ab", "ba", "bb"}));
}

TEST(SimDisk, FaultsHaveTheErrorsOfARealDisk) {
  Machine m(1);
  auto file = m.open();
  ASSERT_TRUE(file.ok());
  File& f = *file.value();
  auto& faults = m.disk.faults();
  faults.bad.push_back({2 * sector, sector, true, false});
  EXPECT_EQ(m.world.run(*m.r, read(*m.r, f, 0, 4)).code(), Errc::io_error);
  EXPECT_TRUE(m.world.run(*m.r, write(*m.r, f, 0, 'x', 4)).ok());
  EXPECT_TRUE(m.world.run(*m.r, read(*m.r, f, 3 * sector, 4)).ok());
  faults = DiskFaults();
  faults.out_of_space = true;
  EXPECT_EQ(m.world.run(*m.r, write(*m.r, f, 0, 'x', 1)).code(), Errc::out_of_space);
  faults = DiskFaults();
  faults.stalled_until = m.world.now() + 3s;
  EXPECT_TRUE(m.world.run(*m.r, read(*m.r, f, 0, 1)).ok());
  EXPECT_GE(m.world.now(), faults.stalled_until);
  faults.failed = true;
  EXPECT_EQ(m.world.run(*m.r, sync(f)).code(), Errc::io_error);
  m.world.run(*m.r, f.close());
}

TEST(SimDisk, DiscardGivesWhatTheDiskIsMadeToGive) {
  using Discarded = DiskOptions::Discarded;
  for (const auto kind : {Discarded::zeroes, Discarded::old, Discarded::garbage}) {
    DiskOptions options;
    options.discarded = kind;
    Machine m(1, options);
    auto file = m.open();
    ASSERT_TRUE(file.ok());
    File& f = *file.value();
    ASSERT_TRUE(m.world.run(*m.r, write(*m.r, f, 0, 'x', 1)).ok());
    auto discard = [&]() -> Task<Status> {
      HF_CO_CHECK(co_await f.discard(0, sector));
      co_return Status();
    };
    ASSERT_TRUE(m.world.run(*m.r, discard()).ok());
    std::string s(sector, '?');
    m.disk.peek(0, std::as_writable_bytes(std::span(s)));
    EXPECT_EQ(s == std::string(sector, '\0'), kind == Discarded::zeroes);
    EXPECT_EQ(s == std::string(sector, 'x'), kind == Discarded::old);
    m.world.run(*m.r, f.close());
  }
}

}  // namespace
}  // namespace holdfast::sim
