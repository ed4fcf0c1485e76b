#include "pool/pool_scheme.h"

#include <gtest/gtest.h>

#include "base/units.h"
#include "block/testing/test_devices.h"

namespace holdfast::pool {
namespace {

using holdfast::testing_support::Bytes;
using holdfast::testing_support::filled;
using holdfast::testing_support::Machine;
using holdfast::testing_support::OpenChannel;

struct Bench : Machine {
  Bench() {
    sim::DiskOptions options;
    options.size_bytes = 64 * MiB;
    node.add_disk("/dev/a", options);
    node.add_disk("/dev/b", options);
    registry.add_scheme("pool", pool_scheme(registry));
  }
};

TEST(PoolScheme, MakesAPoolWithAVolumeAndOpensItAgain) {
  Bench b;
  BlockDevice* device = b.create("pool:///v?disks=/dev/a,/dev/b&size=20M&thick&cluster=64K&snapshots=2");
  ASSERT_NE(device, nullptr);
  EXPECT_EQ(device->name(), "pool/v");
  EXPECT_EQ(device->geometry().size_bytes(), 20 * MiB);
  EXPECT_NE(device->epochs(), nullptr);
  {
    OpenChannel c(b, *device);
    EXPECT_EQ(c.write(100, filled(4096, 7)), Errc::ok);
  }
  EXPECT_TRUE(b.run(b.registry.destroy("pool/v")).ok());
  EXPECT_EQ(b.registry.find("v"), nullptr);
  device = b.create("pool:///v?disks=/dev/b,/dev/a");
  ASSERT_NE(device, nullptr);
  EXPECT_NE(b.registry.find("v@1"), nullptr);
  OpenChannel c(b, *device);
  EXPECT_EQ(c.content(100, 4096), filled(4096, 7));
}

TEST(PoolScheme, RefusesWhatItCannotDo) {
  Bench b;
  for (const char* uri :
       {"pool:///v", "pool:///?disks=/dev/a", "pool://host/v?disks=/dev/a",
        "pool:///v?disks=", "pool:///v?disks=/dev/a&thick", "pool:///v?disks=/dev/a&size=1G&cluster=3",
        "pool:///v?disks=/dev/a&size=1M&snapshots=1000000", "pool:///v?disks=/dev/a&size=0",
        "pool:///v?disks=/dev/a&size=1M&colour=red"}) {
    b.refused(uri, Errc::invalid_argument);
  }
  b.refused("pool:///v?disks=/dev/a&size=1G&thick", Errc::out_of_space);
  b.refused("pool:///v?disks=/dev/a", Errc::failed_precondition);  // a pool that cannot be made leaves none
  EXPECT_TRUE(b.registry.entries().empty());
  ASSERT_NE(b.create("pool:///v?disks=/dev/a&size=1M"), nullptr);
  EXPECT_TRUE(b.run(b.registry.destroy("pool/v")).ok());
  b.refused("pool:///w?disks=/dev/a", Errc::not_found);
  EXPECT_TRUE(b.registry.entries().empty());
}

}  // namespace
}  // namespace holdfast::pool
