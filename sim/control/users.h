// Users: random requests, and what they were told, so that it can be held against what is in the end.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/prng.h"
#include "sim/control/cluster.h"

namespace holdfast::sim {

enum class Ask : std::uint8_t {
  create_volume,
  delete_volume,
  publish,
  unpublish,
  resize,
  set_replicas,
  move_replica,
  create_snapshot,
  delete_snapshot,
  restore,
  cordon,
  uncordon,
  drain,
  drain_replicas,
  evacuate,
  end_evacuation,
  create_pool,
  delete_pool,
  purge_node,
};
inline constexpr unsigned ask_count = 19;

struct UserRequest {
  std::uint64_t number = 0;
  Ask what{};
  Uuid volume;
  Uuid snapshot;
  std::uint64_t size_bytes = 0;
  std::uint32_t count = 0;
  bool flag = false;  // thin; force
  enum class Repeats : std::uint8_t { nothing, unknown, success };
  Repeats repeats = Repeats::nothing;  // the same was asked before, with this outcome
  control::NodeId node;
  control::PoolId pool;
};

class Users {
 public:
  Users(ControlCluster& cluster, std::uint64_t seed) : cluster_(cluster), random_(seed) {}

  // One more request, of those that make sense.
  void ask_something();
  // What the set-up and the end need.
  void ask(UserRequest request);
  void make_pools();
  // Whatever keeps things from their places is lifted.
  void lift_restrictions();
  // Asks again for the end of all that may still be there. False once there is nothing.
  bool delete_everything();
  // A machine is gone for ever.
  void lost(const control::NodeId& node) { lost_.insert(node); }
  const std::set<control::NodeId>& lost() const noexcept { return lost_; }

  // Requests without an answer.
  std::size_t waiting();
  std::uint64_t asked() const noexcept { return asked_; }
  std::uint64_t refused() const noexcept { return refused_; }
  // A request to grow it ended with an error.
  bool resize_failed(const Uuid& volume) const { return resize_failed_.contains(volume); }
  // Where what was answered and what the agent wants differ.
  std::vector<std::string> contradictions(const control::Specs& specs) const;

 private:
  enum class Sure : std::uint8_t { no, yes, maybe };
  struct Volume {
    Sure exists = Sure::no;
    Sure published = Sure::no;
    std::optional<std::uint64_t> size_bytes;
    std::optional<std::uint32_t> replicas;
    bool doomed = false;
    bool busy = false;
  };
  struct Snapshot {
    Uuid volume;
    Sure exists = Sure::no;
    bool doomed = false;
    bool busy = false;
  };
  struct Waiting {
    UserRequest request;
    std::uint64_t run;
  };
  Task<void> carry_out(control::Agent& agent, UserRequest r);
  Task<Status> submit(control::Agent& agent, UserRequest r);
  Task<Status> submit_other(control::Agent& agent, UserRequest r);
  Task<Status> purge_node(control::Agent& agent, control::NodeId node);
  void begin(const UserRequest& r);
  void end(const UserRequest& r, const Status& outcome);
  void end_volume(const UserRequest& r, Volume& v, const Status& outcome);
  void end_refused(const UserRequest& r, Volume& v, const Error& why);
  void end_snapshot(const UserRequest& r, const Status& outcome);
  void unknown(const UserRequest& r);
  void repeat_some(const UserRequest& r, UserRequest::Repeats outcome);
  void check_repeated(const UserRequest& r, const Status& outcome);
  bool may_be_asked(const UserRequest& r);
  Uuid new_uuid() { return Uuid::random(random_); }
  std::optional<Uuid> idle_volume(bool published);
  std::optional<Uuid> idle_snapshot();
  bool fill_in(UserRequest& r);

  ControlCluster& cluster_;
  Prng random_;
  std::map<Uuid, Volume> volumes_;
  std::map<Uuid, Snapshot> snapshots_;
  std::map<std::uint64_t, Waiting> waiting_;
  std::vector<UserRequest> again_;    // whose outcome is not known
  std::vector<UserRequest> at_once_;  // that succeeded
  std::set<control::NodeId> lost_;
  std::set<Uuid> resize_failed_;
  std::uint64_t asked_ = 0;
  std::uint64_t refused_ = 0;
};

std::string to_string(const UserRequest& request);

}  // namespace holdfast::sim
