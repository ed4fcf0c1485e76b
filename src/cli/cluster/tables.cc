#include "cli/cluster/tables.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace holdfast::cli {
namespace {

constexpr auto right = Align::right;
constexpr const char* none = "<none>";

bool wide(const Output& out) { return out.format == Format::wide; }

std::string size_at(const Output& out, const Tree& tree, std::string_view path) {
  return at(tree, path).is_number_unsigned() ? out.size(number(tree, path)) : std::string();
}

// A word of the API without the fraction of a second: "2024-10-23T08:15:00Z".
std::string time_at(const Tree& tree, std::string_view path) {
  std::string time = text(tree, path);
  const auto dot = time.find('.');
  if (dot == std::string::npos) return time;
  const auto zone = time.find_first_not_of("0123456789", dot + 1);
  time.erase(dot, zone == std::string::npos ? zone : zone - dot);
  return time;
}

// What gave a volume its first content.
std::string source_of(const Output& out, const Tree& volume) {
  const Tree& source = at(volume, "spec/content_source");
  if (!source.is_object() || source.empty()) return none;
  const std::string kind = has(source, "snapshot") ? "Snapshot" : has(source, "volume") ? "Volume" : "Other";
  if (!wide(out)) return kind;
  const std::string of = text(source, kind == "Snapshot" ? "snapshot/snapshot" : "volume/volume");
  return of.empty() ? kind : kind + " " + of;
}

std::string replica_states(const Tree& volume) {
  const Tree& replicas = at(volume, "state/replica_topology");
  std::size_t online = 0;
  for (const Tree& replica : replicas)
    online += text(replica, "child-status") == "Online" ||
                      (!has(replica, "child-status") && text(replica, "state") == "Online")
                  ? 1
                  : 0;
  return fmt::format("{}/{}", online, text_or(volume, "spec/num_replicas", "?"));
}

void add_replica_rows(const Output& out, Table& table, const Tree& volume, bool with_volume) {
  const Tree& replicas = at(volume, "state/replica_topology");
  if (!replicas.is_object()) return;
  for (const auto& [uuid, replica] : replicas.items()) {
    std::vector<std::string> row;
    if (with_volume) row.push_back(text(volume, "spec/uuid"));
    const std::string progress = text(replica, "rebuild-progress");
    row.insert(row.end(),
               {uuid, text_or(replica, "node", none), text_or(replica, "pool", none), text(replica, "state"),
                size_at(out, replica, "usage/capacity"), size_at(out, replica, "usage/allocated"),
                size_at(out, replica, "usage/allocated_snapshots"), text_or(replica, "child-status", none),
                text_or(replica, "child-status-reason", none), progress.empty() ? none : progress + "%"});
    if (wide(out)) row.push_back(text(replica, "healthy"));
    table.add_row(std::move(row));
  }
}

std::string blocks(const Output& out, const Tree& record, std::string_view path) {
  const std::uint64_t block = number(record, "blockSize");
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(number(record, path), block, &bytes)) return {};
  return at(record, path).is_number_unsigned() ? out.size(bytes) : std::string();
}

// Where the state of a node is cordoned, draining or drained: whichever of the three it is.
const Tree& cordon_state(const Tree& node) {
  const Tree& state = at(node, "spec/cordondrainstate");
  for (const char* which : {"cordonedstate", "drainingstate", "drainedstate"}) {
    if (has(state, which)) return at(state, which);
  }
  return at(state, "none of them");
}

}  // namespace

Table volumes_table(const Output& out, const Tree& list) {
  Table table{{"ID"},          {"REPLICAS", right},  {"TARGET-NODE"},      {"ACCESSIBILITY"},    {"STATUS"},
              {"SIZE", right}, {"THIN-PROVISIONED"}, {"ALLOCATED", right}, {"SNAPSHOTS", right}, {"SOURCE"}};
  if (wide(out)) {
    for (const char* title : {"HEALTHY", "OPERATION", "MAX-SNAPSHOTS", "GROUP", "LABELS", "URI", "REASON"})
      table.add_column(title);
  }
  for (const Tree& v : list) {
    std::string thin = text(v, "spec/thin");
    if (flag(v, "spec/as_thin") && !flag(v, "spec/thin")) thin = "true (snapped)";
    std::vector<std::string> row{text(v, "spec/uuid"),
                                 text(v, "spec/num_replicas"),
                                 text_or(v, "state/target/node", none),
                                 text_or(v, "state/target/protocol", none),
                                 text_or(v, "state/status", "Unknown"),
                                 size_at(out, v, "spec/size"),
                                 thin,
                                 size_at(out, v, "state/usage/allocated"),
                                 text_or(v, "spec/num_snapshots", "0"),
                                 source_of(out, v)};
    if (wide(out)) {
      row.insert(row.end(), {replica_states(v), text_or(v, "spec/operation/operation", none),
                             text_or(v, "spec/max_snapshots", none),
                             text_or(v, "spec/affinity_group/id", none), labels(v, "spec/labels"),
                             text_or(v, "state/target/deviceUri", none), text(v, "state/reason")});
    }
    table.add_row(std::move(row));
  }
  return table;
}

