// Nodes: the engines as this agent sees them. Keeps a connection to each, asks each for all that it has, notices when
// one does not answer, and holds what they reported.
//
// What an answer to a call shows is newer than a report that was asked for before it: the report leaves it alone.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "control/engine.h"
#include "control/model/state.h"
#include "control/news.h"
#include "control/options.h"
#include "control/requests.h"
#include "rt/reactor.h"
#include "rt/scope.h"
#include "rt/stop.h"
#include "rt/wait.h"

namespace holdfast::control {

class Nodes {
 public:
  // `news`, which outlives it, is told when something that was reported differs from before; `status_changed` is called
  // when a node came or went.
  Nodes(Reactor& home, EngineDirectory& directory, const Options& options, News& news,
        std::function<void(const NodeState&)> status_changed);
  Nodes(const Nodes&) = delete;
  Nodes& operator=(const Nodes&) = delete;
  ~Nodes();

  const Observed& observed() const noexcept { return observed_; }
  Observed& observed() noexcept { return observed_; }

  // The node is asked from now on. Known already: its endpoint may be another now.
  void watch(const NodeId& id, const std::string& endpoint);
  void forget(const NodeId& id);
  // It has told of itself.
  void heartbeat(const Registration& registration);
  // It leaves on purpose.
  void departed(const NodeId& id);
  // Reports that were asked for before now do not tell any more what a node does not have: another agent may have made
  // it since. Every node is asked again.
  void ask_anew();
  // Every node was heard of, or had the time for it.
  bool settled() const noexcept;

  // Calls to the node, whatever its status; NotFound when it is not known.
  Result<Engine*> engine(const NodeId& id) const;
  // As engine(), refused while the node does not answer: Unavailable.
  Result<Engine*> online_engine(const NodeId& id) const;

  // What calls have shown. They return what they are given, for use in passing.
  void note(const PoolState& pool);
  void note(const ReplicaState& replica);
  void note(const NexusState& nexus);
  void note(const SnapshotState& snapshot);
  void note_record(const Uuid& replica, std::uint64_t digest);
  void note_gone(const PoolId& pool);
  enum class Gone : std::uint8_t { replica, nexus, snapshot };
  void note_gone(Gone what, const Uuid& id);
  // Asks the node again at once: the outcome of a call is not known.
  void refresh(const NodeId& id);
  // Asks it now and waits for the outcome.
  Task<Status> refresh_now(NodeId id);

  Task<void> close();
  // Clients of endpoints that nodes had, to which calls may be under way.
  std::size_t retiring() const noexcept { return retiring_; }

 private:
  struct Node;
  struct Touched {
    ById<Nanos> resources;
    std::map<PoolId, Nanos> pools;
  };

  Task<void> attend(Node& node);
  // Gives it up once no call to it can be under way any more.
  Task<void> retire(std::unique_ptr<Engine> former);
  Task<Status> poll(Node& node);
  void apply(Node& node, EngineReport report, Nanos asked);
  void heard_of(Node& node, bool synced);
  void check_deadline(Node& node);
  void set_status(Node& node, NodeStatus status);
  bool newer(const Uuid& id, Nanos asked) const;
  void forget_old_touches();
  // What is known of the node is not what it reported last: it is to tell everything.
  void mix(const NodeId& id);
  template <class State, class Key>
  void keep(HashedMap<Key, State>& kept, std::set<Key> Node::*had, const State& state);
  template <class State, class Key>
  void drop(HashedMap<Key, State>& kept, const Key& id);
  template <class State, class Key, class Which>
  void drop_if(HashedMap<Key, State>& kept, const Which& which);

  Reactor& home_;
  EngineDirectory& directory_;
  const Options& options_;
  News& news_;
  const std::function<void(const NodeState&)> status_changed_;
  Observed observed_;
  Touched touched_;
  std::map<NodeId, std::unique_ptr<Node>> nodes_;
  std::vector<std::unique_ptr<Node>> leaving_;
  Nanos began_;
  Nanos relied_on_from_{0};
  std::size_t retiring_ = 0;
  StopSource closing_;
  TaskScope scope_;
};

}  // namespace holdfast::control
