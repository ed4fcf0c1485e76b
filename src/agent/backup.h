// Backup and restore of what a cluster keeps in its store, as all that a run of the program does.
#pragma once

#include <string>

#include "base/error.h"
#include "rt/reactor.h"
#include "store/kv.h"

namespace holdfast::agent {

// What --backup, --restore and --overwrite ask for. At most one file is named.
struct BackupRequest {
  std::string backup_file;
  std::string restore_file;
  bool overwrite = false;
  bool any() const noexcept { return !backup_file.empty() || !restore_file.empty(); }
};

// Carries `request` out and says so in the log. Errors: those of store::back_up_to_file and restore_from_file.
Task<Status> back_up_or_restore(Reactor& home, store::Kv& kv, std::string cluster, BackupRequest request);

}  // namespace holdfast::agent
