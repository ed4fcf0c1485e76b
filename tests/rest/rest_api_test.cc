// Goal: what a client sees of a real agent is what api/openapi.yaml says, whatever the client sends.
// Method: one agent with its embedded store and three engines; the life of a volume, each step also wrong and repeated;
// then every operation on things that do not exist, and random requests made from the description. Every answer is held
// against its schema.
#include <algorithm>
#include <ctime>
#include <fstream>
#include <map>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include "control/rest/testing/requests.h"
#include "control/rest/testing/schema.h"
#include "http/target.h"
#include "http/testing/signer.h"
#include "support/agent_process.h"

namespace holdfast::control::rest::testing {
namespace {

using testing_support::AgentProcess;
using testing_support::EngineProcess;
using testing_support::ScratchDir;
using namespace std::chrono_literals;

constexpr const char* volume = "0d3e4c1a-7c1f-4b7e-9f0e-0c3a5b7d9e11";
constexpr const char* snapshot = "0d3e4c1a-7c1f-4b7e-9f0e-0c3a5b7d9e22";

struct Got {
  int status = 0;
  Json body;
  std::string summary;  // "200", or "404 NotFound"
};

// Sends requests and holds each answer against what is described.
class Client {
 public:
  explicit Client(const AgentProcess& agent, std::string token = "") : http_("127.0.0.1", agent.http_port()) {
    http_.set_read_timeout(60);
    http_.set_keep_alive(true);
    if (!token.empty()) headers_.emplace("Authorization", "Bearer " + token);
  }

  const ApiDescription& api() const { return api_; }
  const ApiOperation& operation(const std::string& id) const {
    for (const auto& one : api_.operations()) {
      if (one.id == id) return one;
    }
    throw std::out_of_range(id);
  }
  Got send(const ApiOperation& operation, const MadeRequest& request) {
    httplib::Request raw;
    raw.method = request.method;
    raw.path = request.target;
    raw.headers = headers_;
    raw.body = request.body;
    // Events have no end.
    bool stream = false;
    raw.response_handler = [&](const httplib::Response& response) {
      stream = response.get_header_value("Content-Type") == "text/event-stream";
      return !stream;
    };
    const auto result = http_.send(raw);
    if (stream) return {200, Json(), operation.may_stream ? "stream" : "a stream"};
    EXPECT_TRUE(result) << request.method << " " << request.target << ": "
                        << httplib::to_string(result.error());
    if (!result) return {};
    if (result->status == 200 || result->status == 204 || result->status >= 400) {
      EXPECT_EQ(api_.check_answer(operation, result->status, result->body), "")
          << request.method << " " << request.target << "\n"
          << result->body;
    }
    Got got{result->status, Json::parse(result->body, nullptr, false), std::to_string(result->status)};
    if (got.status >= 400 && got.body.is_object()) got.summary += " " + got.body.value("kind", "");
    return got;
  }
  // "put_volume", {{"volume_id", ...}}, "?x=y", body
  Got call(const std::string& id, const std::map<std::string, std::string>& path = {},
           const std::string& body = "", const std::string& query = "") {
    const ApiOperation& one = operation(id);
    std::string target = one.path;
    for (const auto& [name, value] : path) {
      const auto at = target.find("{" + name + "}");
      EXPECT_NE(at, std::string::npos) << id << " " << name;
      target.replace(at, name.size() + 2, http::encode(value));
    }
    return send(one, {one.method, target + query, body});
  }

 private:
  ApiDescription api_;
  httplib::Client http_;
  httplib::Headers headers_;
};

class RestApiTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(agent.start());
    for (int i = 1; i <= 3; ++i) {
      engines.push_back(std::make_unique<EngineProcess>(
          scratch, "node-" + std::to_string(i),
          std::vector<std::string>{"--registration-endpoint", agent.registration_endpoint()}));
      ASSERT_TRUE(engines.back()->start());
    }
    client = std::make_unique<Client>(agent);
    ASSERT_TRUE(eventually([&] {
      const auto nodes = client->call("get_nodes").body;
      return nodes.size() == 3 && std::all_of(nodes.begin(), nodes.end(), [](const Json& node) {
               return node.contains("state") && node["state"]["status"] == "Online";
             });
    }));
  }
  void TearDown() override {
    if (!HasFailure()) return;
    std::printf("%s", agent.log().c_str());
    for (const auto& engine : engines) std::printf("%s", engine->log().c_str());
  }

