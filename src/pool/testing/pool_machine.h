// What tests of pools share: a simulated machine with disks, its registry, and small helpers.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "block/testing/test_devices.h"
#include "pool/disk.h"
#include "pool/superblock.h"

namespace holdfast::pool::testing_support {

using holdfast::testing_support::Bytes;
using holdfast::testing_support::Machine;

// A disk of the machine, open as one of a pool.
struct OpenDisk {
  OpenDisk(Machine& on, const std::string& uri) : machine(on) {
    auto opened = machine.run(Disk::open(machine.registry, uri, "pool 'p'", DiskHealthLimits()));
    if (!opened.ok()) panic(opened.error().message().c_str());
    disk = std::move(opened).value();
  }
  OpenDisk(const OpenDisk&) = delete;
  OpenDisk& operator=(const OpenDisk&) = delete;
  ~OpenDisk() { machine.run(disk->close()); }
  DiskPort& port() const { return disk->home(); }

  Bytes read(std::uint64_t offset, std::size_t bytes) {
    Bytes b(bytes);
    const IoVec v{b.data(), b.size()};
    EXPECT_TRUE(machine.run(port().read(offset, IoVecs(&v, 1))).ok());
    return b;
  }
  void write(std::uint64_t offset, Bytes b) {
    const IoVec v{b.data(), b.size()};
    EXPECT_TRUE(machine.run(port().write(offset, IoVecs(&v, 1), Durable::no)).ok());
  }

  Machine& machine;
  std::unique_ptr<Disk> disk;
};

}  // namespace holdfast::pool::testing_support
