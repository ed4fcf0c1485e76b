// SimNet: byte streams between simulated machines, with delay, back-pressure, arbitrary splitting, resets,
// partitions and silence.
//
// Bytes of a direction arrive in order. A partition holds what is on its way; after healing it arrives, or
// the connection is found reset. A connection of a crashed process ends with an end of stream, a reset, or
// (power loss) with nothing at all until that machine is up again and answers with a reset.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "rt/io.h"
#include "rt/stop.h"
#include "rt/wait.h"
#include "sim/node.h"
#include "sim/world.h"

namespace holdfast::sim {

class SimListener;
class SimStream;

// Of one direction between two machines.
struct LinkOptions {
  Nanos latency_min{15'000};
  Nanos latency_max{120'000};
  std::uint64_t bytes_per_second = 1'000'000'000;
  unsigned spike_per_mille = 0;  // so many pieces take spike longer
  Nanos spike{50'000'000};
  unsigned damage_per_mille = 0;  // in so many pieces one bit is another
};

// Parts of a piece, each from its first byte to the one after its last.
using DamagePlaces = std::vector<std::pair<std::size_t, std::size_t>>;

class SimNet {
 public:
  explicit SimNet(World& world);
  SimNet(const SimNet&) = delete;
  SimNet& operator=(const SimNet&) = delete;
  ~SimNet();

  void set_link(const Node& from, const Node& to, const LinkOptions& link);
  void set_default_link(const LinkOptions& link) { default_link_ = link; }
  // Of the default link.
  void set_damage(unsigned per_mille) noexcept { default_link_.damage_per_mille = per_mille; }
  // Only there: asked for every piece of a direction of a connection, in order. Without it damage is anywhere.
  using DamageWhere =
      std::function<DamagePlaces(std::uint64_t connection, int side, std::span<const std::byte> piece)>;
  void set_damage_where(DamageWhere where) { damage_where_ = std::move(where); }
  // Of the sends that allow it, so many keep their memory for a while after their end, as a network card would that
  // takes it from there. What the caller does to it meanwhile is found (asserted).
  void set_hold_per_mille(unsigned per_mille) noexcept { hold_per_mille_ = per_mille; }
  // Nothing passes from one to the other until healed.
  void block(const Node& from, const Node& to);
  void partition(const Node& a, const Node& b);
  // Of the connections that had something held, one in `reset_one_in` is found reset.
  void heal(const Node& a, const Node& b);
  void heal_all();
  // Resets every connection between the two; some bytes on their way may still arrive.
  void cut(const Node& a, const Node& b);
  // Resets one connection, drawn from all. False when there is none.
  bool cut_one();
  // Connections to the machine are refused although somebody listens.
  void refuse(const Node& to, bool refused);
  // Somebody still believes in a connection to a process of this machine that crashed.
  bool half_open(const Node& node) const;
  std::uint64_t damaged() const noexcept { return damaged_; }  // pieces
  std::size_t connection_count() const noexcept { return connections_.size(); }

  // The rest is for SimReactor, Node and the streams.
  Task<Result<std::unique_ptr<Stream>>> connect(SimReactor& from, Endpoint to, Nanos deadline,
                                                StopToken stop);
  Result<std::unique_ptr<Listener>> listen(SimReactor& reactor, const Endpoint& at);
  std::unique_ptr<Stream> adopt(SimReactor& reactor, std::unique_ptr<PendingStream> accepted);
  Result<std::vector<Endpoint>> resolve(const Endpoint& name);
  void process_died(const Process& process, CrashKind kind);
  // Power is back: peers of old connections that repeat unacknowledged bytes get a reset.
  void node_up(const Node& node);
  void assert_closed(const Process& process) const;

 private:
  friend class SimListener;
  friend class SimStream;
  friend class SimPendingStream;
  using Bytes = std::vector<std::byte>;

  // One end of a connection, and what is on its way to it.
  struct End {
    Node* node = nullptr;
    const Process* process = nullptr;
    SimReactor* reactor = nullptr;  // nullptr until it is adopted
    Endpoint local;
    StreamOp* receiving = nullptr;
    StreamOp* sending = nullptr;
    std::size_t sent = 0;        // bytes of `sending` that the network took
    Bytes inbox;                 // arrived
    std::size_t taken = 0;       // of the inbox
    std::size_t on_the_way = 0;  // taken from the peer's sends, not yet arrived
    std::deque<Bytes> held;      // by a partition; an empty piece is the end of the stream
    Nanos last_arrival{0};
    unsigned held_sends = 0;
    bool end_of_stream = false;  // the peer's last byte has arrived
    bool reset = false;
    bool aborted = false;     // by the peer: what a partition stops now never arrives
    bool gap = false;         // something was lost so, and nothing behind it arrives
    bool send_ended = false;  // end_sending() here
    bool shut = false;        // shutdown() here
    bool closed = false;
    bool dead = false;
  };
  struct Connection {
    std::size_t window = 0;  // bytes that a direction holds, on the way and unread
    bool cut = false;        // a reset is on its way to both ends
    End ends[2];
  };
  // Memory of a send that has ended.
  struct HeldSend {
    std::uint64_t connection = 0;
    int side = 0;
    SendHold* hold = nullptr;
    std::vector<IoVec> vectors;
    Bytes content;
  };
  struct Attempt {
    explicit Attempt(Reactor& r) : done(r) {}
    Event done;
    SimReactor* reactor = nullptr;
    Endpoint to;
    std::uint64_t connection = 0;  // 0: refused
  };
  using LinkId = std::pair<unsigned, unsigned>;
  static LinkId link_id(const Node& from, const Node& to) { return {from.index(), to.index()}; }

  bool blocked(const Node& from, const Node& to) const { return blocked_.contains(link_id(from, to)); }
  const LinkOptions& link(const Node& from, const Node& to) const;
  Nanos delay(const Node& from, const Node& to, std::size_t bytes);
  Connection* find(std::uint64_t id) noexcept;
  Node* find_node(const Node& from, const std::string& address);
  SimListener* find_listener(const Node& node, const Endpoint& to);

  void syn(std::uint64_t attempt);
  void syn_ack(std::uint64_t attempt, std::uint64_t connection);
  void refuse_attempt(std::uint64_t attempt, const Node& by);
  std::uint64_t make_connection(SimReactor& from, SimListener& listener, const Endpoint& to);

  void start(std::uint64_t id, int side, StreamOp& op);
  void pump(std::uint64_t id, int side);  // moves bytes of the send under way onto the wire
  void damage(std::uint64_t id, int side, Bytes& piece);
  void transmit(std::uint64_t id, int from_side, Bytes piece);
  void arrive(std::uint64_t id, int side, Bytes piece);
  void deliver(std::uint64_t id, int side, Bytes piece);
  void try_receive(std::uint64_t id, int side);
  void end_op(End& end, StreamOp*& op, std::int64_t result);
  void end_send(std::uint64_t id, int side, std::int64_t result);
  void keep_memory(std::uint64_t id, int side, const StreamOp& op);
  void give_memory_back(std::uint64_t held);
  void forget_memory(std::uint64_t id, int side);
  void fail_ops(std::uint64_t id, int side);
  void end_sending(std::uint64_t id, int side);
  void shut(std::uint64_t id, int side);
  void abort(std::uint64_t id, int side);
  void close(std::uint64_t id, int side);
  void cut(std::uint64_t id);
  void reset_later(std::uint64_t id, int side, Nanos delay);
  void end_died(std::uint64_t id, int side, CrashKind kind);
  void release_held(std::uint64_t id, int side);
  void drop_if_over(std::uint64_t id);

  World& world_;
  Prng random_;
  LinkOptions default_link_;
  DamageWhere damage_where_;
  std::uint64_t damaged_ = 0;
  std::map<LinkId, LinkOptions> links_;
  std::set<LinkId> blocked_;
  std::set<unsigned> refusing_;
  std::map<std::uint64_t, Connection> connections_;
  std::map<std::uint64_t, HeldSend> held_sends_;
  unsigned hold_per_mille_ = 0;
  std::map<std::uint64_t, Attempt*> attempts_;
  std::vector<SimListener*> listeners_;
  std::uint64_t ids_ = 1;
  std::uint16_t ephemeral_port_ = 32768;
};

}  // namespace holdfast::sim
