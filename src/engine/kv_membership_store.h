// Membership records in the control plane's store, where the next engine of a volume finds them when this one is
// gone. The control plane reads them there, too.
#pragma once

#include <string>

#include "nexus/membership.h"
#include "store/keys.h"
#include "store/kv.h"

namespace holdfast::engine {

class KvMembershipStore final : public nexus::MembershipStore {
 public:
  // `kv` outlives it. A key that begins with '/' is one of the store; any other, a volume's or a nexus's id, stands
  // for keys.membership(key).
  KvMembershipStore(store::Kv& kv, store::Keys keys) : kv_(kv), keys_(std::move(keys)) {}

  Task<Result<std::optional<nexus::StoredRecord>>> load(std::string key) override;
  Task<Result<std::uint64_t>> swap(std::string key, std::uint64_t expected_revision,
                                   nexus::Record next) override;
  Task<Status> remove(std::string key) override;

  std::string store_key(const std::string& key) const;

 private:
  store::Kv& kv_;
  const store::Keys keys_;
};

}  // namespace holdfast::engine
