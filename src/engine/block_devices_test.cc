#include "engine/block_devices.h"

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/utf8.h"

namespace holdfast::engine {
namespace {

using mayastor::v1::BlockDevice;

TEST(BlockDevices, MountPointsComeUnescaped) {
  const std::string mountinfo =
      "21 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw\n"
      "30 21 8:3 / /mnt/with\\040space rw shared:2 - xfs /dev/sda3 rw\n"
      "31 21 8:3 /sub /srv rw shared:2 - xfs /dev/sda3 rw\n"
      "short line\n";
  EXPECT_EQ(mount_points(mountinfo, 8, 3), (std::vector<std::string>{"/mnt/with space", "/srv"}));
  EXPECT_EQ(mount_points(mountinfo, 8, 2), std::vector<std::string>{"/"});
  EXPECT_TRUE(mount_points(mountinfo, 8, 4).empty());
  EXPECT_TRUE(mount_points("", 0, 0).empty());
}

TEST(BlockDevices, DisksAreKnownByTheirDriver) {
  const std::string devices =
      "Character devices:\n  8 sd\n\nBlock devices:\n  7 loop\n  8 sd\n 11 sr\n253 device-mapper\n254 "
      "virtblk\n"
      "259 blkext\n";
  EXPECT_TRUE(is_disk_major(devices, 8));
  EXPECT_TRUE(is_disk_major(devices, 254));
  EXPECT_TRUE(is_disk_major(devices, 259));
  EXPECT_FALSE(is_disk_major(devices, 11));
  EXPECT_FALSE(is_disk_major(devices, 253));
  EXPECT_FALSE(is_disk_major(devices, 1));
  EXPECT_FALSE(is_disk_major("Character devices:\n  8 sd\n", 8));
}

BlockDevice disk() {
  BlockDevice d;
  d.set_devname("/dev/sda");
  d.set_devtype("disk");
  d.set_size(2048);
  return d;
}

TEST(BlockDevices, AnEmptyDiskIsAvailable) { EXPECT_TRUE(is_available(disk(), true, false, false)); }

TEST(BlockDevices, WhateverMayHoldDataIsNot) {
  EXPECT_FALSE(is_available(disk(), false, false, false)) << "of an unknown kind";
  EXPECT_FALSE(is_available(disk(), true, true, false)) << "with partitions";
  EXPECT_FALSE(is_available(disk(), true, false, true)) << "with a signature";
  auto empty = disk();
  empty.set_size(0);
  EXPECT_FALSE(is_available(empty, true, false, false)) << "without a medium";
  auto mounted = disk();
  mounted.mutable_filesystem()->add_mountpoints("/mnt");
  EXPECT_FALSE(is_available(mounted, true, false, false)) << "mounted";
  auto ours = disk();
  ours.set_model("Holdfast_NVMe_controller");
  EXPECT_FALSE(is_available(ours, true, false, false)) << "a volume of ours";
}

TEST(BlockDevices, OnlyPartitionsForLinuxDataAreAvailable) {
  auto partition = disk();
  partition.set_devtype("partition");
  EXPECT_FALSE(is_available(partition, true, false, false));
  partition.mutable_partition()->set_typeid_("0fc63daf-8483-4772-8e79-3d69d8477de4");
  EXPECT_TRUE(is_available(partition, true, false, false));
  partition.mutable_partition()->set_typeid_("0x83");
  EXPECT_TRUE(is_available(partition, true, false, false));
  partition.mutable_partition()->set_typeid_("0x82");
  EXPECT_FALSE(is_available(partition, true, false, false));
}

FoundDevice found(const char* name, bool asks_itself = true) {
  FoundDevice f;
  f.device = disk();
  f.device.set_devname(name);
  f.asks_itself = asks_itself;
  return f;
}

// It keeps neither the others nor whoever asks, nor a thread for each time that it is asked.
TEST(BlockDevices, ADiskThatDoesNotAnswerIsNamedAndNotWaitedFor) {
  struct Answers {
    std::promise<void> hung;
    std::atomic<int> asked_of_hung{0};
  };
  const auto answers = std::make_shared<Answers>();
  const auto ask = [answers, hung = answers->hung.get_future().share()](FoundDevice f) {
    if (f.device.devname() == "/dev/hung") {
      ++answers->asked_of_hung;
      hung.wait();
    }
    f.device.set_model("asked");
    return f;
  };
  DiskQuestions disks;
  const auto look = [&](std::chrono::milliseconds patience) {
    std::vector<FoundDevice> all{found("/dev/a"), found("/dev/hung"), found("/dev/known", false)};
    auto silent = ask_disks(all, disks, ask, patience);
    EXPECT_EQ(all[0].device.model(), "asked");
    EXPECT_FALSE(all[0].has_signature);
    EXPECT_EQ(all[2].device.model(), "");
    EXPECT_EQ(all[1].has_signature, !silent.empty());
    return silent;
  };
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(look(std::chrono::milliseconds(300)), std::vector<std::string>{"/dev/hung"});
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(10));
  EXPECT_EQ(answers->asked_of_hung, 1);
  answers->hung.set_value();
  EXPECT_TRUE(look(std::chrono::seconds(20)).empty());
}

TEST(BlockDevices, ThisMachineCanBeListed) {
  DiskQuestions disks;
  const auto all = list_block_devices(true, disks);
  ASSERT_TRUE(all.ok());
  const auto available = list_block_devices(false, disks);
  ASSERT_TRUE(available.ok());
  EXPECT_LE(available.value().size(), all.value().size());
  for (const auto& d : available.value()) EXPECT_TRUE(d.available()) << d.devname();
}

TEST(BlockDevices, ALabelThatIsNoUtf8DoesNotKeepTheListFromBeingRead) {
  const std::string path = testing::TempDir() + "holdfast-label-" + std::to_string(::getpid());
  std::string disk(1 << 20, '\0');  // a swap area as mkswap makes it
  const std::uint32_t version = 1, last_page = 255;
  std::memcpy(disk.data() + 1024, &version, 4);
  std::memcpy(disk.data() + 1028, &last_page, 4);
  disk.replace(1036, 16, 16, '\x11');  // UUID
  disk.replace(1052, 5,
               "Gr\xf6\xdf"
               "e");  // label, in Latin-1
  disk.replace(4086, 10, "SWAPSPACE2");
  std::ofstream(path, std::ios::binary) << disk;
  const FoundDevice f = from_blkid(found(path.c_str()));
  std::filesystem::remove(path);
  ASSERT_EQ(f.device.filesystem().fstype(), "swap");
  const std::string& label = f.device.filesystem().label();
  EXPECT_EQ(to_utf8(label), label);
  EXPECT_TRUE(label.starts_with("Gr"));
}

TEST(BlockDevices, ADiskOfAPoolIsNotEmpty) {
  const std::string path = testing::TempDir() + "holdfast-pool-disk-" + std::to_string(::getpid());
  for (const std::size_t at : {std::size_t{0}, std::size_t{512} << 10}) {  // one label is enough
    std::string disk(2 << 20, '\0');
    disk.replace(at, 8, "HFPOOL01");
    std::ofstream(path, std::ios::binary | std::ios::trunc) << disk;
    EXPECT_TRUE(from_blkid(found(path.c_str())).has_signature) << at;
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace holdfast::engine
