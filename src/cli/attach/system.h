// Small helpers around system calls, for this folder.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace holdfast::cli {

// Owns a descriptor.
class FileDescriptor {
 public:
  FileDescriptor() noexcept = default;
  explicit FileDescriptor(int fd) noexcept : fd_(fd) {}
  FileDescriptor(FileDescriptor&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& o) noexcept {
    if (this != &o) reset(std::exchange(o.fd_, -1));
    return *this;
  }
  ~FileDescriptor() { reset(); }
  int get() const noexcept { return fd_; }
  void reset(int fd = -1) noexcept;
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// The errno of the call that just failed, as "what: reason".
Error system_error(std::string_view what);
Error system_error(std::string_view what, int sys_errno);

// Small files, as in /sys, /proc and /run. Errors: system_error, naming the path.
Result<std::string> read_text(const std::string& path);             // without a newline at the end
Status write_text(const std::string& path, std::string_view text);  // into a file that exists
// Replaced at once or not at all.
Status replace_text(const std::string& path, std::string_view text);
// With its parents; the last one is for its owner alone.
Status make_directories(const std::string& path);

}  // namespace holdfast::cli
