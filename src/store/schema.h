// Schema: the version of how a cluster's records are laid out, and how older ones are brought up to date.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/error.h"
#include "store/keys.h"
#include "store/kv.h"

namespace holdfast::store {

// Brings records from version `from` to the next. It may be interrupted anywhere and is then run again: each of its
// changes is a compare-and-swap, and records that are done already are left alone.
struct Migration {
  std::uint32_t from = 1;
  const char* what = "";  // for the log
  Task<Status> (*run)(Kv& kv, const Keys& keys) = nullptr;
};

// What this program does to older records. Ordered: version 1 first, each version once.
std::span<const Migration> migrations() noexcept;

// Makes the cluster's records the version after the last migration: notes it where there is none yet, migrates what
// is older. Only the agent that leads calls it. Errors: failed_precondition (a newer program wrote them, or a
// restore was not completed), bad_format (the version cannot be read), busy (another agent migrates), and those of
// the migrations. Gives the version that was found; 0: none.
Task<Result<std::uint32_t>> open_schema(Kv& kv, Keys keys, std::span<const Migration> all);
Task<Result<std::uint32_t>> open_schema(Kv& kv, Keys keys);

}  // namespace holdfast::store
