// The kernel's own NVMe/TCP initiator.
#pragma once

#include <cstdint>
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
  bool found = false;      // the connection was there already: somebody else may use it
};

// Connects, or finds the connection that is there already, and waits for the namespace. After an error a
// connection that was found is still there. Errors: not_connected, not_found (the namespace does not appear within
// `wait_seconds`), system_error.
Result<KernelDevice> connect_kernel(nvmf::RemoteConfig remote, const std::string& sys = "/sys",
                                    double wait_seconds = 10);
// Disconnects the controller. Ok when it is gone already.
Status disconnect_kernel(const std::string& controller, const std::string& sys = "/sys");

// Nobody can write to the device from now on, except who has it open already.
Status forbid_writes(const std::string& device);
bool allows_writes(const std::string& device);

// Errors: busy when somebody holds the device: a mount, in whatever namespace, or another device above it.
Status check_unused(const std::string& device);
// Whether the controller has its connection, as far as can be told.
bool is_live(const std::string& controller, const std::string& sys = "/sys");
// What was written is durable at the target. Ok when the device is gone. Errors: system_error.
Status flush_device(const std::string& device);

// The block device of a namespace of the subsystem, as /sys (or a copy of it) tells: "nvme0n1". With native
// multipath several controllers share one. Of several that fit, the one with the lowest NSID. With `controller`
// only one that is reached over it: other targets may have a subsystem of that name.
std::optional<std::string> find_namespace(const nvmf::RemoteConfig& remote, const std::string& sys = "/sys",
                                          const std::string& controller = std::string());
// A live controller of the subsystem at that address: "nvme0".
std::optional<std::string> find_controller(const nvmf::RemoteConfig& remote, const std::string& sys = "/sys");

// Whether "nvme0" is a controller of the subsystem. The kernel gives the names of controllers and devices that are
// gone to others.
bool is_controller_of(const nvmf::RemoteConfig& remote, const std::string& controller,
                      const std::string& sys = "/sys");
// Whose "/dev/nvme0n1" is.
enum class DeviceOwner : std::uint8_t { nobody, remote, somebody_else };
DeviceOwner owner_of(const std::string& device, const nvmf::RemoteConfig& remote,
                     const std::string& sys = "/sys");

// Who this host is towards targets: /etc/nvme/hostnqn and hostid as other tools use them, else made from the
// machine's id, the same at every call.
void set_host_identity(nvmf::InitiatorConfig& config);

}  // namespace holdfast::cli
