#include "control/rest/watches.h"

#include <atomic>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/rest/testing/api_rig.h"
#include "http/server.h"

namespace holdfast::control::rest {
namespace {

using namespace testing;

// Somebody who is called: counts, and remembers the last body.
class Listener {
 public:
  // Answers the first `refusals` calls with 503.
  explicit Listener(int refusals = 0) : refusals_(refusals) {
    http::ServerOptions options;
    options.at = {"127.0.0.1", 0};
    auto server = http::Server::start(
        options, [this](const http::Request& request) { return take(request); },
        [](int status, std::string) {
          http::Reply reply;
          reply.status = status;
          return reply;
        });
    EXPECT_TRUE(server.ok());
    server_ = std::move(server).value();
  }
  std::string uri() const { return "http://127.0.0.1:" + std::to_string(server_->port()) + "/told?x=y"; }
  int calls() const { return calls_; }
  std::vector<std::string> all() {
    const std::scoped_lock lock(mutex_);
    return all_;
  }
  std::string last() {
    const std::scoped_lock lock(mutex_);
    return last_;
  }
  bool eventually_called(int times) const {
    for (int i = 0; i < 1000 && calls_ < times; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return calls_ >= times;
  }

 private:
  http::Reply take(const http::Request& request) {
    const std::scoped_lock lock(mutex_);
    all_.push_back(request.body);
    last_ = request.method + " " + request.target + " " + request.body;
    http::Reply reply;
    reply.status = calls_++ < refusals_ ? 503 : 204;
    return reply;
  }

  const int refusals_;
  std::atomic<int> calls_{0};
  std::mutex mutex_;
  std::string last_;
  std::vector<std::string> all_;
  std::unique_ptr<http::Server> server_;
};

void happen(ApiRig& rig, std::string category, std::string resource) {
  rig.home()
      .read([category, resource](Service& service) {
        service.events().add(category, "StateChange", resource, "", "changed");
        return true;
      })
      .ignore("added");
}

TEST(Watches, AreCalledWhenTheirVolumeChanges) {
  ApiRig rig;
  Listener listener(1);
  const std::string watch =
      "/v0/watches/volumes/" + std::string(volume_id) + "?callback=" + http::encode(listener.uri());
  EXPECT_EQ(rig.ask("PUT", watch).status, 204);
  EXPECT_EQ(rig.ask("PUT", watch).status, 422);
  EXPECT_THAT(rig.ask("GET", "/v0/watches/volumes/" + std::string(volume_id)).body,
              ::testing::HasSubstr(R"("callback":")" + listener.uri()));
  // The watch may begin to listen a moment later.
  for (int i = 0; i < 100 && listener.calls() == 0; ++i) {
    happen(rig, "Volume", volume_id);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  // The first call is refused, and repeated.
  ASSERT_TRUE(listener.eventually_called(2));
  EXPECT_THAT(listener.last(), ::testing::StartsWith("PUT /told?x=y {\"number\":"));
  EXPECT_EQ(rig.ask("DELETE", watch).status, 204);
  EXPECT_EQ(rig.ask("DELETE", watch).status, 404);
}

// Somebody who takes calls and never answers them.
class SilentListener {
 public:
  SilentListener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof at;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), length), 0);
    EXPECT_EQ(::listen(fd_, 128), 0);
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &length), 0);
    port_ = ntohs(at.sin_port);
  }
  ~SilentListener() { ::close(fd_); }
  SilentListener(const SilentListener&) = delete;
  SilentListener& operator=(const SilentListener&) = delete;
  int fd() const { return fd_; }
  std::string uri(int number) const {
    return "http://127.0.0.1:" + std::to_string(port_) + "/told" + std::to_string(number);
  }

 private:
  const int fd_;
  std::uint16_t port_ = 0;
};

TEST(Watches, ThatDoNotAnswerDelayNoOther) {
  ApiRig rig;
  SilentListener dead;
  Listener listener;
  const std::string watch = "/v0/watches/volumes/" + std::string(volume_id) + "?callback=";
  for (int i = 0; i < 20; ++i) ASSERT_EQ(rig.ask("PUT", watch + http::encode(dead.uri(i))).status, 204);
  ASSERT_EQ(rig.ask("PUT", watch + http::encode(listener.uri())).status, 204);
  // The watch may begin to listen a moment later.
  for (int i = 0; i < 1000 && listener.calls() == 0; ++i) {
    happen(rig, "Volume", volume_id);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  const auto begun = std::chrono::steady_clock::now();
  const int before = listener.calls();
  constexpr int more = 100;
  for (int i = 0; i < more; ++i) happen(rig, "Volume", volume_id);
  ASSERT_TRUE(listener.eventually_called(before + more));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(6));
  // In order, and each once.
  std::uint64_t last = 0;
  for (const std::string& body : listener.all()) {
    const std::uint64_t number = std::stoull(body.substr(std::string("{\"number\":").size()));
    EXPECT_TRUE(last == 0 || number == last + 1) << last << " " << number;
    last = number;
  }
}

