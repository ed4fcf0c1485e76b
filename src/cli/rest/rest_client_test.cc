#include "cli/rest/rest_client.h"

#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>

#include "cli/rest/testing/fake_agent.h"

namespace holdfast::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class RestClientTest : public testing::Test {
 protected:
  RestClient client(std::vector<std::string> urls) {
    RestOptions options;
    options.urls = std::move(urls);
    options.timeout_seconds = 5;
    return RestClient(std::move(options));
  }

  FakeAgent agent;
};

// Nothing listens on the discard port of this machine.
constexpr const char* nobody = "http://127.0.0.1:9";

TEST(RestUrl, AnAddressInAnyForm) {
  struct Case {
    const char* text;
    const char* origin;
    const char* prefix;
  };
  for (const Case& c :
       std::vector<Case>{{"http://host:1", "http://host:1", ""},
                         {"https://host:65535/", "https://host:65535", ""},
                         {"host", "http://host:8081", ""},
                         {"host:9", "http://host:9", ""},
                         {"::1", "http://[::1]:8081", ""},
                         {"[::1]", "http://[::1]:8081", ""},
                         {"[::1]:7", "http://[::1]:7", ""},
                         {"https://gate.example/holdfast/", "https://gate.example:8081", "/holdfast"}}) {
    const auto url = parse_rest_url(c.text);
    ASSERT_TRUE(url.ok()) << c.text;
    EXPECT_EQ(url.value().origin, c.origin) << c.text;
    EXPECT_EQ(url.value().prefix, c.prefix) << c.text;
  }
  for (const char* wrong :
       {"", "http://", "http://h:0", "http://h:65536", "h:x", "h:", "a b", "http://u@h", "h/?q"}) {
    const auto url = parse_rest_url(wrong);
    ASSERT_FALSE(url.ok()) << wrong;
    EXPECT_THAT(url.error().message(), HasSubstr("http://host:port")) << wrong;
  }
}

TEST(RestUrl, SegmentsAreEncoded) {
  EXPECT_EQ(url_encoded("node-1.a_b~C"), "node-1.a_b~C");
  EXPECT_EQ(url_encoded("a/b?c=d&e f%"), "a%2Fb%3Fc%3Dd%26e%20f%25");
  EXPECT_EQ(url_encoded(".."), "%2E%2E");
}

TEST_F(RestClientTest, ARefusalIsTakenApart) {
  agent.on(
      "DELETE /v0/volumes/v",
      R"({"kind":"InUse","message":"Volume v is published","details":"Volume v is published on node n"})",
      409);
  auto c = client({agent.url()});
  const RestAnswer answer = c.del("/v0/volumes/v");
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.failure().status, 409);
  EXPECT_EQ(answer.failure().kind, "InUse");
  EXPECT_EQ(answer.failure().text, "Volume v is published on node n");
  EXPECT_NE(answer.failure().hint, "");
}

TEST_F(RestClientTest, ARefusalThatIsNoneOfTheApiStillSaysWhatItIs) {
  agent.on("GET /v0/nodes", "<html>gateway</html>", 502);
  auto c = client({agent.url()});
  const RestAnswer answer = c.get("/v0/nodes");
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.failure().kind, "Unavailable");
  EXPECT_THAT(answer.failure().text, HasSubstr("502"));
  agent.on("GET /v0/pools", "<html>hello</html>");
  const RestAnswer page = c.get("/v0/pools");
  ASSERT_FALSE(page.ok());
  EXPECT_EQ(page.failure().kind, "Deserialize");
}

TEST_F(RestClientTest, TriesTheNextAddressWhenNobodyIsThere) {
  agent.on("PUT /v0/nodes/n/cordon/l", "{}");
  auto c = client({nobody, agent.url()});
  EXPECT_TRUE(c.put("/v0/nodes/n/cordon/l").ok());
  EXPECT_EQ(c.where(), agent.url());
}