Table replica_topology_table(const Output& out, const Tree& volumes, bool with_volume) {
  const std::initializer_list<Column> columns = {{"ID"},
                                                 {"NODE"},
                                                 {"POOL"},
                                                 {"STATUS"},
                                                 {"CAPACITY", right},
                                                 {"ALLOCATED", right},
                                                 {"SNAPSHOTS", right},
                                                 {"CHILD-STATUS"},
                                                 {"REASON"},
                                                 {"REBUILD", right}};
  Table table{};
  if (with_volume) table.add_column("VOLUME-ID");
  for (const Column& column : columns) table.add_column(column);
  if (wide(out)) table.add_column("HEALTHY");
  for (const Tree& volume : volumes) add_replica_rows(out, table, volume, with_volume);
  return table;
}

Table rebuild_history_table(const Output& out, const Tree& history) {
  Table table{{"DST"},
              {"SRC"},
              {"STATE"},
              {"TOTAL", right},
              {"RECOVERED", right},
              {"TRANSFERRED", right},
              {"IS-PARTIAL"},
              {"START-TIME"},
              {"END-TIME"}};
  for (const Tree& r : at(history, "records")) {
    table.add_row({text(r, "childUri"), text(r, "srcUri"), text(r, "rebuildJobState"),
                   blocks(out, r, "blocksTotal"), blocks(out, r, "blocksRecovered"),
                   blocks(out, r, "blocksTransferred"), text(r, "isPartial"), time_at(r, "startTime"),
                   time_at(r, "endTime")});
  }
  return table;
}

Table snapshots_table(const Output& out, const Tree& list) {
  Table table{{"ID"},
              {"TIMESTAMP"},
              {"SOURCE-SIZE", right},
              {"ALLOCATED-SIZE", right},
              {"TOTAL-ALLOCATED-SIZE", right},
              {"SOURCE-VOL"},
              {"RESTORES", right},
              {"SNAPSHOT_REPLICAS", right}};
  if (wide(out)) table.add_column("STATUS");
  for (const Tree& s : list) {
    std::vector<std::string> row{text(s, "definition/spec/uuid"),
                                 has(s, "state/timestamp") ? time_at(s, "state/timestamp")
                                                           : time_at(s, "definition/metadata/timestamp"),
                                 size_at(out, s, "definition/metadata/spec_size"),
                                 size_at(out, s, "state/allocated_size"),
                                 size_at(out, s, "definition/metadata/total_allocated_size"),
                                 text(s, "definition/spec/source_volume"),
                                 text_or(s, "definition/metadata/num_restores", "0"),
                                 text_or(s, "definition/metadata/num_snapshot_replicas", "0")};
    if (wide(out)) row.push_back(text(s, "definition/metadata/status"));
    table.add_row(std::move(row));
  }
  return table;
}

Table snapshot_topology_table(const Output& out, const Tree& list) {
  Table table{{"SNAPSHOT-ID"},           {"ID"},    {"POOL"}, {"SNAPSHOT_STATUS"}, {"SIZE", right},
              {"ALLOCATED_SIZE", right}, {"SOURCE"}};
  for (const Tree& s : list) {
    for (const Tree& replica : at(s, "state/replica_snapshots")) {
      const bool online = has(replica, "online");
      const Tree& r = at(replica, online ? "online" : "offline");
      table.add_row({text(s, "definition/spec/uuid"), text(r, "uuid"), text(r, "pool_id"),
                     online ? "Online" : "Offline", size_at(out, r, "size"),
                     size_at(out, r, "allocated_size"), text(r, "source_id")});
    }
  }
  return table;
}

Table pools_table(const Output& out, const Tree& list, bool show_labels) {
  Table table{{"ID"},
              {"DISKS"},
              {"MANAGED"},
              {"NODE"},
              {"STATUS"},
              {"CAPACITY", right},
              {"ALLOCATED", right},
              {"AVAILABLE", right},
              {"COMMITTED", right}};
  if (wide(out)) {
    table.add_column({"FREE", right});
    for (const char* title : {"CORDONS", "EVACUATING", "REASON"}) table.add_column(title);
  }
  if (show_labels) table.add_column("LABELS");
  for (const Tree& p : list) {
    const bool seen = has(p, "state");
    const std::uint64_t capacity = number(p, "state/capacity");
    const std::uint64_t used = number(p, "state/used");
    const std::string committed = size_at(out, p, "state/committed");
    std::vector<std::string> row{text(p, "id"),
                                 joined(p, seen ? "state/disks" : "spec/disks", ", "),
                                 has(p, "spec") ? "true" : "false",
                                 text(p, seen ? "state/node" : "spec/node"),
                                 text_or(p, "state/status", "Unknown"),
                                 out.size(capacity),
                                 out.size(used),
                                 out.size(capacity - std::min(used, capacity)),
                                 committed.empty() ? none : committed};
    if (wide(out)) {
      row.insert(row.end(), {size_at(out, p, "state/free"), joined(p, "spec/cordons"),
                             text(p, "spec/evacuating"), text(p, "state/reason")});
    }
    if (show_labels) row.push_back(labels(p, "spec/labels"));
    table.add_row(std::move(row));
  }
  return table;
}

