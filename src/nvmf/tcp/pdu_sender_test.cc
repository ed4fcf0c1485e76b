// Goal: what one side queues the other side reads, in order and with its digests; PDUs of one turn leave
// together; data is given back once and only after it has left; a dead peer gives everything back too.
// Method: sender and receiver over the simulated network, which cuts and delays at random.
#include "nvmf/tcp/pdu_sender.h"

#include <deque>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "base/prng.h"
#include "nvmf/tcp/pdu_receiver.h"
#include "rt/scope.h"
#include "sim/net.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::nvmf::tcp {
namespace {

using nvme::C2hData;
using nvme::CapsuleResp;
using nvme::PduType;
using Bytes = std::vector<std::byte>;

// A host machine and a controller machine, connected.
struct Wire2 {
  explicit Wire2(std::uint64_t seed)
      : world(seed), a(world.add_node("host")), b(world.add_node("controller")) {
    ra = &a.start().core(0);
    rb = &b.start().core(0);
    listener = std::move(rb->listen(Endpoint{"0.0.0.0", 8420}).value());
    world.spawn(*rb, accept());
    host = std::move(
        world.run(*ra, ra->connect(Endpoint{b.ipv4(), 8420}, world.now() + 5s, StopToken())).value());
    world.run_until([&] { return controller != nullptr; }, world.now() + 1s);
  }
  ~Wire2() {
    world.run(*ra, end(*host));
    world.run(*rb, end(*controller));
    world.run(*rb, end_listener());
    host.reset();
    controller.reset();
    listener.reset();
  }
  Task<void> accept() {
    auto pending = co_await listener->accept();
    controller = rb->adopt(std::move(pending.value()));
  }
  Task<void> end(Stream& s) {
    s.shutdown();
    co_await s.close();
  }
  Task<void> end_listener() {
    listener->shutdown();
    co_await listener->close();
  }
  sim::World world;
  sim::Node& a;
  sim::Node& b;
  sim::SimReactor* ra;
  sim::SimReactor* rb;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Stream> host, controller;
};

struct Sent final : SendDone {
  void on_sent(bool sent) noexcept override {
    EXPECT_EQ(outcome, -1) << "told twice";
    outcome = sent ? 1 : 0;
  }
  int outcome = -1;
};

// Receives PDUs until the stream ends; keeps headers' cids and the data.
struct Reader {
  Task<void> run(Reactor& reactor, Stream& stream, SendFormat format) {
    PduReceiver rx(nvme::Role::controller, reactor.buffers().try_acquire(65536));
    rx.limits() = {nvme::Phase::running, format.header_digest, format.data_digest, format.pda, 0, 1 << 20};
    for (;;) {
      while (rx.next() == PduReceiver::Next::pdu) {
        cids.push_back(rx.shape().type == PduType::c2h_data ? rx.header<C2hData>().cccid.get()
                                                            : rx.header<CapsuleResp>().rccqe.cid.get());
        data.emplace_back(rx.shape().data_bytes);
        if (data.back().empty()) continue;
        const IoVec vec{data.back().data(), data.back().size()};
        rx.begin_data(IoSlice(IoVecs(&vec, 1), 0, vec.size));
        while (!rx.data_done()) {
          auto n = co_await stream.receive(rx.room());
          if (!n.ok() || n.value() == 0) co_return;
          rx.filled(n.value());
        }
        EXPECT_TRUE(rx.data_digest_ok());
      }
      auto n = co_await stream.receive(rx.room());
      if (!n.ok() || n.value() == 0) co_return;
      ++receives;
      rx.filled(n.value());
    }
  }
  std::vector<std::uint16_t> cids;
  std::vector<Bytes> data;
  int receives = 0;
};

CapsuleResp response(std::uint16_t cid) {
  CapsuleResp r{};
  r.rccqe.cid = cid;
  return r;
}
C2hData data_for(std::uint16_t cid) {
  C2hData d{};
  d.cccid = cid;
  return d;
}

Task<void> close_and_join(PduSender& sender, TaskScope& scope) {
  sender.close();
  co_await scope.join();
}

TEST(PduSender, TheOtherSideReadsWhatWasQueued) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed=" << seed);
    Wire2 w(seed);
    Prng& prng = w.world.random();
    const SendFormat format{prng.chance(1, 2), prng.chance(1, 2),
                            static_cast<std::uint8_t>(prng.chance(1, 2) ? 0 : 31)};
    Reader reader;
    w.world.spawn(*w.ra, reader.run(*w.ra, *w.host, format));
    PduSender sender(*w.rb, *w.controller);
    sender.set_format(format);
    if (prng.chance(1, 2)) sender.set_batch_bytes(prng.between(1, 200'000));
    TaskScope scope(*w.rb);
    scope.spawn(sender.run());

    constexpr unsigned count = 200;
    std::vector<Bytes> data(count);
    std::vector<std::vector<IoVec>> pieces(count);
    std::vector<Sent> sent(count);
    for (unsigned i = 0; i < count; ++i) {
      if (prng.chance(1, 2)) {
        sender.queue(response(static_cast<std::uint16_t>(i)), &sent[i]);
      } else {
        // Sometimes more pieces than one send takes.
        const std::size_t size = prng.chance(1, 20) ? 3000 : prng.between(1, 100'000);
        data[i].resize(size);
        for (auto& b : data[i]) b = static_cast<std::byte>(prng.next());
        const std::size_t step = size == 3000 ? 2 : prng.between(500, 50'000);
        for (std::size_t at = 0; at < size; at += step) {
          pieces[i].push_back(IoVec{data[i].data() + at, std::min(step, size - at)});
        }
        sender.queue(data_for(static_cast<std::uint16_t>(i)), &sent[i], IoSlice(pieces[i], 0, size));
      }
      if (prng.chance(1, 10)) w.world.run_for(Nanos(prng.below(200'000)));
    }
    w.world.run(*w.rb, close_and_join(sender, scope));
    w.world.run_until([&] { return reader.cids.size() == count; }, w.world.now() + 10s);
    ASSERT_EQ(reader.cids.size(), count);
    for (unsigned i = 0; i < count; ++i) {
      EXPECT_EQ(reader.cids[i], i);
      EXPECT_EQ(sent[i].outcome, 1);
    }
    w.controller->shutdown();
    w.world.run_for(1s);
    EXPECT_EQ(reader.data, data);
  }
}

TEST(PduSender, ThePdusOfATurnLeaveTogether) {
  Wire2 w(1);
  PduSender sender(*w.rb, *w.controller);
  TaskScope scope(*w.rb);
  scope.spawn(sender.run());
  Reader reader;
  w.world.spawn(*w.ra, reader.run(*w.ra, *w.host, SendFormat()));
  struct Turn {
    static Task<void> run(PduSender& s) {
      for (std::uint16_t i = 0; i < 64; ++i) s.queue(response(i));
      co_return;
    }
  };
  w.world.run(*w.rb, Turn::run(sender));
  w.world.run(*w.rb, close_and_join(sender, scope));
  w.world.run_until([&] { return reader.cids.size() == 64; }, w.world.now() + 1s);
  EXPECT_EQ(reader.cids.size(), 64u);
  w.controller->shutdown();
  w.world.run_for(1s);
}

// What is behind the end of a batch cannot have reached the peer while that batch is being sent.
TEST(PduSender, SaysWhatMayHaveReachedThePeer) {
  Wire2 w(1);
  PduSender sender(*w.rb, *w.controller);
  sender.set_batch_bytes(64 << 10);
  TaskScope scope(*w.rb);
  scope.spawn(sender.run());
  Bytes data(64 << 10);
  const IoVec vec{data.data(), data.size()};
  Sent first, second;
  auto turn = [&]() -> Task<void> {
    const IoSlice slice(IoVecs(&vec, 1), 0, data.size());
    C2hData pdu{};
    pdu.datal = static_cast<std::uint32_t>(data.size());
    sender.queue(pdu, &first, slice);
    sender.queue(pdu, &second, slice);
    EXPECT_EQ(sender.queued_count(), 2u);
    EXPECT_EQ(sender.begun_count(), 0u);
    co_return;
  };
  w.world.run(*w.rb, turn());
  EXPECT_TRUE(w.world.run_until([&] { return sender.begun_count() == 1; }, w.world.now() + 1s));
  EXPECT_EQ(first.outcome, -1);
  Reader reader;
  w.world.spawn(*w.ra, reader.run(*w.ra, *w.host, SendFormat()));
  EXPECT_TRUE(w.world.run_until([&] { return sender.begun_count() == 2; }, w.world.now() + 1s));
  EXPECT_EQ(first.outcome, 1);
  EXPECT_TRUE(w.world.run_until([&] { return second.outcome == 1; }, w.world.now() + 1s));
  EXPECT_EQ(sender.begun_count(), sender.queued_count());
  w.world.run(*w.rb, close_and_join(sender, scope));
  w.controller->shutdown();
  w.world.run_for(1s);
}

TEST(PduSender, TheStreamEndsAfterWhatWasQueuedBeforeTheSeal) {
  Wire2 w(1);
  PduSender sender(*w.rb, *w.controller);
  TaskScope scope(*w.rb);
  scope.spawn(sender.run());
  Reader reader;
  bool ended = false;
  auto read = [&]() -> Task<void> {
    co_await reader.run(*w.ra, *w.host, SendFormat());
    ended = true;
  };
  w.world.spawn(*w.ra, read());
  struct Turn {
    static Task<void> run(PduSender& s, Sent& dropped) {
      for (std::uint16_t i = 0; i < 8; ++i) s.queue(response(i));
      s.seal();
      s.queue(response(8), &dropped);
      co_return;
    }
  };
  Sent dropped;
  w.world.run(*w.rb, Turn::run(sender, dropped));
  EXPECT_TRUE(w.world.run_until([&] { return ended; }, w.world.now() + 1s)) << "although it is not closed";
  EXPECT_EQ(reader.cids.size(), 8u);
  EXPECT_NE(dropped.outcome, -1);
  w.world.run(*w.rb, close_and_join(sender, scope));
}

TEST(PduSender, ADeadPeerGivesEverythingBack) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed=" << seed);
    Wire2 w(seed);
    PduSender sender(*w.rb, *w.controller);
    TaskScope scope(*w.rb);
    scope.spawn(sender.run());
    Bytes big(1 << 20);
    const IoVec vec{big.data(), big.size()};
    std::vector<Sent> sent(40);
    for (unsigned i = 0; i < 20; ++i) {  // nobody reads: the window fills up
      sender.queue(data_for(static_cast<std::uint16_t>(i)), &sent[i],
                   IoSlice(IoVecs(&vec, 1), 0, big.size()));
    }
    w.world.run_for(10ms);
    EXPECT_NE(sender.sending_since(), no_deadline) << "a watchdog sees the send that does not end";
    EXPECT_EQ(sent[19].outcome, -1);
    w.world.net().cut(w.a, w.b);
    w.world.run_for(1s);
    EXPECT_TRUE(sender.failed());
    for (unsigned i = 20; i < 40; ++i) sender.queue(response(static_cast<std::uint16_t>(i)), &sent[i]);
    w.world.run(*w.rb, close_and_join(sender, scope));
    for (unsigned i = 0; i < 40; ++i) EXPECT_NE(sent[i].outcome, -1) << i;
    EXPECT_EQ(sent[19].outcome, 0);
    EXPECT_EQ(sent[39].outcome, 0);
  }
}

// Writes over its data as soon as it may. The simulated network looks whether it held the memory.
struct Scribbler final : SendDone {
  void on_sent(bool) noexcept override {
    EXPECT_FALSE(told) << "told twice";
    told = true;
    EXPECT_EQ(next, number) << "in the order in which they were queued";
    ++next;
    for (auto& b : data) b = ~b;
  }
  explicit Scribbler(unsigned& next_told) : next(next_told) {}
  unsigned& next;
  unsigned number = 0;
  Bytes data;
  IoVec vec;
  bool told = false;
};

// Queues PDUs whose memory the network holds for a while, and cuts the connection if asked to. True: more was sent
// while something was held.
bool send_with_holds(std::uint64_t seed, bool cut) {
  Wire2 w(seed);
  Prng& prng = w.world.random();
  w.world.net().set_hold_per_mille(static_cast<unsigned>(prng.between(100, 1000)));
  Reader reader;
  w.world.spawn(*w.ra, reader.run(*w.ra, *w.host, SendFormat{true, true, 0}));
  PduSender sender(*w.rb, *w.controller);
  sender.set_format(SendFormat{true, true, 0});
  sender.set_batch_bytes(prng.between(1, 50'000));
  TaskScope scope(*w.rb);
  scope.spawn(sender.run());
  constexpr unsigned count = 100;
  unsigned told = 0;
  std::deque<Scribbler> pdus;
  std::vector<Bytes> expected(count);
  bool overlapped = false;
  for (unsigned i = 0; i < count; ++i) {
    Scribbler& pdu = pdus.emplace_back(told);
    pdu.number = i;
    if (prng.chance(1, 3)) {
      sender.queue(response(static_cast<std::uint16_t>(i)), &pdu);
    } else {
      pdu.data.resize(prng.between(1, 20'000));
      for (auto& b : pdu.data) b = static_cast<std::byte>(prng.next());
      expected[i] = pdu.data;
      pdu.vec = IoVec{pdu.data.data(), pdu.data.size()};
      sender.queue(data_for(static_cast<std::uint16_t>(i)), &pdu,
                   IoSlice(IoVecs(&pdu.vec, 1), 0, pdu.data.size()));
    }
    if (prng.chance(1, 5)) w.world.run_for(Nanos(prng.below(2'000'000)));
    if (reader.cids.size() > told) {
      overlapped = true;
      EXPECT_NE(sender.sending_since(), no_deadline) << "a watchdog sees memory that does not come back";
    }
    if (cut && i == count / 2) w.world.net().cut(w.a, w.b);
  }
  w.world.run(*w.rb, close_and_join(sender, scope));
  EXPECT_EQ(told, count);
  EXPECT_EQ(sender.sending_since(), no_deadline);
  w.controller->shutdown();
  w.world.run_for(1s);
  for (unsigned i = 0; i < reader.cids.size(); ++i) EXPECT_EQ(reader.cids[i], i);
  if (!cut) {
    EXPECT_EQ(reader.cids.size(), count);
    EXPECT_EQ(reader.data, expected);
  }
  return overlapped;
}

TEST(PduSender, MemoryThatTheStreamHoldsIsGivenBackAfterThat) {
  unsigned overlapped = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed=" << seed);
    if (send_with_holds(seed, seed % 2 == 0)) ++overlapped;
  }
  EXPECT_GT(overlapped, 20u) << "what is held does not hold up what comes after it";
}

}  // namespace
}  // namespace holdfast::nvmf::tcp
