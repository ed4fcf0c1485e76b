// Peers that are slow, silent or do not read, on real sockets: they lose their connections, and keep nobody out.
#include <atomic>
#include <chrono>
#include <thread>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/server.h"
#include "http/testing/plain_refusal.h"

namespace holdfast::http {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::size_t big_bytes = 6 * 1024 * 1024;  // more than sockets hold

Reply answer(const Request& request) {
  Reply reply;
  reply.content_type = "text/plain";
  reply.body = request.target == "/big" ? std::string(big_bytes, 'x') : "hello";
  return reply;
}

std::unique_ptr<Server> start(ServerOptions options) {
  options.at = {"127.0.0.1", 0};
  auto server = Server::start(options, answer, test::plain_refusal);
  EXPECT_TRUE(server.ok()) << server.error().message();
  return std::move(server).value();
}

class Peer {
 public:
  explicit Peer(const Server& server, int receive_buffer = 0)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(server.port());
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  }
  ~Peer() { ::close(fd_); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  bool send(const std::string& bytes) const {
    return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  // What comes until the server hangs up; empty `hung_up`: it has not within this time.
  std::string read_until_end(std::chrono::milliseconds patience, bool* hung_up) const {
    std::string got;
    const auto until = Clock::now() + patience;
    *hung_up = false;
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
      pollfd it{fd_, POLLIN, 0};
      if (left.count() <= 0 || ::poll(&it, 1, static_cast<int>(left.count())) <= 0) return got;
      char buffer[16384];
      const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
      *hung_up = n <= 0;
      if (*hung_up) return got;
      got.append(buffer, static_cast<std::size_t>(n));
    }
  }
  int fd() const { return fd_; }

 private:
  const int fd_;
};

ServerOptions impatient() {
  ServerOptions options;
  options.head_time_max = 300ms;
  options.body_time_max = 300ms;
  options.idle_time_max = 200ms;
  options.reader_time_max = 300ms;
  return options;
}

// Sends `text` byte by byte for as long as it is taken; returns what the server says to it, and how long it bears it.
std::string dribble(const Peer& peer, const std::string& text, std::chrono::milliseconds* took) {
  const auto begun = Clock::now();
  for (const char c : text) {
    pollfd it{peer.fd(), POLLIN, 0};
    if (::poll(&it, 1, 20) != 0 || !peer.send(std::string(1, c))) break;
  }
  bool hung_up = false;
  std::string said = peer.read_until_end(5s, &hung_up);
  EXPECT_TRUE(hung_up);
  *took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun);
  return said;
}

TEST(SlowPeers, AHeaderThatDoesNotEndIsRefused) {
  const auto server = start(impatient());
  const Peer peer(*server);
  std::chrono::milliseconds took{};
  const std::string said = dribble(peer, "GET /" + std::string(1000, 'a'), &took);
  EXPECT_TRUE(said.starts_with("HTTP/1.1 408 ")) << said;
  EXPECT_NE(said.find("refused: the header did not arrive within 300 ms"), std::string::npos) << said;
  EXPECT_GE(took, 300ms);
  EXPECT_LT(took, 2s);
}

TEST(SlowPeers, ABodyThatDoesNotEndIsRefused) {
  const auto server = start(impatient());
  const Peer peer(*server);
  ASSERT_TRUE(peer.send("PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"));
  std::chrono::milliseconds took{};
  const std::string said = dribble(peer, std::string(999, 'a'), &took);
  EXPECT_TRUE(said.starts_with("HTTP/1.1 408 ")) << said;
  EXPECT_NE(said.find("refused: the body did not arrive within 300 ms"), std::string::npos) << said;
  EXPECT_LT(took, 2s);
}

