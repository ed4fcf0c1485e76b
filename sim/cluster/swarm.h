// Swarm: what one run is made of, drawn from its seed. Each run enables a random subset of the faults, so
// that some runs go deep into few of them.
#pragma once

#include <cstdint>
#include <string>

#include "nexus/types.h"
#include "nvmf/initiator/config.h"
#include "sim/disk.h"
#include "sim/net.h"

namespace holdfast::sim {

struct Swarm {
  static Swarm draw(std::uint64_t seed);
  // Of the epoch campaign: replicas keep epochs, engines and the nexus crash all the time.
  static Swarm draw_epochs(std::uint64_t seed);
  std::string to_string() const;

  std::uint64_t seed = 0;

  // The cluster.
  unsigned remote_replicas = 3;
  bool local_child = false;  // one more, on the nexus's machine
  unsigned replica_cores = 1;
  unsigned nexus_cores = 1;
  unsigned host_cores = 1;
  std::uint32_t block_bytes = 512;
  std::uint64_t volume_bytes = 1 << 20;
  bool digests = false;
  bool epochs = false;  // of the remote replicas
  bool pools = false;   // these are volumes of pools
  std::uint32_t cluster_bytes = 64 * 1024;
  DiskOptions disk;
  LinkOptions link;
  nexus::NexusOptions nexus;
  nvmf::InitiatorConfig host;   // the host's use of the nexus
  nvmf::InitiatorConfig child;  // the nexus's use of its replicas

  // The workload.
  unsigned operations = 200;
  unsigned queue_depth = 8;
  unsigned operation_blocks_max = 64;
  Nanos pause_max{0};   // between operations of one slot
  bool bursts = false;  // few pauses
  unsigned read_weight = 4, write_weight = 8, zeroes_weight = 1, deallocate_weight = 1, flush_weight = 1;
  std::uint64_t hot_blocks = 0;  // most operations fall into the first so many; 0: anywhere

  // The faults; each comes about once per interval.
  Nanos fault_interval{500'000'000};
  bool replica_crash = false;
  bool power_loss = false;  // instead of some of the crashes
  bool nexus_crash = false;
  bool partition = false;
  bool cut = false;
  bool refuse = false;
  bool freeze = false;
  bool disk_errors = false;
  bool disk_stall = false;
  bool disk_slow = false;
  bool disk_dies = false;  // one of them, for good
  bool store_outage = false;
  bool child_operations = false;
  unsigned damage_per_mille = 0;  // of pieces; only with digests
  unsigned hold_per_mille = 0;    // of the sends, whose memory the network holds for a while
  bool nexus_end = false;         // in good order, while the host goes on
  unsigned snapshots = 0;         // at most, of volumes of pools
  bool store_only = false;        // nothing but the store goes wrong: no I/O waits (P9)
  // Replicas crash until one in-sync copy is left; that one loses power while others are rebuilt from it.
  bool lone_copy = false;
};

}  // namespace holdfast::sim
