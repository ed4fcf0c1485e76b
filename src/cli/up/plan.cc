#include "cli/up/plan.h"

#include <cerrno>
#include <cmath>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "base/units.h"
#include "cli/rest/json_view.h"
#include "cli/tool/read_all.h"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;

constexpr unsigned default_nodes = 3;
constexpr std::uint64_t default_disk_bytes = 10 * GiB;
constexpr std::uint64_t smallest_disk_bytes = 64 * MiB;
constexpr std::uint32_t rest_port = 8081;
constexpr std::uint32_t registration_port = 50051;
constexpr std::uint32_t store_port = 50052;  // the highest
constexpr std::uint32_t grpc_port = 10124;
constexpr std::uint32_t nvmf_port = 8420;
constexpr std::uint32_t metrics_port = 9502;
constexpr std::uint32_t highest_port = 65535;
constexpr std::uint64_t plan_schema = 2;

EnginePlan engine_plan(unsigned number, std::uint32_t offset) {
  const auto port = [&](std::uint32_t base) {
    return static_cast<std::uint16_t>(base + offset + number - 1);
  };
  return {fmt::format("node-{}", number), port(grpc_port), port(nvmf_port), port(metrics_port),
          fmt::format("pool-{}", number)};
}

Status check_nodes(unsigned nodes) {
  if (nodes <= up_nodes_max) return {};
  return Error(Errc::invalid_argument,
               fmt::format("{} nodes on one machine: at most {} are possible", nodes, up_nodes_max));
}

// A part of one counts: 0 means that nothing was said.
std::uint64_t whole_seconds(double seconds) { return static_cast<std::uint64_t>(std::ceil(seconds)); }

std::uint16_t port_at(const Tree& tree, const char* name) {
  const std::uint64_t port = number(tree, name);
  return port <= highest_port ? static_cast<std::uint16_t>(port) : std::uint16_t{0};
}

}  // namespace

std::vector<std::string> ClusterPlan::disks(const EnginePlan& engine) const {
  return {engine_dir(engine) + "/disk-0.img", engine_dir(engine) + "/disk-1.img"};
}

std::string ClusterPlan::rest_url() const { return fmt::format("http://{}:{}", address, rest_port); }
std::string ClusterPlan::store_url() const { return fmt::format("http://{}:{}", address, store_port); }

std::vector<std::pair<std::uint16_t, std::string>> ClusterPlan::ports() const {
  std::vector<std::pair<std::uint16_t, std::string>> all = {
      {rest_port, "the agent's REST API"},
      {registration_port, "the agent's registration of engines"},
      {store_port, "the agent's store"}};
  for (const EnginePlan& e : engines) {
    all.emplace_back(e.grpc_port, "gRPC of " + e.name);
    all.emplace_back(e.nvmf_port, "NVMe/TCP of " + e.name);
    all.emplace_back(e.metrics_port, "metrics of " + e.name);
  }
  return all;
}

Result<ClusterPlan> make_plan(const std::string& dir, const UpOptions& options) {
  const unsigned nodes = options.nodes == 0 ? default_nodes : options.nodes;
  HF_CHECK(check_nodes(nodes));
  if (options.port_offset > highest_port - store_port) {
    return Error(Errc::invalid_argument, fmt::format("a port offset of {} is too large: at most {}",
                                                     options.port_offset, highest_port - store_port));
  }
  ClusterPlan plan;
  plan.dir = dir;
  plan.address = options.address;
  plan.rest_port = static_cast<std::uint16_t>(rest_port + options.port_offset);
  plan.registration_port = static_cast<std::uint16_t>(registration_port + options.port_offset);
  plan.store_port = static_cast<std::uint16_t>(store_port + options.port_offset);
  plan.disk_bytes = options.disk_bytes == 0 ? default_disk_bytes : options.disk_bytes;
  plan.replace_after_seconds = whole_seconds(options.replace_after_seconds);
  if (plan.disk_bytes < smallest_disk_bytes) {
    return Error(Errc::invalid_argument,
                 fmt::format("disks of {} are too small: at least {}", format_size(plan.disk_bytes),
                             format_size(smallest_disk_bytes)));
  }
  for (unsigned i = 1; i <= nodes; ++i) plan.engines.push_back(engine_plan(i, options.port_offset));
  return plan;
}

