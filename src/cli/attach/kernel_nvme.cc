#include "cli/attach/kernel_nvme.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <libnvme.h>
#include <linux/fs.h>
#include <netdb.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/attach/system.h"
#include "cli/tool/progress.h"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;

std::string text_of(const std::string& path) {
  const auto text = read_text(path);
  return text.ok() ? text.value() : std::string();
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) names.push_back(entry.path().filename());
  return names;
}

// "nvme0n1", not "nvme0c0n1" (one path of it) nor "nvme0n1p1".
bool is_namespace_name(const std::string& name) {
  unsigned controller = 0, space = 0;
  int end = 0;
  return std::sscanf(name.c_str(), "nvme%un%u%n", &controller, &space, &end) == 2 &&
         name[static_cast<std::size_t>(end)] == 0;
}

bool is_the_namespace(const nvmf::RemoteConfig& remote, const std::string& block) {
  if (text_of(block + "/device/subsysnqn") != remote.nqn) return false;
  if (remote.nsid && text_of(block + "/nsid") != std::to_string(*remote.nsid)) return false;
  if (remote.uuid) {
    auto is = [&](const char* file) {
      const auto id = Uuid::parse(text_of(block + file));
      return id.ok() && id.value() == *remote.uuid;
    };
    if (!is("/uuid") && !is("/nguid")) return false;
  }
  return true;
}

// Whether "nvme1n2" is there over the controller: as itself or, with native multipath, by one path, "nvme1c0n2".
bool is_over(const std::string& controller, const std::string& block, const std::string& sys) {
  unsigned subsystem = 0, space = 0, number = 0;
  if (std::sscanf(block.c_str(), "nvme%un%u", &subsystem, &space) != 2 ||
      std::sscanf(controller.c_str(), "nvme%u", &number) != 1)
    return false;
  const std::string path = fmt::format("nvme{}c{}n{}", subsystem, number, space);
  const auto names = names_in(sys + "/class/nvme/" + controller);
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& n) { return n == block || n == path; });
}

int seconds(Nanos n) { return static_cast<int>(n / 1s); }

// The kernel takes numeric addresses only, and shows those.
Status resolve(Endpoint& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed = ::getaddrinfo(host.address.c_str(), nullptr, &hints, &found);
  if (failed != 0)
    return Error(Errc::not_found, fmt::format("host '{}': {}", host.address, ::gai_strerror(failed)));
  char numeric[NI_MAXHOST] = "";
  ::getnameinfo(found->ai_addr, found->ai_addrlen, numeric, sizeof numeric, nullptr, 0, NI_NUMERICHOST);
  ::freeaddrinfo(found);
  host.address = numeric;
  return Status();
}

}  // namespace

std::optional<std::string> kernel_initiator_missing() {
  if (::access("/dev/nvme-fabrics", R_OK | W_OK) == 0) return std::nullopt;
  if (errno == ENOENT) return "there is no /dev/nvme-fabrics: the module nvme-tcp is not loaded";
  return "/dev/nvme-fabrics cannot be opened: " + error_from_errno(errno).message();
}

std::optional<std::string> find_namespace(const nvmf::RemoteConfig& remote, const std::string& sys,
                                          const std::string& controller) {
  std::optional<std::string> first;
  unsigned long lowest = 0;
  for (const std::string& name : names_in(sys + "/block")) {
    const std::string block = sys + "/block/" + name;
    if (!is_namespace_name(name) || !is_the_namespace(remote, block)) continue;
    if (!controller.empty() && !is_over(controller, name, sys)) continue;
    const unsigned long nsid = std::strtoul(text_of(block + "/nsid").c_str(), nullptr, 10);
    if (first && nsid >= lowest) continue;
    first = name;
    lowest = nsid;
  }
  return first;
}

std::optional<std::string> find_controller(const nvmf::RemoteConfig& remote, const std::string& sys) {
  const std::string address = fmt::format("traddr={},trsvcid={}", remote.host.address, remote.host.port);
  for (const std::string& name : names_in(sys + "/class/nvme")) {
    const std::string controller = sys + "/class/nvme/" + name;
    // The kernel adds its own address behind ours.
    if (text_of(controller + "/subsysnqn") == remote.nqn &&
        (text_of(controller + "/address") + ",").starts_with(address + ",")) {
      return name;
    }
  }
  return std::nullopt;
}

bool is_controller_of(const nvmf::RemoteConfig& remote, const std::string& controller,
                      const std::string& sys) {
  return text_of(sys + "/class/nvme/" + controller + "/subsysnqn") == remote.nqn;
}

DeviceOwner owner_of(const std::string& device, const nvmf::RemoteConfig& remote, const std::string& sys) {
  const std::string block = sys + "/block/" + fs::path(device).filename().string();
  std::error_code error;
  if (!fs::exists(block, error)) return DeviceOwner::nobody;
  return is_the_namespace(remote, block) ? DeviceOwner::remote : DeviceOwner::somebody_else;
}

