// ClusterCounts: how many leaves name each cluster, and with it where space is free. Home core, except
// exclusive().
//
// A cluster may be held: then it is neither free nor exclusive, whatever its count. Held are clusters picked for a
// write that is not recorded yet, those of a checkpoint, those with fresh data (fresh_data.h), and what a change let
// go of and is not settled (Effects).
// Holds add up.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "pool/slot_array.h"
#include "pool/types.h"

namespace holdfast::pool {

class ClusterCounts {
 public:
  static constexpr std::uint32_t chunk_clusters = 4096;
  static constexpr std::uint64_t chunk_bytes = chunk_clusters * sizeof(std::uint16_t);  // about

  ClusterCounts() = default;
  ClusterCounts(const ClusterCounts&) = delete;
  ClusterCounts& operator=(const ClusterCounts&) = delete;
  ~ClusterCounts();

  // The pool has grown by this segment; its clusters are free.
  void add_segment(const ChangeContext& context, const Segment& segment);
  const std::vector<Segment>& segments() const noexcept { return segments_; }
  std::uint32_t size() const noexcept { return size_; }  // clusters of the pool
  std::uint16_t disk_of(Cluster cluster) const noexcept;

  std::uint32_t count(Cluster cluster) const noexcept;
  std::uint32_t holds(Cluster cluster) const noexcept;
  // Any core: named once and not held, so that the one who names it may write in place.
  bool exclusive(Cluster cluster) const noexcept;
  bool is_free(Cluster cluster) const noexcept { return word(to_index(cluster)) == 0; }

  void hold(Cluster cluster);
  void release(Cluster cluster);
  void hold(ClusterRun run);
  void release(ClusterRun run);

  // One more leaf names it.
  void add(Cluster cluster);
  // One less. When that leaves one or none, the cluster is held and goes to the effects.
  void remove(Cluster cluster, Effects& effects);

  std::uint64_t free_clusters() const noexcept { return free_; }
  std::uint64_t free_clusters(std::uint16_t disk) const noexcept;
  std::uint64_t disk_clusters(std::uint16_t disk) const noexcept;
  // The first free cluster in [from, to).
  std::optional<Cluster> find_free(std::uint32_t from, std::uint32_t to) const noexcept;
  // The first cluster in [from, to) that is named or held.
  std::optional<Cluster> find_used(std::uint32_t from, std::uint32_t to) const noexcept;

  // Memory that this takes, bytes.
  std::size_t memory() const noexcept;

 private:
  struct Chunk;
  static constexpr std::uint16_t held_bit = 0x8000;
  static constexpr std::uint16_t count_mask = 0x7fff;  // this value: see big_

  Chunk* chunk(std::uint32_t index) const noexcept;
  Chunk& make_chunk(std::uint32_t index);
  std::uint16_t word(std::uint32_t cluster) const noexcept;
  void set_word(std::uint32_t cluster, std::uint16_t value);

  SlotTable table_;
  std::size_t chunks_ = 0;
  std::vector<Segment> segments_;
  std::uint32_t size_ = 0;
  std::uint64_t free_ = 0;
  std::vector<std::uint64_t> free_of_disk_, of_disk_;
  std::map<std::uint32_t, std::uint32_t> big_;    // counts that do not fit into a word
  std::map<std::uint32_t, std::uint32_t> holds_;  // beyond the first
};

}  // namespace holdfast::pool
