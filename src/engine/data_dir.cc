#include "engine/data_dir.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

namespace holdfast::engine {
namespace {

Error unusable(const std::string& path, const std::string& why) {
  return Error(
      Errc::failed_precondition,
      fmt::format("data directory {}: {}; make it writable for this user, or name another with --data-dir",
                  path, why));
}

}  // namespace

Result<std::unique_ptr<DataDir>> DataDir::open(const std::string& path) {
  for (const char* name : {"/membership", "/reservations", "/pools"}) {
    const std::string part = path + name;
    std::error_code failure;
    std::filesystem::create_directories(part, failure);
    if (failure) return unusable(path, failure.message());
    if (::access(part.c_str(), R_OK | W_OK | X_OK) != 0) return unusable(path, std::strerror(errno));
  }
  const std::string lock = path + "/lock";
  const int fd = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return unusable(path, std::strerror(errno));
  std::unique_ptr<DataDir> dir(new DataDir(path, fd));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return Error(
        Errc::busy,
        fmt::format("data directory {} is used by another engine; give each its own with --data-dir", path));
  }
  return dir;
}

DataDir::~DataDir() { ::close(lock_fd_); }

}  // namespace holdfast::engine