  static bool eventually(const std::function<bool()>& holds, std::chrono::seconds patience = 30s) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < deadline) {
      if (holds()) return true;
      std::this_thread::sleep_for(100ms);
    }
    return false;
  }
  void create_pools() {
    for (int i = 1; i <= 3; ++i) {
      const std::string number = std::to_string(i);
      const std::string disk = scratch.path("disk-" + number);
      std::ofstream(disk).close();
      std::filesystem::resize_file(disk, 1ull << 30);
      const auto made =
          client->call("put_node_pool", {{"node_id", "node-" + number}, {"pool_id", "pool-" + number}},
                       to_text({{"disks", {"aio://" + disk}}}));
      ASSERT_EQ(made.summary, "200") << made.body;
    }
  }

  ScratchDir scratch;
  AgentProcess agent{scratch, "agent", {"--request-timeout", "30s"}};
  std::vector<std::unique_ptr<EngineProcess>> engines;
  std::unique_ptr<Client> client;
};

const char* const create_body =
    R"({"policy":{"self_heal":true},"replicas":3,"size":67108864,"thin":true,"labels":{"a":"b"}})";

TEST_F(RestApiTest, TheLifeOfAVolume) {
  create_pools();
  const std::map<std::string, std::string> id = {{"volume_id", volume}};
  EXPECT_EQ(client->call("get_pools").body.size(), 3u);
  EXPECT_EQ(client->call("get_pools_v1").body.size(), 3u);
  EXPECT_EQ(client->call("get_node_block_devices", {{"node", "node-1"}}).status, 200);
  EXPECT_EQ(client->call("put_volume", id, create_body).summary, "200");
  EXPECT_EQ(client->call("put_volume", id, create_body).summary, "422 AlreadyExists");
  EXPECT_EQ(client->call("get_volumes").body["entries"].size(), 1u);
  EXPECT_EQ(client->call("get_volume", id).body["state"]["replica_topology"].size(), 3u);
  EXPECT_EQ(client->call("get_replicas").body.size(), 3u);
  EXPECT_EQ(client->call("get_rebuild_history", id).status, 412);
  const char* publish = R"({"publish_context":{},"protocol":"nvmf"})";
  const auto published = client->call("put_volume_target", id, publish);
  EXPECT_EQ(published.summary, "200") << published.body;
  EXPECT_THAT(to_text(published.body["state"]["target"]["deviceUri"]), ::testing::HasSubstr("nvmf://"));
  EXPECT_EQ(client->call("put_volume_target", id, publish).summary, "412 AlreadyPublished");
  EXPECT_EQ(client->call("get_nexuses").body.size(), 1u);
  EXPECT_EQ(client->call("get_rebuild_history", id).status, 200);
  const std::map<std::string, std::string> snap = {{"volume_id", volume}, {"snapshot_id", snapshot}};
  const auto taken = client->call("put_volume_snapshot", snap);
  EXPECT_EQ(taken.summary, "200") << taken.body;
  EXPECT_EQ(client->call("put_volume_snapshot", snap).summary, "422 AlreadyExists");
  EXPECT_EQ(client->call("get_volumes_snapshots").body["entries"].size(), 1u);
  EXPECT_EQ(client->call("del_volume_snapshot", snap).summary, "204");
  EXPECT_EQ(client->call("put_volume_size", id, R"({"size":134217728})").summary, "200");
  EXPECT_EQ(client->call("put_volume_size", id, R"({"size":67108864})").status, 400);
  auto count = id;
  count["replica_count"] = "2";
  EXPECT_EQ(client->call("put_volume_replica_count", count).summary, "200");
  EXPECT_EQ(client->call("put_volume_property", id, R"({"max_snapshots":4})").summary, "200");
  EXPECT_EQ(client->call("del_volume_target", id).summary, "200");
  EXPECT_EQ(client->call("del_volume_target", id).summary, "412 NotPublished");
  EXPECT_EQ(client->call("del_pool", {{"pool_id", "pool-1"}}).status, 409);
  EXPECT_EQ(client->call("get_specs").body["volumes"].size(), 1u);
  EXPECT_EQ(client->call("get_states").status, 200);
  EXPECT_EQ(client->call("get_events", {}, "", "?follow=false").status, 200);
  EXPECT_EQ(client->call("del_volume", id).summary, "204");
  EXPECT_EQ(client->call("get_volume", id).summary, "404 NotFound");
  EXPECT_TRUE(eventually([&] { return client->call("get_replicas").body.empty(); }));
  for (const char* pool : {"pool-1", "pool-2", "pool-3"}) {
    EXPECT_EQ(client->call("del_pool", {{"pool_id", pool}}).summary, "204");
  }
}

