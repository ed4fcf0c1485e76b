// The epochs of a volume of a PoolBench.
#pragma once

#include <string>
#include <utility>

#include "pool/testing/pool_bench.h"
#include "pool/volume_epochs.h"

namespace holdfast::pool::testing_support {

struct Epochs {
  explicit Epochs(PoolBench& on, const std::string& name) : bench(on), client(*on.device(name).epochs()) {}
  Errc announce(std::uint32_t e) { return bench.machine.run(client.announce(e)).code(); }
  Errc seal(std::uint32_t e) { return bench.machine.run(client.seal(e)).code(); }
  EpochState state() { return bench.machine.run(client.state()).value(); }
  // "0110": region 0 first.
  std::string changed(std::uint32_t since) { return text(client.changed_since(since, 0, state().regions)); }
  std::string allocated() { return text(client.allocated(0, state().regions)); }
  std::string text(Task<Result<RegionBitmap>> task) {
    auto bits = bench.machine.run(std::move(task));
    if (!bits.ok()) return bits.error().message();
    std::string s;
    const RegionBitmap& regions = bits.value();
    for (std::uint64_t i = 0; i < regions.count; ++i) s += regions.has(regions.first + i) ? '1' : '0';
    return s;
  }
  PoolBench& bench;
  EpochClient& client;
};

}  // namespace holdfast::pool::testing_support
