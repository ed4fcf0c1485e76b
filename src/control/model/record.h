// ReplicaRecord: what every replica says, in its pool, of the volume that it is a copy of. With those of all its
// replicas a volume can be brought back after the store was lost (docs/format/store.md).
//
// The agent writes it anew whenever something in it changes. It is compared by its digest alone.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "control/model/labels.h"
#include "control/model/specs.h"
#include "control/model/state.h"

namespace holdfast::control {

struct ReplicaRecord {
  UnixNanos written = 0;  // of two with the same membership epoch the later one is newer
  VolumeSpec volume;
  std::optional<NexusSpec> target;
  Membership membership;
  std::vector<Uuid> replicas;  // all that the volume had
  Labels node_labels;          // of the node and the pool where this replica is
  Labels pool_labels;
  bool operator==(const ReplicaRecord&) const = default;
};

std::string to_json(const ReplicaRecord& record);
// Whether what is asked for of a new volume leaves room in the records of its replicas (32 KiB each) for what comes to
// it later: publish context, target, members. Errors: InvalidArgument.
Status check_recordable(const VolumeSpec& wanted);
// Errors: bad_format, beginning with `key` and saying where.
Result<ReplicaRecord> parse_record(std::string_view key, std::string_view json);

// One of them as an engine keeps it, and how far its replica came.
struct KeptRecord {
  Uuid replica;
  std::string text;          // empty: nothing
  std::uint32_t epoch = 0;   // announced last; 0: never
  std::uint32_t sealed = 0;  // it has all that was written in epochs up to this one
  bool operator==(const KeptRecord&) const = default;
};

// FNV-1a, to compare texts that nobody forges.
class Digest {
 public:
  Digest& add(std::string_view text) noexcept;
  Digest& add(std::uint64_t number) noexcept;
  // Never 0.
  std::uint64_t value() const noexcept { return value_ == 0 ? 1 : value_; }

 private:
  std::uint64_t value_ = 0xcbf2'9ce4'8422'2325;
};

}  // namespace holdfast::control
