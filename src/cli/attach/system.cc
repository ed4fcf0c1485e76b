#include "cli/attach/system.h"

#include <cerrno>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace holdfast::cli {

void FileDescriptor::reset(int fd) noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

Error system_error(std::string_view what) { return system_error(what, errno); }

Error system_error(std::string_view what, int sys_errno) {
  return error_from_errno(sys_errno).with_context(what);
}

Result<std::string> read_text(const std::string& path) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return system_error(path);
  std::string text;
  char piece[4096];
  for (;;) {
    const ssize_t n = ::read(fd.get(), piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error(path);
    if (n == 0) break;
    text.append(piece, static_cast<std::size_t>(n));
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

namespace {

Status write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error(path);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return Status();
}

}  // namespace

Status write_text(const std::string& path, std::string_view text) {
  const FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return system_error(path);
  return write_all(fd.get(), text, path);
}

Status replace_text(const std::string& path, std::string_view text) {
  const std::string next = path + ".next";
  const FileDescriptor fd(::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return system_error(next);
  HF_CHECK(write_all(fd.get(), text, next));
  if (::rename(next.c_str(), path.c_str()) != 0) return system_error(path);
  return Status();
}

Status make_directories(const std::string& path) {
  for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    const std::string parent = path.substr(0, end);
    if (::mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) return system_error(parent);
  }
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return system_error(path);
  return Status();
}

}  // namespace holdfast::cli
