// Goal: with several agents it does not matter which one a client or an engine speaks to.
// Method: two real agents over one store; a node registers with the one that does not lead, changes are asked of it,
// and then the one that leads is killed. Tokens are asked for, so that each change proves that its token came along.
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <thread>

#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>

#include "http/testing/signer.h"
#include "mayastor/v1/registration.grpc.pb.h"
#include "store/store_process.h"
#include "support/agent_process.h"

namespace holdfast::testing_support {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

struct Got {
  int status = 0;
  Json body;
  std::string kind() const { return body.is_object() ? body.value("kind", "") : ""; }
};

class TwoAgents : public ::testing::Test {
 protected:
  void SetUp() override {
    store_ = start_embedded();
    ASSERT_TRUE(store_);
    std::ofstream(scratch_.path("jwk")) << signer_.jwk().dump();
    first_ = start("first");
    ASSERT_TRUE(first_ && until([&] { return leads(*first_); })) << first_->log();
    second_ = start("second");
    ASSERT_TRUE(second_ && until([&] { return knows_leader(*second_); })) << second_->log();
    ASSERT_FALSE(leads(*second_));
  }
  std::unique_ptr<AgentProcess> start(const std::string& name) {
    const std::vector<std::string> flags = {"--name",
                                            name,
                                            "--store",
                                            "http://" + store_->endpoints().front(),
                                            "--jwk",
                                            scratch_.path("jwk"),
                                            "--store-lease-ttl",
                                            "3"};
    auto agent = std::make_unique<AgentProcess>(scratch_, name, flags);
    if (!agent->start()) return nullptr;
    return agent;
  }
  Got ask(const AgentProcess& agent, const std::string& method, const std::string& path,
          httplib::Headers headers = {}, const std::string& body = "") {
    httplib::Client client("127.0.0.1", agent.http_port());
    client.set_read_timeout(60);
    httplib::Request request;
    request.method = method;
    request.path = path;
    request.body = body;
    if (!body.empty()) headers.emplace("Content-Type", "application/json");
    const std::time_t ends = std::time(nullptr) + 3600;
    headers.emplace("Authorization", "Bearer " + signer_.token({{"alg", "RS256"}}, {{"exp", ends}}));
    request.headers = std::move(headers);
    const auto result = client.send(request);
    if (!result) return {};
    return {result->status, Json::parse(result->body, nullptr, false)};
  }
  bool leads(const AgentProcess& agent) {
    const Got got = ask(agent, "GET", "/v1/status");
    return got.status == 200 && got.body.value("leading", false) && got.body.value("ready", false);
  }
  bool knows_leader(const AgentProcess& agent) {
    const Got got = ask(agent, "GET", "/v1/status");
    return got.status == 200 && got.body.contains("leader");
  }
  static bool until(const std::function<bool()>& done) {
    const auto deadline = Clock::now() + std::chrono::seconds(90);
    while (Clock::now() < deadline) {
      if (done()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return false;
  }
  grpc::Status register_node(const AgentProcess& agent, const std::string& node) {
    const auto channel =
        grpc::CreateChannel(agent.registration_endpoint(), grpc::InsecureChannelCredentials());
    const auto stub = mayastor::v1::Registration::NewStub(channel);
    mayastor::v1::RegisterRequest request;
    request.set_id(node);
    request.set_grpc_endpoint("127.0.0.1:" + std::to_string(free_port()));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    google::protobuf::Empty reply;
    return stub->Register(&context, request, &reply);
  }
  bool cordoned(const AgentProcess& agent, const std::string& label) {
    const Got got = ask(agent, "GET", "/v0/nodes/node-x");
    return got.status == 200 && got.body.dump().find(label) != std::string::npos;
  }

  const http::testing::Signer signer_;
  ScratchDir scratch_;
  std::unique_ptr<StoreProcesses> store_;
  std::unique_ptr<AgentProcess> first_;
  std::unique_ptr<AgentProcess> second_;
};

TEST_F(TwoAgents, TheOneThatDoesNotLeadSendsOn) {
  const grpc::Status registered = register_node(*second_, "node-x");
  ASSERT_TRUE(registered.ok()) << registered.error_message();
  EXPECT_EQ(ask(*first_, "GET", "/v0/nodes/node-x").status, 200);
  EXPECT_TRUE(until([&] { return ask(*second_, "GET", "/v0/nodes/node-x").status == 200; }));

  const Got cordon = ask(*second_, "PUT", "/v0/nodes/node-x/cordon/repair");
  EXPECT_EQ(cordon.status, 200) << cordon.body;
  EXPECT_TRUE(cordoned(*first_, "repair"));
  EXPECT_TRUE(until([&] { return cordoned(*second_, "repair"); }));
  const Got unknown = ask(*second_, "PUT", "/v0/nodes/node-y/cordon/repair");
  EXPECT_EQ(unknown.status, 404) << "errors come back as they are";
  EXPECT_EQ(unknown.body, ask(*first_, "PUT", "/v0/nodes/node-y/cordon/repair").body);

  // With a body, with a query that is encoded, and without an answer's body.
  const Got app = ask(*second_, "PUT", "/v0/app-nodes/app-1", {}, R"({"endpoint":"10.1.2.3:10199"})");
  EXPECT_EQ(app.status, 204) << app.body;
  EXPECT_EQ(ask(*first_, "GET", "/v0/app-nodes/app-1").status, 200);
  EXPECT_EQ(ask(*second_, "DELETE", "/v0/app-nodes/app-1").status, 204);
  const Got label = ask(*second_, "PUT", "/v0/nodes/node-x/label/zone=a%2Db?overwrite=true");
  EXPECT_EQ(label.status, 200) << label.body;

  const Got guarded =
      ask(*second_, "DELETE", "/v0/nodes/node-x/cordon/repair", {{"Holdfast-Forwarded-By", "third"}});
  EXPECT_EQ(guarded.status, 503) << "nobody sends on what was sent on";
  EXPECT_EQ(guarded.kind(), "Unavailable");
  EXPECT_TRUE(cordoned(*first_, "repair"));
}

TEST_F(TwoAgents, TheNextOneLeadsWhenTheLeaderIsKilled) {
  ASSERT_TRUE(register_node(*first_, "node-x").ok());
  first_->kill();
  Got cordon;
  EXPECT_TRUE(until([&] {
    cordon = ask(*second_, "PUT", "/v0/nodes/node-x/cordon/repair");
    if (cordon.status == 200) return true;
    EXPECT_EQ(cordon.status, 503) << cordon.body;
    EXPECT_EQ(cordon.kind(), "Unavailable");
    return false;
  })) << cordon.body;
  EXPECT_TRUE(leads(*second_));
  EXPECT_TRUE(cordoned(*second_, "repair"));
}

TEST_F(TwoAgents, ABackupComesBackInAnotherStore) {
  ASSERT_TRUE(register_node(*first_, "node-x").ok());
  ASSERT_EQ(ask(*first_, "PUT", "/v0/nodes/node-x/cordon/repair").status, 200);
  const std::string file = scratch_.path("backup");
  const std::string other = "embedded:" + scratch_.path("other.db");
  // The exit status, and what it said.
  const auto run = [this](const std::string& flags) {
    const std::string out = scratch_.path("out");
    const std::string line = AgentProcess::program() + " " + flags + " >" + out + " 2>&1";
    const int status = std::system(line.c_str());  // NOLINT: no arguments of strangers
    std::ifstream in(out);
    return std::make_pair(WEXITSTATUS(status), std::string(std::istreambuf_iterator<char>(in), {}));
  };
  const auto saved = run("--store http://" + store_->endpoints().front() + " --backup " + file);
  ASSERT_EQ(saved.first, 0) << saved.second;
  const auto restored = run("--store " + other + " --restore " + file);
  ASSERT_EQ(restored.first, 0) << restored.second;
  const auto refused = run("--store " + other + " --restore " + file);
  EXPECT_EQ(refused.first, 1) << refused.second;
  EXPECT_NE(refused.second.find("--restore"), std::string::npos) << refused.second;
  EXPECT_EQ(run("--store " + other + " --restore " + file + " --overwrite").first, 0);
  EXPECT_EQ(run("--store " + other + " --restore " + scratch_.path("jwk") + " --overwrite").first, 1);

  AgentProcess third(scratch_, "third", {"--store", other, "--jwk", scratch_.path("jwk")});
  ASSERT_TRUE(third.start());
  EXPECT_TRUE(until([&] { return cordoned(third, "repair"); })) << third.log();
}

}  // namespace
}  // namespace holdfast::testing_support
