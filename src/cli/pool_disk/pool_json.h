// What disks of a pool say, as JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "pool/check.h"

namespace holdfast::cli {

// The outcome of a check, in short.
nlohmann::ordered_json check_json(const pool::PoolOnDisk& pool);
// Everything: labels, segments, volumes and snapshots, records of the journal.
nlohmann::ordered_json dump_json(const pool::PoolOnDisk& pool);

}  // namespace holdfast::cli
