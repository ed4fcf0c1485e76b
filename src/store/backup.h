// Backup: everything that a cluster keeps in the store, in one file, and back (docs/format/store.md).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "rt/reactor.h"
#include "store/keys.h"
#include "store/kv.h"

namespace holdfast::store {

struct Backup {
  std::string cluster;
  Revision revision = 0;  // of the store when it was read
  // Keys as they are in the store, and their values; in order. What is in a lease is left out: it is of processes
  // that run, not of the cluster.
  std::vector<std::pair<std::string, std::string>> keys;
  bool operator==(const Backup&) const = default;
};

std::string encode(const Backup& backup);
// Errors: bad_format, saying what is wrong: not a backup, cut off, changed, a newer version's, keys of another
// cluster or out of order.
Result<Backup> decode_backup(std::string_view bytes);

// The state of one revision.
Task<Result<Backup>> read_backup(Kv& kv, Keys keys);

enum class Overwrite : std::uint8_t { no, yes };
struct Restored {
  std::size_t written = 0;
  std::size_t removed = 0;   // keys that were there and are not in the backup
  std::size_t left_out = 0;  // keys of the backup that were not written
};
// Makes the store what the backup says. No agent of the cluster runs. When it is interrupted the store says so
// (check_not_restoring) until a restore has been completed: do it again. Errors: failed_precondition (another
// cluster's backup; the store has keys of this cluster already, without `overwrite`; two restores at once).
//
// Two things are left out, because it is not known what became of them since. Which replicas of a volume hold all
// data: what the store has of that stays as it is; of a volume of which it has nothing the replicas are asked (control:
// adoption). And records of what was being made: it may be complete and in use by now, and an agent would take it away
// again.
Task<Result<Restored>> restore(Kv& kv, Keys keys, Backup backup, Overwrite overwrite);
// Errors: failed_precondition: a restore was begun and not completed.
Task<Status> check_not_restoring(Kv& kv, Keys keys);

// The same with files. Errors: those of Reactor::replace_file and read_file besides.
Task<Result<Backup>> back_up_to_file(Reactor& home, Kv& kv, Keys keys, std::string path);
Task<Result<Restored>> restore_from_file(Reactor& home, Kv& kv, Keys keys, std::string path,
                                         Overwrite overwrite);

}  // namespace holdfast::store
