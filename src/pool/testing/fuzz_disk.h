// A disk in memory for fuzz targets: made once, filled anew for each input.
#pragma once

#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/log.h"
#include "block/builtin.h"
#include "block/registry.h"
#include "pool/disk.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::pool::testing_support {

class FuzzDisk {
 public:
  FuzzDisk() : world_(1), process_(world_.add_node("a").start()), registry_(process_.cores()) {
    log::configure(log::Level::off, log::Format::text);
    register_builtin_schemes(registry_, process_.cores(), "a");
    auto opened = run(Disk::open(registry_, "malloc:///d?size_mb=4", "fuzz", DiskHealthLimits()));
    if (!opened.ok()) panic("no disk");
    disk_ = std::move(opened).value();
  }
  // The disk has these bytes at `offset`, and zeroes everywhere else.
  void fill(std::uint64_t offset, std::vector<std::byte> bytes) {
    const Status zeroed = run(disk_->home().write_zeroes(0, disk_->size_bytes(), Unmap::yes));
    zeroed.ignore("memory takes it");
    bytes.resize(round_up(bytes.size(), 512));
    const IoVec vec{bytes.data(), bytes.size()};
    const Status written = run(disk_->home().write(offset, IoVecs(&vec, 1), Durable::no));
    written.ignore("memory takes it");
  }
  template <class T>
  T run(Task<T> task) {
    return world_.run(process_.core(0), std::move(task));
  }
  Reactor& home() { return process_.core(0); }
  Disk& disk() { return *disk_; }

 private:
  sim::World world_;
  sim::Process& process_;
  DeviceRegistry registry_;
  std::unique_ptr<Disk> disk_;
};

}  // namespace holdfast::pool::testing_support
