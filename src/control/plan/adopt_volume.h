// One volume of an adoption (adopt.h).
#pragma once

#include <vector>

#include "control/plan/adopt.h"

namespace holdfast::control {

// A replica that is online and says of which volume it is.
struct ReportedReplica {
  const KeptRecord* kept;
  const ReplicaState* state;
  ReplicaRecord record;
};

// Adds what is to be written for the volume, or why nothing is. `replicas`: at least one.
void look_at_volume(const Cluster& cluster, const Uuid& id,
                    const std::vector<const ReportedReplica*>& replicas, const AdoptRequest& request,
                    AdoptPlan& plan);

// The same for a volume of the store whose record is missing, and none of whose replicas says anything.
void look_at_silent_volume(const Cluster& cluster, const VolumeSpec& volume,
                           const std::vector<KeptRecord>& kept, const AdoptRequest& request, AdoptPlan& plan);

}  // namespace holdfast::control
