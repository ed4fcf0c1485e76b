#include "sim/net.h"

#include <bit>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "rt/cross_core.h"
#include "rt/scope.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::sim {
namespace {

Task<Status> send(Stream& s, std::string text) {
  const IoVec vec{reinterpret_cast<std::byte*>(text.data()), text.size()};
  HF_CO_CHECK(co_await s.send(IoVecs(&vec, 1)));
  co_return Status();
}

// Up to `bytes`, or to the end of the stream.
Task<Result<std::string>> receive(Stream& s, std::size_t bytes) {
  std::string got;
  while (got.size() < bytes) {
    std::string piece(bytes - got.size(), '\0');
    const IoVec vec{reinterpret_cast<std::byte*>(piece.data()), piece.size()};
    HF_CO_TRY(const std::size_t n, co_await s.receive(IoVecs(&vec, 1)));
    if (n == 0) break;
    got += piece.substr(0, n);
  }
  co_return got;
}

Task<void> end(Stream& s) {
  s.shutdown();
  co_await s.close();
}

// A client machine and a server machine, connected.
struct Pair {
  explicit Pair(std::uint64_t seed) : world(seed), a(world.add_node("a")), b(world.add_node("b")) {
    ra = &a.start().core(0);
    rb = &b.start(2).core(1);
    listener = std::move(b.process()->core(0).listen(Endpoint{"0.0.0.0", 4420}).value());
  }
  Task<void> accept_one() {
    SimReactor& home = b.process()->core(0);
    auto pending = co_await listener->accept();
    if (!pending.ok()) co_return;
    auto adopt = [&]() -> Task<void> {
      server = rb->adopt(std::move(pending.value()));
      co_return;
    };
    co_await run_on_core(home, *rb, adopt);
  }
  template <class F>
  static Task<void> run_on_core(SimReactor& from, SimReactor& to, F& f);
  bool connect() {
    world.spawn(b.process()->core(0), accept_one());
    auto got = world.run(*ra, ra->connect(Endpoint{b.ipv4(), 4420}, world.now() + 5s, StopToken()));
    if (!got.ok()) return false;
    client = std::move(got.value());
    return world.run_until([&] { return server != nullptr; }, world.now() + 1s);
  }
  void finish() {
    if (client) world.run(*ra, end(*client));
    if (server) world.run(*rb, end(*server));
    if (listener) world.run(b.process()->core(0), close_listener());
    world.run_for(10s);
  }
  Task<void> close_listener() {
    listener->shutdown();
    co_await listener->close();
  }
  World world;
  Node& a;
  Node& b;
  SimReactor* ra = nullptr;
  SimReactor* rb = nullptr;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Stream> client;
  std::unique_ptr<Stream> server;
};

template <class F>
Task<void> Pair::run_on_core(SimReactor& from, SimReactor& to, F& f) {
  co_await run_on(static_cast<Reactor&>(from), static_cast<Reactor&>(to), f);
}

std::string pattern(std::size_t n) {
  std::string s(n, '\0');
  for (std::size_t i = 0; i < n; ++i) s[i] = static_cast<char>(i * 31 + i / 251);
  return s;
}

TEST(SimNet, BytesArriveInOrderThroughAWindow) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Pair p(seed);
    ASSERT_TRUE(p.connect());
    const std::string data = pattern(2'000'000);
    bool sent_all = false;
    bool send_ended = false;
    auto sender = [&]() -> Task<void> {
      const Status sent = co_await send(*p.client, data);
      sent_all = sent.ok();
      send_ended = true;
    };
    p.world.spawn(*p.ra, sender());
    p.world.run_for(1s);
    EXPECT_FALSE(send_ended) << "nobody reads: the window is full";
    auto got = p.world.run(*p.rb, receive(*p.server, data.size()));
    ASSERT_TRUE(got.ok());
    EXPECT_TRUE(got.value() == data);
    EXPECT_TRUE(p.world.run_until([&] { return send_ended; }, p.world.now() + 1s));
    EXPECT_TRUE(sent_all);
    p.finish();
    EXPECT_EQ(p.world.net().connection_count(), 0u);
  }
}

TEST(SimNet, ShutdownIsTheEndOfTheStreamAfterTheBytes) {
  Pair p(1);
  ASSERT_TRUE(p.connect());
  EXPECT_TRUE(p.world.run(*p.ra, send(*p.client, "last words")).ok());
  p.world.run(*p.ra, end(*p.client));
  p.client.reset();
  auto got = p.world.run(*p.rb, receive(*p.server, 100));
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got.value(), "last words");
  p.finish();
}

