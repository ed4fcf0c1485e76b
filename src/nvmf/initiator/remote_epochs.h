// The epochs and snapshots of a remote namespace, by commands of our own (nvme/vendor.h).
#pragma once

#include <memory>

#include "block/epochs.h"
#include "block/snapshots.h"
#include "nvmf/initiator/path_group.h"

namespace holdfast::nvmf::host {

// `paths` outlives what is made. What the target answers is checked: protocol when it cannot be.
std::unique_ptr<EpochClient> make_remote_epochs(PathGroup& paths);
// A request whose answer was lost is sent again, and may find the snapshot that it made: already_exists.
std::unique_ptr<SnapshotClient> make_remote_snapshots(PathGroup& paths);

}  // namespace holdfast::nvmf::host
