// What happened, for people and for those who follow along: a bounded history with numbers, newest kept.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "rt/reactor.h"
#include "rt/wait.h"

namespace holdfast::control {

// Category and action by the names of Mayastor's events: Pool, Volume, Nexus,
// Replica, Node, HighAvailability, Snapshot, Clone; Create, Delete, StateChange, RebuildBegin, RebuildEnd, SwitchOver,
// AddChild, RemoveChild, OnlineChild, Shutdown.
struct Event {
  std::uint64_t number = 0;  // from 1, without gaps in one run of an agent
  WallTime at{};
  std::string category;
  std::string action;
  std::string resource;  // id
  std::string node;      // empty: of no node
  std::string text;      // what happened, in words
  bool warning = false;
};

class Events {
 public:
  static constexpr std::size_t kept_max = 4096;

  explicit Events(Reactor& home, std::size_t kept = kept_max) noexcept
      : home_(home), news_(home), kept_max_(kept) {}

  // Numbers the event, stamps it and logs it.
  void add(std::string_view category, std::string_view action, std::string resource, std::string node,
           std::string text, bool warning = false);
  // Those kept with a number above `after`, oldest first, at most `max`.
  std::vector<Event> since(std::uint64_t after, std::size_t max = kept_max) const;
  // As since(), once there is one; empty at the deadline or when stopped.
  Task<std::vector<Event>> next(std::uint64_t after, Nanos deadline = no_deadline,
                                StopToken stop = StopToken());
  std::uint64_t last_number() const noexcept { return last_; }

 private:
  Reactor& home_;
  WaitQueue news_;
  const std::size_t kept_max_;
  std::deque<Event> kept_;
  std::uint64_t last_ = 0;
};

}  // namespace holdfast::control