TEST(SimNet, EndSendingLeavesTheOtherDirectionOpen) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Pair p(seed);
    ASSERT_TRUE(p.connect());
    EXPECT_TRUE(p.world.run(*p.rb, send(*p.server, "last words")).ok());
    p.server->end_sending();
    auto got = p.world.run(*p.ra, receive(*p.client, 100));
    ASSERT_TRUE(got.ok());
    EXPECT_EQ(got.value(), "last words") << "then the end of the stream";
    EXPECT_EQ(p.world.run(*p.rb, send(*p.server, "more")).code(), Errc::not_connected);
    EXPECT_TRUE(p.world.run(*p.ra, send(*p.client, "answer")).ok());
    p.world.run(*p.ra, end(*p.client));
    p.client.reset();
    got = p.world.run(*p.rb, receive(*p.server, 100));
    ASSERT_TRUE(got.ok());
    EXPECT_EQ(got.value(), "answer");
    p.finish();
    EXPECT_EQ(p.world.net().connection_count(), 0u);
  }
}

TEST(SimNet, ShutdownEndsWhatIsUnderWayHere) {
  Pair p(1);
  ASSERT_TRUE(p.connect());
  bool ended = false;
  auto reader = [&]() -> Task<void> {
    (co_await receive(*p.client, 1)).ignore("its end is the point");
    ended = true;
  };
  p.world.spawn(*p.ra, reader());
  p.world.run_for(1s);
  EXPECT_FALSE(ended);
  p.client->shutdown();
  EXPECT_TRUE(p.world.run_until([&] { return ended; }, p.world.now() + 1s));
  p.finish();
}

TEST(SimNet, ASendThatWaitsForRoomEndsWithItsPeer) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Pair p(seed);
    ASSERT_TRUE(p.connect());
    bool ended = false;
    auto sender = [&]() -> Task<void> {
      (co_await send(*p.client, pattern(2'000'000))).ignore("its end is the point");
      ended = true;
    };
    p.world.spawn(*p.ra, sender());
    p.world.run_for(1s);
    EXPECT_FALSE(ended) << "nobody reads: the window is full";
    p.server->shutdown();
    EXPECT_TRUE(p.world.run_until([&] { return ended; }, p.world.now() + 1s));
    p.finish();
  }
}

TEST(SimNet, ACutMayComeAfterPartOfTheBytes) {
  bool some = false, none = false;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Pair p(seed);
    ASSERT_TRUE(p.connect());
    std::size_t received = 0;
    bool failed = false;
    auto reader = [&]() -> Task<void> {
      for (;;) {
        auto got = co_await receive(*p.server, 1);
        if (!got.ok()) break;
        received += got.value().size();
      }
      failed = true;
    };
    p.world.spawn(*p.rb, reader());
    EXPECT_TRUE(p.world.run(*p.ra, send(*p.client, "0123456789")).ok());
    p.world.run_for(Nanos(p.world.random().below(200'000)));
    EXPECT_TRUE(p.world.net().cut_one());
    EXPECT_TRUE(p.world.run_until([&] { return failed; }, p.world.now() + 1s));
    some = some || received == 10;
    none = none || received == 0;
    p.world.run_for(10ms);
    EXPECT_FALSE(p.world.run(*p.ra, send(*p.client, "more")).ok());
    p.finish();
  }
  EXPECT_TRUE(some);
  EXPECT_TRUE(none);
}

TEST(SimNet, APartitionHoldsBytesUntilItHeals) {
  unsigned delivered = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Pair p(seed);
    ASSERT_TRUE(p.connect());
    p.world.net().partition(p.a, p.b);
    EXPECT_TRUE(p.world.run(*p.ra, send(*p.client, "abc")).ok());
    bool ended = false;
    std::optional<std::string> text;
    auto reader = [&]() -> Task<void> {
      auto got = co_await receive(*p.server, 3);
      if (got.ok()) text = std::move(got.value());
      ended = true;
    };
    p.world.spawn(*p.rb, reader());
    auto connect = p.ra->connect(Endpoint{p.b.ipv4(), 4420}, p.world.now() + 3s, StopToken());
    EXPECT_EQ(p.world.run(*p.ra, std::move(connect)).code(), Errc::timed_out);
    EXPECT_FALSE(ended);
    p.world.net().heal_all();
    EXPECT_TRUE(p.world.run_until([&] { return ended; }, p.world.now() + 1s));
    if (text) {
      EXPECT_EQ(*text, "abc");
      ++delivered;
    }
    p.finish();
  }
  EXPECT_GT(delivered, 10u);
  EXPECT_LT(delivered, 40u) << "some connections are found reset";
}

// A partition stops what was sent; after a shutdown it arrives when the network comes back, after an abort never.
TEST(SimNet, WhatWasAbortedArrivesNeverAndWhatWasShutMay) {
  for (const bool aborts : {false, true}) {
    SCOPED_TRACE(aborts ? "abort" : "shutdown");
    unsigned delivered = 0;
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
      Pair p(seed);
      ASSERT_TRUE(p.connect());
      p.world.net().partition(p.a, p.b);
      EXPECT_TRUE(p.world.run(*p.ra, send(*p.client, "abc")).ok());
      if (seed % 2 == 0) p.world.run_for(1s);  // held by the partition, or still on the wire
      aborts ? p.client->abort() : p.client->shutdown();
      bool ended = false;
      auto reader = [&]() -> Task<void> {
        auto got = co_await receive(*p.server, 3);
        if (got.ok() && got.value() == "abc") ++delivered;
        ended = true;
      };
      p.world.spawn(*p.rb, reader());
      p.world.run_for(1s);
      p.world.net().heal_all();
      EXPECT_TRUE(p.world.run_until([&] { return ended; }, p.world.now() + 2s));
      p.finish();
    }
    if (aborts) {
      EXPECT_EQ(delivered, 0u);
    } else {
      EXPECT_GT(delivered, 10u);
    }
  }
}

