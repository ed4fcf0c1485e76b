#include "engine/block_devices.h"

#include <gtest/gtest.h>

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

TEST(BlockDevices, ThisMachineCanBeListed) {
  const auto all = list_block_devices(true);
  ASSERT_TRUE(all.ok());
  const auto available = list_block_devices(false);
  ASSERT_TRUE(available.ok());
  EXPECT_LE(available.value().size(), all.value().size());
  for (const auto& d : available.value()) EXPECT_TRUE(d.available()) << d.devname();
}

}  // namespace
}  // namespace holdfast::engine