Table nodes_table(const Output& out, const Tree& list, bool show_labels) {
  Table table{{"ID"}, {"GRPC-ENDPOINT"}, {"STATUS"}, {"VERSION"}};
  if (wide(out)) {
    table.add_column("CORDON");
    table.add_column("NQN");
  }
  if (show_labels) table.add_column("LABELS");
  for (const Tree& n : list) {
    const char* from = has(n, "state") ? "state/" : "spec/";
    const auto field = [&](const char* name) { return text(n, std::string(from) + name); };
    std::vector<std::string> row{text(n, "id"), field("grpcEndpoint"), text_or(n, "state/status", "Unknown"),
                                 field("version")};
    if (wide(out)) {
      row.push_back(cordon_word(n));
      row.push_back(field("node_nqn"));
    }
    if (show_labels) row.push_back(labels(n, "spec/labels"));
    table.add_row(std::move(row));
  }
  return table;
}

std::string cordon_word(const Tree& node) {
  const Tree& state = at(node, "spec/cordondrainstate");
  if (has(state, "drainedstate")) return "Drained";
  if (has(state, "drainingstate")) return "Draining";
  if (has(state, "cordonedstate")) return "Cordoned";
  return {};
}

std::string cordon_labels(const Tree& node) { return joined(cordon_state(node), "cordonlabels", ", "); }
std::string drain_labels(const Tree& node) { return joined(cordon_state(node), "drainlabels", ", "); }

Table cordons_table(const Tree& list) {
  Table table{{"ID"}, {"GRPC-ENDPOINT"}, {"STATUS"}, {"CORDONED"}, {"CORDON-LABELS"}};
  for (const Tree& n : list) {
    std::string all = cordon_labels(n);
    const std::string drains = drain_labels(n);
    if (!drains.empty()) all += (all.empty() ? "" : ", ") + drains;
    table.add_row({text(n, "id"), text_or(n, "state/grpcEndpoint", text(n, "spec/grpcEndpoint")),
                   text_or(n, "state/status", "Unknown"), cordon_word(n).empty() ? "false" : "true", all});
  }
  return table;
}

Table drains_table(const Tree& list) {
  Table table{{"ID"}, {"GRPC-ENDPOINT"}, {"STATUS"}, {"DRAIN-STATE"}, {"DRAIN-LABELS"}};
  for (const Tree& n : list) {
    const std::string word = cordon_word(n);
    table.add_row({text(n, "id"), text_or(n, "state/grpcEndpoint", text(n, "spec/grpcEndpoint")),
                   text_or(n, "state/status", "Unknown"),
                   word == "Cordoned" || word.empty() ? "Not draining" : word, drain_labels(n)});
  }
  return table;
}

Table block_devices_table(const Output& out, const Tree& list, bool all) {
  Table table{{"DEVNAME"}, {"DEVTYPE"}, {"SIZE", right}, {"AVAILABLE"}, {"MODEL"}, {"DEVPATH"}};
  if (all) {
    for (const char* title : {"FSTYPE", "FSUUID", "MOUNTPOINT", "PARTTYPE"}) table.add_column(title);
  }
  table.add_column({"MAJOR", right});
  table.add_column({"MINOR", right});
  table.add_column("DEVLINKS");
  constexpr std::uint64_t sector = 512;
  for (const Tree& d : list) {
    std::uint64_t bytes = 0;
    const bool sized = !__builtin_mul_overflow(number(d, "size"), sector, &bytes);
    std::vector<std::string> row{text(d, "devname"),
                                 text(d, "devtype"),
                                 sized ? out.size(bytes) : "",
                                 flag(d, "available") ? "yes" : "no",
                                 text(d, "model"),
                                 text(d, "devpath")};
    if (all) {
      row.insert(row.end(), {text(d, "filesystem/fstype"), text(d, "filesystem/uuid"),
                             text(d, "filesystem/mountpoint"), text(d, "partition/typeid")});
    }
    std::string links;
    for (const Tree& link : at(d, "devlinks")) {
      if (link.is_string()) links += (links.empty() ? "\"" : ", \"") + link.get<std::string>() + "\"";
    }
    row.insert(row.end(), {text(d, "devmajor"), text(d, "devminor"), links});
    table.add_row(std::move(row));
  }
  return table;
}

}  // namespace holdfast::cli