TEST(Watches, TakeOnlyCallbacksThatCanBeCalled) {
  ApiRig rig;
  const char* bad[] = {"",
                       "ftp://h/",
                       "http://",
                       "http:///path",
                       "http://h:port/",
                       "http://h:123456/",
                       "http://a b/",
                       "http://user@h/",
                       "http://h:/",
                       "file:///etc/passwd"};
  for (const char* callback : bad) {
    const auto target =
        "/v0/watches/volumes/" + std::string(volume_id) + "?callback=" + http::encode(callback);
    EXPECT_EQ(rig.ask("PUT", target).status, 400) << callback;
  }
}

// Somebody whose answers do not end.
class EndlessListener {
 public:
  explicit EndlessListener(std::string first = "HTTP/1.1 200 OK\r\n", std::string more = "X: y\r\n")
      : first_(std::move(first)), more_(std::move(more)), thread_([this] { serve(); }) {}
  ~EndlessListener() {
    over_ = true;
    thread_.join();
  }
  EndlessListener(const EndlessListener&) = delete;
  EndlessListener& operator=(const EndlessListener&) = delete;
  std::string uri(int number) const { return at_.uri(number); }

 private:
  static void say(int peer, const std::string& text) {
    static_cast<void>(::send(peer, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  }
  void serve() {
    std::vector<int> peers;
    while (!over_) {
      pollfd it{at_.fd(), POLLIN, 0};
      if (::poll(&it, 1, 100) > 0) {
        peers.push_back(::accept4(at_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
        say(peers.back(), first_);
      }
      for (const int peer : peers) say(peer, more_);
    }
    for (const int peer : peers) ::close(peer);
  }
  const SilentListener at_;
  const std::string first_;
  const std::string more_;
  std::atomic<bool> over_{false};
  std::thread thread_;
};

TEST(Watches, WhoseAnswersDoNotEndDelayNeitherOthersNorTheEnd) {
  ApiRig rig;
  EndlessListener endless;
  Listener listener;
  const std::string watch = "/v0/watches/volumes/" + std::string(volume_id) + "?callback=";
  for (int i = 0; i < 10; ++i) ASSERT_EQ(rig.ask("PUT", watch + http::encode(endless.uri(i))).status, 204);
  ASSERT_EQ(rig.ask("PUT", watch + http::encode(listener.uri())).status, 204);
  happen(rig, "Volume", volume_id);
  ASSERT_TRUE(listener.eventually_called(1));  // waits 10 s
  const auto begun = std::chrono::steady_clock::now();
  rig.api().stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(4));
}

TEST(Watches, AreToldWhatHappensFromTheAnswerOn) {
  for (int i = 0; i < 20; ++i) {
    ApiRig rig;
    Listener listener;
    const auto target =
        "/v0/watches/volumes/" + std::string(volume_id) + "?callback=" + http::encode(listener.uri());
    ASSERT_EQ(rig.ask("PUT", target).status, 204);
    happen(rig, "Volume", volume_id);
    ASSERT_TRUE(listener.eventually_called(1));
  }
}

TEST(Watches, WhoseHandshakesDoNotEndDelayNeitherOthersNorTheEnd) {
  ApiRig rig;
  EndlessListener endless(std::string("\x16\x03\x03\x40\x00", 5), "x");  // a record of 16 KiB, byte by byte
  Listener listener;
  const std::string watch = "/v0/watches/volumes/" + std::string(volume_id) + "?callback=";
  for (int i = 0; i < 10; ++i) {
    std::string uri = endless.uri(i);
    uri.insert(4, "s");  // https
    ASSERT_EQ(rig.ask("PUT", watch + http::encode(uri)).status, 204);
  }
  ASSERT_EQ(rig.ask("PUT", watch + http::encode(listener.uri())).status, 204);
  happen(rig, "Volume", volume_id);
  ASSERT_TRUE(listener.eventually_called(1));  // waits 10 s
  const auto begun = std::chrono::steady_clock::now();
  rig.api().stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(4));
}

}  // namespace
}  // namespace holdfast::control::rest
