// What a change of the metadata leaves behind. Other cores look at maps while the home core changes them, and a
// change that has been applied may not be durable yet (the journal's disk may have a volatile cache). So:
//   - memory that a change replaced is destroyed only when every core has ended the operations that may look at it;
//   - a cluster that nobody names any more is reused only when, in addition, the record that freed it is durable;
//   - a cluster that one map less shares is written in place only then, too. Else a crash could bring the other map
//     back with foreign bytes in it.
// Until then those clusters and leaves are held (ClusterCounts::hold).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "pool/types.h"

namespace holdfast::pool {

class Leaf;

// An object that other cores may still look at. Its owner decides when it is safe to destroy it.
class Retired {
 public:
  Retired() = default;
  Retired(const Retired&) = delete;
  Retired& operator=(const Retired&) = delete;
  virtual ~Retired() = default;
  // About how many things end with it, at least 1.
  virtual std::size_t parts() const noexcept { return 1; }
};

// Of one or more records, in order. Give it to State::settle() when the records are durable and every core has
// passed a grace period; at recovery at once. `freed` may be taken out, discarded on the disks, and settled later.
struct Effects {
  std::vector<ClusterRun> freed;       // held; nobody names them
  std::vector<Cluster> unshared;       // held; named once
  std::vector<Leaf*> unshared_leaves;  // held; they live at least as long as what is retired after them
  std::vector<std::unique_ptr<Retired>> retired;

  bool empty() const noexcept {
    return freed.empty() && unshared.empty() && unshared_leaves.empty() && retired.empty();
  }
  // Adds what came later.
  void append(Effects&& later);
  void add_freed(Cluster cluster);
};

// A checkpoint that is being written sees the state as it was when it began: what is as old as the pin is copied
// before it is changed, and kept when it is replaced.
struct Pin {
  std::uint32_t generation = 1;  // stamped on whatever is made; +1 when a pin begins
  bool active = false;
  std::vector<std::unique_ptr<Retired>> kept;

  bool holds(std::uint32_t stamp) const noexcept { return active && stamp < generation; }
};

}  // namespace holdfast::pool
