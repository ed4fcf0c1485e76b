// A pool of one disk as another process finds it that a crash left it to.
#pragma once

#include <memory>

#include "pool/testing/pool_bench.h"

namespace holdfast::pool::testing_support {

// What is on the first disk.
inline Bytes content_of(PoolBench& b) {
  Bytes image(b.disk_bytes());
  b.disk(0).peek(0, image);
  return image;
}

// A machine that finds the disk as a crash left it.
struct After {
  explicit After(const Bytes& image) {
    sim::DiskOptions options;
    options.size_bytes = image.size();
    machine.node.add_disk("/dev/d0", options);
    machine.node.disk("/dev/d0").poke(0, image);
    auto opened =
        machine.run(Pool::open(machine.registry, {"/dev/d0"}, "p", std::nullopt, PoolOptions(), nullptr));
    if (!opened.ok()) panic(opened.error().message().c_str());
    pool = std::move(opened).value();
  }
  ~After() { EXPECT_TRUE(machine.run(pool->close()).ok()); }
  Bytes read(std::uint64_t offset, std::uint64_t length) {
    OpenChannel channel(machine, *pool->device(uuid_of("v")));
    return channel.content(offset / 512, length);
  }
  Machine machine;
  std::unique_ptr<Pool> pool;
};

}  // namespace holdfast::pool::testing_support
