// A well-behaved host of an engine, in a thread of its own: some operations always in flight, counted.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "base/error.h"
#include "block/block_device.h"
#include "rt/reactor.h"
#include "rt/stop.h"

namespace holdfast::e2e {

class Neighbour {
 public:
  // Starts at once with 4 KiB reads and writes, in turn, at random places of nvmf://...
  explicit Neighbour(std::string uri);
  ~Neighbour();
  Neighbour(const Neighbour&) = delete;
  Neighbour& operator=(const Neighbour&) = delete;

  std::uint64_t operations() const noexcept { return operations_.load(std::memory_order_relaxed); }
  std::uint64_t errors() const noexcept { return errors_.load(std::memory_order_relaxed); }

 private:
  Task<Status> live(const Cores& cores);
  Task<void> work(Reactor& reactor, Channel& channel, std::uint64_t blocks, std::uint64_t seed);

  const std::string uri_;
  std::atomic<std::uint64_t> operations_{0};
  std::atomic<std::uint64_t> errors_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace holdfast::e2e
