// The engine's connection to the control plane's store, and the membership records in it. Without the store's own
// headers: what has to do with the wire of NVMe does not see them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "nexus/membership.h"
#include "rpc/tls.h"
#include "rt/reactor.h"

namespace holdfast::engine {

struct StoreAccess {
  std::vector<std::string> endpoints;  // none: there is no store
  std::string cluster = "default";     // whose records they are
  rpc::TlsPaths tls;                   // of https endpoints
  std::string peer_name;               // that their certificate must have; empty: the one in the address
};

// Errors: invalid_argument, naming the flag.
Status check_store_flags(const StoreAccess& access);

class StoreMembership : public nexus::MembershipStore {
 public:
  // The access was checked. No connection is made yet. Null: it has no endpoints. Errors: invalid_argument and those of
  // reading files, naming the flag and the file.
  static Task<Result<std::unique_ptr<StoreMembership>>> open(Reactor& home, StoreAccess access);
  // Calls under way end with cancelled. Before destruction.
  virtual Task<void> close() = 0;
};

}  // namespace holdfast::engine
