// The life of a connection: sends, arrivals, resets and ends.
#include <algorithm>
#include <cerrno>

#include "base/assert.h"
#include "sim/net.h"
#include "sim/reactor.h"

namespace holdfast::sim {

namespace {

constexpr Nanos hold_max = 20ms;

}  // namespace

void SimNet::start(std::uint64_t id, int side, StreamOp& op) {
  Connection* c = find(id);
  HF_ASSERT(c != nullptr);
  End& end = c->ends[side];
  if (end.dead) return bury(&op);
  if (op.kind == StreamOp::Kind::receive) {
    HF_ASSERT(end.receiving == nullptr && total_bytes(op.vectors) > 0);
    end.receiving = &op;
    return try_receive(id, side);
  }
  HF_ASSERT(end.sending == nullptr && op.vectors.size() <= io_vectors_max);
  end.sending = &op;
  end.sent = 0;
  pump(id, side);
}

void SimNet::end_op(End& end, StreamOp*& op, std::int64_t result) {
  StreamOp* ended = op;
  op = nullptr;
  end.reactor->complete(*ended, result);
}

void SimNet::pump(std::uint64_t id, int side) {
  Connection* c = find(id);
  End& end = c->ends[side];
  End& peer = c->ends[1 - side];
  if (end.sending == nullptr) return;
  if (end.reset) return end_send(id, side, -ECONNRESET);
  if (end.shut || end.send_ended) return end_send(id, side, -EPIPE);
  const std::size_t total = total_bytes(end.sending->vectors);
  for (;;) {
    const std::size_t unread = peer.on_the_way + (peer.inbox.size() - peer.taken);
    const std::size_t room = c->window > unread ? c->window - unread : 0;
    std::size_t n = std::min(room, total - end.sent);
    if (n == 0) break;
    if (random_.chance(1, 6)) n = random_.between(1, n);
    Bytes piece;
    piece.reserve(n);
    std::size_t skip = end.sent;
    for (const IoVec& v : end.sending->vectors) {
      if (skip >= v.size) {
        skip -= v.size;
        continue;
      }
      const std::size_t take = std::min(v.size - skip, n - piece.size());
      piece.insert(piece.end(), v.data + skip, v.data + skip + take);
      skip = 0;
      if (piece.size() == n) break;
    }
    end.sent += n;
    peer.on_the_way += n;
    damage(id, side, piece);
    transmit(id, side, std::move(piece));
  }
  if (end.sent == total) end_send(id, side, static_cast<std::int64_t>(total));
}

void SimNet::end_send(std::uint64_t id, int side, std::int64_t result) {
  End& end = find(id)->ends[side];
  const bool may = end.sending->hold != nullptr && hold_per_mille_ > 0;
  if (may && random_.chance(hold_per_mille_, 1000)) keep_memory(id, side, *end.sending);
  end_op(end, end.sending, result);
}

void SimNet::keep_memory(std::uint64_t id, int side, const StreamOp& op) {
  End& end = find(id)->ends[side];
  const std::uint64_t number = ids_++;
  HeldSend& held = held_sends_[number];
  held.connection = id;
  held.side = side;
  held.hold = op.hold;
  held.vectors.assign(op.vectors.begin(), op.vectors.end());
  for (const IoVec& v : op.vectors) held.content.insert(held.content.end(), v.data, v.data + v.size);
  ++end.held_sends;
  op.hold->hold();
  const auto most = static_cast<std::uint64_t>(hold_max.count());
  world_.after(
      Nanos(random_.below(most)), [this, number] { give_memory_back(number); }, end.reactor);
}

void SimNet::give_memory_back(std::uint64_t number) {
  const auto found = held_sends_.find(number);
  if (found == held_sends_.end()) return;
  const HeldSend& held = found->second;
  Connection& c = *find(held.connection);
  End& end = c.ends[held.side];
  // The peer's machine has to have it all, unless nobody waits for that any more.
  if (!end.shut && !end.reset && blocked(*end.node, *c.ends[1 - held.side].node))
    return world_.after(
        hold_max, [this, number] { give_memory_back(number); }, end.reactor);
  std::size_t at = 0;
  for (const IoVec& v : held.vectors) {
    HF_ASSERT(std::equal(v.data, v.data + v.size, held.content.begin() + static_cast<std::ptrdiff_t>(at)));
    at += v.size;
  }
  SendHold& hold = *held.hold;
  --end.held_sends;
  held_sends_.erase(found);
  hold.release();
}

// Of a process that crashed.
void SimNet::forget_memory(std::uint64_t id, int side) {
  std::erase_if(held_sends_, [&](const auto& entry) {
    const HeldSend& held = entry.second;
    if (held.connection != id || held.side != side) return false;
    bury(held.hold);
    return true;
  });
  find(id)->ends[side].held_sends = 0;
}

void SimNet::damage(std::uint64_t id, int side, Bytes& piece) {
  DamagePlaces places{{0, piece.size()}};
  if (damage_where_) places = damage_where_(id, side, piece);
  const Connection* c = find(id);
  const unsigned per_mille = link(*c->ends[side].node, *c->ends[1 - side].node).damage_per_mille;
  if (per_mille == 0 || !random_.chance(per_mille, 1000)) return;
  std::size_t bytes = 0;
  for (const auto& [first, end] : places) bytes += end - first;
  if (bytes == 0) return;
  std::size_t chosen = random_.below(bytes);
  for (const auto& [first, end] : places) {
    if (chosen < end - first) {
      piece[first + chosen] ^= std::byte{1} << random_.below(8);
      ++damaged_;
      return;
    }
    chosen -= end - first;
  }
}

// An empty piece is the end of the stream.
void SimNet::transmit(std::uint64_t id, int from_side, Bytes piece) {
  Connection* c = find(id);
  End& to = c->ends[1 - from_side];
  to.last_arrival =
      std::max(to.last_arrival, world_.now() + delay(*c->ends[from_side].node, *to.node, piece.size()));
  const int side = 1 - from_side;
  auto event = [this, id, side, moved = std::move(piece)]() mutable { arrive(id, side, std::move(moved)); };
  world_.at(to.last_arrival, std::move(event));
}

void SimNet::arrive(std::uint64_t id, int side, Bytes piece) {
  Connection* c = find(id);
  if (c == nullptr) return;
  End& end = c->ends[side];
  const bool stopped = blocked(*c->ends[1 - side].node, *end.node);
  if (end.aborted && (stopped || end.gap || piece.empty())) {
    end.gap = true;
    end.on_the_way -= piece.size();
    return;
  }
  if (!end.held.empty() || stopped) {
    end.held.push_back(std::move(piece));
    return;
  }
  deliver(id, side, std::move(piece));
}

void SimNet::deliver(std::uint64_t id, int side, Bytes piece) {
  Connection* c = find(id);
  End& end = c->ends[side];
  HF_ASSERT(end.on_the_way >= piece.size());
  if (end.reset) {
    end.on_the_way -= piece.size();
    return;
  }
  if (end.dead || end.shut) {
    // Nobody takes it. A machine that is up says so; one without power says nothing, and the window stays
    // used.
    const bool answers = end.dead ? end.node->powered() : true;
    if (answers && !piece.empty()) reset_later(id, 1 - side, delay(*end.node, *c->ends[1 - side].node, 64));
    return;
  }
  end.on_the_way -= piece.size();
  if (piece.empty()) {
    end.end_of_stream = true;
  } else if (end.taken == end.inbox.size()) {
    end.inbox = std::move(piece);
    end.taken = 0;
  } else {
    end.inbox.insert(end.inbox.end(), piece.begin(), piece.end());
  }
  try_receive(id, side);
}

void SimNet::try_receive(std::uint64_t id, int side) {
  Connection* c = find(id);
  End& end = c->ends[side];
  if (end.receiving == nullptr) return;
  if (end.shut) return end_op(end, end.receiving, 0);
  if (end.reset) return end_op(end, end.receiving, -ECONNRESET);
  const std::size_t there = end.inbox.size() - end.taken;
  if (there == 0) {
    if (end.end_of_stream) end_op(end, end.receiving, 0);
    return;
  }
  std::size_t n = std::min(there, total_bytes(end.receiving->vectors));
  if (random_.chance(1, 8)) n = random_.between(1, n);
  std::size_t done = 0;
  for (const IoVec& v : end.receiving->vectors) {
    const std::size_t take = std::min(v.size, n - done);
    std::copy_n(end.inbox.begin() + static_cast<std::ptrdiff_t>(end.taken + done), take, v.data);
    done += take;
    if (done == n) break;
  }
  end.taken += n;
  if (end.taken == end.inbox.size()) {
    end.inbox.clear();
    end.taken = 0;
  }
  end_op(end, end.receiving, static_cast<std::int64_t>(n));
  pump(id, 1 - side);
}

void SimNet::fail_ops(std::uint64_t id, int side) {
  End& end = find(id)->ends[side];
  if (end.receiving != nullptr) end_op(end, end.receiving, end.reset ? -ECONNRESET : 0);
  if (end.sending != nullptr) end_send(id, side, end.reset ? -ECONNRESET : -EPIPE);
}

void SimNet::end_sending(std::uint64_t id, int side) {
  Connection* c = find(id);
  if (c == nullptr) return;
  End& end = c->ends[side];
  HF_ASSERT(end.dead || end.sending == nullptr);
  if (end.send_ended || end.shut || end.dead || end.reset || c->cut) return;
  end.send_ended = true;
  transmit(id, side, Bytes());
}

void SimNet::shut(std::uint64_t id, int side) {
  Connection* c = find(id);
  if (c == nullptr || c->ends[side].shut || c->ends[side].dead) return;
  End& end = c->ends[side];
  const bool unread = end.inbox.size() > end.taken;
  end.shut = true;
  if (end.reactor != nullptr) fail_ops(id, side);
  if (end.reset || c->cut) return;
  // As Linux does: unread bytes at a close make it a reset.
  if (unread && random_.chance(1, 2)) {
    reset_later(id, 1 - side, delay(*end.node, *c->ends[1 - side].node, 64));
  } else if (!end.send_ended) {
    transmit(id, side, Bytes());
  }
  // Nobody reads those any more: a send that waits for room goes on, and finds out.
  end.inbox.clear();
  end.taken = 0;
  pump(id, 1 - side);
}

// As Linux does: the send buffer is forgotten, and the peer gets a reset.
void SimNet::abort(std::uint64_t id, int side) {
  Connection* c = find(id);
  if (c == nullptr || c->ends[side].dead) return;
  End& end = c->ends[side];
  End& peer = c->ends[1 - side];
  peer.aborted = true;
  peer.gap = !peer.held.empty();
  for (const Bytes& piece : std::exchange(peer.held, {})) peer.on_the_way -= piece.size();
  if (!end.reset && !c->cut) reset_later(id, 1 - side, delay(*end.node, *peer.node, 64));
  shut(id, side);
}

void SimNet::close(std::uint64_t id, int side) {
  Connection* c = find(id);
  if (c == nullptr) return;
  End& end = c->ends[side];
  HF_ASSERT(end.dead || (end.receiving == nullptr && end.sending == nullptr && end.held_sends == 0));
  end.closed = true;
  end.reactor = nullptr;
  drop_if_over(id);
}

void SimNet::drop_if_over(std::uint64_t id) {
  const Connection* c = find(id);
  const auto over = [](const End& end) { return end.closed || end.dead; };
  if (over(c->ends[0]) && over(c->ends[1])) connections_.erase(id);
}

void SimNet::cut(std::uint64_t id) {
  Connection* c = find(id);
  if (c->cut) return;
  c->cut = true;
  for (const int side : {0, 1}) {
    reset_later(id, side, delay(*c->ends[1 - side].node, *c->ends[side].node, 64));
  }
}

void SimNet::reset_later(std::uint64_t id, int side, Nanos delay) {
  world_.after(delay, [this, id, side, delay] {
    Connection* c = find(id);
    if (c == nullptr || c->ends[side].reset) return;
    End& end = c->ends[side];
    // A cut makes both ends give up by themselves; a reset that the other end sent has to get through.
    if (!c->cut && blocked(*c->ends[1 - side].node, *end.node)) return reset_later(id, side, delay + 50ms);
    end.reset = true;
    end.held.clear();
    end.inbox.clear();
    end.taken = 0;
    end.end_of_stream = false;
    if (end.reactor != nullptr && !end.dead) fail_ops(id, side);
  });
}

void SimNet::end_died(std::uint64_t id, int side, CrashKind kind) {
  Connection* c = find(id);
  End& end = c->ends[side];
  end.dead = true;
  bury(end.receiving);
  bury(end.sending);
  end.receiving = nullptr;
  end.sending = nullptr;
  forget_memory(id, side);
  end.reactor = nullptr;
  if (kind == CrashKind::process && !end.reset) {
    if (random_.chance(1, 2)) {
      transmit(id, side, Bytes());
    } else {
      reset_later(id, 1 - side, delay(*end.node, *c->ends[1 - side].node, 64));
    }
  }
  drop_if_over(id);
}

// What is held stays so until then: whatever arrives meanwhile has to queue behind it.
void SimNet::release_held(std::uint64_t id, int side) {
  Connection* c = find(id);
  if (c == nullptr || c->ends[side].held.empty()) return;
  world_.after(delay(*c->ends[1 - side].node, *c->ends[side].node, 64), [this, id, side] {
    Connection* still = find(id);
    if (still == nullptr || blocked(*still->ends[1 - side].node, *still->ends[side].node)) return;
    auto pieces = std::exchange(still->ends[side].held, {});
    for (auto& piece : pieces) deliver(id, side, std::move(piece));
  });
}

void SimNet::node_up(const Node& node) {
  for (const auto& [id, c] : connections_) {
    for (const int side : {0, 1}) {
      if (c.ends[side].node != &node || !c.ends[side].dead || c.ends[side].on_the_way == 0) continue;
      // The peer repeats what was never acknowledged, and is told that nobody knows the connection.
      reset_later(id, 1 - side, Nanos(random_.below(2'000'000'000)));
    }
  }
}

}  // namespace holdfast::sim
