#include "engine/options.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <string_view>
#include <utility>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "base/duration.h"
#include "base/units.h"
#include "engine/store_membership.h"

namespace holdfast::engine {
namespace {

// What CLI11 fills in; checked and turned into Options afterwards.
struct Raw {
  std::string node_name;
  std::string grpc_ip = "::";
  std::uint16_t grpc_port = default_grpc_port;
  std::vector<std::string> nvmf_ips;
  std::uint16_t nvmf_port = default_nvmf_port;
  std::vector<std::string> nvmf_referrals;
  std::string crdt;
  std::string metrics_ip;
  std::uint16_t metrics_port = default_metrics_port;
  std::string registration;
  unsigned cores = 0;
  int spin_us = 50;
  std::string memory = "256MiB";
  std::string data_dir = "/var/lib/holdfast";
  StoreAccess store;
  std::string hold_timeout;
  std::string child_latency_budget;
  std::string disk_stall_time;
  unsigned disk_stall_limit = pool::DiskHealthLimits().stalls;
  unsigned disk_error_limit = pool::DiskHealthLimits().errors;
  std::string disk_health_window;
  std::string disk_quiet_time;
  std::string pool_map_memory;
  std::string log_level = "info";
  std::string log_format = "text";
};

void describe_network(CLI::App& app, Raw& raw) {
  app.add_option("--grpc-ip", raw.grpc_ip, "Address that the gRPC services listen on")->capture_default_str();
  app.add_option("--grpc-port", raw.grpc_port, "Port of the gRPC services")->capture_default_str();
  app.add_option("--nvmf-ip", raw.nvmf_ips,
                 "Address that NVMe/TCP listens on; may be given several times, URIs show the first "
                 "[$MY_POD_IP, else 127.0.0.1]");
  app.add_option("--nvmf-port", raw.nvmf_port, "Port of NVMe/TCP")->capture_default_str();
  app.add_option(
      "--nvmf-referral", raw.nvmf_referrals,
      "host[:8009] of another discovery service that hosts are told of; may be given several times");
  app.add_option(
      "--tgt-crdt", raw.crdt,
      "Retry delays that hosts are told of, units of 100 ms, at most 100: one, or three with "
      "commas between: for paths, for capacity and reservations, for media [$NVMF_TGT_CRDT, else 10]");
  app.add_option("--metrics-ip", raw.metrics_ip, "Address of /metrics [$MY_POD_IP, else 127.0.0.1]");
  app.add_option("--metrics-port", raw.metrics_port, "Port of /metrics; 0: none")->capture_default_str();
  app.add_option("-R,--registration-endpoint", raw.registration,
                 "host[:50051] of the control plane to register with; none: this engine stands alone");
}

void describe_store(CLI::App& app, StoreAccess& store) {
  app.add_option(
         "--store", store.endpoints,
         "http[s]://host[:2379] of the control plane's store, where the membership records are kept instead; "
         "several with commas between")
      ->delimiter(',');
  app.add_option("--cluster", store.cluster, "Name of this cluster in the store")->capture_default_str();
  app.add_option("--store-ca", store.tls.authority,
                 "Whose certificates an https store may show, PEM [the host's own authorities]");
  app.add_option("--store-cert", store.tls.certificate, "Our certificate for the store, PEM");
  app.add_option("--store-key", store.tls.key, "Its key, PEM");
  app.add_option("--store-name", store.peer_name,
                 "Name that the store's certificate must have, where it is not the one in its address");
}

void describe_disks(CLI::App& app, Raw& raw) {
  app.add_option("--disk-stall-time", raw.disk_stall_time,
                 "An operation of a pool's disk that takes longer is a stall [1s]");
  app.add_option("--disk-stall-limit", raw.disk_stall_limit,
                 "So many stalls of a disk within the window make its pool degraded; 0: none do")
      ->capture_default_str();
  app.add_option("--disk-error-limit", raw.disk_error_limit,
                 "So many failed operations of a disk within the window make its pool degraded; 0: none do")
      ->capture_default_str();
  app.add_option("--disk-health-window", raw.disk_health_window,
                 "In which errors and stalls of a disk are counted together [10m]");
  app.add_option("--disk-quiet-time", raw.disk_quiet_time,
                 "After so long without errors and stalls a disk counts as fit again [30m]");
  app.add_option("--pool-map-memory", raw.pool_map_memory,
                 "Memory that the maps of one pool may take [half of what there is]");
}

void describe(CLI::App& app, Raw& raw) {
  app.add_option("-N,--node-name", raw.node_name, "Name of this node [$HOSTNAME, else the host's name]");
  describe_network(app, raw);
  app.add_option("--cores", raw.cores, "Number of I/O cores; 0: those that the cgroup allows, at most 4")
      ->capture_default_str();
  app.add_option("--spin-us", raw.spin_us,
                 "Microseconds that an idle core polls before it sleeps; -1: it never sleeps")
      ->capture_default_str();
  app.add_option("--memory", raw.memory, "Budget of I/O buffers, all cores together")->capture_default_str();
  app.add_option("--data-dir", raw.data_dir, "Where the membership records are kept")->capture_default_str();
  describe_store(app, raw.store);
  app.add_option("--hold-timeout", raw.hold_timeout,
                 "How long writes wait for a membership change or a healthy child, such as 30s");
  app.add_option("--child-latency-budget", raw.child_latency_budget,
                 "How much slower than its peers a child may answer before it is retired, such as 3s");
  describe_disks(app, raw);
  app.add_option("--log-level", raw.log_level, "trace, debug, info, warn, error or off")
      ->capture_default_str();
  app.add_option("--log-format", raw.log_format, "text, or json for one object a line")
      ->capture_default_str();
}

std::string or_default(const std::string& given, const char* environment, std::string_view otherwise) {
  if (!given.empty()) return given;
  if (environment != nullptr && *environment != '\0') return environment;
  return std::string(otherwise);
}

Result<std::uint64_t> size_of(const char* flag, const std::string& text) {
  auto size = parse_size(text);
  if (!size.ok()) return size.error().with_context(flag);
  if (size.value() >= 16 * MiB) return size;
  return Error(Errc::invalid_argument, fmt::format("{}: {} is less than 16 MiB", flag, text));
}

Result<Nanos> duration_of(const char* flag, const std::string& text) {
  auto duration = parse_duration(text);
  if (!duration.ok()) return duration.error().with_context(flag);
  return duration.value();
}

Status check_node_name(const std::string& name) {
  // It becomes part of this engine's host NQN.
  constexpr std::size_t node_name_max = 128;
  const auto fits = [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; };
  if (name.empty() || name.size() > node_name_max || !std::all_of(name.begin(), name.end(), fits)) {
    return Error(
        Errc::invalid_argument,
        fmt::format("--node-name: '{}' is not a node name: give 1 to {} letters, digits, '-', '_' or '.'",
                    name.substr(0, node_name_max), node_name_max));
  }
  return Status();
}

// An address without its brackets. That it is one, and of this host, shows when it is listened on.
Result<std::string> bare_address(const char* flag, const std::string& text) {
  std::string address = text;
  if (address.size() > 2 && address.front() == '[' && address.back() == ']') {
    address = address.substr(1, address.size() - 2);
  }
  const auto fits = [](unsigned char c) { return std::isxdigit(c) || c == '.' || c == ':' || c == '%'; };
  if (address.empty() || !std::all_of(address.begin(), address.end(), fits)) {
    return Error(Errc::invalid_argument,
                 fmt::format("{}: '{}' is not an IP address: give one such as 127.0.0.1 or ::1", flag, text));
  }
  return address;
}

bool is_wildcard(const std::string& address) { return address == "::" || address == "0.0.0.0"; }

// "10" or "10,20,30".
Result<std::array<std::uint16_t, 3>> parse_retry_delays(const std::string& text) {
  constexpr std::uint64_t delay_max = 100;
  std::array<std::uint16_t, 3> delays{};
  std::size_t given = 0;
  for (std::size_t at = 0; at <= text.size() && given <= delays.size(); ++given) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    const auto number = parse_number(text.substr(at, comma - at));
    if (!number.ok() || number.value() > delay_max || given == delays.size()) {
      given = 0;
      break;
    }
    delays[given] = static_cast<std::uint16_t>(number.value());
    at = comma + 1;
  }
  if (given == 1) delays.fill(delays[0]);
  if (given != 1 && given != delays.size()) {
    return Error(
        Errc::invalid_argument,
        fmt::format("--tgt-crdt: '{}': give one number or three with commas between, each at most {} "
                    "(10 s)",
                    text, delay_max));
  }
  return delays;
}

Status fill_target(Options& o, const Raw& raw, const Surroundings& s) {
  constexpr std::uint16_t default_discovery_port = 8009;
  for (const auto& text : raw.nvmf_referrals) {
    auto at = parse_host_port(text, default_discovery_port);
    if (!at.ok()) return at.error().with_context("--nvmf-referral");
    HF_TRY(const auto address, bare_address("--nvmf-referral", at.value().address));
    if (is_wildcard(address)) {
      return Error(Errc::invalid_argument, fmt::format("--nvmf-referral: {} is every address", text));
    }
    o.nvmf_referrals.push_back({address, at.value().port});
  }
  HF_TRY(o.crdt, parse_retry_delays(or_default(raw.crdt, s.environment("NVMF_TGT_CRDT"), "10")));
  return Status();
}

Status fill_network(Options& o, const Raw& raw, const Surroundings& s) {
  const char* pod_ip = s.environment("MY_POD_IP");
  HF_TRY(o.grpc.address, bare_address("--grpc-ip", raw.grpc_ip));
  o.grpc.port = raw.grpc_port;
  HF_TRY(o.metrics.address, bare_address("--metrics-ip", or_default(raw.metrics_ip, pod_ip, "127.0.0.1")));
  o.metrics.port = raw.metrics_port;
  auto ips = raw.nvmf_ips;
  if (ips.empty()) ips.push_back(or_default("", pod_ip, "127.0.0.1"));
  for (const auto& ip : ips) {
    HF_TRY(auto address, bare_address("--nvmf-ip", ip));
    if (is_wildcard(address)) {
      return Error(
          Errc::invalid_argument,
          fmt::format("--nvmf-ip: {} is every address: name those that hosts connect to, because the "
                      "URIs of exported devices carry them",
                      address));
    }
    o.nvmf.push_back({address, raw.nvmf_port});
  }
  if (!raw.registration.empty()) {
    auto endpoint = parse_host_port(raw.registration, default_registration_port);
    if (!endpoint.ok()) return endpoint.error().with_context("--registration-endpoint");
    o.registration = endpoint.value().to_string();
  }
  Endpoint advertised = o.grpc;
  if (is_wildcard(advertised.address)) advertised.address = or_default("", pod_ip, o.nvmf.front().address);
  o.advertised_grpc = advertised.to_string();
  return Status();
}

Status fill_disks(Options& o, const Raw& raw) {
  pool::DiskHealthLimits& limits = o.disk_health;
  if (!raw.disk_stall_time.empty()) {
    HF_TRY(limits.stall_time, duration_of("--disk-stall-time", raw.disk_stall_time));
  }
  if (!raw.disk_health_window.empty()) {
    HF_TRY(limits.window, duration_of("--disk-health-window", raw.disk_health_window));
  }
  if (!raw.disk_quiet_time.empty()) {
    HF_TRY(limits.quiet, duration_of("--disk-quiet-time", raw.disk_quiet_time));
  }
  constexpr unsigned limit_max = 1000;
  for (const auto& [flag, limit] : {std::pair{"--disk-stall-limit", raw.disk_stall_limit},
                                    std::pair{"--disk-error-limit", raw.disk_error_limit}}) {
    if (limit > limit_max)
      return Error(Errc::invalid_argument, fmt::format("{}: {} is more than {}", flag, limit, limit_max));
  }
  limits.stalls = raw.disk_stall_limit;
  limits.errors = raw.disk_error_limit;
  if (raw.pool_map_memory.empty()) return Status();
  HF_TRY(o.pool_map_bytes, size_of("--pool-map-memory", raw.pool_map_memory));
  return Status();
}

Result<Options> check(const Raw& raw, const Surroundings& s) {
  Options o;
  o.node_name = or_default(raw.node_name, s.environment("HOSTNAME"), s.hostname);
  HF_CHECK(check_node_name(o.node_name));
  HF_CHECK(fill_network(o, raw, s));
  HF_CHECK(fill_target(o, raw, s));
  constexpr unsigned cores_max = 64;
  if (raw.cores > cores_max) {
    return Error(Errc::invalid_argument, fmt::format("--cores: {} is more than {}", raw.cores, cores_max));
  }
  o.cores = raw.cores;
  if (raw.spin_us < -1) {
    return Error(Errc::invalid_argument,
                 fmt::format("--spin-us: {}: give microseconds, or -1 to poll always", raw.spin_us));
  }
  o.spin = std::chrono::microseconds(raw.spin_us);
  HF_TRY(o.memory_bytes, size_of("--memory", raw.memory));
  // Half is the connections', a quarter of it what they keep: what is left has to hold the largest transfer.
  constexpr std::uint64_t memory_per_core_min = 4 * MiB;
  if (o.cores > 0 && o.memory_bytes / o.cores < memory_per_core_min) {
    return Error(Errc::invalid_argument,
                 fmt::format("--memory: {} is less than 4 MiB for each of {} cores", raw.memory, o.cores));
  }
  if (raw.data_dir.empty() || raw.data_dir.front() != '/') {
    return Error(Errc::invalid_argument,
                 fmt::format("--data-dir: '{}' is not an absolute path", raw.data_dir));
  }
  o.data_dir = raw.data_dir;
  HF_CHECK(check_store_flags(raw.store));
  o.store = raw.store;
  if (!raw.hold_timeout.empty()) {
    HF_TRY(o.hold_timeout, duration_of("--hold-timeout", raw.hold_timeout));
  }
  if (!raw.child_latency_budget.empty()) {
    HF_TRY(o.child_latency_budget, duration_of("--child-latency-budget", raw.child_latency_budget));
  }
  HF_CHECK(fill_disks(o, raw));
  HF_TRY(o.log_level, log::parse_level(raw.log_level));
  if (raw.log_format != "text" && raw.log_format != "json") {
    return Error(Errc::invalid_argument,
                 fmt::format("--log-format: '{}' is not a log format: use text or json", raw.log_format));
  }
  o.log_format = raw.log_format == "json" ? log::Format::json : log::Format::text;
  return o;
}

}  // namespace

Result<ParsedOptions> parse_options(int argc, const char* const* argv, const Surroundings& surroundings) {
  CLI::App app("Storage engine of Holdfast: block devices, mirrors and their NVMe/TCP target.",
               "holdfast-engine");
  Raw raw;
  describe(app, raw);
  bool version = false;
  app.add_flag("--version", version, "Print the version and end");
  ParsedOptions parsed;
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    parsed.text = app.help();
    return parsed;
  } catch (const CLI::ParseError& e) {
    return Error(Errc::invalid_argument, fmt::format("{} (see holdfast-engine --help)", e.what()));
  }
  if (version) {
    parsed.text = fmt::format("holdfast-engine {}\n", surroundings.version);
    return parsed;
  }
  HF_TRY(parsed.options, check(raw, surroundings));
  return parsed;
}

}  // namespace holdfast::engine
