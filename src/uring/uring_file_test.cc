// Files in a temporary folder, block devices where a loop device can be made.
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rt/scope.h"
#include "uring/runtime.h"
#include "uring/socket.h"

namespace holdfast::uring {
namespace {

namespace fs = std::filesystem;

class FileTest : public testing::Test {
 protected:
  FileTest() {
    char name[] = "/tmp/holdfast-test-XXXXXX";
    folder_ = ::mkdtemp(name);
    auto made = Runtime::create(Runtime::Options());
    if (!made.ok()) panic(made.error().message().c_str());
    runtime_ = std::move(made).value();
  }
  ~FileTest() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string make_file(const std::string& name, std::uint64_t bytes) const {
    std::ofstream(path(name)).close();
    fs::resize_file(path(name), bytes);
    return path(name);
  }
  Reactor& home() { return runtime_->home(); }

  std::string folder_;
  std::unique_ptr<Runtime> runtime_;
};

Buffer filled(Reactor& r, std::size_t bytes, int value) {
  Buffer b = r.buffers().try_acquire(bytes);
  std::memset(b.data(), value, bytes);
  return b;
}

bool all_are(const Buffer& b, int value) {
  for (const std::byte x : b.span()) {
    if (x != static_cast<std::byte>(value)) return false;
  }
  return true;
}

Task<Errc> open_code(Reactor& r, std::string path, OpenOptions options, std::string part_of_text) {
  auto opened = co_await r.open_file(path, options);
  if (opened.ok()) {
    co_await opened.value()->close();
  } else {
    EXPECT_NE(opened.error().message().find(path), std::string::npos) << opened.error().message();
    EXPECT_NE(opened.error().message().find(part_of_text), std::string::npos) << opened.error().message();
  }
  co_return opened.code();
}

// Writes, durably too, and reads; zeroes and discards ranges; vectors; the end of the file.
Task<void> use(Reactor& r, std::string path, bool is_device) {
  auto opened = co_await r.open_file(path, OpenOptions());
  EXPECT_TRUE(opened.ok());
  if (!opened.ok()) co_return;
  File& f = *opened.value();
  EXPECT_EQ(f.info().is_block_device, is_device);
  EXPECT_EQ(f.info().size_bytes, 4 * MiB);
  Buffer ones = filled(r, 65536, 1), twos = filled(r, 65536, 2), read = filled(r, 65536, 9);
  const IoVec one = ones.vec(), two = twos.vec(), into = read.vec();
  auto wrote = co_await f.write(0, IoVecs(&one, 1));
  EXPECT_TRUE(wrote.ok() && wrote.value() == 65536);
  auto durable = co_await f.write(65536, IoVecs(&two, 1), true);
  EXPECT_TRUE(durable.ok() && durable.value() == 65536);
  auto synced = co_await f.sync();
  EXPECT_TRUE(synced.ok());
  auto got = co_await f.read(65536, IoVecs(&into, 1));
  EXPECT_TRUE(got.ok() && got.value() == 65536 && all_are(read, 2));

  const IoVec mixed[] = {{ones.data(), 4096}, {twos.data(), 8192}, {ones.data() + 4096, 4096}};
  auto gathered = co_await f.write(1 * MiB, IoVecs(mixed, 3));
  EXPECT_TRUE(gathered.ok() && gathered.value() == 16384);
  Buffer a = filled(r, 8192, 9), b = filled(r, 8192, 9);
  const IoVec scattered[] = {a.vec(), b.vec()};
  auto gotten = co_await f.read(1 * MiB, IoVecs(scattered, 2));
  EXPECT_TRUE(gotten.ok() && gotten.value() == 16384);
  EXPECT_EQ(a.data()[0], std::byte{1});
  EXPECT_EQ(a.data()[4096], std::byte{2});
  EXPECT_EQ(b.data()[0], std::byte{2});
  EXPECT_EQ(b.data()[8191], std::byte{1});

  auto zeroed = co_await f.write_zeroes(4096, 8192);
  EXPECT_TRUE(zeroed.ok());
  auto around = co_await f.read(0, IoVecs(&into, 1));
  EXPECT_TRUE(around.ok());
  EXPECT_EQ(read.data()[4095], std::byte{1});
  EXPECT_EQ(read.data()[4096], std::byte{0});
  EXPECT_EQ(read.data()[12287], std::byte{0});
  EXPECT_EQ(read.data()[12288], std::byte{1});
  if (f.info().can_discard) {
    auto discarded = co_await f.discard(65536, 65536);
    EXPECT_TRUE(discarded.ok());
    auto after = co_await f.read(65536, IoVecs(&into, 1));
    EXPECT_TRUE(after.ok() && all_are(read, 0));
  }
  auto past = co_await f.read(4 * MiB - 4096, IoVecs(&into, 1));
  EXPECT_TRUE(past.ok() && past.value() == 4096);
  co_await f.close();
}

TEST_F(FileTest, ReadsWritesZeroesAndDiscards) { runtime_->run(use(home(), make_file("f", 4 * MiB), false)); }

TEST_F(FileTest, WorksBufferedWhereDirectIoIsNotPossible) {
  const std::string name = "/dev/shm/holdfast-test-" + std::to_string(::getpid());
  std::ofstream(name).close();
  fs::resize_file(name, 4 * MiB);
  runtime_->run(use(home(), name, false));
  fs::remove(name);
}

Task<void> grows(Reactor& r, std::string path) {
  auto opened = co_await r.open_file(path, OpenOptions());
  EXPECT_TRUE(opened.ok());
  if (!opened.ok()) co_return;
  fs::resize_file(path, 8 * MiB);
  EXPECT_EQ(opened.value()->info().size_bytes, 4 * MiB);
  auto refreshed = co_await opened.value()->refresh();
  EXPECT_TRUE(refreshed.ok());
  EXPECT_EQ(opened.value()->info().size_bytes, 8 * MiB);
  co_await opened.value()->close();
}

TEST_F(FileTest, RefreshSeesANewSize) { runtime_->run(grows(home(), make_file("f", 4 * MiB))); }

TEST_F(FileTest, SaysWhyItCannotOpen) {
  EXPECT_EQ(runtime_->run(open_code(home(), path("none"), OpenOptions(), "no such file")), Errc::not_found);
  EXPECT_EQ(runtime_->run(open_code(home(), folder_, OpenOptions(), "directory")), Errc::invalid_argument);
  EXPECT_EQ(runtime_->run(open_code(home(), "/dev/null", OpenOptions(), "neither")), Errc::invalid_argument);
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(runtime_->run(open_code(home(), path("pipe"), OpenOptions(), "neither")), Errc::invalid_argument);
}

Task<void> twice(Reactor& r, std::string path) {
  auto first = co_await r.open_file(path, OpenOptions());
  EXPECT_TRUE(first.ok());
  if (!first.ok()) co_return;
  EXPECT_EQ(co_await open_code(r, path, OpenOptions(), "in use"), Errc::busy);
  OpenOptions shared;
  shared.exclusive = false;
  EXPECT_EQ(co_await open_code(r, path, shared, ""), Errc::ok);
  co_await first.value()->close();
  EXPECT_EQ(co_await open_code(r, path, OpenOptions(), ""), Errc::ok);
}

TEST_F(FileTest, ExclusiveMeansOne) { runtime_->run(twice(home(), make_file("f", 4096))); }

Task<void> read_only(Reactor& r, std::string path) {
  OpenOptions o;
  o.read_only = true;
  auto opened = co_await r.open_file(path, o);
  EXPECT_TRUE(opened.ok() && opened.value()->info().read_only);
  if (!opened.ok()) co_return;
  Buffer b = filled(r, 4096, 1);
  const IoVec v = b.vec();
  auto wrote = co_await opened.value()->write(0, IoVecs(&v, 1));
  EXPECT_FALSE(wrote.ok());
  co_await opened.value()->close();
}

TEST_F(FileTest, ReadOnlyRefusesWrites) { runtime_->run(read_only(home(), make_file("f", 1 * MiB))); }

Task<void> small_files(Reactor& r, std::string path) {
  EXPECT_EQ((co_await r.read_file(path)).code(), Errc::not_found);
  for (const char* text : {"one", "a longer second content", ""}) {
    auto replaced = co_await r.replace_file(path, text);
    EXPECT_TRUE(replaced.ok());
    auto content = co_await r.read_file(path);
    EXPECT_TRUE(content.ok() && content.value() == text);
  }
  EXPECT_FALSE(fs::exists(path + ".new"));
  EXPECT_EQ((co_await r.replace_file("/no/such/folder/x", "y")).code(), Errc::not_found);
  auto removed = co_await r.remove_file(path);
  EXPECT_TRUE(removed.ok());
  auto again = co_await r.remove_file(path);
  EXPECT_TRUE(again.ok());
}

TEST_F(FileTest, SmallFilesAreReplacedWhole) { runtime_->run(small_files(home(), path("record"))); }

Task<void> random_load(Reactor& r, std::string path, int workers, int rounds) {
  auto opened = co_await r.open_file(path, OpenOptions());
  EXPECT_TRUE(opened.ok());
  if (!opened.ok()) co_return;
  TaskScope scope(r);
  struct Worker {
    static Task<void> run(Reactor& reactor, File& f, std::uint64_t id, int n) {
      Buffer w = filled(reactor, 4096, 0), g = filled(reactor, 4096, 0);
      const IoVec from = w.vec(), into = g.vec();
      for (int i = 0; i < n; ++i) {
        std::memset(w.data(), static_cast<int>(id + static_cast<unsigned>(i)), 4096);
        const std::uint64_t at = (id * 16 + reactor.random().below(16)) * 4096;
        auto got = co_await f.read(at, IoVecs(&into, 1));
        EXPECT_TRUE(got.ok() && got.value() == 4096);
        if (id % 16 != 0) continue;  // to grow a sparse file is slow
        auto wrote = co_await f.write(at, IoVecs(&from, 1));
        auto again = co_await f.read(at, IoVecs(&into, 1));
        EXPECT_TRUE(wrote.ok() && again.ok() && std::memcmp(w.data(), g.data(), 4096) == 0);
      }
    }
  };
  for (int i = 0; i < workers; ++i)
    scope.spawn(Worker::run(r, *opened.value(), static_cast<std::uint64_t>(i), rounds));
  co_await scope.join();
  co_await opened.value()->close();
}

Task<void> large_file(Reactor& r, std::string path) {
  const std::string text(65 * MiB, 'x');
  const Status replaced = co_await r.replace_file(path, text);
  EXPECT_TRUE(replaced.ok());
  const auto content = co_await r.read_file(path);
  EXPECT_TRUE(content.ok() && content.value() == text);
  const auto endless = co_await r.read_file("/dev/zero");
  EXPECT_EQ(endless.code(), Errc::resource_exhausted);
}

TEST_F(FileTest, WhatWasWrittenIsReadAgainHoweverLarge) { runtime_->run(large_file(home(), path("backup"))); }

TEST_F(FileTest, ManyOperationsAtOnce) {
  runtime_->run(random_load(home(), make_file("f", 128 * MiB), 1500, 1));  // more than the ring holds at once
}

// A loop device over a file; empty where this machine does not let us make one.
class LoopDevice {
 public:
  explicit LoopDevice(const std::string& backing) {
    Fd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    if (!control) return;
    const int index = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (index < 0) return;
    path_ = "/dev/loop" + std::to_string(index);
    device_.reset(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    backing_.reset(::open(backing.c_str(), O_RDWR | O_CLOEXEC));
    if (!device_ || !backing_ || ::ioctl(device_.get(), LOOP_SET_FD, backing_.get()) != 0) path_.clear();
  }
  ~LoopDevice() {
    if (!path_.empty()) ::ioctl(device_.get(), LOOP_CLR_FD, 0);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  Fd device_, backing_;
};

TEST_F(FileTest, BlockDevice) {
  LoopDevice loop(make_file("backing", 4 * MiB));
  if (loop.path().empty()) GTEST_SKIP() << "no loop device can be made here";
  runtime_->run(use(home(), loop.path(), true));
  runtime_->run(twice(home(), loop.path()));
}

// Reads a file until its first byte has that value, for five seconds.
bool comes_to_be(const std::string& path, char value) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  for (int i = 0; i < 5000; ++i) {
    char first = 0;
    if (::pread(fd.get(), &first, 1, 0) == 1 && first == value) return true;
    ::usleep(1000);
  }
  return false;
}

// The disk does not stand still while the reactor is busy with the rest of its turn.
TEST_F(FileTest, AnOperationReachesTheDiskWithinItsTurn) {
  const std::string at = make_file("f", 4 * MiB);
  auto write = [&](File& f, const IoVec& from) -> Task<void> {
    auto wrote = co_await f.write(0, IoVecs(&from, 1));
    EXPECT_TRUE(wrote.ok());
  };
  auto all = [&]() -> Task<void> {
    auto opened = co_await home().open_file(at, OpenOptions());
    EXPECT_TRUE(opened.ok());
    if (!opened.ok()) co_return;
    const Buffer ones = filled(home(), 4096, 'x');
    const IoVec from = ones.vec();
    TaskScope scope(home());
    scope.spawn(write(*opened.value(), from));
    EXPECT_TRUE(comes_to_be(at, 'x'));  // the turn goes on all the time
    co_await scope.join();
    co_await opened.value()->close();
  };
  runtime_->run(all());
}

// More at once than the ring has entries for.
TEST_F(FileTest, ManyOperationsOfOneTurnAllEnd) {
  const std::string at = make_file("f", 4 * MiB);
  std::size_t ended = 0;
  auto read = [&](File& f, std::uint64_t offset, const IoVec& into) -> Task<void> {
    auto got = co_await f.read(offset, IoVecs(&into, 1));
    EXPECT_TRUE(got.ok() && got.value() == 4096);
    ++ended;
  };
  auto all = [&]() -> Task<void> {
    auto opened = co_await home().open_file(at, OpenOptions());
    EXPECT_TRUE(opened.ok());
    if (!opened.ok()) co_return;
    const Buffer memory = filled(home(), 1 * MiB, 9);
    std::vector<IoVec> into(5000);
    TaskScope scope(home());
    for (std::size_t i = 0; i < into.size(); ++i) {
      into[i] = IoVec{memory.data() + i % 256 * 4096, 4096};
      scope.spawn(read(*opened.value(), i % 1024 * 4096, into[i]));
    }
    co_await scope.join();
    EXPECT_TRUE(all_are(memory, 0));
    co_await opened.value()->close();
  };
  runtime_->run(all());
  EXPECT_EQ(ended, 5000u);
}

}  // namespace
}  // namespace holdfast::uring
