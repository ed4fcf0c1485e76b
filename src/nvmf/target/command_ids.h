// CommandIds: which command identifiers of a queue are in use (NVMe Base 2.0, section 3.3.3.1: an identifier is
// unique among the outstanding commands of its submission queue).
//
// A table of short chains through the Requests themselves: hosts number their commands by slot, so that a chain
// is one request long; one that numbers them otherwise pays with a walk over at most its own queue.
#pragma once

#include <bit>
#include <cstddef>
#include <vector>

#include "base/assert.h"
#include "nvmf/target/request.h"

namespace holdfast::nvmf::target {

class CommandIds {
 public:
  // For a queue of so many entries; nothing is in use.
  void resize(std::size_t entries) { chains_.assign(std::bit_ceil(entries), nullptr); }
  // r's identifier is in use until erase(). False: it is already, and r has nothing to give back.
  bool insert(Request& r) noexcept {
    Request*& chain = chain_of(r);
    for (const Request* other = chain; other != nullptr; other = other->same_chain) {
      if (other->sqe.cid == r.sqe.cid) return false;
    }
    r.same_chain = chain;
    r.has_id = true;
    chain = &r;
    return true;
  }
  // No-op when r has none.
  void erase(Request& r) noexcept {
    if (!r.has_id) return;
    r.has_id = false;
    Request** at = &chain_of(r);
    while (*at != &r) at = &(*at)->same_chain;
    *at = r.same_chain;
  }

 private:
  Request*& chain_of(const Request& r) noexcept {
    HF_ASSERT(!chains_.empty());
    return chains_[r.sqe.cid.get() & (chains_.size() - 1)];
  }

  std::vector<Request*> chains_;
};

}  // namespace holdfast::nvmf::target
