// The host's random reads and writes, each judged by the history.
#pragma once

#include <cstdint>
#include <list>

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
  // A change under way.
  struct Change {
    Range range;
    unsigned core;
  };
  // The mirror orders overlapping writes of one queue only (docs/concepts.md): on several, each replica
  // may end up with another of them. No file system does that, and neither does this host.
  class Claim {
   public:
    Claim(Workload& w, Range range, unsigned core)
        : workload_(w), place_(w.changes_.insert(w.changes_.end(), {range, core})) {}
    Claim(const Claim&) = delete;
    Claim& operator=(const Claim&) = delete;
    ~Claim() { workload_.changes_.erase(place_); }

   private:
    Workload& workload_;
    std::list<Change>::iterator place_;
  };
  bool disputed(const Range& range, unsigned core) const;
  Task<void> slot(unsigned core);
  Task<bool> operation(SimReactor& core, Channel& channel);
  Task<bool> read(SimReactor& core, Channel& channel, Range range);
  Task<bool> write(SimReactor& core, Channel& channel, Range range);
  Task<bool> clear(Channel& channel, Range range, bool deallocate);
  Task<bool> flush(Channel& channel);
  Range draw_range();
  Task<Range> draw_change(SimReactor& core);

  Cluster& cluster_;
  const Swarm& swarm_;
  Prng random_;
  std::list<Change> changes_;
  unsigned left_;
  unsigned slots_running_ = 0;
  std::uint64_t finished_ = 0;
  std::uint64_t failed_ = 0;
};

}  // namespace holdfast::sim