TEST(SimNet, ConnectErrors) {
  Pair p(1);
  ASSERT_TRUE(p.connect());
  const auto try_port = [&](std::uint16_t port) {
    return p.world.run(*p.ra, p.ra->connect(Endpoint{p.b.ipv4(), port}, p.world.now() + 3s, StopToken()))
        .code();
  };
  EXPECT_EQ(try_port(1), Errc::not_connected);
  p.world.net().refuse(p.b, true);
  EXPECT_EQ(try_port(4420), Errc::not_connected);
  p.world.net().refuse(p.b, false);
  StopSource stop;
  p.world.after(10ms, [&] { stop.request_stop(); });
  p.world.net().partition(p.a, p.b);
  auto stopped = p.ra->connect(Endpoint{p.b.ipv6(), 4420}, p.world.now() + 3s, stop.token());
  EXPECT_EQ(p.world.run(*p.ra, std::move(stopped)).code(), Errc::cancelled);
  SimReactor& home = p.b.process()->core(0);
  EXPECT_EQ(home.listen(Endpoint{"0.0.0.0", 4420}).code(), Errc::busy);
  EXPECT_EQ(home.listen(Endpoint{"10.0.0.1", 4420}).code(), Errc::invalid_argument);
  p.finish();
}

TEST(SimNet, ACrashedPeerIsAnEndOrSilence) {
  for (const CrashKind kind : {CrashKind::process, CrashKind::power}) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      Pair p(seed);
      ASSERT_TRUE(p.connect());
      bool ended = false;
      auto reader = [&]() -> Task<void> {
        (co_await receive(*p.client, 1)).ignore("its end is the point");
        ended = true;
      };
      p.world.spawn(*p.ra, reader());
      p.world.run_for(1ms);
      bury(p.server.release());
      bury(p.listener.release());
      p.b.crash(kind);
      p.world.run_for(60s);
      EXPECT_EQ(ended, kind == CrashKind::process);
      p.b.start();
      if (!ended) {
        (void)p.world.run(*p.ra, send(*p.client, "are you there?")).ok();
        p.world.run_for(5s);
        EXPECT_TRUE(ended) << "the machine is up again and knows nothing of the connection";
      }
      p.finish();
    }
  }
}

TEST(SimNet, DamageIsASingleBitOfAPiece) {
  for (const unsigned per_mille : {0u, 1000u}) {
    Pair p(3);
    LinkOptions link;
    link.damage_per_mille = per_mille;
    p.world.net().set_default_link(link);
    ASSERT_TRUE(p.connect());
    ASSERT_TRUE(p.world.run(*p.ra, send(*p.client, std::string(1, '\0'))).ok());
    auto got = p.world.run(*p.rb, receive(*p.server, 1));
    ASSERT_TRUE(got.ok());
    EXPECT_EQ(std::popcount(static_cast<unsigned char>(got.value().at(0))), per_mille == 0 ? 0 : 1);
    p.finish();
  }
}

TEST(SimNet, NamesResolve) {
  Pair p(1);
  auto found = p.world.run(*p.ra, p.ra->resolve(Endpoint{"b", 7}));
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found.value().front(), (Endpoint{"10.0.0.2", 7}));
  EXPECT_EQ(p.world.run(*p.ra, p.ra->resolve(Endpoint{"nowhere", 7})).code(), Errc::not_found);
  EXPECT_TRUE(p.world.run(*p.ra, p.ra->resolve(Endpoint{"::1", 7})).ok());
  p.finish();
}

}  // namespace
}  // namespace holdfast::sim