Status extend_plan(ClusterPlan& plan, const UpOptions& options) {
  HF_CHECK(check_nodes(options.nodes));
  const auto planned = static_cast<unsigned>(plan.engines.size());
  if (options.nodes != 0 && options.nodes < planned) {
    return Error(
        Errc::invalid_argument,
        fmt::format("the cluster in {} has {} nodes, which hold data: it cannot have {}. Begin anew with "
                    "'holdfast down --purge', or use another --state-dir",
                    plan.dir, planned, options.nodes));
  }
  if (options.disk_bytes != 0 && options.disk_bytes != plan.disk_bytes) {
    return Error(Errc::invalid_argument,
                 fmt::format("the cluster in {} has disks of {}", plan.dir, format_size(plan.disk_bytes)));
  }
  if (options.replace_after_seconds > 0) {
    plan.replace_after_seconds = whole_seconds(options.replace_after_seconds);
  }
  const auto offset = static_cast<std::uint32_t>(plan.rest_port - rest_port);
  for (unsigned i = planned + 1; i <= options.nodes; ++i) plan.engines.push_back(engine_plan(i, offset));
  return {};
}

nlohmann::ordered_json plan_json(const ClusterPlan& plan) {
  Tree engines = Tree::array();
  for (const EnginePlan& e : plan.engines) {
    engines.push_back({{"name", e.name},
                       {"grpc_port", e.grpc_port},
                       {"nvmf_port", e.nvmf_port},
                       {"metrics_port", e.metrics_port},
                       {"pool", e.pool}});
  }
  return {{"schema", plan_schema},
          {"address", plan.address},
          {"rest_port", plan.rest_port},
          {"registration_port", plan.registration_port},
          {"store_port", plan.store_port},
          {"disk_bytes", plan.disk_bytes},
          {"replace_after_seconds", plan.replace_after_seconds},
          {"engines", std::move(engines)}};
}

Result<ClusterPlan> parse_plan(const std::string& text_form, const std::string& dir) {
  const Tree tree = Tree::parse(text_form, nullptr, false);
  ClusterPlan plan;
  plan.dir = dir;
  const auto wrong = [&](const char* what) {
    return Error(Errc::bad_format, fmt::format("{}: {}", plan.plan_file(), what));
  };
  if (!tree.is_object()) return wrong("not the plan of a cluster");
  if (number(tree, "schema") != plan_schema) return wrong("written by another version of holdfast");
  plan.address = text(tree, "address");
  plan.rest_port = port_at(tree, "rest_port");
  plan.registration_port = port_at(tree, "registration_port");
  plan.store_port = port_at(tree, "store_port");
  plan.disk_bytes = number(tree, "disk_bytes");
  plan.replace_after_seconds = number(tree, "replace_after_seconds");
  for (const Tree& e : at(tree, "engines")) {
    plan.engines.push_back({text(e, "name"), port_at(e, "grpc_port"), port_at(e, "nvmf_port"),
                            port_at(e, "metrics_port"), text(e, "pool")});
    const std::string& name = plan.engines.back().name;
    // It becomes part of paths.
    const bool plain = !name.empty() && name.find_first_of("/\\") == std::string::npos && name.front() != '.';
    if (!plain || plan.engines.back().pool.empty()) return wrong("an engine without a proper name");
  }
  if (plan.address.empty() || plan.disk_bytes == 0 || plan.engines.empty() ||
      plan.engines.size() > up_nodes_max)
    return wrong("something is missing");
  for (const auto& [port, use] : plan.ports()) {
    if (port == 0) return wrong("a port is missing");
  }
  return plan;
}

Result<ClusterPlan> load_plan(const std::string& dir) {
  std::ifstream file(dir + "/cluster.json");
  if (!file.is_open()) {
    if (::faccessat(AT_FDCWD, (dir + "/cluster.json").c_str(), R_OK, AT_EACCESS) != 0 && errno == EACCES) {
      return Error(
          Errc::failed_precondition,
          fmt::format("what is kept in {} is another user's: run this as that user, or with sudo", dir));
    }
    return Error(Errc::not_found, fmt::format("no cluster is kept in {}", dir));
  }
  return parse_plan(read_all(file), dir);
}

// A file that is renamed before its bytes are on the disk may be empty after a power loss.
Status sync_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int sync_errno = errno;
  if (fd >= 0) ::close(fd);
  return synced ? Status() : Status(error_from_errno(sync_errno).with_context(path));
}

Status save_plan(const ClusterPlan& plan) {
  const std::string fresh = plan.plan_file() + ".new";
  {
    std::ofstream file(fresh, std::ios::trunc);
    file << plan_json(plan).dump(2) << '\n';
    if (!file.flush()) return Error(Errc::io_error, fmt::format("{} cannot be written", fresh));
  }
  HF_CHECK(sync_file(fresh));
  std::error_code error;
  fs::rename(fresh, plan.plan_file(), error);
  if (error) return Error(Errc::io_error, fmt::format("{}: {}", plan.plan_file(), error.message()));
  return {};
}

}  // namespace holdfast::cli
