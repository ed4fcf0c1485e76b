// What is often done with a Kv, in one call.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "store/kv.h"

namespace holdfast::store {

// The key, or nullopt.
Task<Result<std::optional<KeyValue>>> get(Kv& kv, std::string key);

// Everything in a range as it was at one revision, in pages. Watch from `revision` + 1 to stay up to date.
struct Snapshot {
  Revision revision = 0;
  std::vector<KeyValue> kvs;
};
// Errors: out_of_range, when the store compacts faster than the pages are read (after a few attempts).
Task<Result<Snapshot>> read_all(Kv& kv, KeyRange range, std::int64_t page_keys = 500);

// Puts the value if the key still has that mod_revision (0: does not exist). Its new mod_revision, or nullopt:
// somebody else was faster, nothing was changed.
Task<Result<std::optional<Revision>>> compare_and_swap(Kv& kv, std::string key, Revision expected,
                                                       std::string value, LeaseId lease = no_lease);
// Removes the key if it still has that mod_revision. False: it has not.
Task<Result<bool>> remove_if(Kv& kv, std::string key, Revision expected);

}  // namespace holdfast::store
