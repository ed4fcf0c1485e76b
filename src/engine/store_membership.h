// The engine's connection to the control plane's store, and the membership records in it. Without the store's own
// headers: what has to do with the wire of NVMe does not see them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "nexus/membership.h"
#include "rt/reactor.h"

namespace holdfast::engine {

// Errors: invalid_argument, naming the flag.
Status check_store_flags(const std::vector<std::string>& endpoints, const std::string& cluster);

class StoreMembership : public nexus::MembershipStore {
 public:
  // Records of a cluster in the store at these endpoints, which were checked. No connection is made yet.
  static std::unique_ptr<StoreMembership> connect(Reactor& home, const std::vector<std::string>& endpoints,
                                                  const std::string& cluster);
  // Calls under way end with cancelled. Before destruction.
  virtual Task<void> close() = 0;
};

}  // namespace holdfast::engine
