// Files and block devices as BlockDevices, over simulated disks and, at the end, over a real file.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/units.h"
#include "block/testing/test_devices.h"
#include "rt/cross_core.h"
#include "uring/runtime.h"

namespace holdfast {
namespace {

using namespace testing_support;

sim::DiskOptions disk_of(std::uint64_t bytes, std::uint32_t sector = 512) {
  sim::DiskOptions o;
  o.size_bytes = bytes;
  o.sector_bytes = sector;
  return o;
}

TEST(FileDevice, UsesADisk) {
  Machine m;
  m.node.add_disk("/dev/sda", disk_of(1 * MiB, 4096));
  BlockDevice* d = m.create("aio:///dev/sda");
  ASSERT_NE(d, nullptr);
  EXPECT_EQ(d->name(), "/dev/sda");
  EXPECT_EQ(d->geometry().block_bytes, 4096u);
  EXPECT_EQ(d->geometry().block_count, 256u);
  EXPECT_TRUE(d->capabilities().deallocate);
  OpenChannel c(m, *d);
  EXPECT_EQ(c.write(1, filled(8192, 5)), Errc::ok);
  EXPECT_EQ(c.write(3, filled(4096, 6), Durable::yes), Errc::ok);
  EXPECT_EQ(c.content(1, 8192), filled(8192, 5));
  EXPECT_EQ(c.compare(3, filled(4096, 6)), Errc::ok);
  EXPECT_EQ(c.compare(3, filled(4096, 7)), Errc::miscompare);
  EXPECT_TRUE(m.run(c.channel->flush()).ok());
  EXPECT_TRUE(m.run(c.channel->write_zeroes(BlockRange{Lba{1}, 1}, Unmap::yes, Durable::yes)).ok());
  EXPECT_EQ(c.content(1, 4096), filled(4096, 0));
  EXPECT_EQ(c.content(2, 4096), filled(4096, 5));
  EXPECT_TRUE(m.run(c.channel->deallocate(BlockRange{Lba{2}, 1})).ok());
  EXPECT_EQ(c.write(256, filled(4096, 1)), Errc::out_of_range);
}

TEST(FileDevice, TakesBuffersThatDirectIoCannotUse) {
  Machine m;
  m.node.add_disk("/dev/sda", disk_of(4 * MiB));
  OpenChannel c(m, *m.create("uring:///dev/sda"));
  Bytes memory = filled(1 * MiB + 512, 4);
  const IoVec odd[] = {{memory.data() + 3, 100}, {memory.data() + 103, 1 * MiB - 100}};
  EXPECT_TRUE(m.run(c.channel->write(Lba{8}, odd, Durable::no)).ok());
  Bytes back = filled(1 * MiB + 512, 0);
  const IoVec into[] = {{back.data() + 5, 1 * MiB - 7}, {back.data() + 5 + 1 * MiB - 7, 7}};
  EXPECT_TRUE(m.run(c.channel->read(Lba{8}, into)).ok());
  EXPECT_TRUE(std::equal(back.begin() + 5, back.begin() + 5 + 1 * MiB, memory.begin() + 3));
}

TEST(FileDevice, PassesErrorsOn) {
  Machine m;
  sim::SimDisk& disk = m.node.add_disk("/dev/sda", disk_of(1 * MiB));
  BlockDevice* d = m.create("aio:///dev/sda");
  OpenChannel c(m, *d);
  sim::DiskFaults faults;
  faults.out_of_space = true;
  disk.faults() = faults;
  EXPECT_EQ(c.write(0, filled(512, 1)), Errc::out_of_space);
  faults = sim::DiskFaults();
  faults.failed = true;
  disk.faults() = faults;
  Bytes b = filled(512, 0);
  EXPECT_EQ(c.read(0, b), Errc::io_error);
  EXPECT_EQ(m.run(c.channel->flush()).code(), Errc::io_error);
  EXPECT_EQ(m.run(d->stats()).errors, 3u);
}

TEST(FileDevice, RefusesBlockSizesThatTheDiskCannotDo) {
  Machine m;
  m.node.add_disk("/dev/sda", disk_of(1 * MiB, 4096));
  EXPECT_NE(m.refused("aio:///dev/sda?blk_size=512", Errc::invalid_argument).find("blocks of 4096"),
            std::string::npos);
  for (const char* size : {"0", "256", "1000", "8192", "x"}) {
    m.refused(std::string("aio:///dev/sda?blk_size=") + size, Errc::invalid_argument);
  }
  EXPECT_NE(m.refused("aio:///dev/sda?size_mb=1", Errc::invalid_argument).find("no parameter 'size_mb'"),
            std::string::npos);
  EXPECT_NE(m.create("aio:///dev/sda?blk_size=4096"), nullptr);
}

TEST(FileDevice, LargerBlocksThanTheDisks) {
  Machine m;
  m.node.add_disk("/dev/sda", disk_of(10 * 512));
  BlockDevice* d = m.create("aio:///dev/sda?blk_size=4096");
  ASSERT_NE(d, nullptr);
  EXPECT_EQ(d->geometry().block_count, 1u);  // the rest is not used
}

TEST(FileDevice, OpensOnce) {
  Machine m;
  m.node.add_disk("/dev/sda", disk_of(1 * MiB));
  EXPECT_NE(m.create("aio:///dev/sda"), nullptr);
  m.refused("aio:///dev/sda", Errc::already_exists);
  m.refused("uring:///dev/sda", Errc::already_exists);
  m.refused("aio:///dev/none", Errc::not_found);
}

TEST(FileDevice, UuidIsStableAndDiffersByHost) {
  Machine m, n;
  for (Machine* machine : {&m, &n}) machine->node.add_disk("/dev/sda", disk_of(1 * MiB));
  const Uuid first = m.create("aio:///dev/sda")->identity().uuid;
  EXPECT_EQ(first, n.create("uring:///dev/sda")->identity().uuid);
  DeviceRegistry elsewhere(m.process.cores());
  register_builtin_schemes(elsewhere, m.process.cores(), "b");
  EXPECT_TRUE(m.run(m.registry.destroy("/dev/sda")).ok());
  auto other = m.run(elsewhere.create("aio:///dev/sda"));
  ASSERT_TRUE(other.ok());
  EXPECT_NE(other.value()->identity().uuid, first);
  m.run(elsewhere.close());
}

// On the real reactor: two cores, real files, and every refusal that a file system can give.
class RealFile : public testing::Test {
 protected:
  RealFile() {
    char name[] = "/tmp/holdfast-test-XXXXXX";
    folder_ = ::mkdtemp(name);
    uring::Runtime::Options options;
    options.cores = 2;
    auto made = uring::Runtime::create(options);
    if (!made.ok()) panic(made.error().message().c_str());
    runtime_ = std::move(made).value();
    registry_ = std::make_unique<DeviceRegistry>(runtime_->cores());
    register_builtin_schemes(*registry_, runtime_->cores());
  }
  ~RealFile() override {
    runtime_->run(registry_->close());
    std::filesystem::remove_all(folder_);
  }
  std::string make_file(const std::string& name, std::uint64_t bytes) const {
    std::ofstream(folder_ + "/" + name).close();
    std::filesystem::resize_file(folder_ + "/" + name, bytes);
    return folder_ + "/" + name;
  }
  std::string refused(const std::string& uri, Errc code) {
    auto made = runtime_->run(registry_->create(uri));
    EXPECT_EQ(made.code(), code) << uri;
    return made.ok() ? "accepted" : made.error().message();
  }

