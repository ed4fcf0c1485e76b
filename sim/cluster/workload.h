// The host's random reads and writes, each judged by the history.
#pragma once

#include <cstdint>

#include "sim/cluster/cluster.h"

namespace holdfast::sim {

class Workload {
 public:
  explicit Workload(Cluster& cluster);
  void start();
  bool done() const noexcept { return slots_running_ == 0; }
  std::uint64_t finished() const noexcept { return finished_; }
  std::uint64_t failed() const noexcept { return failed_; }
  // Reads the whole volume. False when a read failed.
  static Task<bool> read_all(Cluster& cluster);

 private:
  struct Range {
    std::uint64_t first;
    std::uint64_t count;
  };
  Task<void> slot(unsigned core);
  Task<bool> operation(SimReactor& core, Channel& channel);
  Task<bool> read(SimReactor& core, Channel& channel, Range range);
  Task<bool> write(SimReactor& core, Channel& channel, Range range);
  Task<bool> clear(Channel& channel, Range range, bool deallocate);
  Task<bool> flush(Channel& channel);
  Range draw_range();

  Cluster& cluster_;
  const Swarm& swarm_;
  Prng random_;
  unsigned left_;
  unsigned slots_running_ = 0;
  std::uint64_t finished_ = 0;
  std::uint64_t failed_ = 0;
};

}  // namespace holdfast::sim
