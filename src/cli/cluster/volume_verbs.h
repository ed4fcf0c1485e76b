// What volumes are made of, for the verbs that make them, and how one waits for them. Internal to this folder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/cluster/cluster.h"

namespace holdfast::cli {

// A volume as the command line asks for it.
struct VolumeWishes {
  std::string id;              // empty: one is made up
  std::uint64_t size = 0;      // bytes; 0: that of the source
  std::uint32_t replicas = 0;  // 0: that of the source, or 1
  bool thin = false;
  bool no_self_heal = false;
  std::vector<std::string> labels;       // "key=value"
  std::vector<std::string> nodes;        // empty: any
  std::vector<std::string> node_labels;  // "key=value"
  std::vector<std::string> node_spread;  // keys
  std::vector<std::string> pool_labels;  // "key=value"
  std::string group;
  std::optional<std::uint32_t> max_snapshots;
};

// The options behind `wishes`. sized: the size must be given, too.
void add_volume_wishes(CLI::App& to, VolumeWishes& wishes, bool sized);
// The API's CreateVolumeBody.
Tree volume_body(const VolumeWishes& wishes);
// Takes from the spec of a source what was not wished for.
void inherit(VolumeWishes& wishes, const Tree& spec);

// Judges for wait_until: as many replicas as wanted, all in sync; not found any more.
Progress volume_healthy(const RestAnswer& answer);
Progress gone(const RestAnswer& answer);
Progress failed(const RestAnswer& answer);

// What making the volume answered: its UUID, once it is healthy if that is waited for.
int made_volume(Cluster& cluster, const WaitOptions& wait, const RestAnswer& answer, const std::string& id);

}  // namespace holdfast::cli
