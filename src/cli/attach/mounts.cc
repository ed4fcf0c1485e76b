#include "cli/attach/mounts.h"

#include <algorithm>
#include <memory>
#include <sstream>

#include <blkid/blkid.h>
#include <fmt/format.h>
#include <libmount/libmount.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include "cli/attach/system.h"

namespace holdfast::cli {
namespace {

// "\040" and the like, which stand for blanks in mountinfo.
std::string unescape(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool octal = text[i] == '\\' && i + 3 < text.size() &&
                       std::all_of(text.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                                   text.begin() + static_cast<std::ptrdiff_t>(i) + 4,
                                   [](char c) { return c >= '0' && c <= '7'; });
    if (octal) {
      plain.push_back(
          static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0')));
      i += 3;
    } else {
      plain.push_back(text[i]);
    }
  }
  return plain;
}

std::vector<Mount> mounts_now() {
  const auto text = read_text("/proc/self/mountinfo");
  return text.ok() ? parse_mountinfo(text.value()) : std::vector<Mount>();
}

}  // namespace

std::vector<Mount> parse_mountinfo(const std::string& text) {
  std::vector<Mount> mounts;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string id, parent, number, root, target, word;
    if (!(fields >> id >> parent >> number >> root >> target)) continue;
    // Optional fields, a lone hyphen, the type, the source.
    while (fields >> word && word != "-") {
    }
    std::string type, source;
    fields >> type >> source;
    mounts.push_back({number, unescape(target), unescape(source)});
  }
  return mounts;
}

Result<std::string> device_number(const std::string& device) {
  struct stat st {};
  if (::stat(device.c_str(), &st) != 0) return system_error(device);
  if (!S_ISBLK(st.st_mode))
    return Error(Errc::invalid_argument, fmt::format("'{}' is not a block device", device));
  return fmt::format("{}:{}", major(st.st_rdev), minor(st.st_rdev));
}

std::vector<std::string> mounts_of(const std::string& device) {
  std::vector<std::string> targets;
  const auto found = device_number(device);
  const std::string number = found.ok() ? found.value() : "none";
  for (const Mount& m : mounts_now()) {
    const bool ours = m.source == device || m.device_number == number;
    if (ours) targets.insert(targets.begin(), m.target);
  }
  return targets;
}

bool is_mounted_at(const std::string& device, const std::string& target) {
  const auto targets = mounts_of(device);
  return std::find(targets.begin(), targets.end(), target) != targets.end();
}

bool is_read_only(const std::string& target) {
  struct statvfs st {};
  return ::statvfs(target.c_str(), &st) == 0 && (st.f_flag & ST_RDONLY) != 0;
}

Result<std::string> filesystem_of(const std::string& device) {
  const std::unique_ptr<blkid_struct_probe, void (*)(blkid_probe)> probe(
      blkid_new_probe_from_filename(device.c_str()), blkid_free_probe);
  if (probe == nullptr) return system_error(device);
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE);
  const int found = blkid_do_safeprobe(probe.get());
  if (found == -2)
    return Error(Errc::failed_precondition,
                 fmt::format("{} holds more than one filesystem's signature", device));
  if (found < 0)
    return Error(Errc::io_error, fmt::format("{} cannot be read: what it holds is not known", device));
  const char* type = nullptr;
  const char* usage = nullptr;
  if (found != 0 || blkid_probe_lookup_value(probe.get(), "TYPE", &type, nullptr) != 0) return std::string();
  blkid_probe_lookup_value(probe.get(), "USAGE", &usage, nullptr);
  if (usage != nullptr && std::string_view(usage) == "filesystem") return std::string(type);
  return Error(Errc::failed_precondition, fmt::format("{} holds no filesystem, but {}", device, type));
}

Status mount_filesystem(const std::string& device, const std::string& target, const std::string& options) {
  struct stat st {};
  if (::stat(target.c_str(), &st) != 0) return system_error(target);
  if (!S_ISDIR(st.st_mode))
    return Error(Errc::invalid_argument, fmt::format("'{}' is not a directory", target));
  HF_TRY(const std::string type, filesystem_of(device));
  if (type.empty()) {
    return Error(Errc::failed_precondition,
                 fmt::format("{0} holds no filesystem: make one, for example with 'mkfs.ext4 {0}'", device));
  }
  const std::unique_ptr<libmnt_context, void (*)(libmnt_context*)> context(mnt_new_context(),
                                                                           mnt_free_context);
  if (context == nullptr) return Error(Errc::resource_exhausted);
  mnt_context_set_source(context.get(), device.c_str());
  mnt_context_set_target(context.get(), target.c_str());
  mnt_context_set_fstype(context.get(), type.c_str());
  if (!options.empty()) mnt_context_set_options(context.get(), options.c_str());
  const int status = mnt_context_mount(context.get());
  char why[512] = "";
  if (mnt_context_get_excode(context.get(), status, why, sizeof why) == MNT_EX_SUCCESS) return Status();
  return Error(Errc::failed_precondition, fmt::format("{} cannot be mounted at {}: {}", device, target, why));
}

Status unmount(const std::string& target, bool detach_now) {
  if (::umount2(target.c_str(), detach_now ? MNT_DETACH : 0) == 0) return Status();
  if (errno == EBUSY) return Error(Errc::busy, fmt::format("{} is in use: files are open there", target));
  return system_error(fmt::format("unmounting {}", target));
}

}  // namespace holdfast::cli
