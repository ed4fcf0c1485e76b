// What a remote namespace is and how it is used: the parameters of an nvmf:// URI and their defaults.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/uuid.h"
#include "block/uri.h"
#include "rt/io.h"
#include "rt/time.h"

namespace holdfast::nvmf {

inline constexpr std::uint16_t nvmf_port_default = 8420;

// Every field can be set by the URI parameter named behind it.
struct InitiatorConfig {
  // Who we are. Empty hostnqn: made from hostid. A nil hostid: made from hostnqn.
  std::string hostnqn;         // hostnqn
  Uuid hostid;                 // hostid
  bool header_digest = false;  // hdgst
  bool data_digest = false;    // ddgst
  std::uint32_t queue_depth =
      128;  // queue_depth: commands in flight per core, 1 to 1024; the target may grant less
  std::uint32_t max_transfer_bytes = 1 << 20;  // of one command, where the target sets no lower limit
  Nanos io_timeout = 10s;    // io_timeout_ms: of one command, from when it was sent; then it is aborted
  Nanos abort_timeout = 1s;  // until a command that was aborted must have ended; then the connection is reset
  Nanos admin_timeout = 5s;  // of one admin command
  Nanos connect_timeout = 5s;  // of one attempt to set up the whole association
  Nanos keep_alive = 10s;      // kato_ms; 0: none
  Nanos grace = 20s;           // grace_ms: I/O waits so long for a new connection; 0: it fails at once
  Nanos backoff_min = 50ms;    // between attempts, doubled each time, with jitter
  Nanos backoff_max = 2s;      // within the grace period
  Nanos backoff_failed = 5s;   // once the device failed
  // No parameter; for mirrors. A target that was restarted may have lost what its caches held, although I/O
  // could go on within the grace period. Then the device fails, with its event, before it recovers. Needs a
  // target that tells its runs apart (nvme::TargetRun).
  bool fail_after_restart = false;
  // refused_grace_ms; for mirrors. I/O waits at most so long once the machine of every path answers that
  // nobody listens there: the process is gone, and what does without this device had better go on. At most
  // `grace`.
  Nanos refused_grace = no_deadline;
};

// Addresses of one device at most.
inline constexpr std::size_t paths_max = 8;

// One namespace of one subsystem, at one address or several.
struct RemoteConfig {
  Endpoint host;               // the address may be a name, which is resolved at each attempt
  std::vector<Endpoint> more;  // paths: further addresses of the same subsystem, at most paths_max - 1
  std::string nqn;
  std::optional<Uuid> uuid;           // the namespace must have it
  std::optional<std::uint32_t> nsid;  // else the only, or first, active namespace
  InitiatorConfig config;

  // "host:port/nqn" + "n" + namespace, the name that the device has in the registry.
  std::string device_name() const;
  std::size_t path_count() const noexcept { return 1 + more.size(); }
  const Endpoint& address(std::size_t path) const noexcept { return path == 0 ? host : more[path - 1]; }
};

// The parts of nvmf://host[:port]/nqn?parameters. Errors: invalid_argument, naming the part.
Result<RemoteConfig> parse_remote(const Uri& uri, const InitiatorConfig& defaults);
// Fills in hostnqn and hostid where they are missing.
void complete_identity(InitiatorConfig& config);

}  // namespace holdfast::nvmf
