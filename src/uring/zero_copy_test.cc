// Sends whose memory the kernel may read after their end, on loopback: there it copies after all, and says so; but only
// when the receiver has room, so that memory stays held as long as nobody reads.
#include "uring/zero_copy.h"

#include <cstring>
#include <deque>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "base/units.h"
#include "rt/scope.h"
#include "uring/socket.h"
#include "uring/testing/stream_pair.h"
#include "uring/uring_reactor.h"
#include "uring/uring_stream.h"

namespace holdfast::uring {
namespace {

using Bytes = std::vector<std::byte>;
using test::make_runtime;

Bytes pattern(std::size_t bytes, std::uint64_t seed) {
  Bytes v(bytes);
  Prng prng(seed);
  for (auto& b : v) b = static_cast<std::byte>(prng.next());
  return v;
}

// Memory that its owner uses for something else as soon as it may.
struct Owner final : SendHold {
  explicit Owner(Bytes content) : data(std::move(content)), vec{data.data(), data.size()} {}
  void on_released() noexcept override {
    ++releases;
    reuse();
  }
  void reuse() noexcept { std::memset(data.data(), 0xee, data.size()); }
  Bytes data;
  IoVec vec;
  unsigned releases = 0;
};

Task<bool> send(Stream& stream, Owner& owner) {
  const Result<std::size_t> sent = co_await stream.send(IoVecs(&owner.vec, 1), &owner);
  if (sent.ok() && !owner.held() && owner.releases == 0) owner.reuse();
  co_return sent.ok() && sent.value() == owner.data.size();
}

Task<void> receive_all(Stream& s, Bytes& into) {
  for (std::size_t at = 0; at < into.size();) {
    const IoVec v{into.data() + at, into.size() - at};
    const Result<std::size_t> n = co_await s.receive(IoVecs(&v, 1));
    if (!n.ok() || n.value() == 0) co_return;
    at += n.value();
  }
}

// What a card would read from the memory later is what was in it. The first send is the experiment that fails.
constexpr unsigned experiments = 3;

Task<void> one_connection(Reactor& r, unsigned& copied_at_once) {
  test::StreamPair p = co_await test::make_pair(r);
  EXPECT_FALSE(p.server->may_hold(ZeroCopy::bytes_min - 1));
  EXPECT_TRUE(p.server->may_hold(ZeroCopy::bytes_min));
  TaskScope scope(r);
  constexpr std::size_t bytes = 300'001;
  constexpr unsigned count = 12;
  Bytes got(count * bytes), wanted;
  scope.spawn(receive_all(*p.client, got));
  std::deque<Owner> owners;
  for (unsigned i = 0; i < count; ++i) {
    Owner& owner = owners.emplace_back(pattern(bytes, i));
    wanted.insert(wanted.end(), owner.data.begin(), owner.data.end());
    EXPECT_TRUE(co_await send(*p.server, owner));
    while (owner.held()) co_await r.sleep(100us);
  }
  co_await scope.join();
  EXPECT_TRUE(got == wanted);
  EXPECT_FALSE(p.server->may_hold(1 << 20)) << "the kernel copied";
  for (unsigned i = 0; i < experiments; ++i) EXPECT_EQ(owners[i].releases, 1u);
  for (const Owner& o : owners) {
    EXPECT_FALSE(o.held());
    if (o.releases == 0) ++copied_at_once;
  }
  co_await test::close_pair(p);
}

TEST(ZeroCopy, StopsWhereTheKernelCopies) {
  auto rt = make_runtime();
  unsigned copied_at_once = 0;
  rt->run(one_connection(rt->home(), copied_at_once));
  EXPECT_EQ(copied_at_once, 12 - experiments);
  EXPECT_EQ(rt->home().sends().without_copy, 0u);
  EXPECT_EQ(rt->home().sends().ended, 12u);
}

TEST(ZeroCopy, ManyConnections) {
  auto rt = make_runtime();
  auto all = [](Reactor& r) -> Task<void> {
    TaskScope scope(r);
    unsigned copied_at_once = 0;
    for (unsigned i = 0; i < 24; ++i) scope.spawn(one_connection(r, copied_at_once));
    co_await scope.join();
    EXPECT_EQ(copied_at_once, 24 * (12 - experiments));
  };
  rt->run(all(rt->home()));
}

// A receiver whose buffer is small, and who reads nothing before it is told to.
class SlowReceiver {
 public:
  explicit SlowReceiver(const Endpoint& to) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const int bytes = 64 << 10;
    static_cast<void>(setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes));
    auto address = SocketAddress::from(to);
    if (!address.ok() || ::connect(fd_.get(), address.value().raw(), address.value().length) != 0)
      panic("no connection");
  }
  // What has come.
  Bytes take() {
    Bytes some(1 << 20);
    const ssize_t n = ::recv(fd_.get(), some.data(), some.size(), MSG_DONTWAIT);
    some.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return some;
  }

 private:
  Fd fd_;
};

struct Slow {
  std::unique_ptr<Listener> listener;
  std::unique_ptr<SlowReceiver> receiver;
  std::unique_ptr<Stream> sender;
};

