#include "control/new_volume.h"

namespace holdfast::control {

VolumeSpec new_volume(const CreateVolume& request) {
  VolumeSpec volume;
  volume.uuid = request.volume;
  volume.size_bytes = request.size_bytes;
  volume.num_replicas = request.replicas;
  volume.self_heal = request.self_heal;
  volume.thin = request.thin;
  volume.labels = request.labels;
  volume.topology = request.topology;
  volume.affinity_group = request.affinity_group;
  volume.max_snapshots = request.max_snapshots;
  PendingVolumeOp operation;
  operation.operation = VolumeOp::create;
  volume.operation = operation;
  return volume;
}

}  // namespace holdfast::control
