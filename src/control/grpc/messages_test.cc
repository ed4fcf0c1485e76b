#include "control/grpc/messages.h"

#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

TEST(Messages, WhatAReplicaWasMadeOfIsNotItsOwnSnapshots) {
  mayastor::v1::Replica replica;
  auto& usage = *replica.mutable_usage();
  usage.set_allocated_bytes(4096);
  usage.set_allocated_bytes_snapshots(3 * 4096);
  EXPECT_EQ(replica_of("n1", replica).space.allocated_snapshots_bytes, 3U * 4096);
  EXPECT_EQ(replica_of("n1", replica).space.allocated_all_snapshots_bytes, 3U * 4096);
  // Of a clone, that has one snapshot itself.
  usage.set_allocated_bytes_snapshot_from_clone(4096);
  EXPECT_EQ(replica_of("n1", replica).space.allocated_bytes, 4096U);
  EXPECT_EQ(replica_of("n1", replica).space.allocated_snapshots_bytes, 4096U);
  EXPECT_EQ(replica_of("n1", replica).space.allocated_all_snapshots_bytes, 3U * 4096);
}

}  // namespace
}  // namespace holdfast::control
