// What the tests of volumes share: a pool on simulated disks, and a model of what every volume must hold.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/units.h"
#include "block/testing/test_devices.h"
#include "pool/pool.h"

namespace holdfast::pool::testing_support {

using holdfast::testing_support::Bytes;
using holdfast::testing_support::filled;
using holdfast::testing_support::Machine;
using holdfast::testing_support::OpenChannel;
using holdfast::testing_support::vec;

inline Uuid uuid_of(const std::string& name) { return Uuid::from_name(name); }

struct BenchParams {
  unsigned cores = 1;
  unsigned disks = 1;
  std::uint64_t disk_bytes = 64 * MiB;
  std::uint32_t cluster_bytes = 64 * KiB;
  bool completion = false;
  std::size_t clusters_per_turn = PoolOptions().clusters_per_turn;
  std::uint64_t seed = 1;
  sim::DiskOptions disk;
};

class PoolBench final : public PoolObserver {
 public:
  explicit PoolBench(const BenchParams& params = BenchParams())
      : machine(params.cores, params.seed), params_(params) {
    for (unsigned i = 0; i < params.disks; ++i) add_disk(params.disk_bytes);
    options.journal_bytes = 256 * KiB;
    options.background_completion = params.completion;
    options.clusters_per_turn = params.clusters_per_turn;
    PoolParams wanted;
    wanted.name = "p";
    wanted.disks = paths;
    wanted.cluster_bytes = params.cluster_bytes;
    auto made = machine.run(Pool::create(machine.registry, wanted, options, this));
    if (!made.ok()) panic(made.error().message().c_str());
    pool = std::move(made).value();
  }
  ~PoolBench() {
    if (pool) close();
  }
  void on_pool_event(Pool&, PoolEvent event) noexcept override { events.push_back(event); }

  void add_disk(std::uint64_t bytes) {
    sim::DiskOptions o = params_.disk;
    o.size_bytes = bytes;
    paths.push_back("/dev/d" + std::to_string(paths.size()));
    machine.node.add_disk(paths.back(), o);
  }
  std::uint64_t disk_bytes() const noexcept { return params_.disk_bytes; }
  sim::SimDisk& disk(std::size_t i) { return machine.node.disk(paths[i]); }

  void close() {
    const Status closed = machine.run(pool->close());
    EXPECT_TRUE(closed.ok()) << closed.error().message();
    pool.reset();
  }
  void open() {
    auto opened = machine.run(Pool::open(machine.registry, paths, "p", std::nullopt, options, this));
    if (!opened.ok()) panic(opened.error().message().c_str());
    pool = std::move(opened).value();
  }
  void reopen() {
    close();
    open();
  }

  BlockDevice& volume(const std::string& name, std::uint64_t size, bool thick = false) {
    VolumeParams p;
    p.name = name;
    p.uuid = uuid_of(name);
    p.size_bytes = size;
    p.thick = thick;
    auto made = machine.run(pool->create_volume(p));
    if (!made.ok()) panic(made.error().message().c_str());
    return device(name);
  }
  BlockDevice& device(const std::string& name) { return *pool->device(uuid_of(name)); }
  Errc snapshot(const std::string& volume_name, const std::string& name) {
    return machine.run(pool->create_snapshot(uuid_of(volume_name), named(name))).code();
  }
  Errc clone(const std::string& snapshot_name, const std::string& name) {
    return machine.run(pool->create_clone(uuid_of(snapshot_name), named(name))).code();
  }
  Errc destroy(const std::string& name) { return machine.run(pool->destroy_volume(uuid_of(name))).code(); }
  static SnapshotParams named(const std::string& name) {
    SnapshotParams p;
    p.name = name;
    p.uuid = uuid_of(name);
    return p;
  }
  Usage usage(const std::string& name) { return pool->find(uuid_of(name)).value().usage; }
  std::uint64_t used() { return pool->view().used_bytes; }
  // Lets what is done in the background end.
  void settle() { machine.world.run_for(std::chrono::seconds(2)); }
  std::uint64_t disk_reads() {
    std::uint64_t n = 0;
    for (std::size_t i = 0; i < paths.size(); ++i) n += disk(i).stats().reads;
    return n;
  }

  Machine machine;
  std::vector<std::string> paths;
  PoolOptions options;
  std::unique_ptr<Pool> pool;
  std::vector<PoolEvent> events;

 private:
  const BenchParams params_;
};

// A volume that is used and its model, byte by byte.
class Tracked {
 public:
  Tracked(PoolBench& bench, BlockDevice& device)
      : bench_(bench), channel(bench.machine, device), bytes(device.geometry().size_bytes()) {}

  static constexpr std::uint64_t sector = 512;

  Errc write(std::uint64_t offset, std::uint64_t length) {
    Bytes data(length);
    for (auto& b : data) {
      ++value_;
      b = static_cast<std::byte>(value_ * 7 + (value_ >> 8));
    }
    const Errc done = channel.write(offset / sector, data);
    if (done == Errc::ok) std::copy(data.begin(), data.end(), at(offset));
    return done;
  }
  Errc deallocate(std::uint64_t offset, std::uint64_t length) {
    const BlockRange range{Lba{offset / sector}, length / sector};
    const Errc done = bench_.machine.run(channel.channel->deallocate(range)).code();
    if (done == Errc::ok) zero(offset, length);
    return done;
  }
  Errc write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) {
    const BlockRange range{Lba{offset / sector}, length / sector};
    const Errc done = bench_.machine.run(channel.channel->write_zeroes(range, unmap, Durable::no)).code();
    if (done == Errc::ok) zero(offset, length);
    return done;
  }
  // Where the device differs from the model first; empty: nowhere. Reads in pieces of odd sizes.
  std::string difference() { return difference_to(bytes); }
  std::string difference_to(const Bytes& expected) {
    std::uint64_t step = 31 * sector;
    for (std::uint64_t offset = 0; offset < expected.size();) {
      const std::uint64_t length = std::min<std::uint64_t>(step, expected.size() - offset);
      const Bytes got = channel.content(offset / sector, length);
      for (std::uint64_t i = 0; i < length; ++i) {
        if (got[i] != expected[offset + i]) return "byte " + std::to_string(offset + i);
      }
      offset += length;
      step = step % (300 * sector) + 53 * sector;
    }
    return "";
  }

 private:
  Bytes::iterator at(std::uint64_t offset) { return bytes.begin() + static_cast<std::ptrdiff_t>(offset); }
  void zero(std::uint64_t offset, std::uint64_t length) { std::fill_n(at(offset), length, std::byte{0}); }
  PoolBench& bench_;
  std::uint32_t value_ = 0;

 public:
  OpenChannel channel;
  Bytes bytes;
};

}  // namespace holdfast::pool::testing_support
