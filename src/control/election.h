// Election: which agent leads, by a lease of the store. The key of the leader lives as long as its lease; whoever
// creates it leads, and compares its revision in every transaction (registry.h), so that of two that believe to lead
// only one changes anything.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "control/options.h"
#include "control/registry.h"
#include "rt/reactor.h"
#include "rt/stop.h"
#include "store/kv.h"

namespace holdfast::control {

class Election {
 public:
  // `options` outlives it.
  Election(Reactor& home, store::Kv& kv, Registry& registry, const Options& options);

  struct Term {
    store::LeaseId lease = store::no_lease;
    store::Revision created = 0;  // of the leader's key
    Nanos granted{0};             // on the reactor's clock, before it was asked for
  };
  // Waits until this agent leads; nothing when stopped.
  Task<std::optional<Term>> win(StopToken stop);
  // Keeps the lease alive. Ends when it is lost, or could be, or when stopped.
  Task<void> hold(Term term, StopToken stop);
  // Nobody else leads now, however long this process stood still.
  bool sure() const noexcept { return home_.now() < sure_until_; }
  // Lets others lead at once.
  Task<void> resign(Term term);
  // What the leader advertises, of its record: the URL of its REST API, and where engines register with it.
  std::optional<std::string> leader() const { return told("advertise"); }
  std::optional<std::string> leader_registration() const { return told("registration"); }
  // The record is this agent's own: it leads, or did before it was started again.
  bool is_own() const { return registry_.leader_record() == record_; }

 private:
  Task<Result<Term>> attempt();
  Task<void> end_former_run();
  std::optional<std::string> told(const char* field) const;

  Reactor& home_;
  store::Kv& kv_;
  Registry& registry_;
  const std::int64_t ttl_s_;
  const std::string record_;
  bool may_end_former_run_;
  Nanos sure_until_{0};
};

}  // namespace holdfast::control
