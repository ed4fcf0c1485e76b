// A cluster on one machine as `holdfast up` keeps it in its state directory: which processes, with which ports
// and files. What is planned once stays: a cluster that starts again is where it was.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/error.h"

namespace holdfast::cli {

inline constexpr unsigned up_nodes_max = 32;

struct EnginePlan {
  std::string name;  // "node-1"
  std::uint16_t grpc_port = 0;
  std::uint16_t nvmf_port = 0;
  std::uint16_t metrics_port = 0;
  std::string pool;  // "pool-1"
};

struct ClusterPlan {
  std::string dir;      // absolute
  std::string address;  // of this machine; everything listens there
  std::uint16_t rest_port = 0;
  std::uint16_t registration_port = 0;
  std::uint16_t store_port = 0;  // of the agent's store, where engines keep their membership records
  std::uint64_t disk_bytes = 0;  // of each of an engine's disks
  // How long a replica may be away before another takes its place; 0: as the agent has it.
  std::uint64_t replace_after_seconds = 0;
  std::vector<EnginePlan> engines;

  std::string engine_dir(const EnginePlan& engine) const { return dir + "/" + engine.name; }
  std::vector<std::string> disks(const EnginePlan& engine) const;
  std::string agent_dir() const { return dir + "/agent"; }
  std::string log_file(const std::string& process) const { return dir + "/logs/" + process + ".log"; }
  std::string socket_file() const { return dir + "/control"; }
  std::string lock_file() const { return dir + "/lock"; }
  std::string plan_file() const { return dir + "/cluster.json"; }
  std::string rest_url() const;
  std::string store_url() const;
  // Every port, with what it is for.
  std::vector<std::pair<std::uint16_t, std::string>> ports() const;
};

struct UpOptions {
  unsigned nodes = 0;            // 0: as planned before, else 3
  std::uint64_t disk_bytes = 0;  // 0: as planned before, else 10 GiB
  std::uint32_t port_offset = 0;
  double replace_after_seconds = 0;  // 0: as planned before
  std::string address = "127.0.0.1";
};

// A new plan. Errors: invalid_argument when a port would be too high.
Result<ClusterPlan> make_plan(const std::string& dir, const UpOptions& options);
// What a state directory holds. Errors: not_found; failed_precondition when it is another user's; bad_format, naming
// the file.
Result<ClusterPlan> load_plan(const std::string& dir);
Status save_plan(const ClusterPlan& plan);
// More engines than before are added at the end. Errors: invalid_argument for fewer, or disks of another size.
Status extend_plan(ClusterPlan& plan, const UpOptions& options);

nlohmann::ordered_json plan_json(const ClusterPlan& plan);
Result<ClusterPlan> parse_plan(const std::string& text, const std::string& dir);

}  // namespace holdfast::cli
