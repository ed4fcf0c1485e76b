// What the tests of this folder share: a simulated machine with a registry of all schemes, small I/O helpers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "block/builtin.h"
#include "block/registry.h"
#include "sim/disk.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::testing_support {

using Bytes = std::vector<std::byte>;

inline Bytes filled(std::size_t bytes, int value) { return Bytes(bytes, static_cast<std::byte>(value)); }
inline IoVec vec(Bytes& b) { return IoVec{b.data(), b.size()}; }

struct Machine {
  explicit Machine(unsigned cores = 1, std::uint64_t seed = 1)
      : world(seed), node(world.add_node("a")), process(node.start(cores)), registry(process.cores()) {
    register_builtin_schemes(registry, process.cores(), "a");
  }
  ~Machine() { run(registry.close()); }
  Reactor& home() { return process.core(0); }
  template <class T>
  T run(Task<T> task) {
    return world.run(process.core(0), std::move(task));
  }
  // The device of the URI, or nullptr and a test failure.
  BlockDevice* create(const std::string& uri) {
    auto made = run(registry.create(uri));
    EXPECT_TRUE(made.ok()) << uri << ": " << (made.ok() ? "" : made.error().message());
    return made.ok() ? made.value() : nullptr;
  }
  // The message of the refusal; its code must be `code`.
  std::string refused(const std::string& uri, Errc code) {
    auto made = run(registry.create(uri));
    EXPECT_EQ(made.code(), code) << uri;
    return made.ok() ? "accepted" : made.error().message();
  }

  sim::World world;
  sim::Node& node;
  sim::Process& process;
  DeviceRegistry registry;
};

// A channel on the home core, closed at the end.
struct OpenChannel {
  OpenChannel(Machine& on, BlockDevice& device) : machine(on) {
    auto opened = machine.run(device.open_channel(machine.home()));
    if (!opened.ok()) panic("cannot open a channel");
    channel = std::move(opened).value();
  }
  OpenChannel(const OpenChannel&) = delete;
  OpenChannel& operator=(const OpenChannel&) = delete;
  ~OpenChannel() { machine.run(channel->close()); }

  Errc write(std::uint64_t lba, Bytes data, Durable durable = Durable::no) {
    const IoVec v = vec(data);
    return machine.run(channel->write(Lba{lba}, IoVecs(&v, 1), durable)).code();
  }
  Errc read(std::uint64_t lba, Bytes& into) {
    const IoVec v = vec(into);
    return machine.run(channel->read(Lba{lba}, IoVecs(&v, 1))).code();
  }
  // What the blocks hold.
  Bytes content(std::uint64_t lba, std::size_t bytes) {
    Bytes b = filled(bytes, 0xee);
    EXPECT_EQ(read(lba, b), Errc::ok);
    return b;
  }
  Errc compare(std::uint64_t lba, Bytes data) {
    const IoVec v = vec(data);
    return machine.run(channel->compare(Lba{lba}, IoVecs(&v, 1))).code();
  }

  Machine& machine;
  std::unique_ptr<Channel> channel;
};

}  // namespace holdfast::testing_support
