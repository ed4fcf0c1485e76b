// Attachments whose devices or connections others have by now, or have as well.
#include "cli/attach/attachments.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <utility>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/units.h"
#include "block/block_device.h"
#include "block/uri.h"
#include "cli/attach/fuse_export.h"
#include "cli/attach/kernel_nvme.h"
#include "cli/attach/loop_device.h"
#include "cli/attach/mounts.h"
#include "cli/attach/system.h"
#include "uring/runtime.h"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;

class AttachmentsTest : public testing::Test {
 protected:
  AttachmentsTest() {
    char name[] = "/tmp/holdfast-attachments-XXXXXX";
    directory = ::mkdtemp(name);
    sys = directory + "/sys";
  }
  ~AttachmentsTest() override { fs::remove_all(directory); }
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "detaching needs root";
    ASSERT_TRUE(store().prepare().ok());
  }

  AttachStore store() const { return AttachStore(directory + "/run"); }
  Attachments attachments() const { return Attachments(store(), sys); }
  void file(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path(sys + path).parent_path());
    std::ofstream(sys + path) << text << "\n";
  }
  void controller(const std::string& name, const std::string& subsystem) const {
    file("/class/nvme/" + name + "/subsysnqn", subsystem);
    file("/class/nvme/" + name + "/address", "traddr=10.0.0.1,trsvcid=8420");
    file("/class/nvme/" + name + "/delete_controller", "0");
  }
  void space(const std::string& name, const std::string& subsystem, const std::string& nsid) const {
    file("/block/" + name + "/device/subsysnqn", subsystem);
    file("/block/" + name + "/nsid", nsid);
  }
  bool is_deleted(const std::string& name) const {
    return read_text(sys + "/class/nvme/" + name + "/delete_controller").value().starts_with('1');
  }
  Attachment record(const std::string& id, const std::string& of, const std::string& device) const {
    Attachment a;
    a.id = id;
    a.uri = of;
    a.via = AttachVia::kernel;
    a.device = device;
    a.controller = "nvme3";
    EXPECT_TRUE(store().save(a).ok());
    return a;
  }
  static nvmf::RemoteConfig remote_of(const std::string& of) {
    return nvmf::parse_remote(Uri::parse(of).value(), nvmf::InitiatorConfig()).value();
  }
  static std::string id_of(const std::string& of) { return attachment_id(remote_of(of)); }

  std::string directory;
  std::string sys;
  static constexpr const char* nqn = "nqn.2019-05.io.openebs:v";
  const std::string uri = std::string("nvmf://10.0.0.1:8420/") + nqn;
};

TEST_F(AttachmentsTest, TheKernelsConnectionGoesWithItsAttachment) {
  controller("nvme3", nqn);
  space("nvme3n1", nqn, "1");
  const Attachment a = record("a", uri, "/dev/nvme3n1");
  EXPECT_TRUE(attachments().is_served(a));
  EXPECT_TRUE(attachments().detach(a, DetachOptions()).ok());
  EXPECT_TRUE(is_deleted("nvme3"));
  EXPECT_TRUE(store().all().value().empty());
}

TEST_F(AttachmentsTest, AControllerThatIsAnothersByNowIsLeftAlone) {
  controller("nvme3", "nqn.other");
  space("nvme3n1", "nqn.other", "1");
  const Attachment a = record("a", uri, "/dev/nvme3n1");
  EXPECT_FALSE(attachments().is_served(a));
  EXPECT_EQ(attachments().detach(a, DetachOptions()).code(), Errc::io_error)
      << "whether all arrived is not known";
  EXPECT_FALSE(is_deleted("nvme3"));
  EXPECT_TRUE(store().all().value().empty());
}

TEST_F(AttachmentsTest, ADeviceThatIsAnothersByNowIsNotTheOneAttached) {
  controller("nvme3", "nqn.other");
  space("nvme3n1", "nqn.other", "1");
  record(id_of(uri), uri, "/dev/nvme3n1");
  if (!kernel_initiator_missing()) GTEST_SKIP() << "this machine would connect";
  AttachOptions options;
  options.uri = uri;
  options.via = AttachVia::kernel;
  const auto attached = attachments().attach(options);
  ASSERT_FALSE(attached.ok()) << attached.value().device;
  EXPECT_EQ(attached.code(), Errc::not_supported);
}

