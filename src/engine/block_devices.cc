#include "engine/block_devices.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <string_view>

#include <blkid/blkid.h>
#include <fmt/format.h>
#include <libudev.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/log.h"
#include "base/utf8.h"
#include "engine/naming.h"
#include "pool/format.h"

namespace holdfast::engine {
namespace {

using mayastor::v1::BlockDevice;

struct UdevDeleter {
  void operator()(udev* p) const noexcept { udev_unref(p); }
  void operator()(udev_device* p) const noexcept { udev_device_unref(p); }
  void operator()(udev_enumerate* p) const noexcept { udev_enumerate_unref(p); }
};
struct ProbeDeleter {
  void operator()(blkid_probe p) const noexcept { blkid_free_probe(p); }
};
using Udev = std::unique_ptr<udev, UdevDeleter>;
using UdevDevice = std::unique_ptr<udev_device, UdevDeleter>;
using Probe = std::unique_ptr<std::remove_pointer_t<blkid_probe>, ProbeDeleter>;

// Labels have whatever encoding somebody gave them; the message is UTF-8, or is not read at all.
std::string text(const char* s) { return s == nullptr ? std::string() : to_utf8(s); }

std::string property(udev_device* d, const char* key) { return text(udev_device_get_property_value(d, key)); }

std::string attribute(udev_device* d, const char* key) { return text(udev_device_get_sysattr_value(d, key)); }

template <class T>
T number(std::string_view digits) {
  T value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

std::string whole_file(const char* path) {
  std::ifstream in(path);
  std::stringstream content;
  content << in.rdbuf();
  return content.str();
}

void from_udev(udev_device* d, FoundDevice& f) {
  if (const auto type = property(d, "ID_FS_TYPE"); !type.empty()) {
    f.device.mutable_filesystem()->set_fstype(type);
    f.device.mutable_filesystem()->set_label(property(d, "ID_FS_LABEL"));
    f.device.mutable_filesystem()->set_uuid(property(d, "ID_FS_UUID"));
  }
  f.has_signature = !property(d, "ID_FS_USAGE").empty() || !property(d, "ID_FS_TYPE").empty();
  if (f.device.devtype() != "partition") return;
  auto* p = f.device.mutable_partition();
  p->set_number(number<std::uint32_t>(property(d, "ID_PART_ENTRY_NUMBER")));
  p->set_name(property(d, "ID_PART_ENTRY_NAME"));
  p->set_scheme(property(d, "ID_PART_ENTRY_SCHEME"));
  p->set_typeid_(property(d, "ID_PART_ENTRY_TYPE"));
  p->set_uuid(property(d, "ID_PART_ENTRY_UUID"));
}

std::string probed(const Probe& probe, const char* key) {
  const char* value = nullptr;
  if (blkid_probe_lookup_value(probe.get(), key, &value, nullptr) != 0) return "";
  return text(value);
}

// Neither udev nor libblkid knows pools. One of the two copies is enough.
bool has_pool(int fd) {
  for (const std::uint64_t at : pool::wire::superblock_offsets) {
    le64 magic{};
    const ssize_t got = ::pread(fd, &magic, sizeof magic, static_cast<off_t>(at));
    if (got == static_cast<ssize_t>(sizeof magic) && magic == pool::wire::Superblock::magic_value)
      return true;
  }
  return false;
}

FoundDevice describe(udev_device* d) {
  FoundDevice f;
  BlockDevice& b = f.device;
  const dev_t id = udev_device_get_devnum(d);
  b.set_devname(text(udev_device_get_devnode(d)));
  b.set_devtype(text(udev_device_get_devtype(d)));
  b.set_devmajor(major(id));
  b.set_devminor(minor(id));
  b.set_devpath(text(udev_device_get_devpath(d)));
  b.set_size(number<std::uint64_t>(attribute(d, "size")));
  for (auto* e = udev_device_get_devlinks_list_entry(d); e != nullptr; e = udev_list_entry_get_next(e)) {
    b.add_devlinks(text(udev_list_entry_get_name(e)));
  }
  udev_device* disk = d;
  if (b.devtype() == "partition") {
    disk = udev_device_get_parent_with_subsystem_devtype(d, "block", "disk");  // owned by d
    if (disk != nullptr) b.mutable_partition()->set_parent(text(udev_device_get_devnode(disk)));
  }
  b.set_model(property(d, "ID_MODEL"));
  b.set_connection_type(property(d, "ID_BUS"));
  if (disk != nullptr) {
    if (b.model().empty()) b.set_model(attribute(disk, "device/model"));
    if (const auto spins = attribute(disk, "queue/rotational"); !spins.empty())
      b.set_is_rotational(spins == "1");
  }
  if (udev_device_get_is_initialized(d) > 0) {
    from_udev(d, f);
    f.asks_itself = b.size() > 0 && !f.has_signature;  // it may have a pool
  } else {
    f.asks_itself = b.size() > 0;
  }
  return f;
}

std::vector<FoundDevice> scan(udev* context) {
  std::vector<FoundDevice> found;
  const std::unique_ptr<udev_enumerate, UdevDeleter> all(udev_enumerate_new(context));
  udev_enumerate_add_match_subsystem(all.get(), "block");
  udev_enumerate_scan_devices(all.get());
  for (auto* e = udev_enumerate_get_list_entry(all.get()); e != nullptr; e = udev_list_entry_get_next(e)) {
    const UdevDevice d(udev_device_new_from_syspath(context, udev_list_entry_get_name(e)));
    if (d == nullptr || udev_device_get_devnode(d.get()) == nullptr) continue;  // it went away meanwhile
    found.push_back(describe(d.get()));
  }
  std::sort(found.begin(), found.end(), [](const FoundDevice& a, const FoundDevice& b) {
    return a.device.devname() < b.device.devname();
  });
  return found;
}

// The kernel escapes space, tab, newline and backslash as \ooo.
std::string unescape(std::string_view in) {
  std::string out;
  const auto octal = [](char c) { return c >= '0' && c <= '7'; };
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (in[i] == '\\' && i + 3 < in.size() && octal(in[i + 1]) && octal(in[i + 2]) && octal(in[i + 3])) {
      out.push_back(static_cast<char>((in[i + 1] - '0') * 64 + (in[i + 2] - '0') * 8 + (in[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(in[i]);
    }
  }
  return out;
}

}  // namespace

// Without udev's database (no udevd, or a container that does not see it) the device itself is asked.
FoundDevice from_blkid(FoundDevice f) {
  const Probe probe(blkid_new_probe_from_filename(f.device.devname().c_str()));
  f.has_signature = probe == nullptr;
  if (probe == nullptr) return f;
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(
      probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID | BLKID_SUBLKS_USAGE);
  blkid_probe_enable_partitions(probe.get(), 1);
  blkid_probe_set_partitions_flags(probe.get(), BLKID_PARTS_ENTRY_DETAILS);
  const int found = blkid_do_safeprobe(probe.get());
  // A read error, or several signatures that contradict each other; a pool.
  f.has_signature = found < 0 || has_pool(blkid_probe_get_fd(probe.get()));
  if (found != 0) return f;
  if (const auto type = probed(probe, "TYPE"); !type.empty()) {
    f.device.mutable_filesystem()->set_fstype(type);
    f.device.mutable_filesystem()->set_label(probed(probe, "LABEL"));
    f.device.mutable_filesystem()->set_uuid(probed(probe, "UUID"));
    f.has_signature = true;
  }
  if (f.device.devtype() != "partition") return f;
  auto* p = f.device.mutable_partition();
  p->set_number(number<std::uint32_t>(probed(probe, "PART_ENTRY_NUMBER")));
  p->set_name(probed(probe, "PART_ENTRY_NAME"));
  p->set_scheme(probed(probe, "PART_ENTRY_SCHEME"));
  p->set_typeid_(probed(probe, "PART_ENTRY_TYPE"));
  p->set_uuid(probed(probe, "PART_ENTRY_UUID"));
  return f;
}

std::vector<std::string> mount_points(const std::string& mountinfo, unsigned major, unsigned minor) {
  // "36 35 98:0 /mnt1 /mnt2 rw,noatime ...": mount id, parent id, major:minor, root, mount point.
  const std::string wanted = fmt::format("{}:{}", major, minor);
  std::vector<std::string> points;
  std::istringstream lines(mountinfo);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string mount_id, parent_id, device, root, point;
    if (fields >> mount_id >> parent_id >> device >> root >> point && device == wanted) {
      points.push_back(unescape(point));
    }
  }
  return points;
}

bool is_disk_major(const std::string& proc_devices, unsigned major) {
  constexpr std::array<std::string_view, 9> disks = {"loop", "sd",   "nbd",     "xvd",   "vd",
                                                     "mmc",  "nvme", "virtblk", "blkext"};
  bool in_blocks = false;
  std::istringstream lines(proc_devices);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("Block devices")) in_blocks = true;
    std::istringstream fields(line);
    unsigned at = 0;
    std::string driver;
    if (!in_blocks || !(fields >> at >> driver) || at != major) continue;
    return std::find(disks.begin(), disks.end(), driver) != disks.end();
  }
  return false;
}

bool is_available(const BlockDevice& d, bool disk_major, bool has_partitions, bool has_signature) {
  constexpr std::string_view linux_data_gpt = "0fc63daf-8483-4772-8e79-3d69d8477de4";
  constexpr std::string_view linux_data_mbr = "0x83";
  if (d.size() == 0 || !disk_major || has_signature || d.filesystem().mountpoints_size() > 0) return false;
  if (d.model().find(model_number) != std::string::npos) return false;  // a volume of ours is no raw disk
  // udev writes spaces in ID_MODEL as underscores.
  if (d.model().find("Holdfast_NVMe_controller") != std::string::npos) return false;
  if (d.devtype() == "disk") return !has_partitions;
  const auto& type = d.partition().typeid_();
  return d.devtype() == "partition" && (type == linux_data_gpt || type == linux_data_mbr);
}

std::vector<std::string> ask_disks(std::vector<FoundDevice>& found, DiskQuestions& disks,
                                   const std::function<FoundDevice(FoundDevice)>& ask,
                                   std::chrono::milliseconds patience) {
  std::vector<std::pair<FoundDevice*, DiskQuestions::Pending>> asked;
  for (FoundDevice& f : found) {
    if (f.asks_itself) asked.emplace_back(&f, disks.begin(f.device.devname(), [ask, f] { return ask(f); }));
  }
  const auto until = DiskQuestions::Clock::now() + patience;
  std::vector<std::string> silent;
  for (const auto& [f, question] : asked) {
    if (auto answer = question.wait(until)) {
      *f = std::move(*answer);
    } else {
      f->has_signature = true;
      silent.push_back(f->device.devname());
    }
  }
  return silent;
}

Result<std::vector<BlockDevice>> list_block_devices(bool all, DiskQuestions& disks) {
  const Udev context(udev_new());
  if (context == nullptr) return Error(Errc::internal, "libudev could not be initialised: out of memory");
  auto found = scan(context.get());
  for (const auto& name : ask_disks(found, disks, from_blkid, disk_patience)) {
    HF_LOG(warn, "engine", "a disk does not answer; it is not offered for pools", {"disk", name});
  }
  const auto mounts = whole_file("/proc/self/mountinfo");
  const auto majors = whole_file("/proc/devices");
  std::set<std::string> parents;
  for (const auto& f : found) {
    if (f.device.has_partition()) parents.insert(f.device.partition().parent());
  }
  std::vector<BlockDevice> listed;
  for (auto& f : found) {
    BlockDevice& d = f.device;
    for (const auto& point : mount_points(mounts, d.devmajor(), d.devminor())) {
      d.mutable_filesystem()->add_mountpoints(to_utf8(point));
    }
    d.set_available(
        is_available(d, is_disk_major(majors, d.devmajor()), parents.contains(d.devname()), f.has_signature));
    if (all || d.available()) listed.push_back(std::move(d));
  }
  return listed;
}

}  // namespace holdfast::engine
