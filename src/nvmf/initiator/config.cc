#include "nvmf/initiator/config.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "nvme/fabrics.h"

namespace holdfast::nvmf {
namespace {

Error bad(const Uri& uri, const std::string& why) {
  return Error(Errc::invalid_argument, "'" + uri.text + "': " + why);
}

Status check_bounds(const Uri& uri, const char* key, std::uint64_t value, std::uint64_t low,
                    std::uint64_t high) {
  if (value >= low && value <= high) return Status();
  return bad(uri,
             std::string(key) + " must be between " + std::to_string(low) + " and " + std::to_string(high));
}

Status take_millis(const Uri& uri, UriParameters& parameters, const char* key, std::uint64_t low,
                   Nanos& into) {
  constexpr std::uint64_t day_ms = 24ull * 3600 * 1000;
  HF_TRY(const auto value, parameters.take_number(key));
  if (!value) return Status();
  HF_CHECK(check_bounds(uri, key, *value, low, day_ms));
  into = std::chrono::milliseconds(*value);
  return Status();
}

Status take_timing(const Uri& uri, UriParameters& parameters, InitiatorConfig& config) {
  HF_CHECK(take_millis(uri, parameters, "io_timeout_ms", 1, config.io_timeout));
  HF_CHECK(take_millis(uri, parameters, "kato_ms", 0, config.keep_alive));
  HF_CHECK(take_millis(uri, parameters, "grace_ms", 0, config.grace));
  HF_CHECK(take_millis(uri, parameters, "refused_grace_ms", 0, config.refused_grace));
  if (config.keep_alive != Nanos{0} && config.keep_alive < 100ms)
    return bad(uri, "kato_ms must be 0 (no keep alive) or at least 100");
  return Status();
}

Status take_identity(const Uri& uri, UriParameters& parameters, InitiatorConfig& config) {
  const auto hostnqn = parameters.take("hostnqn");
  const auto hostid = parameters.take("hostid");
  if (hostnqn) {
    if (!nvme::is_valid_nqn(*hostnqn)) return bad(uri, "hostnqn '" + *hostnqn + "' is not an NQN");
    // A host NQN of its own is another host: it does not go on with the default's identifier.
    if (*hostnqn != config.hostnqn) config.hostid = Uuid{};
    config.hostnqn = *hostnqn;
  }
  if (hostid) {
    HF_TRY(config.hostid, Uuid::parse(*hostid));
  }
  complete_identity(config);
  return Status();
}

Status take_queue(const Uri& uri, UriParameters& parameters, RemoteConfig& remote) {
  HF_TRY(const auto depth, parameters.take_number("queue_depth"));
  HF_TRY(const auto nsid, parameters.take_number("nsid"));
  if (depth) {
    HF_CHECK(check_bounds(uri, "queue_depth", *depth, 1, 1024));
    remote.config.queue_depth = static_cast<std::uint32_t>(*depth);
  }
  if (nsid) {
    HF_CHECK(check_bounds(uri, "nsid", *nsid, 1, 0xfffffffe));
    remote.nsid = static_cast<std::uint32_t>(*nsid);
  }
  return Status();
}

// "host:port,host:port": in an order that counts only where paths are equally good.
Status take_paths(const Uri& uri, UriParameters& parameters, RemoteConfig& remote) {
  const auto list = parameters.take("paths");
  if (!list) return Status();
  std::string_view rest = *list;
  for (bool more = true; more;) {
    const std::size_t comma = rest.find(',');
    more = comma != std::string_view::npos;
    HF_TRY(const Endpoint next, parse_host_port(rest.substr(0, comma), nvmf_port_default));
    if (next.port == 0) return bad(uri, "port 0 in paths is not a port to connect to");
    // So that one list of all nodes goes with the URI of any of them.
    const bool is_known =
        next == remote.host || std::find(remote.more.begin(), remote.more.end(), next) != remote.more.end();
    if (!is_known) remote.more.push_back(next);
    rest = more ? rest.substr(comma + 1) : std::string_view();
  }
  if (remote.path_count() > paths_max)
    return bad(uri, "more than " + std::to_string(paths_max) + " addresses");
  return Status();
}

// A flag that keeps its default when the URI does not name it.
Status take_digest(const Uri& uri, UriParameters& parameters, const char* key, bool& into) {
  if (!uri.query.contains(key)) return Status();
  HF_TRY(into, parameters.take_flag(key));
  return Status();
}

// Protection information checks, which other initiators have; accepted when they are off.
Status refuse_protection(const Uri& uri, UriParameters& parameters) {
  for (const char* key : {"reftag", "guard"}) {
    HF_TRY(const bool wanted, parameters.take_flag(key));
    if (wanted)
      return bad(uri, std::string(key) + " is not supported: use ddgst for end-to-end checks of the wire");
  }
  return Status();
}

}  // namespace

std::string RemoteConfig::device_name() const {
  return host.to_string() + "/" + nqn + "n" + std::to_string(nsid.value_or(1));
}

void complete_identity(InitiatorConfig& config) {
  if (config.hostnqn.empty()) {
    if (config.hostid.is_nil()) config.hostid = Uuid::from_name("holdfast");
    config.hostnqn = "nqn.2014-08.org.nvmexpress:uuid:" + config.hostid.to_string();
  }
  if (config.hostid.is_nil()) config.hostid = Uuid::from_name(config.hostnqn);
}

Result<RemoteConfig> parse_remote(const Uri& uri, const InitiatorConfig& defaults) {
  RemoteConfig remote;
  remote.config = defaults;
  HF_TRY(remote.host, parse_host_port(uri.authority, nvmf_port_default));
  if (remote.host.port == 0) return bad(uri, "port 0 is not a port to connect to");
  remote.nqn = uri.path.empty() ? std::string() : uri.path.substr(1);
  if (remote.nqn.find('/') != std::string::npos)
    return bad(uri, "the path must be the subsystem's NQN and nothing else");
  if (!nvme::is_valid_nqn(remote.nqn)) return bad(uri, "'" + remote.nqn + "' is not the NQN of a subsystem");
  UriParameters parameters(uri);
  HF_TRY(remote.uuid, parameters.take_uuid());
  HF_CHECK(take_identity(uri, parameters, remote.config));
  HF_CHECK(take_digest(uri, parameters, "hdgst", remote.config.header_digest));
  HF_CHECK(take_digest(uri, parameters, "ddgst", remote.config.data_digest));
  HF_CHECK(take_timing(uri, parameters, remote.config));
  HF_CHECK(take_queue(uri, parameters, remote));
  HF_CHECK(take_paths(uri, parameters, remote));
  HF_CHECK(refuse_protection(uri, parameters));
  HF_CHECK(parameters.finish());
  return remote;
}

}  // namespace holdfast::nvmf