  std::string folder_;
  std::unique_ptr<uring::Runtime> runtime_;
  std::unique_ptr<DeviceRegistry> registry_;
};

// One channel on each core; what one wrote the other reads.
Task<bool> share(const Cores& cores, BlockDevice& device) {
  auto on_other = [&]() -> Task<bool> {
    Reactor& core = cores.at(1);
    auto opened = co_await device.open_channel(core);
    if (!opened.ok()) co_return false;
    Channel& channel = *opened.value();
    Buffer b = core.buffers().try_acquire(8192);
    std::fill(b.span().begin(), b.span().end(), std::byte{9});
    const IoVec v = b.vec();
    const Status wrote = co_await channel.write(Lba{2}, IoVecs(&v, 1), Durable::yes);
    co_await channel.close();
    co_return wrote.ok();
  };
  const bool wrote = co_await run_on(cores.home(), cores.at(1), on_other);
  auto opened = co_await device.open_channel(cores.home());
  if (!wrote || !opened.ok()) co_return false;
  Bytes back = filled(8192, 0);
  const IoVec v = vec(back);
  const Status got = co_await opened.value()->read(Lba{2}, IoVecs(&v, 1));
  co_await opened.value()->close();
  co_return got.ok() && back == filled(8192, 9);
}

TEST_F(RealFile, IsSharedByTwoCores) {
  auto made = runtime_->run(registry_->create("aio://" + make_file("disk", 1 * MiB) + "?blk_size=4096"));
  ASSERT_TRUE(made.ok());
  EXPECT_TRUE(runtime_->run(share(runtime_->cores(), *made.value())));
}

TEST_F(RealFile, ChannelsAreOfTheFileThatWasOpened) {
  const std::string file = make_file("disk", 1 * MiB);
  auto made = runtime_->run(registry_->create("aio://" + file));
  ASSERT_TRUE(made.ok());
  std::filesystem::rename(file, file + ".old");
  make_file("disk", 1 * MiB);
  const auto other = runtime_->run(made.value()->open_channel(runtime_->home()));
  EXPECT_EQ(other.code(), Errc::not_found);
  EXPECT_NE(other.error().message().find("another file"), std::string::npos);
  std::filesystem::rename(file + ".old", file);
  EXPECT_TRUE(runtime_->run(share(runtime_->cores(), *made.value())));
}

TEST_F(RealFile, RescanSeesANewSize) {
  const std::string file = make_file("disk", 1 * MiB);
  auto made = runtime_->run(registry_->create("aio://" + file));
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made.value()->geometry().block_bytes, 512u);
  std::filesystem::resize_file(file, 2 * MiB + 100);
  auto again = runtime_->run(registry_->create("aio://" + file + "?rescan"));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again.value(), made.value());
  EXPECT_EQ(made.value()->geometry().block_count, 4096u);
  std::filesystem::resize_file(file, 100);
  EXPECT_NE(refused("aio://" + file + "?rescan", Errc::invalid_argument).find("less than one block"),
            std::string::npos);
}

