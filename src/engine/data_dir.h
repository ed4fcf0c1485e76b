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

  const std::string& membership() const noexcept { return membership_; }  // directory of the records

 private:
  DataDir(std::string membership, int lock_fd) noexcept
      : membership_(std::move(membership)), lock_fd_(lock_fd) {}
  const std::string membership_;
  const int lock_fd_;
};

}  // namespace holdfast::engine
