#include "cli/attach/attachments.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "block/uri.h"
#include "cli/attach/daemon.h"
#include "cli/attach/kernel_nvme.h"
#include "cli/attach/loop_device.h"
#include "cli/attach/mounts.h"
#include "cli/tool/progress.h"

namespace holdfast::cli {
namespace {

std::string canonical(const std::string& path) {
  std::error_code error;
  const auto resolved = std::filesystem::canonical(path, error);
  return error ? path : resolved.string();
}

Result<nvmf::RemoteConfig> parse_target(const AttachOptions& options) {
  HF_TRY(const Uri uri, Uri::parse(options.uri));
  if (uri.scheme != "nvmf" && uri.scheme != "nvmf+tcp") {
    return Error(Errc::invalid_argument,
                 fmt::format("'{}': only nvmf://HOST:PORT/NQN can be attached", options.uri));
  }
  nvmf::InitiatorConfig defaults;
  defaults.grace = Nanos{static_cast<std::int64_t>(options.grace_seconds * 1e9)};
  set_host_identity(defaults);
  return nvmf::parse_remote(uri, defaults);
}

Result<nvmf::RemoteConfig> target_of(const Attachment& attachment) {
  AttachOptions options;
  options.uri = attachment.uri;
  return parse_target(options);
}

// Waits until the process has ended. False: not within the time.
bool wait_for_end(const FileDescriptor& process, double seconds) {
  pollfd fd{process.get(), POLLIN, 0};
  const double until = monotonic_seconds() + seconds;
  for (;;) {
    const double left = until - monotonic_seconds();
    const int ready = ::poll(&fd, 1, left <= 0 ? 0 : static_cast<int>(left * 1000) + 1);
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

FileDescriptor open_process(int pid) {
  return FileDescriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

// What a record tells that its process has left: one that ended in order leaves none.
Status told_by(const Attachment& attachment, bool force) {
  if (force) return Status();
  if (attachment.error.empty()) {
    return Error(Errc::io_error, fmt::format("{} is detached, and its last writes may not have reached the "
                                             "target: the process that served it was killed",
                                             attachment.device));
  }
  return Error(Errc::io_error, fmt::format("{} is detached, and its last writes did not reach the target: {}",
                                           attachment.device, attachment.error));
}

}  // namespace

bool Attachments::is_served(const Attachment& attachment) const {
  if (attachment.via == AttachVia::user) return store_.lock(attachment.id).code() == Errc::busy;
  const auto remote = target_of(attachment);
  return remote.ok() && is_controller_of(remote.value(), attachment.controller, sys_) &&
         owner_of(attachment.device, remote.value(), sys_) == DeviceOwner::remote;
}

Result<Attachment> Attachments::attach(const AttachOptions& options) {
  HF_TRY(const auto remote, parse_target(options));
  if (::geteuid() != 0)
    return Error(Errc::failed_precondition, "making a block device needs root: run this with sudo");
  HF_CHECK(store_.prepare());
  const std::string mountpoint = options.mountpoint.empty() ? std::string() : canonical(options.mountpoint);
  if (!mountpoint.empty() && !std::filesystem::is_directory(mountpoint)) {
    return Error(Errc::not_found, fmt::format("mount point '{}' is not a directory", mountpoint));
  }
  const std::string id = attachment_id(remote);
  auto attachment = store_.load(id);
  const bool was_there = attachment.ok() && is_served(attachment.value());
  if (was_there && attachment.value().state == "detaching")
    return Error(Errc::failed_precondition,
                 fmt::format("{} is being detached: attach it again when nobody uses it any more",
                             attachment.value().device));
  if (!was_there) {
    attachment = store_.load(id);  // its process may have ended just now, and told what it lost
    if (attachment.ok() && !attachment.value().error.empty()) {
      return Error(
          Errc::failed_precondition,
          fmt::format("its last writes did not reach the target: {}. 'holdfast detach {}' takes note "
                      "of that, then it can be attached again",
                      attachment.value().error, id));
    }
    if (attachment.ok())
      clean_up(attachment.value());  // of a process that died, or a connection that is gone
    attachment = make(options, remote, id);
    if (!attachment.ok()) return attachment;
  }
  if (mountpoint.empty() && options.read_only && allows_writes(attachment.value().device)) {
    if (!was_there) detach(attachment.value(), DetachOptions()).ignore("the first error counts");
    return Error(
        Errc::failed_precondition,
        fmt::format("{} is connected already, and can be written to: give a mount point, or disconnect "
                    "it first",
                    attachment.value().device));
  }
  if (mountpoint.empty()) return attachment;
  if (is_mounted_at(attachment.value().device, mountpoint)) {
    if (!options.read_only || is_read_only(mountpoint)) return attachment;
    return Error(Errc::failed_precondition,
                 fmt::format("{} is mounted at '{}' already, and can be written to",
                             attachment.value().device, mountpoint));
  }
  std::string mount_options = options.mount_options;
  if (options.read_only) mount_options += mount_options.empty() ? "ro" : ",ro";
  const Status mounted = mount_filesystem(attachment.value().device, mountpoint, mount_options);
  if (mounted.ok()) return attachment;
  if (!was_there) detach(attachment.value(), DetachOptions()).ignore("the first error counts");
  return mounted.error();
}

Result<Attachment> Attachments::make(const AttachOptions& options, const nvmf::RemoteConfig& remote,
                                     const std::string& id) {
  Attachment attachment;
  attachment.id = id;
  attachment.uri = options.uri;
  const auto missing = kernel_initiator_missing();
  const bool has_paths = !remote.more.empty();
  if (options.via == AttachVia::kernel && has_paths) {
    return Error(
        Errc::not_supported,
        "the kernel's initiator is connected to one address, and the URI has further ones as paths=: "
        "leave them out, or use --via user");
  }
  if (options.via == AttachVia::kernel && missing) return Error(Errc::not_supported, *missing);
  attachment.via = options.via.value_or(missing || has_paths ? AttachVia::user : AttachVia::kernel);
  if (attachment.via == AttachVia::kernel) {
    HF_TRY(const KernelDevice made, connect_kernel(remote, sys_));
    attachment.device = made.device;
    attachment.controller = made.controller;
    attachment.found = made.found;
    if (made.found) attachment.others = mounts_of(made.device);
    Status done = store_.save(attachment);
    // A file system may have to write before it can be read, so a mount sees to this by itself.
    if (done.ok() && options.read_only && options.mountpoint.empty() && !made.found)
      done = forbid_writes(attachment.device);
    if (done.ok()) return attachment;
    leave_connection(attachment, true).ignore("the first error counts");
    store_.forget(attachment.id);
    return done.error();
  }
  HF_TRY(FileDescriptor lock, store_.lock(id));
  // A file system may have to write before it can be read: a mount sees to it by itself.
  const bool device_read_only = options.read_only && options.mountpoint.empty();
  DaemonPlan plan{store_, std::move(lock), std::move(attachment), remote, device_read_only, options.spin_us};
  return start_daemon(std::move(plan));
}

Result<Attachment> Attachments::find(const std::string& what) const {
  const std::string place = canonical(what);
  HF_TRY(const auto known, store_.all());
  const Attachment* dead = nullptr;
  for (const Attachment& a : known) {
    if (what == a.id || what == a.uri) return a;
    if (place != a.device && !is_mounted_at(a.device, place)) continue;
    if (is_served(a)) return a;  // the kernel gives the names of devices that are gone to others
    dead = &a;
  }
  if (dead != nullptr) return *dead;
  // The same target under other parameters.
  AttachOptions options;
  options.uri = what;
  if (const auto remote = parse_target(options); remote.ok()) {
    if (auto a = store_.load(attachment_id(remote.value())); a.ok()) return a;
  }
  return Error(Errc::not_found, fmt::format("'{}' is not attached", what));
}

Status Attachments::unmount_all(const Attachment& attachment, bool force) const {
  for (const std::string& target : mounts_of(attachment.device)) {
    const auto& others = attachment.others;
    if (std::find(others.begin(), others.end(), target) != others.end()) continue;
    Status done = unmount(target, false);
    if (!done.ok() && force) done = unmount(target, true);
    if (!done.ok()) return done;
  }
  return Status();
}

Status Attachments::detach(const Attachment& attachment, const DetachOptions& options) {
  if (::geteuid() != 0) return Error(Errc::failed_precondition, "detaching needs root: run this with sudo");
  if (attachment.via == AttachVia::kernel) return detach_kernel(attachment, options);
  const bool served = is_served(attachment);
  if (served && !options.force && attachment.state != "online" && attachment.state != "detaching") {
    return Error(Errc::failed_precondition,
                 fmt::format("the target of {} is out of reach ({}): what was written last would be lost",
                             attachment.device, attachment.state));
  }
  if (served && options.force) ::kill(attachment.pid, SIGUSR1);
  if (served || owns_loop(attachment)) HF_CHECK(unmount_all(attachment, options.force || !served));
  if (served) return end_process(attachment, options);
  const auto left = store_.load(attachment.id);  // it may have ended just now
  clean_up(attachment);
  return left.ok() ? told_by(left.value(), options.force) : Status();
}

Status Attachments::detach_kernel(const Attachment& attachment, const DetachOptions& options) {
  const auto remote = target_of(attachment);
  bool gone = false;
  if (remote.ok()) {
    const DeviceOwner owner = owner_of(attachment.device, remote.value(), sys_);
    gone = owner != DeviceOwner::remote;
    // Unmounting and flushing would wait for as long as the kernel does, and what is not flushed would be lost.
    const bool ours =
        owner == DeviceOwner::remote && is_controller_of(remote.value(), attachment.controller, sys_);
    if (!options.force && ours && !is_live(attachment.controller, sys_)) {
      return Error(Errc::failed_precondition,
                   fmt::format("the target of {} is out of reach: what was written last would be lost",
                               attachment.device));
    }
    const bool force = options.force || gone;
    if (owner != DeviceOwner::somebody_else) HF_CHECK(unmount_all(attachment, force));
    // Without its target it would wait for as long as the kernel does.
    if (!force && is_live(attachment.controller, sys_)) HF_CHECK(flush_device(attachment.device));
    if (is_controller_of(remote.value(), attachment.controller, sys_))
      HF_CHECK(leave_connection(attachment, force));
  }
  store_.forget(attachment.id);
  if (!gone || options.force) return Status();
  return Error(Errc::io_error, fmt::format("{} was gone before it was detached: its last writes may not have "
                                           "reached the target",
                                           attachment.device));
}

// Whoever of those with the same connection is the last one takes it away, unless it was there before all of them.
Status Attachments::leave_connection(const Attachment& attachment, bool force) const {
  if (attachment.found) return Status();
  HF_TRY(const auto known, store_.all());
  for (Attachment other : known) {
    if (other.id == attachment.id || other.controller != attachment.controller) continue;
    // Of a connection that is gone; the kernel gives its name to others.
    const auto its = target_of(other);
    if (!its.ok() || !is_controller_of(its.value(), other.controller, sys_)) continue;
    other.found = false;
    return store_.save(other);
  }
  if (!force) HF_CHECK(check_unused(attachment.device));
  return disconnect_kernel(attachment.controller, sys_);
}

// The number of a loop device that was released is given to others.
bool Attachments::owns_loop(const Attachment& attachment) const {
  const auto remote = target_of(attachment);
  return remote.ok() && loop_may_have_label(attachment.device, remote.value().nqn);
}

Status Attachments::end_process(const Attachment& attachment, const DetachOptions& options) {
  const FileDescriptor process = open_process(attachment.pid);
  if (process) {
    ::kill(attachment.pid, SIGTERM);
    if (!wait_for_end(process, options.timeout_seconds)) {
      if (!options.force) {
        return Error(Errc::timed_out, fmt::format("{} is still open somewhere, or its last writes are on "
                                                  "their way: it goes away by itself when that is over",
                                                  attachment.device));
      }
      ::kill(attachment.pid, SIGKILL);
      wait_for_end(process, options.timeout_seconds);
    }
  } else if (errno != ESRCH) {
    return system_error(fmt::format("process {}", attachment.pid));
  }
  const auto left = store_.load(attachment.id);
  if (!left.ok()) return Status();  // it has cleaned up after itself
  clean_up(left.value());
  return told_by(left.value(), options.force);
}

// Undoes what a process that is no more has left.
void Attachments::clean_up(const Attachment& attachment) const {
  if (attachment.via == AttachVia::kernel) return store_.forget(attachment.id);
  if (owns_loop(attachment)) {
    const Status released = detach_loop(attachment.device);
    released.ignore("the device may be gone already");
  }
  ::umount2(store_.mount_directory(attachment.id).c_str(), MNT_DETACH);
  store_.forget(attachment.id);
}

}  // namespace holdfast::cli