TEST_F(RestClientTest, AChangeGoesToTheLeaderThatAFollowerNames) {
  FakeAgent follower;
  const char* refusal = R"({"kind":"Unavailable","message":"not the leader","details":""})";
  follower.on("PUT /v0/volumes/v?x=1", refusal, 503);
  follower.on("GET /v1/status", R"({"leading":false,"leader":")" + agent.url() + "\"}");
  agent.on("PUT /v0/volumes/v?x=1", R"({"done":true})");
  auto c = client({follower.url()});
  const RestAnswer answer = c.put("/v0/volumes/v?x=1", Tree{{"size", 1}});
  ASSERT_TRUE(answer.ok());
  EXPECT_TRUE(flag(answer.body(), "done"));
  EXPECT_THAT(agent.asked(), ElementsAre(R"(PUT /v0/volumes/v?x=1 {"size":1})"));
}

TEST_F(RestClientTest, ALeaderThatIsUnavailableIsNotAskedAgain) {
  const char* refusal = R"({"kind":"Unavailable","message":"the engine does not answer","details":""})";
  agent.on("PUT /v0/volumes/v", refusal, 503);
  agent.on("GET /v1/status", R"({"leading":true,"leader":")" + agent.url() + "\"}");
  auto c = client({agent.url()});
  const RestAnswer answer = c.put("/v0/volumes/v");
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.failure().text, "the engine does not answer");
  EXPECT_THAT(agent.asked(), ElementsAre("PUT /v0/volumes/v", "GET /v1/status"));
}

TEST_F(RestClientTest, NobodyThereIsSaidWithTheRemedy) {
  auto c = client({nobody});
  const RestAnswer answer = c.get("/v0/nodes");
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.failure().kind, kind_unreachable);
  EXPECT_THAT(answer.failure().text, HasSubstr(nobody));
  EXPECT_THAT(answer.failure().hint, HasSubstr("holdfast up"));
}

TEST_F(RestClientTest, AListOfPagesIsOneList) {
  agent.on("GET /v0/volumes?max_entries=2&starting_token=0", R"({"entries":[1,2],"next_token":2})");
  agent.on("GET /v0/volumes?max_entries=2&starting_token=2", R"({"entries":[3]})");
  auto c = client({agent.url()});
  const RestAnswer answer = c.get_all("/v0/volumes", 2);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer.body(), Tree({1, 2, 3}));
}

TEST_F(RestClientTest, APageThatLeadsToItselfIsTheLast) {
  agent.on("GET /v0/volumes?max_entries=2&starting_token=0", R"({"entries":[1],"next_token":7})");
  agent.on("GET /v0/volumes?max_entries=2&starting_token=7", R"({"entries":[2],"next_token":7})");
  auto c = client({agent.url()});
  EXPECT_EQ(c.get_all("/v0/volumes", 2).body(), Tree({1, 2}));
  agent.on("GET /v0/pools?a=b&max_entries=2&starting_token=0", R"([])");
  EXPECT_FALSE(c.get_all("/v0/pools?a=b", 2).ok());
}

TEST_F(RestClientTest, TheTokenOfAFileGoesWithEveryRequest) {
  const std::string path = testing::TempDir() + "/holdfast-token";
  std::ofstream(path) << "abc.def\n";
  agent.on("GET /v0/nodes", "[]");
  RestOptions options;
  options.urls = {agent.url()};
  options.token_file = path;
  RestClient with(options);
  EXPECT_TRUE(with.get("/v0/nodes").ok());
  EXPECT_EQ(agent.authorization(), "Bearer abc.def");
  options.token_file = path + "-that-is-missing";
  RestClient without(options);
  const RestAnswer answer = without.get("/v0/nodes");
  ASSERT_FALSE(answer.ok());
  EXPECT_THAT(answer.failure().text, HasSubstr("that-is-missing"));
}

TEST_F(RestClientTest, AnAddressMayHaveLetters) {
  agent.on("GET /v0/nodes", "[]");
  const std::string port = agent.url().substr(agent.url().rfind(':') + 1);
  auto c = client({"http://[::ffff:7f00:1]:" + port});
  const RestAnswer answer = c.get("/v0/nodes");
  EXPECT_TRUE(answer.ok()) << answer.failure().text;
}

}  // namespace
}  // namespace holdfast::cli
