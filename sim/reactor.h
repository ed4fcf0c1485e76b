// SimReactor: one core of a simulated process. Ready things of a turn run in random order.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "rt/reactor.h"
#include "sim/world.h"

namespace holdfast::sim {

class Node;

class SimReactor final : public Reactor {
 public:
  SimReactor(World& world, Node& node, unsigned core, std::size_t buffer_budget_bytes);
  // Idle, and every buffer is back (asserted). Dead reactors are never destroyed.
  ~SimReactor() override;

  unsigned core() const noexcept override { return core_; }
  Nanos now() const noexcept override { return world_.now(); }
  WallTime wall_now() const noexcept override;
  Prng& random() noexcept override { return random_; }
  BufferPool& buffers() noexcept override { return buffers_; }

  void post(std::coroutine_handle<> h) noexcept override;
  void defer(Message& m) noexcept override;
  void send(Message& m) noexcept override;
  void arm(Timer& t, Nanos when) noexcept override;
  void disarm(Timer& t) noexcept override;

  Task<Result<std::unique_ptr<File>>> open_file(std::string path, OpenOptions options) override;
  Task<Status> replace_file(std::string path, std::string content) override;
  Task<Result<std::string>> read_file(std::string path) override;
  Task<Status> remove_file(std::string path) override;

  Task<Result<std::unique_ptr<Stream>>> connect(Endpoint to, Nanos deadline, StopToken stop) override;
  Result<std::unique_ptr<Listener>> listen(const Endpoint& at) override;
  std::unique_ptr<Stream> adopt(std::unique_ptr<PendingStream> accepted) override;
  Task<Result<std::vector<Endpoint>>> resolve(Endpoint name) override;
  Task<void> run_blocking(std::function<void()> work) override;

  // The rest is for the simulation.
  World& world() noexcept { return world_; }
  Node& node() noexcept { return node_; }
  unsigned id() const noexcept { return id_; }  // unique in the world
  bool dead() const noexcept { return dead_; }
  // The process crashed: nothing of this reactor runs any more, its memory of buffers goes back.
  void die() noexcept;
  // Nothing runs until then: the machine is paused, or its core is taken away.
  void freeze(Nanos until) noexcept { frozen_until_ = until; }
  Nanos frozen_until() const noexcept { return frozen_until_; }
  // An operation of a disk or a stream has ended.
  void complete(IoOp& op, std::int64_t result) noexcept;

  // For World: what could happen here.
  bool runnable() const noexcept { return frozen_until_ <= world_.now() && has_ready(); }
  Nanos next_timer() const noexcept;  // no_deadline when there is none
  Nanos next_time() const noexcept;   // of a timer, or of waking from being frozen
  void run_one(Prng& random) noexcept;
  void fire_timer() noexcept;

 private:
  struct Item {
    std::coroutine_handle<> handle;
    Message* message = nullptr;
  };
  bool has_ready() const noexcept {
    return !turn_.empty() || !next_.empty() || !deferred_.empty() || !ripe_.empty();
  }
  void begin_turn();
  void assert_here() const noexcept;

  World& world_;
  Node& node_;
  const unsigned core_;
  const unsigned id_;
  Prng random_;
  bool dead_ = false;
  Nanos frozen_until_{0};
  std::vector<Item> turn_;
  std::vector<Item> next_;
  std::vector<Message*> deferred_;       // in the turn under way: what is in next_ was ready before them
  std::vector<Message*> ripe_;           // they join the next turn
  std::map<unsigned, Nanos> last_from_;  // when the newest message of each reactor arrives
  TimerQueue timers_;
  BufferPool buffers_;
};

}  // namespace holdfast::sim