TEST_F(AttachmentsTest, TheKernelIsNotGivenPathsThatItWouldNotTake) {
  if (::geteuid() != 0) GTEST_SKIP() << "attach needs root";
  AttachOptions options;
  options.uri = uri + "?paths=10.0.0.2";
  options.via = AttachVia::kernel;
  const auto attached = attachments().attach(options);
  ASSERT_EQ(attached.code(), Errc::not_supported);
  EXPECT_NE(attached.error().message().find("paths="), std::string::npos) << attached.error().message();
}

TEST_F(AttachmentsTest, TheLastOfAConnectionTakesItAway) {
  controller("nvme3", nqn);
  space("nvme3n1", nqn, "1");
  space("nvme3n2", nqn, "2");
  const Attachment first = record("a", uri + "?nsid=1", "/dev/nvme3n1");
  Attachment second = record("b", uri + "?nsid=2", "/dev/nvme3n2");
  second.found = true;  // as the second one finds it
  ASSERT_TRUE(store().save(second).ok());
  EXPECT_TRUE(attachments().detach(first, DetachOptions()).ok());
  EXPECT_FALSE(is_deleted("nvme3"));
  EXPECT_TRUE(attachments().detach(store().load("b").value(), DetachOptions()).ok());
  EXPECT_TRUE(is_deleted("nvme3"));
}

TEST_F(AttachmentsTest, AConnectionThatWasThereBeforeStays) {
  controller("nvme3", nqn);
  space("nvme3n1", nqn, "1");
  file("/class/nvme/nvme3/nvme3n1/nsid", "1");
  const auto made = connect_kernel(remote_of(uri), sys);
  ASSERT_TRUE(made.ok()) << made.error().message();
  EXPECT_EQ(made.value().device, "/dev/nvme3n1");
  EXPECT_TRUE(made.value().found);
  Attachment a = record("a", uri, made.value().device);
  a.found = made.value().found;
  ASSERT_TRUE(store().save(a).ok());
  EXPECT_TRUE(attachments().detach(store().load("a").value(), DetachOptions()).ok());
  EXPECT_FALSE(is_deleted("nvme3"));
}

// As when the URI names a namespace that the subsystem does not have.
TEST_F(AttachmentsTest, ANamespaceThatIsMissingEndsNobodyElsesConnection) {
  controller("nvme3", nqn);
  space("nvme3n1", nqn, "1");
  EXPECT_EQ(connect_kernel(remote_of(uri + "?nsid=7"), sys, 0.1).code(), Errc::not_found);
  EXPECT_FALSE(is_deleted("nvme3"));
}

TEST_F(AttachmentsTest, ALoopDeviceThatIsAnothersByNowIsLeftAlone) {
  if (::access("/dev/loop-control", R_OK | W_OK) != 0) GTEST_SKIP() << "this machine has no loop devices";
  const std::string image = directory + "/image";
  std::ofstream(image) << "";
  fs::resize_file(image, 1 << 20);
  for (const bool ours : {false, true}) {
    LoopOptions loop;
    loop.label = ours ? nqn : "of somebody else";
    const auto device = attach_loop(image, loop);
    ASSERT_TRUE(device.ok()) << device.error().message();
    Attachment a = record("a", uri, device.value());
    a.via = AttachVia::user;
    ASSERT_TRUE(store().save(a).ok());
    EXPECT_EQ(attachments().detach(a, DetachOptions()).code(), Errc::io_error);  // nobody served it any more
    EXPECT_EQ(loop_is_bound(device.value()), !ours);
    EXPECT_TRUE(store().all().value().empty());
    EXPECT_TRUE(detach_loop(device.value()).ok());
  }
}

