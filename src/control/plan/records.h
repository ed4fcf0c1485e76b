// What replicas should say of their volume (model/record.h). Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "control/model/record.h"
#include "control/plan/cluster.h"

namespace holdfast::control {

// Of the records in the store, kept up to date by who reads them.
struct RecordDigests {
  ById<std::uint64_t> volumes;      // specs
  ById<std::uint64_t> nexuses;      // specs
  ById<std::uint64_t> memberships;  // by volume
};

// What a replica should say now; nothing while its volume has something under way, or no membership record.
struct WantedRecord {
  ReplicaRecord record;
  std::uint64_t digest = 0;
};
std::optional<WantedRecord> wanted_record(const Cluster& cluster, const RecordDigests& digests,
                                          const Uuid& replica, UnixNanos now);

}  // namespace holdfast::control