Task<Slow> make_slow(Reactor& r) {
  Slow s;
  auto listening = r.listen(Endpoint{"127.0.0.1", 0});
  if (!listening.ok()) panic(listening.error().message().c_str());
  s.listener = std::move(listening).value();
  s.receiver = std::make_unique<SlowReceiver>(s.listener->local());
  auto accepted = co_await s.listener->accept();
  if (!accepted.ok()) panic(accepted.error().message().c_str());
  s.sender = r.adopt(std::move(accepted).value());
  co_return s;
}

Task<void> close_slow(Slow& s) {
  s.listener->shutdown();
  co_await s.listener->close();
  co_await s.sender->close();
}

Task<void> held_until_taken(Reactor& r) {
  Slow s = co_await make_slow(r);
  Owner owner(pattern(256 << 10, 1));
  const Bytes wanted = owner.data;
  EXPECT_TRUE(co_await send(*s.sender, owner));
  co_await r.sleep(20ms);
  EXPECT_TRUE(owner.held()) << "nobody has read";
  EXPECT_FALSE(s.sender->may_hold(1 << 20)) << "one at a time before it is known what the kernel does";
  Bytes got;
  const Nanos limit = r.now() + 20s;
  while (got.size() < wanted.size() && r.now() < limit) {
    const Bytes some = s.receiver->take();
    got.insert(got.end(), some.begin(), some.end());
    co_await r.sleep(100us);
  }
  EXPECT_TRUE(got == wanted);
  while (owner.held() && r.now() < limit) co_await r.sleep(1ms);
  EXPECT_EQ(owner.releases, 1u);
  s.sender->shutdown();
  co_await close_slow(s);
}

TEST(ZeroCopy, HoldsTheMemoryUntilThePeerHasIt) {
  auto rt = make_runtime();
  rt->run(held_until_taken(rt->home()));
}

// The kernel would try for a quarter of an hour.
Task<void> ended_while_held(Reactor& r) {
  Slow s = co_await make_slow(r);
  Owner owner(pattern(256 << 10, 1));
  EXPECT_TRUE(co_await send(*s.sender, owner));
  EXPECT_TRUE(owner.held());
  s.sender->shutdown();
  for (unsigned i = 0; i < 1000 && owner.held(); ++i) co_await r.sleep(1ms);
  EXPECT_EQ(owner.releases, 1u);
  co_await close_slow(s);
}

TEST(ZeroCopy, ShutdownGivesTheMemoryBack) {
  auto rt = make_runtime();
  rt->run(ended_while_held(rt->home()));
}

// More than the socket takes: the send itself is under way when the connection ends.
Task<void> ended_while_sending(Reactor& r) {
  Slow s = co_await make_slow(r);
  Owner owner(pattern(64 * MiB, 1));
  TaskScope scope(r);
  struct Sending {
    static Task<void> run(Stream& stream, Owner& o) { EXPECT_FALSE(co_await send(stream, o)); }
  };
  scope.spawn(Sending::run(*s.sender, owner));
  co_await r.sleep(20ms);
  EXPECT_EQ(scope.running(), 1u);
  EXPECT_EQ(owner.releases, 0u);
  s.sender->shutdown();
  co_await scope.join();
  for (unsigned i = 0; i < 1000 && owner.held(); ++i) co_await r.sleep(1ms);
  EXPECT_FALSE(owner.held());
  co_await close_slow(s);
}

TEST(ZeroCopy, ShutdownEndsASendUnderWay) {
  auto rt = make_runtime();
  rt->run(ended_while_sending(rt->home()));
}

// A socket of a family for which the kernel refuses it, as an old kernel does for all: the bytes go as ever, and it is
// not tried again.
Task<void> refused(UringReactor& r) {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) panic("no sockets");
  UringStream sender(r, Fd(fds[0]), Endpoint(), Endpoint());
  UringStream receiver(r, Fd(fds[1]), Endpoint(), Endpoint());
  TaskScope scope(r);
  Owner owner(pattern(1 << 20, 1)), second(pattern(1 << 20, 2));
  Bytes wanted = owner.data;
  wanted.insert(wanted.end(), second.data.begin(), second.data.end());
  Bytes got(wanted.size());
  scope.spawn(receive_all(receiver, got));
  EXPECT_TRUE(sender.may_hold(1 << 20));
  EXPECT_TRUE(co_await send(sender, owner));
  EXPECT_FALSE(sender.may_hold(1 << 20));
  EXPECT_FALSE(receiver.may_hold(1 << 20)) << "nor on any other connection";
  EXPECT_TRUE(co_await send(sender, second));
  co_await scope.join();
  EXPECT_TRUE(got == wanted);
  EXPECT_FALSE(owner.held() || second.held());
  sender.shutdown();
  receiver.shutdown();
  co_await sender.close();
  co_await receiver.close();
}

TEST(ZeroCopy, AKernelThatRefusesIsNotAskedAgain) {
  auto rt = make_runtime();
  rt->run(refused(dynamic_cast<UringReactor&>(rt->home())));
}

}  // namespace
}  // namespace holdfast::uring
