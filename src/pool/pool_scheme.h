// The scheme pool:///VOLUME?disks=DISK,DISK...: one volume of a pool as a device by itself, for benchmarks and tests.
// The pool lives as long as the device.
//   size=SIZE       makes a new pool of that name on the disks, with one volume of this size
//     &thick        with its space reserved
//     &cluster=SIZE clusters of that size
//     &force        although the disks hold something
//   (no size)       opens the pool that is on the disks, and its volume of this name
//   &snapshots=N    takes N snapshots of the volume first
#pragma once

#include "block/registry.h"

namespace holdfast::pool {

// The registry outlives the scheme.
DeviceRegistry::Scheme pool_scheme(DeviceRegistry& registry);

}  // namespace holdfast::pool
