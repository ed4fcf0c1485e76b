// Where things are in the store: /holdfast/v1/clusters/<cluster>/<kind>/<id>[/<part>]. Clusters that share a store
// do not see each other.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "store/kv.h"

namespace holdfast::store {

class Keys {
 public:
  // Errors: invalid_argument (a name that is not 1 to 63 letters, digits, '-', '_' or '.', or is "." or "..").
  static Result<Keys> of_cluster(std::string_view cluster);

  const std::string& cluster() const noexcept { return cluster_; }
  // Everything of the cluster.
  const std::string& prefix() const noexcept { return prefix_; }
  KeyRange everything() const { return KeyRange::prefix(prefix_); }
  // Every record of a kind: "volume", "pool", ... The ids of a kind are one path component each.
  KeyRange all_of(std::string_view kind) const { return KeyRange::prefix(kind_prefix(kind)); }
  std::string key(std::string_view kind, std::string_view id) const;
  // What an engine writes of a volume: which replicas hold every acknowledged write.
  std::string membership(std::string_view volume) const { return key("volume", volume) + "/membership"; }
  bool is_membership(std::string_view key) const noexcept;
  // The version of everything's layout (schema.h).
  std::string schema() const { return prefix_ + "schema"; }
  // Which agent leads; in that one's lease.
  std::string leader() const { return prefix_ + "leader"; }

  // The id in a key of this cluster and kind; empty when it is none, or a part of something (its membership).
  std::string_view id_of(std::string_view kind, std::string_view key) const noexcept;

 private:
  explicit Keys(std::string cluster);
  std::string kind_prefix(std::string_view kind) const;

  std::string cluster_;
  std::string prefix_;
};

}  // namespace holdfast::store
