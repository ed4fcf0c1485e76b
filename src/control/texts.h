// How errors and events name things.
#pragma once

#include <string>

#include "base/uuid.h"

namespace holdfast::control {

inline std::string volume_text(const Uuid& id) { return "volume " + id.to_string(); }
inline std::string snapshot_text(const Uuid& id) { return "snapshot " + id.to_string(); }
inline std::string replica_text(const Uuid& id) { return "replica " + id.to_string(); }
inline std::string nexus_text(const Uuid& id) { return "nexus " + id.to_string(); }

}  // namespace holdfast::control
