// A record of the control plane in the store, of whichever kind: its place, its text, and its place in memory.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "base/error.h"
#include "control/model/specs.h"
#include "control/news.h"
#include "control/plan/index.h"

namespace holdfast::control {

using AnySpec =
    std::variant<NodeSpec, PoolSpec, ReplicaSpec, NexusSpec, VolumeSpec, SnapshotSpec, AppNodeSpec>;

// "volume/<uuid>": what its key has behind the cluster's prefix (docs/format/store.md).
std::string kind_and_id(const AnySpec& spec);
std::string json_of(const AnySpec& spec);
// Nothing: the kind is somebody else's. Errors: bad_format, naming `key`.
Result<std::optional<AnySpec>> parse_any(const std::string& key, const std::string& kind,
                                         const std::string& id, const std::string& value);
// One that has this id and nothing else, to be removed. Nothing: the kind is somebody else's, or that is no id of it.
std::optional<AnySpec> only_id(const std::string& kind, const std::string& id);

// `index` is of `all`; `news` is told of what was there before and of what is there now.
void insert(Specs& all, Index& index, News& news, AnySpec spec);
void erase(Specs& all, Index& index, News& news, const AnySpec& spec);

}  // namespace holdfast::control
