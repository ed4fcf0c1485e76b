// The directory in which an engine keeps what outlives it. One engine each: membership records have one
// owner.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"

namespace holdfast::engine {

class DataDir {
 public:
  // Makes what is missing of the path and locks it until destruction (or the end of the process, however it
  // ends). Errors: busy (another engine has it), failed_precondition (not a directory, not writable), naming
  // the path.
  static Result<std::unique_ptr<DataDir>> open(const std::string& path);
  ~DataDir();
  DataDir(const DataDir&) = delete;
  DataDir& operator=(const DataDir&) = delete;

  // Directories of the membership records, of the reservations that persist, and of the pools to open.
  std::string membership() const { return path_ + "/membership"; }
  std::string reservations() const { return path_ + "/reservations"; }
  std::string pools() const { return path_ + "/pools"; }

 private:
  DataDir(std::string path, int lock_fd) noexcept : path_(std::move(path)), lock_fd_(lock_fd) {}
  const std::string path_;
  const int lock_fd_;
};

}  // namespace holdfast::engine