TEST_F(RealFile, RefusesAndSaysWhy) {
  EXPECT_NE(refused("aio://" + folder_ + "/none", Errc::not_found).find("no such file"), std::string::npos);
  EXPECT_NE(refused("aio://" + folder_, Errc::invalid_argument).find("is a directory"), std::string::npos);
  EXPECT_NE(refused("aio:///dev/null", Errc::invalid_argument).find("block device"), std::string::npos);
  EXPECT_NE(refused("aio://" + make_file("empty", 0), Errc::invalid_argument).find("truncate -s"),
            std::string::npos);
  EXPECT_NE(refused("aio://" + make_file("small", 511), Errc::invalid_argument).find("holds 511 bytes"),
            std::string::npos);
  const std::string file = make_file("disk", 1 * MiB);
  DeviceRegistry other(runtime_->cores());
  register_builtin_schemes(other, runtime_->cores());
  auto held = runtime_->run(other.create("aio://" + file));
  ASSERT_TRUE(held.ok());
  EXPECT_NE(refused("aio://" + file, Errc::busy).find("in use"), std::string::npos);
  runtime_->run(other.close());
}

Task<Errc> write_code(Reactor& core, BlockDevice& device) {
  auto opened = co_await device.open_channel(core);
  if (!opened.ok()) co_return opened.code();
  Bytes data = filled(512, 1);
  const IoVec v = vec(data);
  const Status wrote = co_await opened.value()->write(Lba{0}, IoVecs(&v, 1), Durable::no);
  const Status read = co_await opened.value()->read(Lba{0}, IoVecs(&v, 1));
  EXPECT_TRUE(read.ok());
  co_await opened.value()->close();
  co_return wrote.code();
}

TEST_F(RealFile, ReadOnlyDevices) {
  const std::string file = make_file("disk", 1 * MiB);
  auto made = runtime_->run(registry_->create("aio://" + file + "?read_only"));
  ASSERT_TRUE(made.ok());
  EXPECT_TRUE(made.value()->capabilities().read_only);
  EXPECT_EQ(runtime_->run(write_code(runtime_->home(), *made.value())), Errc::read_only);
}

TEST(FileDevice, ADiskThatWasTakenOutIsNotFull) {
  Machine m;
  sim::SimDisk& disk = m.node.add_disk("/dev/sda", disk_of(1 * MiB));
  OpenChannel c(m, *m.create("aio:///dev/sda"));
  disk.resize(0);  // as the kernel does with one that is gone
  EXPECT_EQ(c.write(0, filled(512, 1)), Errc::io_error);
  {
    Buffer b = m.home().buffers().try_acquire(4096);  // aligned: without the copy
    std::fill(b.span().begin(), b.span().end(), std::byte{1});
    const IoVec v = b.vec();
    EXPECT_EQ(m.run(c.channel->write(Lba{0}, IoVecs(&v, 1), Durable::no)).code(), Errc::io_error);
  }
  const BlockRange range{Lba{0}, 1};
  EXPECT_EQ(m.run(c.channel->write_zeroes(range, Unmap::no, Durable::no)).code(), Errc::io_error);
  EXPECT_EQ(m.run(c.channel->deallocate(range)).code(), Errc::io_error);
}

}  // namespace
}  // namespace holdfast
