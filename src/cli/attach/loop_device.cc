#include "cli/attach/loop_device.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cli/attach/system.h"

namespace holdfast::cli {
namespace {

constexpr unsigned loop_major = 7;
constexpr int attempts_max = 32;  // somebody else may take the free device first

Result<std::string> free_loop_device() {
  const FileDescriptor control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) {
    if (errno != ENOENT && errno != ENXIO) return system_error("/dev/loop-control");
    return Error(
        Errc::not_supported,
        "this machine has no loop devices: load the module 'loop', and let the container have /dev/loop*");
  }
  const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
  if (number < 0) return system_error("looking for a free loop device");
  std::string path = fmt::format("/dev/loop{}", number);
  // A container's /dev does not follow the kernel's.
  const auto device = makedev(loop_major, static_cast<unsigned>(number));
  if (::mknod(path.c_str(), S_IFBLK | 0600, device) != 0 && errno != EEXIST) return system_error(path);
  return path;
}

void set_label(loop_info64& info, const std::string& label) {
  const std::size_t size = std::min(label.size(), sizeof info.lo_file_name - 1);
  std::memcpy(info.lo_file_name, label.data(), size);
}

bool has_label(const loop_info64& info, const std::string& label) {
  loop_info64 wanted{};
  set_label(wanted, label);
  return std::memcmp(info.lo_file_name, wanted.lo_file_name, sizeof wanted.lo_file_name) == 0;
}

// 0, or the errno.
int configure(int loop, int file, const LoopOptions& options, bool direct) {
  loop_config config{};
  config.fd = static_cast<std::uint32_t>(file);
  config.block_size = options.block_bytes;
  config.info.lo_flags = (direct ? std::uint32_t{LO_FLAGS_DIRECT_IO} : 0u) |
                         (options.read_only ? std::uint32_t{LO_FLAGS_READ_ONLY} : 0u);
  set_label(config.info, options.label);
  return ::ioctl(loop, LOOP_CONFIGURE, &config) == 0 ? 0 : errno;
}

FileDescriptor open_file(const std::string& file, bool read_only, bool direct) {
  return FileDescriptor(
      ::open(file.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | (direct ? O_DIRECT : 0)));
}

}  // namespace

Result<std::string> attach_loop(const std::string& file, const LoopOptions& options) {
  FileDescriptor backing = open_file(file, options.read_only, true);
  if (!backing) backing = open_file(file, options.read_only, false);
  if (!backing) return system_error(file);
  for (int i = 0; i < attempts_max; ++i) {
    HF_TRY(const std::string device, free_loop_device());
    const FileDescriptor loop(::open(device.c_str(), (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
    if (!loop) return system_error(device);
    int failed = configure(loop.get(), backing.get(), options, true);
    if (failed == EINVAL) failed = configure(loop.get(), backing.get(), options, false);
    if (failed == 0) return device;
    if (failed != EBUSY) return system_error(fmt::format("binding {} to {}", device, file), failed);
  }
  return Error(Errc::resource_exhausted, "no loop device stays free long enough");
}

bool loop_is_bound(const std::string& device) {
  const FileDescriptor loop(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
  loop_info64 info{};
  return loop && ::ioctl(loop.get(), LOOP_GET_STATUS64, &info) == 0;
}

bool loop_may_have_label(const std::string& device, const std::string& label) {
  const FileDescriptor loop(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
  loop_info64 info{};
  if (!loop) return false;
  if (::ioctl(loop.get(), LOOP_GET_STATUS64, &info) == 0) return has_label(info, label);
  return errno != ENXIO && errno != ENOTTY;
}

Status detach_loop(const std::string& device) {
  const FileDescriptor loop(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
  if (!loop) return system_error(device);
  if (::ioctl(loop.get(), LOOP_CLR_FD) == 0 || errno == ENXIO) return Status();
  return system_error(fmt::format("releasing {}", device));
}

Status refresh_loop_size(const std::string& device) {
  const FileDescriptor loop(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
  if (!loop) return system_error(device);
  if (::ioctl(loop.get(), LOOP_SET_CAPACITY) == 0) return Status();
  return system_error(fmt::format("resizing {}", device));
}

}  // namespace holdfast::cli
