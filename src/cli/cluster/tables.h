// The answers of the REST API as tables for people. Pure: an answer in, a table out. `list` is an array of the
// API's objects; what is missing shows as "<none>" or an empty cell, whatever else the object holds.
#pragma once

#include "cli/rest/json_view.h"
#include "cli/tool/output.h"

namespace holdfast::cli {

// Volume
Table volumes_table(const Output& out, const Tree& list);
// Volume: a row for each replica. with_volume: the first column names the volume.
Table replica_topology_table(const Output& out, const Tree& volumes, bool with_volume);
// RebuildHistory
Table rebuild_history_table(const Output& out, const Tree& history);
// VolumeSnapshot
Table snapshots_table(const Output& out, const Tree& list);
// VolumeSnapshot: a row for each snapshot of a replica.
Table snapshot_topology_table(const Output& out, const Tree& list);
// Pool
Table pools_table(const Output& out, const Tree& list, bool labels);
// Node
Table nodes_table(const Output& out, const Tree& list, bool labels);
Table cordons_table(const Tree& list);
Table drains_table(const Tree& list);
// BlockDevice. all: also the columns about what is on the device.
Table block_devices_table(const Output& out, const Tree& list, bool all);

// Of a Node: "", "Cordoned", "Draining" or "Drained".
std::string cordon_word(const Tree& node);
// The labels that cordon a node, those that drain it: both as the API keeps them, whatever the state.
std::string cordon_labels(const Tree& node);
std::string drain_labels(const Tree& node);

}  // namespace holdfast::cli