TEST_F(AttachmentsTest, ADeviceThatSomebodyHoldsStays) {
  if (::access("/dev/loop-control", R_OK | W_OK) != 0) GTEST_SKIP() << "this machine has no loop devices";
  const std::string image = directory + "/image";
  std::ofstream(image) << "";
  fs::resize_file(image, 1 << 20);
  LoopOptions loop;
  loop.label = nqn;
  const auto device = attach_loop(image, loop);
  ASSERT_TRUE(device.ok()) << device.error().message();
  controller("nvme3", nqn);
  space(fs::path(device.value()).filename().string(), nqn, "1");
  const Attachment a = record("a", uri, device.value());
  {
    const FileDescriptor user(::open(device.value().c_str(), O_RDWR | O_EXCL | O_CLOEXEC));
    ASSERT_TRUE(static_cast<bool>(user));
    EXPECT_EQ(attachments().detach(a, DetachOptions()).code(), Errc::busy);
    EXPECT_FALSE(is_deleted("nvme3"));
    EXPECT_EQ(store().all().value().size(), 1U);
  }
  EXPECT_TRUE(attachments().detach(a, DetachOptions()).ok());
  EXPECT_TRUE(is_deleted("nvme3"));
  EXPECT_TRUE(detach_loop(device.value()).ok());
}

TEST_F(AttachmentsTest, WhatAProcessLostIsToldToWhoeverDetachesLater) {
  for (const bool force : {false, true}) {
    Attachment a = record("a", uri, "/dev/nothing-there");
    a.via = AttachVia::user;
    a.error = "the target is gone";
    ASSERT_TRUE(store().save(a).ok());
    DetachOptions options;
    options.force = force;
    const Status done = attachments().detach(store().load("a").value(), options);
    EXPECT_EQ(done.code(), force ? Errc::ok : Errc::io_error);
    EXPECT_TRUE(store().all().value().empty());
  }
}

TEST_F(AttachmentsTest, ADeadAttachmentInheritsNobodysConnection) {
  controller("nvme3", nqn);
  space("nvme3n1", nqn, "1");
  const Attachment a = record("a", uri, "/dev/nvme3n1");
  record("b", "nvmf://10.0.0.2:8420/nqn.2019-05.io.openebs:lost", "/dev/nvme3n1");
  EXPECT_TRUE(attachments().detach(a, DetachOptions()).ok());
  EXPECT_TRUE(is_deleted("nvme3"));
  EXPECT_EQ(store().all().value().size(), 1U);
}

TEST_F(AttachmentsTest, WhatOthersHadMountedStays) {
  controller("nvme3", nqn);
  space("nvme3n1", nqn, "1");
  const std::string theirs = directory + "/theirs";
  fs::create_directory(theirs);
  if (::mount("/dev/nvme3n1", theirs.c_str(), "tmpfs", 0, nullptr) != 0)
    GTEST_SKIP() << "nothing can be mounted";
  Attachment a = record("a", uri, "/dev/nvme3n1");
  a.found = true;
  a.others = mounts_of(a.device);
  ASSERT_TRUE(store().save(a).ok());
  EXPECT_TRUE(attachments().detach(store().load("a").value(), DetachOptions()).ok());
  EXPECT_TRUE(is_mounted_at("/dev/nvme3n1", theirs));
  ::umount2(theirs.c_str(), MNT_DETACH);
}

TEST_F(AttachmentsTest, ATargetOfTheKernelThatIsOutOfReachNeedsForce) {
  controller("nvme3", nqn);
  file("/class/nvme/nvme3/state", "connecting");
  space("nvme3n1", nqn, "1");
  const Attachment a = record("a", uri, "/dev/nvme3n1");
  EXPECT_EQ(attachments().detach(a, DetachOptions()).code(), Errc::failed_precondition);
  EXPECT_FALSE(is_deleted("nvme3"));
  EXPECT_EQ(store().all().value().size(), 1U);
  DetachOptions force;
  force.force = true;
  EXPECT_TRUE(attachments().detach(a, force).ok());
  EXPECT_TRUE(is_deleted("nvme3"));
}

