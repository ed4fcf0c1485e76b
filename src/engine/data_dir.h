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

  // Directories of the membership records, and of the reservations that persist.
  const std::string& membership() const noexcept { return membership_; }
  const std::string& reservations() const noexcept { return reservations_; }

 private:
  DataDir(std::string membership, std::string reservations, int lock_fd) noexcept
      : membership_(std::move(membership)), reservations_(std::move(reservations)), lock_fd_(lock_fd) {}
  const std::string membership_;
  const std::string reservations_;
  const int lock_fd_;
};

}  // namespace holdfast::engine
