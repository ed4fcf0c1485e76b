// Verifier: what must hold of a pool whose disks have been through a crash.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "pool/pool.h"
#include "sim/node.h"
#include "sim/pool/model.h"
#include "sim/world.h"

namespace holdfast::sim {

// What of these a pool that shows `there` has not, or has besides; empty: nothing.
std::string differs(const Objects& objects, const std::vector<pool::VolumeView>& there);

class Verifier {
 public:
  // What a pool may be after a crash: one of these steps.
  struct Expectation {
    std::vector<const Step*> steps;
    Moment at = 0;
    Crash crash = Crash::process;
    bool may_be_nothing = false;  // the pool was being created: there may be none, and then it can be created
    bool by_force = false;        // if need be: disks failed while it was created
    bool keep = false;            // objects and disks are wanted
  };
  struct Found {
    std::string failure;  // empty: all is well
    // The rest where it was asked for.
    Objects objects;               // as they are, each sector with the one version that is there
    std::vector<DiskImage> disks;  // of the pool, as the crash left them; none when something came after it
  };

  explicit Verifier(std::uint64_t seed);
  Verifier(const Verifier&) = delete;
  Verifier& operator=(const Verifier&) = delete;

  Found verify(const std::vector<CrashedDisk>& disks, const Expectation& expected);
  std::uint64_t verified() const noexcept { return verified_; }

 private:
  class Attempt;
  World world_;
  Process& process_;
  std::deque<Version> versions_;
  std::uint64_t verified_ = 0;
};

}  // namespace holdfast::sim