TEST_F(AttachmentsTest, ADeviceThatVanishedIsNotCalledDurable) {
  for (const bool force : {false, true}) {
    const Attachment a = record("a", uri, "/dev/nvme3n1");  // neither controller nor namespace any more
    DetachOptions options;
    options.force = force;
    EXPECT_EQ(attachments().detach(a, options).code(), force ? Errc::ok : Errc::io_error);
    EXPECT_TRUE(store().all().value().empty());
  }
}

TEST_F(AttachmentsTest, WhatAProcessLostIsNotForgottenByTheNextAttach) {
  if (!kernel_initiator_missing()) GTEST_SKIP() << "this machine would connect";
  Attachment a = record(id_of(uri), uri, "/dev/nothing-there");
  a.via = AttachVia::user;
  a.error = "the target is gone";
  ASSERT_TRUE(store().save(a).ok());
  AttachOptions options;
  options.uri = uri;
  options.via = AttachVia::kernel;
  EXPECT_EQ(attachments().attach(options).code(), Errc::failed_precondition);
  EXPECT_EQ(store().all().value().size(), 1U);
}

TEST_F(AttachmentsTest, ADeviceIsThatOfWhoeverHasItNow) {
  controller("nvme3", nqn);
  space("nvme3n1", nqn, "1");
  const std::string gone = "nvmf://10.0.0.2:8420/nqn.2019-05.io.openebs:gone";
  for (const std::string live : {"a", "b"}) {
    for (const bool live_first : {false, true}) {  // the order in a directory is the file system's affair
      if (live_first) record(live, uri, "/dev/nvme3n1");
      record(live == "a" ? "b" : "a", gone, "/dev/nvme3n1");
      if (!live_first) record(live, uri, "/dev/nvme3n1");
      const auto found = attachments().find("/dev/nvme3n1");
      ASSERT_TRUE(found.ok());
      EXPECT_EQ(found.value().id, live);
      store().forget("a");
      store().forget("b");
    }
  }
}

class FirstFlushFails final : public Channel {
 public:
  Task<Status> read(Lba, IoVecs) override { co_return Status(); }
  Task<Status> write(Lba, IoVecs, Durable) override { co_return Status(); }
  Task<Status> write_zeroes(BlockRange, Unmap, Durable) override { co_return Status(); }
  Task<Status> deallocate(BlockRange) override { co_return Status(); }
  Task<Status> compare(Lba, IoVecs) override { co_return Status(); }
  Task<Status> flush() override {
    if (std::exchange(failed_, true)) co_return Status();
    co_return Error(Errc::io_error, "the cache is gone");
  }
  Task<void> close() override { co_return; }

 private:
  bool failed_ = false;
};

Task<bool> loses_by_a_flush(Reactor& home, std::string place) {
  FirstFlushFails channel;
  Geometry geometry;
  geometry.block_bytes = 4096;
  geometry.block_count = 256;
  FuseExport exported(home, channel, geometry, false, place);
  const Status started = exported.start();
  EXPECT_TRUE(started.ok());
  if (!started.ok()) co_return false;
  std::function<void()> use = [path = exported.file_path()] {
    const FileDescriptor fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_NE(::fsync(fd.get()), 0);
    EXPECT_EQ(::fsync(fd.get()), 0);
  };
  co_await home.run_blocking(use);
  co_await exported.stop();
  co_return exported.lost().has_value();
}

TEST_F(AttachmentsTest, AFlushThatFailedIsNotMadeGoodByTheNext) {
  if (::access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "this machine has no /dev/fuse";
  const std::string place = directory + "/fuse";
  fs::create_directory(place);
  uring::Runtime::Options options;
  options.memory_bytes = 16 * MiB;
  auto runtime = uring::Runtime::create(options);
  ASSERT_TRUE(runtime.ok());
  EXPECT_TRUE(runtime.value()->run(loses_by_a_flush(runtime.value()->home(), place)));
}

}  // namespace
}  // namespace holdfast::cli
