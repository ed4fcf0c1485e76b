// Pools, replicas and snapshots as the API shows them.
#pragma once

#include <cstdint>
#include <string>

#include <google/protobuf/timestamp.pb.h>

#include "engine/exports.h"
#include "engine/pools.h"
#include "holdfast/v1/pool.pb.h"
#include "mayastor/v1/pool.pb.h"
#include "mayastor/v1/replica.pb.h"
#include "mayastor/v1/snapshot.pb.h"

namespace holdfast::engine {

mayastor::v1::Pool pool_message(const Pools::Known& known);
holdfast::v1::PoolDetail pool_detail(const Pools::Known& known);

// `known` is open. Of a replica, clone or snapshot.
mayastor::v1::Replica replica_message(const Exports& exports, const Pools::Known& known,
                                      const pool::VolumeView& volume);
// For lists: the pool's cluster size is known.
mayastor::v1::Replica replica_message(const Exports& exports, const Pools::Known& known,
                                      std::uint32_t cluster_bytes, const pool::VolumeView& volume);
mayastor::v1::SnapshotInfo snapshot_message(const Pools::Known& known, const pool::VolumeView& snapshot);

// Made of a snapshot, and a volume of its own since.
inline bool is_clone(const pool::VolumeSpec& spec) {
  return spec.kind == pool::VolumeKind::volume && !spec.source_uuid.is_nil();
}
inline bool is_snapshot(const pool::VolumeSpec& spec) { return spec.kind == pool::VolumeKind::snapshot; }

// Under which the device of a volume is registered, locked and exported: its own name, unless another device had that
// already. Empty when the device was taken away. `known` is open.
std::string device_name(const Pools::Known& known, const pool::VolumeSpec& spec);

google::protobuf::Timestamp timestamp(std::uint64_t unix_ns);

}  // namespace holdfast::engine
