// The directory of a cluster: its lock, what lies in it, and removing it.
#pragma once

#include <string>

#include "base/error.h"
#include "cli/up/plan.h"

namespace holdfast::cli {

// Held by the process that keeps the cluster; gone with it.
class StateLock {
 public:
  StateLock() = default;
  StateLock(StateLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  StateLock& operator=(StateLock&&) = delete;
  ~StateLock();
  // Makes the directory. Errors: busy when another process holds it; failed_precondition when another user has made
  // it where everybody may, who would decide what is started; of the system.
  static Result<StateLock> take(const std::string& dir);

 private:
  int fd_ = -1;
};

// Takes it as soon as nobody holds it. Errors: timed_out.
Result<StateLock> wait_unlocked(const std::string& dir, double seconds);
// The folders of every process and the files that are its disks: sparse, and kept when they are there.
Status prepare_files(const ClusterPlan& plan);
// Every port of the plan that something else listens on. Errors: busy, naming each with its owner.
Status check_ports(const ClusterPlan& plan);
// Deletes what the plan's cluster made there, and the directory if nothing else is in it.
Status purge_files(const ClusterPlan& plan);

}  // namespace holdfast::cli
