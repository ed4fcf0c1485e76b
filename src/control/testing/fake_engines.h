// FakeEngines: engines that answer from a Fleet, with the delays and the losses of a network, on a reactor of their
// own. Everything follows from the seed.
//
//   fake::MemoryRecords records;
//   fake::FakeEngines engines(reactor, records);
//   engines.fleet().add("node-1");
//   auto engine = FakeDirectory(engines, reactor).connect("node-1", engines.fleet().machine("node-1").endpoint());
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/prng.h"
#include "control/engine.h"
#include "control/testing/fleet.h"
#include "rt/reactor.h"
#include "rt/scope.h"
#include "rt/wait.h"

namespace holdfast::control::fake {

// What is wrong with the way between agents and one engine. Chances are one in so many calls; 0: never.
struct Trouble {
  bool cut = false;           // nothing comes through: calls end at their time-out
  Nanos slow{0};              // added to each request, so that it may arrive after its caller has given up
  Nanos slow_answer{0};       // added to each answer, so that what it tells may be old
  unsigned lose_answer = 0;   // it is carried out, the connection breaks before the answer
  unsigned lose_request = 0;  // the connection breaks before it arrives
  unsigned repeat = 0;        // it arrives twice, some time apart
  unsigned lose_next_answers = 0;  // of so many calls from now on, whatever they are
};

struct NetworkOptions {
  std::uint64_t seed = 1;
  Nanos delay_min = 50us;  // of a request, and of its answer
  Nanos delay_max = 2ms;
  Nanos repeat_after_max = 100ms;
};

class FakeEngines {
 public:
  // What engines do happens on `home`. The records outlive it.
  FakeEngines(Reactor& home, Records& records, FleetOptions fleet = FleetOptions(),
              NetworkOptions network = NetworkOptions());
  // idle() was awaited, unless its world was given up.
  ~FakeEngines() = default;

  // Brought up to date with the reactor's clock.
  Fleet& fleet();
  Trouble& trouble(const NodeId& node) { return troubles_[node]; }
  Reactor& home() noexcept { return home_; }
  std::uint64_t calls() const noexcept { return calls_; }
  // Everything that was asked has been done or lost.
  Task<void> idle() { return scope_.join(); }

 private:
  friend class FakeEngine;
  // One call on its way there and back.
  struct CallBase : Message {
    CallBase(FakeEngines& e, Reactor& h, std::string a, NodeId n) noexcept
        : engines(e), here(h), address(std::move(a)), node(std::move(n)), done(h) {}
    virtual ~CallBase() = default;
    void run() noexcept override;
    virtual void act(Machine& m) = 0;
    virtual void fail(Error error) = 0;

    FakeEngines& engines;
    Reactor& here;
    const std::string address;
    const NodeId node;
    holdfast::Event done;
    bool back = false;       // it carries an answer
    bool abandoned = false;  // nobody waits for it
  };
  Task<void> serve(CallBase* call);
  // False: it cannot be carried out, and says why.
  bool arrive(CallBase& call);
  Machine* machine_at(const std::string& endpoint);
  Nanos delay(Nanos max) { return Nanos(random_.below(static_cast<std::uint64_t>(max.count()) + 1)); }
  Nanos one_way() { return network_.delay_min + delay(network_.delay_max - network_.delay_min); }
  bool chance(unsigned one_in) { return one_in != 0 && random_.below(one_in) == 0; }

  Reactor& home_;
  const NetworkOptions network_;
  Fleet fleet_;
  Prng random_;
  std::map<NodeId, Trouble> troubles_;
  std::uint64_t calls_ = 0;
  TaskScope scope_;
};

// For callers on a reactor `here`.
class FakeDirectory final : public EngineDirectory {
 public:
  FakeDirectory(FakeEngines& engines, Reactor& here, EngineTimeouts timeouts = EngineTimeouts()) noexcept
      : engines_(engines), here_(here), timeouts_(timeouts) {}
  std::unique_ptr<Engine> connect(const NodeId& node, const std::string& endpoint) override;

 private:
  FakeEngines& engines_;
  Reactor& here_;
  const EngineTimeouts timeouts_;
};

}  // namespace holdfast::control::fake