TEST_F(RestApiTest, NodesAreLabelledAndCordoned) {
  const std::map<std::string, std::string> label = {{"id", "node-1"}, {"label", "maintenance"}};
  EXPECT_EQ(client->call("put_node_cordon", label).summary, "200");
  EXPECT_EQ(client->call("delete_node_cordon", label).summary, "200");
  EXPECT_EQ(client->call("delete_node_cordon", label).summary, "412 FailedPrecondition");
  const std::map<std::string, std::string> zone = {
      {"id", "node-1"}, {"key", "example.org/zone"}, {"value", "a"}};
  EXPECT_EQ(client->call("put_node_label", zone).body["spec"]["labels"]["example.org/zone"], "a");
  auto other = zone;
  other["value"] = "b";
  EXPECT_EQ(client->call("put_node_label", other).status, 412);
  EXPECT_EQ(client->call("put_node_label", other, "", "?overwrite=true").summary, "200");
  EXPECT_EQ(client->call("delete_node_label", {{"id", "node-1"}, {"key", "example.org/zone"}}).summary,
            "200");
  EXPECT_EQ(client->call("delete_node_label", {{"id", "node-1"}, {"key", "example.org/zone"}}).status, 412);
}

TEST_F(RestApiTest, NothingThatIsSentIsAnInternalError) {
  const RequestMaker make(client->api());
  Prng prng(7);
  for (int round = 0; round < 12; ++round) {
    for (const auto& operation : client->api().operations()) {
      if (operation.id == "get_events") continue;
      const auto request = round == 0 ? make.good(operation) : make.random(operation, prng);
      // What cannot stand in a request line is the library's to refuse, not ours to send.
      const bool sendable = std::all_of(request.target.begin(), request.target.end(),
                                        [](char c) { return c > 0x20 && c < 0x7f; });
      if (!sendable) continue;
      const auto got = client->send(operation, request);
      EXPECT_NE(got.status, 500) << request.method << " " << request.target << "\n"
                                 << request.body << got.body;
    }
    ASSERT_TRUE(agent.running());
  }
}

TEST(RestApiTokens, AreAskedForByEveryOperation) {
  const ScratchDir scratch;
  const http::testing::Signer signer;
  std::ofstream(scratch.path("jwk")) << signer.jwk().dump();
  AgentProcess agent(scratch, "agent", {"--jwk", scratch.path("jwk"), "--jwt-audience", "holdfast"});
  ASSERT_TRUE(agent.start());
  const auto token = [&](std::time_t ends) {
    return signer.token({{"alg", "RS256"}}, {{"exp", ends}, {"aud", "holdfast"}});
  };
  Client good(agent, token(std::time(nullptr) + 600));
  Client none(agent);
  Client old(agent, token(std::time(nullptr) - 600));
  const RequestMaker make(good.api());
  for (const auto& operation : good.api().operations()) {
    EXPECT_EQ(none.send(operation, make.good(operation)).summary, "401 Unauthorized") << operation.id;
    EXPECT_EQ(old.send(operation, make.good(operation)).summary, "401 Unauthorized") << operation.id;
  }
  EXPECT_EQ(good.call("get_nodes").summary, "200");
}

TEST(RestApiStop, IsCleanAndQuick) {
  const ScratchDir scratch;
  AgentProcess agent(scratch);
  ASSERT_TRUE(agent.start());
  Client client(agent);
  EXPECT_EQ(client.call("get_status").status, 200);
  agent.signal(SIGTERM);
  EXPECT_EQ(agent.wait_exit(15s), 0) << agent.log();
  ASSERT_TRUE(agent.start());
}

}  // namespace
}  // namespace holdfast::control::rest::testing
