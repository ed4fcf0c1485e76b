// Snapshots through a device: for whoever has a replica's device and not its pool, a mirror above all.
#pragma once

#include <map>
#include <string>

#include "base/error.h"
#include "base/uuid.h"
#include "rt/task.h"

namespace holdfast {

struct SnapshotRequest {
  std::string name;
  Uuid uuid;
  std::map<std::string, std::string> attributes;  // kept with the snapshot
};

// Of one device: a volume of a pool, or such a volume behind a target. Home core.
// Errors: not_supported; already_exists (name or uuid is taken), out_of_space, invalid_argument,
// failed_precondition; those of the path to the device, after which there may or may not be a snapshot.
class SnapshotClient {
 public:
  // One point in time: writes that ended before are in it, writes that start afterwards are not. Durable when
  // it is done.
  virtual Task<Status> create(SnapshotRequest request) = 0;

  SnapshotClient() = default;
  SnapshotClient(const SnapshotClient&) = delete;
  SnapshotClient& operator=(const SnapshotClient&) = delete;
  virtual ~SnapshotClient() = default;
};

}  // namespace holdfast
