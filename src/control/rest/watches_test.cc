#include "control/rest/watches.h"

#include <atomic>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
    last_ = request.method + " " + request.target + " " + request.body;
    http::Reply reply;
    reply.status = calls_++ < refusals_ ? 503 : 204;
    return reply;
  }

  const int refusals_;
  std::atomic<int> calls_{0};
  std::mutex mutex_;
  std::string last_;
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

}  // namespace
}  // namespace holdfast::control::rest
