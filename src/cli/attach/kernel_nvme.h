// The kernel's own NVMe/TCP initiator.
#pragma once

#include <optional>
#include <string>

#include "base/error.h"
#include "nvmf/initiator/config.h"

namespace holdfast::cli {

// Why it cannot be used here; nullopt when it can.
std::optional<std::string> kernel_initiator_missing();

struct KernelDevice {
  std::string device;      // "/dev/nvme0n1"
  std::string controller;  // "nvme0"
};

// Connects, or finds the connection that is there already, and waits for the namespace. Errors:
// not_connected, not_found (the namespace does not appear), system_error.
Result<KernelDevice> connect_kernel(nvmf::RemoteConfig remote);
// Disconnects the controller. Ok when it is gone already.
Status disconnect_kernel(const std::string& controller, const std::string& sys = "/sys");

// The block device of a namespace of the subsystem, as /sys (or a copy of it) tells: "nvme0n1". With native
// multipath several controllers share one.
std::optional<std::string> find_namespace(const nvmf::RemoteConfig& remote, const std::string& sys = "/sys");
// A live controller of the subsystem at that address: "nvme0".
std::optional<std::string> find_controller(const nvmf::RemoteConfig& remote, const std::string& sys = "/sys");

// Who this host is towards targets: /etc/nvme/hostnqn and hostid as other tools use them, else made from the
// machine's id, the same at every call.
void set_host_identity(nvmf::InitiatorConfig& config);

}  // namespace holdfast::cli
