// MembershipKeeper: brings the membership record of one nexus to what the nexus wants, by compare-and-swap,
// for as long as it takes. Home core.
//
// Changes that are wanted while a swap is under way go into the next one, so the store sees one swap at a
// time. A store that cannot be reached is tried again with growing pauses. A swap that is lost to another
// owner fences the nexus. A swap without an answer may have been done: the next one then loses, the record
// turns out to be our own (`owner`), and the keeper goes on from there.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "nexus/membership.h"
#include "nexus/types.h"
#include "rt/reactor.h"
#include "rt/scope.h"
#include "rt/wait.h"

namespace holdfast::nexus {

class MembershipKeeper {
 public:
  // What the record should say. Its epoch is the least that it may have; the owner is filled in.
  using Wanted = std::function<Record()>;

  MembershipKeeper(Reactor& home, MembershipStore& store, std::string key, const NexusOptions& options,
                   Wanted wanted);
  ~MembershipKeeper();

  // What the store has now. First call, before any other.
  Task<Result<std::optional<Record>>> load();
  // Records what is wanted now. Errors: fenced, for good; timed_out at the deadline and cancelled at the stop (the
  // keeper goes on); not_connected after stop().
  Task<Status> persist(Nanos deadline = no_deadline, StopToken stop = StopToken());
  // Ends the attempts; later calls fail. Waits for the store call that is under way.
  Task<void> stop();

  bool fenced() const noexcept { return fenced_; }
  bool pending() const noexcept { return running_; }
  std::uint64_t epoch() const noexcept { return epoch_; }
  std::uint64_t swaps() const noexcept { return swaps_; }
  std::uint64_t retries() const noexcept { return retries_; }
  const std::string& key() const noexcept { return key_; }

 private:
  enum class Outcome : std::uint8_t { done, again, lost };
  Task<void> run();
  Task<Outcome> attempt();
  Task<Outcome> resolve_lost(Record tried);

  Reactor& home_;
  MembershipStore& store_;
  const std::string key_;
  const NexusOptions options_;
  const Wanted wanted_;
  Uuid owner_;
  std::uint64_t revision_ = 0;
  std::uint64_t epoch_ = 0;
  std::uint64_t asked_ = 0;  // calls of persist
  std::uint64_t done_ = 0;   // those that are in the record
  bool running_ = false;
  bool fenced_ = false;
  std::uint64_t swaps_ = 0;
  std::uint64_t retries_ = 0;
  StopSource stop_;
  WaitQueue progress_;
  TaskScope scope_;
};

}  // namespace holdfast::nexus
