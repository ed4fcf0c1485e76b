#include "cli/pool_disk/pool_json.h"

#include <nlohmann/json.hpp>

namespace holdfast::cli {
namespace {

using Json = nlohmann::ordered_json;
using namespace pool;

Json cluster_json(const DiskCluster& c) { return {{"disk", c.disk}, {"cluster", c.cluster}}; }

Json features_json(const Superblock& s) {
  return {{"incompatible", s.incompatible},
          {"read_only_compatible", s.read_only_compatible},
          {"compatible", s.compatible}};
}

Json root_json(const Root& r) {
  return {{"sequence", r.sequence},
          {"journal_position", r.journal_position},
          {"image_bytes", r.image_bytes},
          {"pieces", r.pieces},
          {"first", cluster_json(r.first)}};
}

Json label_json(const PoolOnDisk::DiskLabel& disk) {
  const Superblock& s = disk.label.superblock;
  Json tree = {{"uri", disk.uri},
               {"size_bytes", disk.size_bytes},
               {"uuid", s.disk_uuid.to_string()},
               {"index", s.disk_index},
               {"pool", s.name},
               {"pool_uuid", s.pool_uuid.to_string()},
               {"instance", s.instance.to_string()},
               {"sequence", s.sequence},
               {"newest_copy", disk.label.newest},
               {"copies_agree", disk.label.copies_agree},
               {"unfinished", s.unfinished()},
               {"features", features_json(s)},
               {"cluster_bytes", s.cluster_bytes},
               {"data_offset", s.data_offset},
               {"created_unix_ns", s.created_unix_ns}};
  if (s.disk_index != 0) return tree;
  tree["clean"] = s.clean;
  tree["incarnation"] = s.incarnation;
  tree["recovered_sequence"] = s.recovered_sequence;
  tree["journal"] = {{"offset", s.journal_offset}, {"bytes", s.journal_bytes}};
  tree["checkpoint"] = root_json(s.root);
  Json& members = tree["members"] = Json::array();
  for (const Uuid& uuid : s.members) members.push_back(uuid.to_string());
  return tree;
}

Json segment_json(const Segment& s) {
  return {{"first", s.first}, {"count", s.count}, {"disk", s.disk}, {"disk_first", s.disk_first}};
}

const char* kind_name(VolumeKind kind) { return kind == VolumeKind::snapshot ? "snapshot" : "volume"; }

Json spec_json(const VolumeSpec& spec) {
  Json tree = {{"id", to_index(spec.id)},
               {"kind", kind_name(spec.kind)},
               {"name", spec.name},
               {"uuid", spec.uuid.to_string()},
               {"size_bytes", spec.size_bytes},
               {"thick", spec.thick},
               {"source", to_index(spec.source)},
               {"source_uuid", spec.source_uuid.to_string()},
               {"created_unix_ns", spec.created_unix_ns},
               {"epoch", spec.epoch},
               {"sealed", spec.sealed}};
  Json& attributes = tree["attributes"] = Json::object();
  for (const auto& [key, value] : spec.attributes) attributes[key] = value;
  return tree;
}

Json volume_json(const State& state, const VolumeSpec& spec) {
  Json tree = spec_json(spec);
  const Usage usage = state.usage(spec.id);
  tree["allocated_bytes"] = usage.allocated;
  tree["exclusive_bytes"] = usage.exclusive;
  tree["reserved_bytes"] = usage.reserved;
  tree["partial_clusters"] = usage.partial_clusters;
  return tree;
}

// One overload for each record.
struct RecordJson {
  Json operator()(const CreateRecord& r) const { return {{"type", "create"}, {"volume", spec_json(r.spec)}}; }
  Json operator()(const DeleteRecord& r) const {
    return {{"type", "delete"}, {"volume", to_index(r.volume)}};
  }
  Json operator()(const ResizeRecord& r) const {
    return {{"type", "resize"}, {"volume", to_index(r.volume)}, {"size_bytes", r.size_bytes}};
  }
  Json operator()(const AttributesRecord& r) const {
    Json tree = {{"type", "attributes"}, {"volume", to_index(r.volume)}};
    Json& changes = tree["changes"] = Json::object();
    for (const auto& [key, value] : r.changes) changes[key] = value;
    return tree;
  }
  Json operator()(const RevertRecord& r) const {
    return {{"type", "revert"}, {"volume", to_index(r.volume)}, {"snapshot", to_index(r.snapshot)}};
  }
  Json operator()(const WriteRecord& r) const {
    return {{"type", "write"},
            {"volume", to_index(r.volume)},
            {"index", r.index},
            {"cluster", to_index(r.cluster)},
            {"first_block", r.first_block},
            {"block_count", r.block_count}};
  }
  Json operator()(const WriteDataRecord& r) const {
    Json tree = (*this)(r.write);
    tree["type"] = "write_data";
    return tree;
  }
  Json operator()(const SettledRecord& r) const { return {{"type", "settled"}, {"sequence", r.sequence}}; }
  Json operator()(const CompleteRecord& r) const {
    return {{"type", "complete"}, {"volume", to_index(r.volume)}, {"index", r.index}};
  }
  Json operator()(const UnmapRecord& r) const {
    return {{"type", "unmap"}, {"volume", to_index(r.volume)}, {"first", r.first}, {"count", r.count}};
  }
  Json operator()(const TrimRecord& r) const {
    return {{"type", "trim"},
            {"volume", to_index(r.volume)},
            {"index", r.index},
            {"first_block", r.first_block},
            {"block_count", r.block_count}};
  }
  Json operator()(const RegionRecord& r) const {
    return {{"type", "region"},
            {"volume", to_index(r.volume)},
            {"first", r.first},
            {"count", r.count},
            {"epoch", r.epoch}};
  }
  Json operator()(const EpochRecord& r) const {
    return {{"type", "epoch"}, {"volume", to_index(r.volume)}, {"epoch", r.epoch}, {"sealed", r.sealed}};
  }
  Json operator()(const AddDiskRecord& r) const {
    return {{"type", "add_disk"},
            {"disk", r.disk.index},
            {"uuid", r.disk.uuid.to_string()},
            {"uri", r.disk.uri},
            {"segment", segment_json(r.segment)}};
  }
  Json operator()(const GrowRecord& r) const {
    return {{"type", "grow"}, {"segment", segment_json(r.segment)}};
  }
};

void add_outcome(Json& tree, const PoolOnDisk& pool) {
  tree["clean"] = pool.findings.empty();
  tree["findings"] = pool.findings;
  tree["notes"] = pool.notes;
}

void add_pool(Json& tree, const PoolOnDisk& pool) {
  if (pool.disks.empty()) return;
  const Superblock& s = pool.disks.front().label.superblock;
  tree["pool"] = s.name;
  tree["uuid"] = s.pool_uuid.to_string();
}

}  // namespace

Json check_json(const PoolOnDisk& pool) {
  Json tree = Json::object();
  add_pool(tree, pool);
  add_outcome(tree, pool);
  Json& disks = tree["disks"] = Json::array();
  for (const auto& disk : pool.disks) {
    const Superblock& s = disk.label.superblock;
    disks.push_back({{"uri", disk.uri},
                     {"uuid", s.disk_uuid.to_string()},
                     {"index", s.disk_index},
                     {"size_bytes", disk.size_bytes},
                     {"unfinished", s.unfinished()}});
  }
  if (pool.state == nullptr) return tree;
  const State& state = *pool.state;
  std::uint64_t snapshots = 0;
  for (const auto& [id, volume] : state.volumes())
    snapshots += volume->spec().kind == VolumeKind::snapshot ? 1 : 0;
  const std::uint64_t cluster = state.cluster_bytes();
  tree["volumes"] = state.volumes().size() - snapshots;
  tree["snapshots"] = snapshots;
  tree["cluster_bytes"] = cluster;
  tree["capacity_bytes"] = state.clusters().size() * cluster;
  tree["used_bytes"] =
      (state.clusters().size() - state.clusters().free_clusters() + pool.image.size()) * cluster;
  tree["checkpoint_bytes"] = pool.superblock.root.image_bytes;
  tree["commits"] = pool.scan.commits;
  tree["records"] = pool.scan.records;
  return tree;
}

Json dump_json(const PoolOnDisk& pool) {
  Json tree = Json::object();
  add_pool(tree, pool);
  add_outcome(tree, pool);
  Json& labels = tree["labels"] = Json::array();
  for (const auto& disk : pool.disks) labels.push_back(label_json(disk));
  if (pool.state == nullptr) return tree;
  Json& disks = tree["disks"] = Json::array();
  for (const DiskRecord& disk : pool.state->disks())
    disks.push_back({{"index", disk.index}, {"uuid", disk.uuid.to_string()}, {"uri", disk.uri}});
  Json& segments = tree["segments"] = Json::array();
  for (const Segment& s : pool.state->segments()) segments.push_back(segment_json(s));
  Json& image = tree["checkpoint"] = Json::array();
  for (const DiskCluster& c : pool.image) image.push_back(cluster_json(c));
  Json& volumes = tree["volumes"] = Json::array();
  for (const auto& [id, volume] : pool.state->volumes())
    volumes.push_back(volume_json(*pool.state, volume->spec()));
  Json& records = tree["journal"] = Json::array();
  for (const auto& [sequence, record] : pool.records) {
    Json item = {{"commit", sequence}};
    item.update(std::visit(RecordJson(), record));
    records.push_back(std::move(item));
  }
  return tree;
}

}  // namespace holdfast::cli