TEST(SlowPeers, WhoSaysNothingIsLetGo) {
  const auto server = start(impatient());
  const Peer silent(*server);
  const Peer idle(*server);
  ASSERT_TRUE(idle.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"));
  bool hung_up = false;
  EXPECT_EQ(silent.read_until_end(3s, &hung_up), "");
  EXPECT_TRUE(hung_up);
  EXPECT_NE(idle.read_until_end(3s, &hung_up).find("hello"), std::string::npos);
  EXPECT_TRUE(hung_up);
}

TEST(SlowPeers, WhoDoesNotReadIsLetGo) {
  const auto server = start(impatient());
  const Peer peer(*server, 4096);
  ASSERT_TRUE(peer.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n"));
  // A byte now and then keeps nothing open.
  bool gone = false;
  for (const auto until = Clock::now() + 3s; !gone && Clock::now() < until;) {
    char one = 0;
    std::this_thread::sleep_for(10ms);
    gone = ::recv(peer.fd(), &one, 1, MSG_DONTWAIT) == 0;
    pollfd it{peer.fd(), POLLIN, 0};
    ::poll(&it, 1, 0);
    gone |= (it.revents & (POLLERR | POLLHUP)) != 0 || !peer.send("x");
  }
  EXPECT_TRUE(gone);
}

TEST(SlowPeers, WhoReadsWithoutHasteGetsAll) {
  ServerOptions options = impatient();
  options.reader_time_max = 1s;  // a busy machine may take some of it
  const auto server = start(options);
  const Peer peer(*server, 64 * 1024);
  ASSERT_TRUE(peer.send("GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  std::size_t got = 0;
  std::vector<char> buffer(512 * 1024);
  const auto begun = Clock::now();
  for (;;) {
    const ssize_t n = ::recv(peer.fd(), buffer.data(), buffer.size(), 0);
    if (n <= 0) break;
    got += static_cast<std::size_t>(n);
    if (Clock::now() - begun < 2s) std::this_thread::sleep_for(40ms);
  }
  EXPECT_GT(Clock::now() - begun, 2s);  // twice what it may take for a part
  EXPECT_GT(got, big_bytes);
}

TEST(SlowPeers, AHeaderHasALimit) {
  const auto server = start({});
  const Peer peer(*server);
  const std::string field = "X-A: " + std::string(990, 'a') + "\r\n";
  std::string request = "GET /a HTTP/1.1\r\nHost: x\r\n";
  for (int i = 0; i < 100; ++i) request += field;
  peer.send(request);
  bool hung_up = false;
  const std::string said = peer.read_until_end(5s, &hung_up);
  EXPECT_TRUE(said.starts_with("HTTP/1.1 431 ")) << said;
  EXPECT_NE(said.find("longer than 32768 bytes"), std::string::npos) << said;
  EXPECT_TRUE(hung_up);
}

TEST(SlowPeers, WhatReadersTakeDifferentlyIsRefused) {
  const auto server = start({});
  const std::string cases[] = {
      "GET /a HTTP/1.1\r\nHost: x\nContent-Length: 5\r\n\r\n",
      "GET /a HTTP/1.1\nHost: x\r\n\r\n",
      "GET /a HTTP/1.1\r\nHost: x\r\nX-A: " + std::string(1, '\0') + "\r\n\r\n",
      "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello",
      "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n 5\r\n\r\nhello",
      "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\nhello",
      "PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
  };
  for (const auto& request : cases) {
    const Peer peer(*server);
    ASSERT_TRUE(peer.send(request));
    bool hung_up = false;
    const std::string said = peer.read_until_end(1s, &hung_up);
    EXPECT_TRUE(said.starts_with("HTTP/1.1 400 ")) << request << said;
    EXPECT_TRUE(hung_up);
  }
}

TEST(SlowPeers, AnswersAreNotCompressed) {
  const auto server = start({});
  httplib::Client client("127.0.0.1", server->port());
  client.set_decompress(false);
  for (const char* accepted : {"br", "gzip", "gzip, deflate, br", "br;q=0"}) {
    const auto result = client.Get("/a", {{"Accept-Encoding", accepted}});
    ASSERT_TRUE(result);
    EXPECT_FALSE(result->has_header("Content-Encoding")) << accepted;
    EXPECT_EQ(result->body, "hello") << accepted;
  }
}

// Parts of an answer could be asked for many times over, and would all be put together in memory.
TEST(SlowPeers, AnswersAreGivenWhole) {
  const auto server = start({});
  httplib::Client client("127.0.0.1", server->port());
  for (const char* range : {"bytes=0-0", "bytes=0-,0-,0-", "bytes=99-", "rubbish"}) {
    const auto result = client.Get("/a", {{"Range", range}});
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, 200) << range;
    EXPECT_EQ(result->body, "hello") << range;
    EXPECT_FALSE(result->has_header("Content-Range"));
  }
}

// What follows a request that was not understood may be its body.
TEST(SlowPeers, WhatIsNotUnderstoodEndsTheConnection) {
  std::atomic<int> served{0};
  ServerOptions options;
  options.at = {"127.0.0.1", 0};
  auto started = Server::start(
      options,
      [&](const Request& request) {
        ++served;
        return answer(request);
      },
      test::plain_refusal);
  ASSERT_TRUE(started.ok());
  const Peer peer(*started.value());
  const std::string hidden = "PUT /hidden HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
  ASSERT_TRUE(peer.send("PUT /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                        std::to_string(hidden.size()) + "\r\n\r\n" + hidden));
  bool hung_up = false;
  const std::string said = peer.read_until_end(3s, &hung_up);
  EXPECT_TRUE(said.starts_with("HTTP/1.1 414 ")) << said;
  EXPECT_TRUE(hung_up);
  EXPECT_EQ(served, 0);
}

// ---- strangers that hold all connections

enum class Stranger { silent, dribbling_header, dribbling_body, idle, not_reading };

void begin(const Peer& peer, Stranger how) {
  if (how == Stranger::dribbling_header) peer.send("GET /a HT");
  if (how == Stranger::dribbling_body)
    peer.send("PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
  if (how == Stranger::idle) peer.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  if (how == Stranger::not_reading) peer.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
}

class Strangers : public ::testing::TestWithParam<Stranger> {};

TEST_P(Strangers, DoNotKeepAClientOut) {
  ServerOptions options;
  options.threads_max = 32;
  const auto server = start(options);
  std::vector<std::unique_ptr<Peer>> strangers;
  for (int i = 0; i < (GetParam() == Stranger::not_reading ? 48 : 300); ++i) {
    strangers.push_back(std::make_unique<Peer>(*server, 4096));
    begin(*strangers.back(), GetParam());
  }
  std::atomic<bool> ending{false};
  // They are told that they are gone by and by, and come back.
  std::thread pushing([&] {
    for (std::size_t i = 0; !ending; i = (i + 1) % strangers.size()) {
      const bool dribbles =
          GetParam() == Stranger::dribbling_header || GetParam() == Stranger::dribbling_body;
      if (!dribbles || !strangers[i]->send("a")) {
        strangers[i] = std::make_unique<Peer>(*server, 4096);
        begin(*strangers[i], GetParam());
      }
      // A large answer takes the server milliseconds to make: what is shown is not that it is overloaded.
      std::this_thread::sleep_for(GetParam() == Stranger::not_reading ? 250ms : 5ms);
    }
  });
  const auto begun = Clock::now();
  for (int i = 0; i < 5; ++i) {
    httplib::Client client("127.0.0.1", server->port());
    client.set_read_timeout(10);
    const auto result = client.Get("/a");
    EXPECT_TRUE(result) << i << " " << httplib::to_string(result.error());
    if (!result) break;
    EXPECT_EQ(result->body, "hello");
  }
  EXPECT_LT(Clock::now() - begun, 12s);
  ending = true;
  pushing.join();
}

INSTANTIATE_TEST_SUITE_P(AllKinds, Strangers,
                         ::testing::Values(Stranger::silent, Stranger::dribbling_header,
                                           Stranger::dribbling_body, Stranger::idle, Stranger::not_reading));

// Streams of one kind of client leave threads for the others.
TEST(SlowPeers, StreamsTakeHalfOfTheThreads) {
  ServerOptions few;
  few.threads_max = 4;
  few.at = {"127.0.0.1", 0};
  auto started = Server::start(
      few,
      [](const Request& request) {
        Reply reply = answer(request);
        if (request.target == "/stream") {
          reply.stream = [](std::string& piece) {
            std::this_thread::sleep_for(10ms);
            piece = "x";
            return true;
          };
        }
        return reply;
      },
      test::plain_refusal);
  ASSERT_TRUE(started.ok());
  std::vector<std::unique_ptr<Peer>> listeners;
  for (int i = 0; i < 6; ++i) {
    listeners.push_back(std::make_unique<Peer>(*started.value()));
    ASSERT_TRUE(listeners.back()->send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"));
  }
  httplib::Client client("127.0.0.1", started.value()->port());
  client.set_read_timeout(5);
  const auto result = client.Get("/a");
  ASSERT_TRUE(result);
  EXPECT_EQ(result->body, "hello");
}

TEST(SlowPeers, WithoutAThreadForItAConnectionWaitsForOne) {
  const auto server = start(impatient());
  httplib::Client client("127.0.0.1", server->port());
  client.set_read_timeout(10);
  ASSERT_TRUE(client.Get("/a"));  // now there is a thread
  std::this_thread::sleep_for(100ms);
  pthread_attr_t before, huge;
  ASSERT_EQ(pthread_getattr_default_np(&before), 0);
  pthread_attr_init(&huge);
  ASSERT_EQ(pthread_attr_setstacksize(&huge, std::size_t{1} << 48), 0);  // no thread can be made
  ASSERT_EQ(pthread_setattr_default_np(&huge), 0);
  const Peer silent(*server);  // has that thread until it is let go
  std::this_thread::sleep_for(50ms);
  const auto result = client.Get("/a");
  pthread_setattr_default_np(&before);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->body, "hello");
}

TEST(SlowPeers, OneThatTheAcceptingThreadServesDoesNotHoldUpTheEnd) {
  const auto server = start(ServerOptions());
  pthread_attr_t before, huge;
  ASSERT_EQ(pthread_getattr_default_np(&before), 0);
  pthread_attr_init(&huge);
  ASSERT_EQ(pthread_attr_setstacksize(&huge, std::size_t{1} << 48), 0);  // no thread can be made
  ASSERT_EQ(pthread_setattr_default_np(&huge), 0);
  const Peer silent(*server);
  std::this_thread::sleep_for(100ms);
  const auto begun = Clock::now();
  server->stop();
  pthread_setattr_default_np(&before);
  EXPECT_LT(Clock::now() - begun, 4s);
}

}  // namespace
}  // namespace holdfast::http
