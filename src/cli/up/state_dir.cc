#include "cli/up/state_dir.h"

#include <cerrno>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/tool/progress.h"
#include "cli/up/ports.h"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;

Status make_dir(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return error_from_errno(error.value()).with_context(path);
  return {};
}

// An empty one was begun by somebody who was killed.
Status make_disk(const std::string& path, std::uint64_t bytes) {
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_empty(path, error)) return {};
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return error_from_errno(errno).with_context(path);
  const bool sized = ::ftruncate(fd, static_cast<off_t>(bytes)) == 0;
  const int size_errno = errno;
  ::close(fd);
  if (sized) return {};
  fs::remove(path, error);
  return error_from_errno(size_errno).with_context(path);
}

Status check_owner(const std::string& dir) {
  struct stat own {};
  struct stat above {};
  const std::string parent = fs::path(dir).parent_path();
  if (::lstat(dir.c_str(), &own) != 0 || ::stat(parent.c_str(), &above) != 0)
    return error_from_errno(errno).with_context(dir);
  if (own.st_uid == ::geteuid() || own.st_uid == 0 || (above.st_mode & S_IWOTH) == 0) return {};
  return Error(Errc::failed_precondition,
               fmt::format("{} was made by another user, in {} where everybody may: use another --state-dir",
                           dir, parent));
}

}  // namespace

StateLock::~StateLock() {
  if (fd_ >= 0) ::close(fd_);
}

Result<StateLock> StateLock::take(const std::string& dir) {
  HF_CHECK(make_dir(dir));
  HF_CHECK(check_owner(dir));
  StateLock lock;
  const std::string path = dir + "/lock";
  lock.fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock.fd_ < 0) return error_from_errno(errno).with_context(path);
  if (::flock(lock.fd_, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return error_from_errno(errno).with_context(path);
  return Error(Errc::busy, fmt::format("a cluster runs from {} already", dir));
}

Result<StateLock> wait_unlocked(const std::string& dir, double seconds) {
  const double deadline = monotonic_seconds() + seconds;
  for (;;) {
    auto lock = StateLock::take(dir);
    if (lock.ok() || lock.error().code() != Errc::busy) return lock;
    if (monotonic_seconds() > deadline) {
      return Error(Errc::timed_out,
                   fmt::format("the cluster in {} has not stopped after {}; its log: {}/logs/up.log", dir,
                               format_duration(seconds), dir));
    }
    sleep_seconds(0.1);
  }
}

Status prepare_files(const ClusterPlan& plan) {
  HF_CHECK(make_dir(plan.dir + "/logs"));
  HF_CHECK(make_dir(plan.agent_dir()));
  for (const EnginePlan& e : plan.engines) {
    HF_CHECK(make_dir(plan.engine_dir(e) + "/data"));
    for (const std::string& disk : plan.disks(e)) HF_CHECK(make_disk(disk, plan.disk_bytes));
  }
  return {};
}

Status check_ports(const ClusterPlan& plan) {
  std::string taken;
  for (const auto& [port, use] : plan.ports()) {
    if (!port_is_taken(plan.address, port)) continue;
    taken += fmt::format("{}port {} (for {}) is in use by {}", taken.empty() ? "" : "; ", port, use,
                         port_owner(port));
  }
  if (taken.empty()) return {};
  return Error(Errc::busy, taken);
}

Status purge_files(const ClusterPlan& plan) {
  std::error_code error;
  const auto remove = [&](const std::string& path) {
    if (!error) fs::remove_all(path, error);
  };
  for (const EnginePlan& e : plan.engines) remove(plan.engine_dir(e));
  for (const std::string& path : {plan.agent_dir(), plan.dir + "/logs", plan.socket_file(), plan.plan_file()})
    remove(path);
  remove(plan.lock_file());
  if (error) return error_from_errno(error.value()).with_context(plan.dir);
  fs::remove(plan.dir, error);  // stays when somebody has put something else there
  return {};
}

}  // namespace holdfast::cli
