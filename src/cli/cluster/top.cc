#include "cli/cluster/top.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/units.h"

namespace holdfast::cli {
namespace {

constexpr auto right = Align::right;
constexpr std::uint32_t usual_grpc_port = 10124;
constexpr std::uint32_t usual_metrics_port = 9502;

struct Rates {
  bool known = false;
  double reads = 0, read_bytes = 0, writes = 0, written_bytes = 0, errors = 0;
  double bytes() const { return read_bytes + written_bytes; }
  double count() const { return reads + writes; }

  void add(const Rates& other) {
    known = known || other.known;
    reads += other.reads;
    read_bytes += other.read_bytes;
    writes += other.writes;
    written_bytes += other.written_bytes;
    errors += other.errors;
  }
};

// Counters that went back began anew, with an engine that did: all that they count is since then.
double rate(double before, double now, double seconds) {
  return (now >= before ? now - before : now) / seconds;
}

Rates rates(const IoCounters& a, const IoCounters& b, double seconds) {
  return {true,
          rate(a.reads, b.reads, seconds),
          rate(a.read_bytes, b.read_bytes, seconds),
          rate(a.writes, b.writes, seconds),
          rate(a.written_bytes, b.written_bytes, seconds),
          b.errors};
}

const NodeReading* engine_of(const Reading& reading, const std::string& node) {
  const auto found = reading.engines.find(node);
  return found == reading.engines.end() || !found->second.answered ? nullptr : &found->second;
}

Rates target_rates(const Reading& before, const Reading& now, const std::string& node,
                   const std::string& nexus) {
  const NodeReading* a = engine_of(before, node);
  const NodeReading* b = engine_of(now, node);
  if (a == nullptr || b == nullptr || b->at <= a->at) return {};
  const auto then = a->targets.find(nexus);
  const auto current = b->targets.find(nexus);
  if (current == b->targets.end()) return {};
  return rates(then == a->targets.end() ? IoCounters() : then->second, current->second, b->at - a->at);
}

struct VolumeRow {
  const Tree* volume;
  std::string id;
  Rates rates;
};

std::vector<VolumeRow> volume_rows(const Reading& before, const Reading& now) {
  std::vector<VolumeRow> rows;
  for (const Tree& v : now.volumes) {
    rows.push_back({&v, text(v, "spec/uuid"),
                    target_rates(before, now, text(v, "state/target/node"), text(v, "state/target/uuid"))});
  }
  std::stable_sort(rows.begin(), rows.end(), [](const VolumeRow& a, const VolumeRow& b) {
    if (a.rates.bytes() != b.rates.bytes()) return a.rates.bytes() > b.rates.bytes();
    if (a.rates.count() != b.rates.count()) return a.rates.count() > b.rates.count();
    return a.id < b.id;
  });
  return rows;
}

std::string count(const Rates& r, double value) { return r.known ? fmt::format("{:.0f}", value) : ""; }
std::string speed(const Rates& r, double value) {
  return r.known ? format_size(static_cast<std::uint64_t>(value)) + "/s" : "";
}

struct NodeRow {
  std::string id;
  std::string status;
  Rates rates;
  bool known = false;
  double busy = 0;  // cores
  double cpu = 0;   // cores
  const NodeReading* reading = nullptr;
  std::size_t targets = 0;
};

std::vector<NodeRow> node_rows(const Reading& before, const Reading& now) {
  std::vector<NodeRow> rows;
  for (const Tree& n : now.nodes) {
    NodeRow row;
    row.id = text(n, "id");
    row.status = text_or(n, "state/status", "Unknown");
    row.reading = engine_of(now, row.id);
    const NodeReading* then = engine_of(before, row.id);
    if (row.reading != nullptr) {
      row.targets = row.reading->targets.size();
      for (const auto& [nexus, counters] : row.reading->targets)
        row.rates.add(target_rates(before, now, row.id, nexus));
    }
    if (row.reading != nullptr && then != nullptr && row.reading->at > then->at) {
      const double seconds = row.reading->at - then->at;
      row.known = true;
      row.rates.known = true;
      row.busy = rate(then->busy_seconds, row.reading->busy_seconds, seconds);
      row.cpu = rate(then->cpu_seconds, row.reading->cpu_seconds, seconds);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

Tree rates_tree(const Rates& r) {
  if (!r.known) return Tree();
  return {{"reads_per_second", r.reads},
          {"read_bytes_per_second", r.read_bytes},
          {"writes_per_second", r.writes},
          {"written_bytes_per_second", r.written_bytes},
          {"errors", r.errors}};
}

}  // namespace

NodeReading read_node(const std::vector<Sample>& samples, double at) {
  NodeReading reading;
  reading.answered = true;
  reading.at = at;
  std::map<std::string, std::string> uuid_of;  // by the nexus's name
  for (const Sample& s : samples) {
    if (s.name == "holdfast_nexus_info") uuid_of[s.label("nexus")] = s.label("uuid");
  }
  static const std::map<std::string, double IoCounters::*> counters = {
      {"holdfast_device_reads_total", &IoCounters::reads},
      {"holdfast_device_read_bytes_total", &IoCounters::read_bytes},
      {"holdfast_device_writes_total", &IoCounters::writes},
      {"holdfast_device_written_bytes_total", &IoCounters::written_bytes},
      {"holdfast_device_errors_total", &IoCounters::errors}};
  for (const auto& [name, uuid] : uuid_of) reading.targets[uuid];
  for (const Sample& s : samples) {
    if (s.name == "process_cpu_seconds_total") reading.cpu_seconds = s.value;
    if (s.name == "process_resident_memory_bytes") reading.resident_bytes = s.value;
    if (s.name == "holdfast_core_busy_seconds_total") {
      reading.busy_seconds += s.value;
      ++reading.cores;
    }
    const auto counter = counters.find(s.name);
    if (counter == counters.end()) continue;
    const auto uuid = uuid_of.find(s.label("device"));
    if (uuid != uuid_of.end()) reading.targets[uuid->second].*(counter->second) += s.value;
  }
  return reading;
}

Table top_volumes(const Output& out, const Reading& before, const Reading& now, std::size_t most) {
  Table table{{"VOLUME"},         {"STATUS"},        {"TARGET-NODE"},     {"SIZE", right},
              {"READS/s", right}, {"READ", right},   {"WRITES/s", right}, {"WRITTEN", right},
              {"ERRORS", right},  {"REBUILD", right}};
  for (const VolumeRow& row : volume_rows(before, now)) {
    if (most-- == 0) break;
    std::string rebuild;
    for (const Tree& replica : at(*row.volume, "state/replica_topology")) {
      const std::string percent = text(replica, "rebuild-progress");
      if (!percent.empty()) rebuild += (rebuild.empty() ? "" : ",") + percent + "%";
    }
    table.add_row({row.id, text_or(*row.volume, "state/status", "Unknown"),
                   text(*row.volume, "state/target/node"), out.size(number(*row.volume, "spec/size")),
                   count(row.rates, row.rates.reads), speed(row.rates, row.rates.read_bytes),
                   count(row.rates, row.rates.writes), speed(row.rates, row.rates.written_bytes),
                   count(row.rates, row.rates.errors), rebuild});
  }
  return table;
}

Table top_nodes(const Output& out, const Reading& before, const Reading& now) {
  Table table{{"NODE"},        {"STATUS"},          {"TARGETS", right}, {"READS/s", right},
              {"READ", right}, {"WRITES/s", right}, {"WRITTEN", right}, {"BUSY", right},
              {"CPU", right},  {"MEMORY", right}};
  for (const NodeRow& row : node_rows(before, now)) {
    const unsigned cores = row.reading == nullptr ? 0 : std::max(1u, row.reading->cores);
    table.add_row(
        {row.id, row.status, row.reading == nullptr ? "" : std::to_string(row.targets),
         count(row.rates, row.rates.reads), speed(row.rates, row.rates.read_bytes),
         count(row.rates, row.rates.writes), speed(row.rates, row.rates.written_bytes),
         row.known ? fmt::format("{:.0f}%", 100 * row.busy / cores) : "",
         row.known ? fmt::format("{:.0f}%", 100 * row.cpu) : "",
         row.reading == nullptr ? "" : out.size(static_cast<std::uint64_t>(row.reading->resident_bytes))});
  }
  return table;
}

Tree top_tree(const Reading& before, const Reading& now) {
  Tree volumes = Tree::array();
  for (const VolumeRow& row : volume_rows(before, now)) {
    volumes.push_back({{"id", row.id},
                       {"status", text_or(*row.volume, "state/status", "Unknown")},
                       {"node", text(*row.volume, "state/target/node")},
                       {"io", rates_tree(row.rates)}});
  }
  Tree nodes = Tree::array();
  for (const NodeRow& row : node_rows(before, now)) {
    Tree node{{"id", row.id}, {"status", row.status}, {"io", rates_tree(row.rates)}};
    if (row.known) {
      node["busy_cores"] = row.busy;
      node["cpu_cores"] = row.cpu;
      node["resident_bytes"] = static_cast<std::uint64_t>(row.reading->resident_bytes);
    }
    nodes.push_back(std::move(node));
  }
  return {{"volumes", std::move(volumes)}, {"nodes", std::move(nodes)}};
}

std::string metrics_url(const std::string& grpc_endpoint, std::uint32_t port) {
  const auto colon = grpc_endpoint.rfind(':');
  if (colon == std::string::npos || colon == 0) return {};
  const auto grpc_port = parse_number(grpc_endpoint.substr(colon + 1));
  if (!grpc_port.ok() || grpc_port.value() > 65535) return {};
  const std::uint64_t guessed = usual_metrics_port + grpc_port.value() - usual_grpc_port;
  const std::uint64_t chosen = port != 0                             ? port
                               : grpc_port.value() < usual_grpc_port ? usual_metrics_port
                                                                     : guessed;
  return chosen > 65535 ? std::string() : fmt::format("http://{}:{}", grpc_endpoint.substr(0, colon), chosen);
}

}  // namespace holdfast::cli
