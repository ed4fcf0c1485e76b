// Streams and listeners over loopback, IPv4 and IPv6.
#include <cstring>

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include "rt/cross_core.h"
#include "rt/scope.h"
#include "rt/wait.h"
#include "uring/socket.h"
#include "uring/testing/stream_pair.h"

namespace holdfast::uring {
namespace {

using test::close_pair;
using test::make_pair;
using test::make_runtime;
using Pair = test::StreamPair;

IoVec vec(std::vector<std::byte>& v) { return IoVec{v.data(), v.size()}; }

std::vector<std::byte> pattern(std::size_t bytes) {
  std::vector<std::byte> v(bytes);
  Prng prng(bytes);
  for (auto& b : v) b = static_cast<std::byte>(prng.next());
  return v;
}

Task<Status> receive_all(Stream& s, std::span<std::byte> into) {
  while (!into.empty()) {
    const IoVec v{into.data(), into.size()};
    HF_CO_TRY(const std::size_t n, co_await s.receive(IoVecs(&v, 1)));
    if (n == 0) co_return Error(Errc::not_connected);
    into = into.subspan(n);
  }
  co_return Status();
}

// Sends vectors of odd sizes, larger than any socket buffer together, and receives scattered.
Task<bool> transfer(Reactor& r, std::string address) {
  Pair p = co_await make_pair(r, std::move(address));
  EXPECT_EQ(p.client->peer(), p.server->local());
  EXPECT_EQ(p.client->local(), p.server->peer());
  std::vector<std::byte> sent = pattern(9'000'001);
  std::vector<IoVec> from;
  for (std::size_t at = 0; at < sent.size();) {
    const std::size_t n = std::min<std::size_t>(sent.size() - at, 1 + at % 70'001);
    from.push_back(IoVec{sent.data() + at, n});
    at += n;
  }
  EXPECT_LE(from.size(), io_vectors_max);
  std::vector<std::byte> got(sent.size());
  TaskScope scope(r);
  bool received = false;
  struct Receiver {
    static Task<void> run(Stream& s, std::vector<std::byte>& into, bool& ok) {
      std::size_t at = 0;
      while (at < into.size()) {
        const std::size_t half = std::min<std::size_t>((into.size() - at + 1) / 2, 100'003);
        const IoVec two[] = {{into.data() + at, half}, {into.data() + at + half, into.size() - at - half}};
        auto n = co_await s.receive(IoVecs(two, two[1].size > 0 ? 2 : 1));
        if (!n.ok() || n.value() == 0) co_return;
        at += n.value();
      }
      ok = true;
    }
  };
  scope.spawn(Receiver::run(*p.server, got, received));
  auto n = co_await p.client->send(from);
  EXPECT_TRUE(n.ok() && n.value() == sent.size());
  co_await scope.join();
  co_await close_pair(p);
  co_return received&& got == sent;
}

TEST(Stream, CarriesVectorsOverIpv4) {
  auto rt = make_runtime();
  EXPECT_TRUE(rt->run(transfer(rt->home(), "127.0.0.1")));
}

TEST(Stream, CarriesVectorsOverIpv6) {
  auto rt = make_runtime();
  EXPECT_TRUE(rt->run(transfer(rt->home(), "::1")));
}

Task<void> end_of_stream(Reactor& r) {
  Pair p = co_await make_pair(r, "127.0.0.1");
  std::vector<std::byte> buffer(16);
  const IoVec v = vec(buffer);
  TaskScope scope(r);
  Result<std::size_t> pending = std::size_t{99};
  struct Waiting {
    static Task<void> run(Stream& s, IoVec into, Result<std::size_t>& out) {
      EXPECT_TRUE(out.ok());
      out = co_await s.receive(IoVecs(&into, 1));
    }
  };
  scope.spawn(Waiting::run(*p.server, v, pending));
  co_await r.sleep(5ms);
  p.server->shutdown();  // ends our own pending receive
  co_await scope.join();
  EXPECT_TRUE(!pending.ok() || pending.value() == 0);
  auto at_peer = co_await p.client->receive(IoVecs(&v, 1));
  EXPECT_TRUE(at_peer.ok() && at_peer.value() == 0);
  auto later = co_await p.server->send(IoVecs(&v, 1));
  EXPECT_EQ(later.code(), Errc::not_connected);
  co_await close_pair(p);
}

TEST(Stream, ShutdownEndsWhatIsPending) {
  auto rt = make_runtime();
  rt->run(end_of_stream(rt->home()));
}

// More than the socket takes at once, so that the peer still reads when our direction has ended.
Task<void> half_close(Reactor& r) {
  Pair p = co_await make_pair(r, "127.0.0.1");
  std::vector<std::byte> last_words = pattern(100'000);
  const IoVec from = vec(last_words);
  EXPECT_TRUE((co_await p.server->send(IoVecs(&from, 1))).ok());
  p.server->end_sending();
  std::vector<std::byte> got(last_words.size());
  EXPECT_TRUE((co_await receive_all(*p.client, got)).ok());
  EXPECT_EQ(got, last_words);
  std::vector<std::byte> rest(16);
  const IoVec into = vec(rest);
  auto end = co_await p.client->receive(IoVecs(&into, 1));
  EXPECT_TRUE(end.ok() && end.value() == 0);
  EXPECT_TRUE((co_await p.client->send(IoVecs(&from, 1))).ok());
  EXPECT_TRUE((co_await receive_all(*p.server, got)).ok()) << "the other direction is as it was";
  EXPECT_EQ((co_await p.server->send(IoVecs(&from, 1))).code(), Errc::not_connected);
  co_await close_pair(p);
}

TEST(Stream, EndSendingLeavesTheOtherDirectionOpen) {
  auto rt = make_runtime();
  rt->run(half_close(rt->home()));
}

// Nobody reads, so the send fills the buffers and waits; shutdown must end it.
Task<void> blocked_send(Reactor& r) {
  Pair p = co_await make_pair(r, "127.0.0.1");
  std::vector<std::byte> much(64 * MiB);
  Result<std::size_t> sent = std::size_t{0};
  TaskScope scope(r);
  struct Sending {
    static Task<void> run(Stream& s, IoVec from, Result<std::size_t>& out) {
      EXPECT_TRUE(out.ok());
      out = co_await s.send(IoVecs(&from, 1));
    }
  };
  scope.spawn(Sending::run(*p.client, vec(much), sent));
  co_await r.sleep(50ms);
  EXPECT_EQ(scope.running(), 1u);
  p.client->shutdown();
  co_await scope.join();
  EXPECT_FALSE(sent.ok());
  co_await close_pair(p);
}

TEST(Stream, ShutdownEndsABlockedSend) {
  auto rt = make_runtime();
  rt->run(blocked_send(rt->home()));
}

struct Fate {
  std::size_t sent = 0;      // bytes that the kernel took of small sends
  std::size_t received = 0;  // bytes that the peer got when it read at last
  bool ended_cleanly = false;
};

// Fills the buffers with a peer that does not read, ends the connection, and looks what the peer gets of it.
Task<void> leave_unsent(Reactor& r, bool aborts, Fate& fate) {
  Pair p = co_await make_pair(r, "127.0.0.1");
  std::vector<std::byte> piece(64 * KiB);
  struct Sending {
    static Task<void> run(Stream& s, IoVec from, std::size_t& sent) {
      for (;;) {
        auto n = co_await s.send(IoVecs(&from, 1));
        if (!n.ok()) co_return;
        sent += n.value();
      }
    }
  };
  TaskScope scope(r);
  scope.spawn(Sending::run(*p.client, vec(piece), fate.sent));
  co_await r.sleep(200ms);
  aborts ? p.client->abort() : p.client->shutdown();
  co_await scope.join();
  const IoVec into = vec(piece);
  for (;;) {
    auto n = co_await p.server->receive(IoVecs(&into, 1));
    fate.ended_cleanly = n.ok();
    if (!n.ok() || n.value() == 0) break;
    fate.received += n.value();
  }
  co_await close_pair(p);
}

TEST(Stream, AbortForgetsWhatThePeerDoesNotHave) {
  auto rt = make_runtime();
  Fate shut, aborted;
  rt->run(leave_unsent(rt->home(), false, shut));
  EXPECT_GE(shut.received, shut.sent);
  EXPECT_TRUE(shut.ended_cleanly);
  rt->run(leave_unsent(rt->home(), true, aborted));
  EXPECT_GT(aborted.sent, 0u);
  EXPECT_LT(aborted.received, aborted.sent);
  EXPECT_FALSE(aborted.ended_cleanly);
}

Task<Errc> connect_code(Reactor& r, Endpoint to, Nanos wait, StopToken stop) {
  auto got = co_await r.connect(std::move(to), r.now() + wait, stop);
  if (got.ok()) {
    got.value()->shutdown();
    co_await got.value()->close();
  } else {
    EXPECT_FALSE(got.error().message().empty());
  }
  co_return got.code();
}

TEST(Connect, RefusedNamesNobody) {
  auto rt = make_runtime();
  EXPECT_EQ(rt->run(connect_code(rt->home(), Endpoint{"127.0.0.1", 1}, 5s, StopToken())),
            Errc::not_connected);
  EXPECT_EQ(rt->run(connect_code(rt->home(), Endpoint{"::1", 1}, 5s, StopToken())), Errc::not_connected);
}

TEST(Connect, NeedsANumericAddress) {
  auto rt = make_runtime();
  EXPECT_EQ(rt->run(connect_code(rt->home(), Endpoint{"localhost", 1}, 5s, StopToken())),
            Errc::invalid_argument);
}

// A listener whose queue is full drops connection requests: the nearest thing to a host that does not answer.
class DeafListener {
 public:
  DeafListener() : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    auto any = SocketAddress::from(Endpoint{"127.0.0.1", 0});
    if (!any.ok() || ::bind(fd_.get(), any.value().raw(), any.value().length) != 0 ||
        ::listen(fd_.get(), 0) != 0)
      panic("no listener");
    for (auto& f : fillers_) {
      f.reset(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
      auto to = SocketAddress::from(at());
      if (!to.ok()) panic("no address");
      static_cast<void>(::connect(f.get(), to.value().raw(), to.value().length));
    }
  }
  Endpoint at() const { return local_endpoint(fd_.get()); }

 private:
  Fd fd_;
  Fd fillers_[4];
};

TEST(Connect, EndsAtTheDeadline) {
  DeafListener deaf;
  auto rt = make_runtime();
  EXPECT_EQ(rt->run(connect_code(rt->home(), deaf.at(), 50ms, StopToken())), Errc::timed_out);
}

Task<Errc> stopped_connect(Reactor& r, Endpoint to) {
  StopSource source;
  TaskScope scope(r);
  struct Stopper {
    static Task<void> run(Reactor& reactor, StopSource& s) {
      co_await reactor.sleep(20ms);
      s.request_stop();
    }
  };
  scope.spawn(Stopper::run(r, source));
  const Errc code = co_await connect_code(r, std::move(to), 10s, source.token());
  co_await scope.join();
  Endpoint any{"127.0.0.1", 1};
  EXPECT_EQ(co_await connect_code(r, std::move(any), 1s, source.token()), Errc::cancelled);
  co_return code;
}

TEST(Connect, EndsAtTheStop) {
  DeafListener deaf;
  auto rt = make_runtime();
  EXPECT_EQ(rt->run(stopped_connect(rt->home(), deaf.at())), Errc::cancelled);
}

Task<void> listening(Reactor& r) {
  auto first = r.listen(Endpoint{"127.0.0.1", 0});
  EXPECT_TRUE(first.ok());
  Listener& l = *first.value();
  auto second = r.listen(l.local());
  EXPECT_EQ(second.code(), Errc::busy);
  EXPECT_NE(second.error().message().find(l.local().to_string()), std::string::npos);
  EXPECT_NE(second.error().message().find("another port"), std::string::npos);
  EXPECT_EQ(r.listen(Endpoint{"192.0.2.1", 0}).code(), Errc::invalid_argument);
  EXPECT_EQ(r.listen(Endpoint{"example", 0}).code(), Errc::invalid_argument);
  TaskScope scope(r);
  Errc code = Errc::ok;
  struct Accepting {
    static Task<void> run(Listener& on, Errc& out) {
      auto got = co_await on.accept();
      out = got.code();
    }
  };
  scope.spawn(Accepting::run(l, code));
  co_await r.sleep(5ms);
  l.shutdown();
  co_await scope.join();
  EXPECT_EQ(code, Errc::cancelled);
  auto after = co_await l.accept();
  EXPECT_EQ(after.code(), Errc::cancelled);
  co_await l.close();
}

TEST(Listener, BusyPortsShutdownAndBadAddresses) {
  auto rt = make_runtime();
  rt->run(listening(rt->home()));
}

Task<void> dual_stack(Reactor& r) {
  auto l = r.listen(Endpoint{"::", 0});
  EXPECT_TRUE(l.ok());
  const std::uint16_t port = l.value()->local().port;
  Endpoint at{"127.0.0.1", port};
  auto client = co_await r.connect(std::move(at), r.now() + 5s, StopToken());
  EXPECT_TRUE(client.ok());
  auto pending = co_await l.value()->accept();
  EXPECT_TRUE(pending.ok());
  auto server = r.adopt(std::move(pending).value());
  EXPECT_EQ(server->peer().address, "127.0.0.1");
  co_await server->close();
  co_await client.value()->close();
  l.value()->shutdown();
  co_await l.value()->close();
}

TEST(Listener, AnyIpv6AddressServesIpv4) {
  auto rt = make_runtime();
  rt->run(dual_stack(rt->home()));
}

// Accepted on core 0, served on core 1, as the target does it.
Task<bool> served_elsewhere(const Cores& cores) {
  Reactor& home = cores.home();
  Reactor& there = cores.at(1);
  auto l = home.listen(Endpoint{"127.0.0.1", 0});
  EXPECT_TRUE(l.ok());
  auto client = co_await home.connect(l.value()->local(), home.now() + 5s, StopToken());
  EXPECT_TRUE(client.ok());
  auto accepted = co_await l.value()->accept();
  EXPECT_TRUE(accepted.ok());
  std::unique_ptr<PendingStream> pending = std::move(accepted).value();
  TaskScope scope(home);
  struct Echo {
    static Task<void> run(Reactor& from, Reactor& on, std::unique_ptr<PendingStream>& p) {
      auto body = [&on, &p]() -> Task<void> {
        auto stream = on.adopt(std::move(p));
        std::vector<std::byte> b(100'000);
        auto got = co_await receive_all(*stream, b);
        EXPECT_TRUE(got.ok());
        const IoVec v = vec(b);
        auto sent = co_await stream->send(IoVecs(&v, 1));
        EXPECT_TRUE(sent.ok());
        co_await stream->close();
      };
      co_await run_on(from, on, body);
    }
  };
  scope.spawn(Echo::run(home, there, pending));
  std::vector<std::byte> out = pattern(100'000), in(100'000);
  const IoVec v = vec(out);
  auto sent = co_await client.value()->send(IoVecs(&v, 1));
  EXPECT_TRUE(sent.ok());
  auto back = co_await receive_all(*client.value(), in);
  EXPECT_TRUE(back.ok());
  co_await scope.join();
  co_await client.value()->close();
  l.value()->shutdown();
  co_await l.value()->close();
  co_return in == out;
}

TEST(Stream, IsAdoptedByAnotherCore) {
  Runtime::Options two_cores;
  two_cores.cores = 2;
  auto rt = make_runtime(two_cores);
  EXPECT_TRUE(rt->run(served_elsewhere(rt->cores())));
}

Task<Result<std::vector<Endpoint>>> resolve_name(Reactor& r, std::string name) {
  Endpoint e{std::move(name), 8420};
  return r.resolve(std::move(e));
}

TEST(Resolve, NumbersNamesAndNonsense) {
  auto rt = make_runtime();
  auto itself = rt->run(resolve_name(rt->home(), "::1"));
  ASSERT_TRUE(itself.ok());
  EXPECT_EQ(itself.value().at(0), (Endpoint{"::1", 8420}));
  auto local = rt->run(resolve_name(rt->home(), "localhost"));
  ASSERT_TRUE(local.ok());
  EXPECT_EQ(local.value().at(0).port, 8420);
  auto none = rt->run(resolve_name(rt->home(), "no-such-host.invalid"));
  EXPECT_EQ(none.code(), Errc::not_found);
  EXPECT_NE(none.error().message().find("no-such-host.invalid"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::uring