namespace {

// Makes the connection. Returns the controller's name.
Result<std::string> add_controller(const nvmf::RemoteConfig& remote) {
  const std::unique_ptr<nvme_root, void (*)(nvme_root_t)> root(nvme_scan(nullptr), nvme_free_tree);
  if (root == nullptr) return system_error("reading the machine's NVMe controllers");
  const nvme_host_t host =
      nvme_lookup_host(root.get(), remote.config.hostnqn.c_str(), remote.config.hostid.to_string().c_str());
  const nvme_ctrl_t controller =
      nvme_create_ctrl(root.get(), remote.nqn.c_str(), "tcp", remote.host.address.c_str(), nullptr, nullptr,
                       std::to_string(remote.host.port).c_str());
  if (host == nullptr || controller == nullptr) return system_error("preparing the connection");
  nvme_fabrics_config config;
  nvmf_default_config(&config);
  config.queue_size = static_cast<int>(std::clamp(remote.config.queue_depth, 16u, 1024u));
  config.keep_alive_tmo = seconds(remote.config.keep_alive);
  config.ctrl_loss_tmo = seconds(remote.config.grace);
  config.reconnect_delay = 1;
  config.hdr_digest = remote.config.header_digest;
  config.data_digest = remote.config.data_digest;
  if (nvmf_add_ctrl(host, controller, &config) == 0) return std::string(nvme_ctrl_get_name(controller));
  return Error(Errc::not_connected,
               fmt::format("the kernel cannot connect to {} at {}: {}; dmesg may tell more", remote.nqn,
                           remote.host.to_string(), nvme_errno_to_string(errno)));
}

}  // namespace

Result<KernelDevice> connect_kernel(nvmf::RemoteConfig remote, const std::string& sys, double wait_seconds) {
  HF_CHECK(resolve(remote.host));
  std::optional<std::string> controller = find_controller(remote, sys);
  const bool found = controller.has_value();
  if (!found) {
    HF_TRY(controller, add_controller(remote));
  }
  const double give_up_at = monotonic_seconds() + wait_seconds;
  for (;;) {
    if (const auto name = find_namespace(remote, sys, *controller))
      return KernelDevice{"/dev/" + *name, *controller, found};
    if (monotonic_seconds() > give_up_at) break;
    sleep_seconds(0.05);
  }
  if (!found) {
    const Status undone = disconnect_kernel(*controller, sys);
    undone.ignore("the first error counts");
  }
  return Error(Errc::not_found, fmt::format("{} is connected and shows no such namespace", remote.nqn));
}

Status disconnect_kernel(const std::string& controller, const std::string& sys) {
  const std::string file = sys + "/class/nvme/" + controller + "/delete_controller";
  if (::access(file.c_str(), F_OK) != 0) return Status();
  return write_text(file, "1");
}

Status check_unused(const std::string& device) {
  const FileDescriptor fd(::open(device.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  if (fd || errno != EBUSY) return Status();
  return Error(Errc::busy,
               fmt::format("{} is in use: by a mount in another namespace, or a device above it", device));
}

bool is_live(const std::string& controller, const std::string& sys) {
  const auto state = read_text(sys + "/class/nvme/" + controller + "/state");
  return !state.ok() || state.value().starts_with("live");
}

Status flush_device(const std::string& device) {
  const FileDescriptor fd(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) == 0) return Status();
  return system_error(fmt::format("the last writes to {}", device));
}

Status forbid_writes(const std::string& device) {
  const FileDescriptor fd(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
  const int yes = 1;
  if (!fd || ::ioctl(fd.get(), BLKROSET, &yes) != 0) return error_from_errno(errno).with_context(device);
  return Status();
}

bool allows_writes(const std::string& device) {
  const FileDescriptor fd(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
  int forbidden = 0;
  return fd && ::ioctl(fd.get(), BLKROGET, &forbidden) == 0 && forbidden == 0;
}

void set_host_identity(nvmf::InitiatorConfig& config) {
  if (const std::string nqn = text_of("/etc/nvme/hostnqn"); !nqn.empty()) config.hostnqn = nqn;
  if (const auto id = Uuid::parse(text_of("/etc/nvme/hostid")); id.ok()) config.hostid = id.value();
  if (!config.hostnqn.empty()) return;
  std::string machine = text_of("/etc/machine-id");
  if (machine.empty()) {
    char hostname[256] = "";
    static_cast<void>(::gethostname(hostname, sizeof hostname - 1));
    machine = hostname;
  }
  if (config.hostid.is_nil()) config.hostid = Uuid::from_name("holdfast host " + machine);
  config.hostnqn = "nqn.2014-08.org.nvmexpress:uuid:" + config.hostid.to_string();
}

}  // namespace holdfast::cli
