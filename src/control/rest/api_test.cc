#include "control/rest/api.h"

#include <algorithm>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/rest/documents.h"
#include "control/rest/testing/api_rig.h"
#include "control/rest/testing/requests.h"
#include "control/rest/testing/schema.h"
#include "http/testing/plain_refusal.h"
#include "http/testing/signer.h"

namespace holdfast::control::rest {
namespace {

using namespace testing;
using ::testing::HasSubstr;

std::string kind_of_reply(const http::Reply& reply) {
  const Json json = Json::parse(reply.body, nullptr, false);
  return json.is_object() ? json.value("kind", "no kind") : "no error";
}

class ApiTest : public ::testing::Test {
 protected:
  // Status and kind, and the answer held against its schema.
  std::string outcome(const ApiOperation& operation, const http::Reply& reply) {
    if (reply.stream) return operation.may_stream ? "200 stream" : "a stream that is not described";
    const auto wrong = api.check_answer(operation, reply.status, reply.body);
    if (!wrong.empty()) return wrong + " in " + reply.body;
    return std::to_string(reply.status) + (reply.status >= 400 ? " " + kind_of_reply(reply) : "");
  }
  std::string ask(const ApiOperation& operation, const MadeRequest& request) {
    return outcome(operation, rig.ask(request.method, request.target, request.body));
  }
  std::string ask(const std::string& method, const std::string& target, const std::string& body = "") {
    const auto reply = rig.ask(method, target, body);
    return std::to_string(reply.status) +
           (reply.status >= 400 ? " " + kind_of_reply(reply) + " " + reply.body : "");
  }

  ApiDescription api;
  RequestMaker make{api};
  ApiRig rig;
};

TEST_F(ApiTest, DescriptionAndProgramHaveTheSameOperations) {
  std::set<std::string> described;
  for (const auto& operation : api.operations()) {
    described.insert(operation.method + " " + operation.path + " " + operation.id);
  }
  std::set<std::string> served;
  std::set<std::string> ids;
  for (const auto& operation : all_operations()) {
    std::string path = operation.path;
    if (const auto rest = path.find("..."); rest != std::string::npos) path.erase(rest, 3);
    served.insert(std::string(operation.method) + " " + path + " " + operation.id);
    ids.insert(operation.id);
  }
  EXPECT_EQ(described, served);
  EXPECT_EQ(ids.size(), all_operations().size());
}

TEST_F(ApiTest, EveryOperationAnswersAsDescribed) {
  for (const auto& operation : api.operations()) {
    const auto request = make.good(operation);
    const std::string expected = operation.may_stream ? "200 stream" : operation.answer ? "200" : "204";
    EXPECT_EQ(ask(operation, request), expected)
        << request.method << " " << request.target << " " << request.body;
  }
}

TEST_F(ApiTest, EveryPathParameterIsChecked) {
  for (const auto& operation : api.operations()) {
    for (const auto& parameter : operation.parameters) {
      const Json& schema = api.resolve(parameter.schema);
      const bool exact = schema.value("format", "") == "uuid" || schema.value("type", "") != "string" ||
                         schema.contains("enum");
      if (!exact || schema.value("type", "") == "array") continue;
      MadeRequest request = make.good(operation);
      request.target = make.target(operation, parameter.name, "no-such-thing");
      EXPECT_EQ(ask(operation, request), "400 Deserialize") << request.target;
      const auto reply = rig.ask(request.method, request.target, request.body);
      EXPECT_THAT(reply.body, HasSubstr(parameter.name + ": expected ")) << request.target;
    }
  }
}

TEST_F(ApiTest, AnUnknownQueryParameterIsNamedOrPartOfAnUri) {
  for (const auto& operation : api.operations()) {
    if (operation.path.find("{child_id}") != std::string::npos) continue;
    MadeRequest request = make.good(operation);
    request.target += (request.target.find('?') == std::string::npos ? "?" : "&") + std::string("forze=true");
    const auto reply = rig.ask(request.method, request.target, request.body);
    EXPECT_EQ(reply.status, 400) << request.target;
    EXPECT_THAT(reply.body, HasSubstr("no query parameter 'forze'"));
  }
}

TEST_F(ApiTest, EveryFieldOfABodyIsChecked) {
  for (const auto& operation : api.operations()) {
    if (!operation.body || operation.id == "put_node_jsongrpc") continue;
    MadeRequest request = make.good(operation);
    const Json good = Json::parse(request.body);
    const Json& schema = api.resolve(*operation.body);
    const auto refused = [&](const std::string& body, const std::string& why) {
      const auto reply = rig.ask(request.method, request.target, body);
      EXPECT_EQ(outcome(operation, reply), "400 Deserialize") << operation.id << " " << body;
      EXPECT_THAT(reply.body, HasSubstr(why)) << operation.id << " " << body;
    };
    if (operation.body_required) refused("", "has no body");
    refused("{", "not JSON");
    refused("[]", "expected an object, got a list");
    refused(R"({"nonsense":1})", operation.body_required ? "is missing" : "nonsense");
    for (const auto& [key, value] : good.items()) {
      Json changed = good;
      changed[key] = value.is_number() ? Json("1") : Json(-1);
      refused(to_text(changed), key + ": expected ");
      Json without = good;
      without.erase(key);
      const Json required = schema.value("required", Json::array());
      if (std::find(required.begin(), required.end(), key) != required.end()) {
        refused(to_text(without), key + ": is missing");
      }
    }
    Json more = good;
    more["nonsense"] = 1;
    refused(to_text(more), "nonsense: there is no such field here; known are ");
  }
}

TEST_F(ApiTest, EveryKindHasItsStatus) {
  const auto& operation =
      *std::find_if(api.operations().begin(), api.operations().end(),
                    [](const ApiOperation& one) { return one.id == "put_volume_target"; });
  for (std::size_t i = 0; i < kind_count; ++i) {
    const Kind kind = static_cast<Kind>(i);
    rig.fail_with(refusal(kind, "volume x: why, and what to do"));
    const auto request = make.good(operation);
    const auto reply = rig.ask(request.method, request.target, request.body);
    EXPECT_EQ(outcome(operation, reply), std::to_string(http_status(kind)) + " " + std::string(name(kind)));
    EXPECT_EQ(Json::parse(reply.body)["message"], "volume x: why, and what to do");
    EXPECT_EQ(Json::parse(reply.body)["details"], "volume x: why, and what to do");
  }
}

TEST_F(ApiTest, WhatIsAskedReachesTheService) {
  const std::string volume = volume_id;
  const std::string replica = replica_id;
  const std::string nexus = nexus_id;
  const std::string create = R"({"policy":{"self_heal":false},"replicas":2,"size":1048576,"thin":true)";
  const struct {
    std::string method, target, body, last;
  } cases[] = {
      {"PUT", "/v0/nodes/node-1/cordon/a%2Fb", "", "cordon_node node-1 a/b"},
      {"DELETE", "/v0/nodes/node-1/cordon/a", "", "uncordon_node node-1 a"},
      {"PUT", "/v0/nodes/node-1/drain/a", "", "drain_node node-1 a false"},
      {"PUT", "/v1/nodes/node-1/drain/a?replicas=true", "", "drain_node node-1 a true"},
      {"PUT", "/v0/nodes/node-1/label/example.org/zone=a?overwrite=true", "",
       "label_node node-1 example.org/zone a true"},
      {"PUT", "/v0/nodes/node-1/label/example.org%2Fzone%3Da", "",
       "label_node node-1 example.org/zone a false"},
      {"DELETE", "/v0/nodes/node-1/label/example.org/zone", "", "unlabel_node node-1 example.org/zone"},
      {"DELETE", "/v1/nodes/node-1", "", "delete_node node-1 empty"},
      {"DELETE", "/v1/nodes/node-1?purge=true&accept_volume_loss=true", "", "delete_node node-1 true false"},
      {"GET", "/v0/nodes/node-1/block_devices", "", "block_devices node-1 true"},
      {"GET", "/v0/nodes/node-1/block_devices?all=false", "", "block_devices node-1 false"},
      {"PUT", "/v0/nodes/node-1/jsongrpc/m", R"({"b": 1, "a": [ ]})", R"(json_rpc node-1 m {"b":1,"a":[]})"},
      {"PUT", "/v0/nodes/node-1/pools/pool-1",
       R"({"disks":["/dev/a","/dev/b"],"labels":{"x":"y"},"cluster_size":4})",
       "create_pool pool-1 node-1 /dev/a,/dev/b 1 4"},
      {"DELETE", "/v0/pools/pool-1", "", "delete_pool pool-1 -"},
      {"DELETE", "/v0/nodes/node-1/pools/pool-1", "", "delete_pool pool-1 node-1"},
      {"PUT", "/v1/pools/pool-1/evacuate", "", "evacuate_pool pool-1 true"},
      {"DELETE", "/v1/pools/pool-1/evacuate", "", "evacuate_pool pool-1 false"},
      {"DELETE", "/v1/pools/pool-1/purge?accept_snapshot_loss=true", "", "purge_pool pool-1 false true"},
      {"PUT", "/v0/pools/pool-1/replicas/" + replica,
       R"({"size":7,"thin":false,"share":"nvmf","allowed-hosts":["a"]})",
       "create_replica " + replica + " pool-1 - 7 false nvmf a"},
      {"PUT", "/v0/nodes/node-1/pools/pool-1/replicas/" + replica, R"({"size":7,"thin":true,"share":null})",
       "create_replica " + replica + " pool-1 node-1 7 true none "},
      {"PUT", "/v0/pools/pool-1/replicas/" + replica + "/share/nvmf?allowed-hosts=nqn.a&allowed-hosts=nqn.b",
       "", "share_replica " + replica + " nvmf nqn.a,nqn.b"},
      {"PUT", "/v0/nodes/node-1/nexuses/" + nexus, R"({"children":["bdev:///a"],"size":9})",
       "create_nexus " + nexus + " node-1 bdev:///a 9"},
      {"DELETE", "/v0/nexuses/" + nexus + "/children/nvmf://h:1/n?uuid=x", "",
       "remove_nexus_child " + nexus + " - nvmf://h:1/n?uuid=x"},
      {"DELETE", "/v0/nodes/node-1/nexuses/" + nexus + "/children/nvmf%3A%2F%2Fh%3A1%2Fn%3Fuuid%3Dx", "",
       "remove_nexus_child " + nexus + " node-1 nvmf://h:1/n?uuid=x"},
      {"DELETE", "/v0/nexuses/" + nexus + "/children/%2Fdev%2Fsdb", "",
       "remove_nexus_child " + nexus + " - aio:///dev/sdb"},
      {"PUT", "/v0/volumes/" + volume, create + "}",
       "create_volume " + volume + " 1048576 2 false true nodes=- pools=- labels=0 group=- max=0"},
      {"PUT", "/v0/volumes/" + volume,
       create +
           R"(,"labels":{"a":"b"},"affinity_group":{"id":"g"},"max_snapshots":3,"topology":{"node_topology":
          {"labelled":{"exclusion":{"zone":""},"inclusion":{},"affinity_key":["r"]}},
          "pool_topology":{"labelled":
          {"exclusion":{},"inclusion":{"a":"b","c":"d"}}}}})",
       "create_volume " + volume + " 1048576 2 false true nodes=1/0/r pools=0/2/ labels=1 group=g max=3"},
      {"PUT", "/v0/volumes/" + volume + "/target", R"({"publish_context":{"a":"b"},"protocol":"nvmf"})",
       "publish_volume " + volume + " 1 nvmf - false true -"},
      {"PUT", "/v0/volumes/" + volume + "/target",
       R"({"publish_context":{},"protocol":"nvmf","node":"n","republish":true,
          "reuse_existing":false,"frontend_node":"f"})",
       "publish_volume " + volume + " 0 nvmf n true false f"},
      {"DELETE", "/v0/volumes/" + volume + "/target?force=true", "", "unpublish_volume " + volume + " true"},
      {"PUT", "/v0/volumes/" + volume + "/share/nvmf?frontend_host=nqn.a", "",
       "share_volume " + volume + " nvmf nqn.a"},
      {"DELETE", "/v0/volumes" + volume + "/share", "", "unshare_volume " + volume},
      {"DELETE", "/v0/volumes/" + volume + "/share", "", "unshare_volume " + volume},
      {"PUT", "/v0/volumes/" + volume + "/replica_count/0", "", "set_replica_count " + volume + " 0"},
      {"PUT", "/v0/volumes/" + volume + "/size", R"({"size":5})", "resize_volume " + volume + " 5"},
      {"PUT", "/v0/volumes/" + volume + "/property", R"({"max_snapshots":5})",
       "set_max_snapshots " + volume + " 5"},
      {"PUT", "/v1/volumes/" + volume + "/replicas/" + replica + "/move", "",
       "move_replica " + volume + " " + replica + " -"},
      {"PUT", "/v1/volumes/" + volume + "/replicas/" + replica + "/move", R"({"pool":"p"})",
       "move_replica " + volume + " " + replica + " p"},
      {"PUT", "/v1/volumes/" + volume + "/clones/" + replica, create + "}",
       "clone_volume " + volume + " " + replica},
      {"PUT", "/v0/app-nodes/app-1", R"({"endpoint":"h:1"})", "register_app_node app-1 h:1"},
      {"PUT", "/v1/adopt", R"({"dry_run":true})", "adopt true false 0"},
      {"PUT", "/v1/adopt", R"({"dry_run":false,"skip_conflicts":true,"take":[")" + replica + R"("]})",
       "adopt false true 1"},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(ask(c.method, c.target, c.body), ::testing::StartsWith("20")) << c.target;
    EXPECT_EQ(rig.last(), c.last) << c.target;
  }
}

TEST_F(ApiTest, AFilterThatNothingMeetsGivesAnEmptyList) {
  EXPECT_EQ(rig.ask("GET", "/v0/nodes?node_id=x").body, "[]");
  const std::string other = "99999999-0000-4000-8000-000000000009";
  EXPECT_EQ(rig.ask("GET", "/v0/volumes?volume_id=" + other).body, R"({"entries":[]})");
}

TEST_F(ApiTest, WhatIsNotThereIsNamed) {
  const std::string other = "99999999-0000-4000-8000-000000000009";
  const std::string replica = replica_id;
  const std::string nexus = nexus_id;
  const struct {
    std::string method, target, why;
  } cases[] = {
      {"GET", "/v0/nodes/x", "node x"},
      {"GET", "/v0/nodes/x/pools", "node x"},
      {"GET", "/v0/nodes/x/replicas", "node x"},
      {"GET", "/v0/nodes/x/nexuses", "node x"},
      {"GET", "/v0/pools/x", "pool x"},
      {"GET", "/v0/nodes/x/pools/pool-1", "node x"},
      {"GET", "/v0/pools?volume_id=" + other, "volume " + other},
      {"GET", "/v0/nodes/other/pools/pool-1/replicas", "on node 'node-1', not on 'other'"},
      {"GET", "/v0/nodes/node-1/pools/other/replicas/" + replica, "in pool 'pool-1' on node 'node-1'"},
      {"PUT", "/v0/pools/other/replicas/" + replica + "/share/nvmf", "in pool 'pool-1'"},
      {"GET", "/v0/replicas/" + other, "replica " + other},
      {"GET", "/v0/nodes/other/nexuses/" + nexus, "on node 'node-1', not on 'other'"},
      {"GET", "/v0/nexuses/" + nexus + "/children/bdev:///none", "no child bdev:///none"},
      {"GET", "/v0/volumes/" + other, "volume " + other},
      {"GET", "/v0/volumes/snapshots/" + other, "snapshot " + other},
      {"GET", "/v0/app-nodes/x", "app node x"},
      {"PUT", "/v0/watches/volumes/" + other + "?callback=http://h/", "volume " + other},
      {"DELETE", "/v0/watches/volumes/" + std::string(volume_id) + "?callback=http://h/",
       "is not watched by http://h/"},
      {"GET", "/v0/nowhere", "no path /v0/nowhere"},
      {"GET", "/v1/volumes/" + other, "volume " + other},
  };
  for (const auto& c : cases) {
    const auto text = ask(c.method, c.target);
    EXPECT_THAT(text, ::testing::StartsWith("404 NotFound")) << c.target;
    EXPECT_THAT(text, HasSubstr(c.why)) << c.target;
  }
}

TEST_F(ApiTest, WrongMethodsNameTheRightOnes) {
  const auto reply = rig.ask("POST", "/v0/volumes/" + std::string(volume_id));
  EXPECT_EQ(reply.status, 405);
  EXPECT_EQ(kind_of_reply(reply), "NotAcceptable");
  ASSERT_EQ(reply.headers.size(), 1u);
  EXPECT_EQ(reply.headers[0].second, "DELETE, GET, PUT");
}

TEST_F(ApiTest, ListsComeInPages) {
  const auto page = [&](const std::string& query) {
    const Json json = Json::parse(rig.ask("GET", "/v0/volumes" + query).body);
    return std::to_string(json["entries"].size()) +
           (json.contains("next_token") ? " " + to_text(json["next_token"]) : "");
  };
  EXPECT_EQ(page(""), "3");
  EXPECT_EQ(page("?max_entries=0"), "3");
  EXPECT_EQ(page("?max_entries=2"), "2 2");
  EXPECT_EQ(page("?max_entries=2&starting_token=2"), "1");
  EXPECT_EQ(page("?max_entries=9&starting_token=7"), "0");
  EXPECT_THAT(ask("GET", "/v0/volumes?max_entries=-1"), HasSubstr("max_entries: expected a whole number"));
  EXPECT_THAT(ask("GET", "/v0/volumes?max_entries=1&max_entries=2"),
              HasSubstr("max_entries: is given 2 times"));
  EXPECT_THAT(ask("GET", "/v0/volumes?starting_token=9223372036854775808"),
              HasSubstr("starting_token: expected"));
}

TEST(ApiTime, AnAnswerThatIsLateIsATimeout) {
  ApiOptions options;
  options.request_timeout = std::chrono::milliseconds(50);
  options.minimum_timeouts = false;
  ApiRig rig(options);
  rig.answer_after(300ms);
  const auto reply = rig.ask("DELETE", "/v0/pools/pool-1");
  EXPECT_EQ(reply.status, 408);
  EXPECT_EQ(kind_of_reply(reply), "Timeout");
  // It went on.
  EXPECT_EQ(rig.last(), "delete_pool pool-1 -");
  EXPECT_EQ(rig.ask("GET", "/v0/pools/pool-1").status, 200);
}

TEST(ApiTokens, EveryOperationWantsAToken) {
  const http::testing::Signer signer;
  const http::testing::Signer stranger;
  auto verifier = http::TokenVerifier::create(signer.jwk().dump(), {"holdfast"});
  ASSERT_TRUE(verifier.ok());
  ApiOptions options;
  options.tokens = &verifier.value();
  ApiRig rig(options);
  const ApiDescription api;
  const RequestMaker make(api);
  const Json claims = {{"exp", std::time(nullptr) + 60}, {"aud", "holdfast"}};
  const std::string good = "Bearer " + signer.token({{"alg", "RS256"}}, claims);
  const std::string bad[] = {"", "Bearer x", "Bearer " + stranger.token({{"alg", "RS256"}}, claims),
                             "Bearer " + signer.token({{"alg", "RS256"}}, {{"exp", 1}, {"aud", "holdfast"}})};
  for (const auto& operation : api.operations()) {
    const auto request = make.good(operation);
    for (const auto& authorization : bad) {
      const auto reply = rig.ask(request.method, request.target, request.body, authorization);
      EXPECT_EQ(reply.status, 401) << request.target;
      EXPECT_EQ(kind_of_reply(reply), "Unauthorized");
      EXPECT_EQ(api.check_answer(operation, reply.status, reply.body), "");
    }
    EXPECT_LT(rig.ask(request.method, request.target, request.body, good).status, 300) << request.target;
  }
  EXPECT_EQ(rig.ask("GET", "/metrics").status, 401);
  EXPECT_EQ(rig.ask("GET", "/v0/nowhere").status, 401);
  EXPECT_EQ(rig.ask("GET", "/livez").status, 200);
  EXPECT_EQ(rig.ask("GET", "/v0/api/spec").status, 200);
}

TEST_F(ApiTest, EventsAreListedAndFollowed) {
  const Json list = Json::parse(rig.ask("GET", "/v1/events?follow=false").body);
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0]["category"], "Volume");
  EXPECT_EQ(Json::parse(rig.ask("GET", "/v1/events?follow=false&after=1").body).size(), 0u);
  // A number of an earlier run of the agent.
  EXPECT_EQ(Json::parse(rig.ask("GET", "/v1/events?follow=false&after=77").body).size(), 1u);
  auto reply = rig.ask("GET", "/v1/events");
  EXPECT_EQ(reply.content_type, "text/event-stream");
  ASSERT_TRUE(reply.stream);
  std::string piece;
  EXPECT_TRUE(reply.stream(piece));
  EXPECT_THAT(piece, ::testing::StartsWith("id: 1\nevent: Volume\ndata: {\"number\":1,"));
  EXPECT_TRUE(piece.ends_with("}\n\n"));
  rig.home()
      .read([](Service& service) {
        service.events().add("Pool", "StateChange", "pool-1", "", "pool is\nonline");
        return true;
      })
      .ignore("added");
  piece.clear();
  EXPECT_TRUE(reply.stream(piece));
  EXPECT_THAT(piece, HasSubstr("event: Pool\ndata: "));
  EXPECT_THAT(piece, HasSubstr("pool is\\nonline"));
}

TEST_F(ApiTest, PagesAndMetricsAreServed) {
  EXPECT_EQ(rig.ask("GET", "/livez").status, 200);
  EXPECT_EQ(rig.ask("GET", "/readyz").status, 200);
  EXPECT_EQ(rig.ask("GET", "/").content_type, "text/html; charset=utf-8");
  EXPECT_EQ(rig.ask("GET", "/v0/swagger-ui").body, documentation_page());
  EXPECT_EQ(rig.ask("GET", "/v0/api/spec").body, openapi_json());
  EXPECT_EQ(rig.ask("GET", "/v0/api/spec.yaml").body, openapi_yaml());
  EXPECT_EQ(rig.ask("PUT", "/v0/api/spec").status, 405);
  rig.ask("GET", "/v0/pools");
  const auto metrics = rig.ask("GET", "/metrics").body;
  EXPECT_THAT(metrics, HasSubstr("holdfast_volumes{status=\"Degraded\"} 3"));
  EXPECT_THAT(metrics, HasSubstr("holdfast_pool_used_bytes{node=\"node-1\",pool=\"pool-1\"} 10737418240"));
  EXPECT_THAT(metrics, HasSubstr("holdfast_rest_requests_total{operation=\"get_pools\",code=\"2xx\"} 1"));
  EXPECT_THAT(documentation_page(), ::testing::Not(HasSubstr("src=")));
}

// Nothing that can be sent is an internal error or answered otherwise than described.
TEST_F(ApiTest, RandomRequestsAreAnsweredOrRefused) {
  std::map<int, int> statuses;
  Prng prng(20261121);
  for (int round = 0; round < 60; ++round) {
    for (const auto& operation : api.operations()) {
      const auto request = make.random(operation, prng);
      const auto reply = rig.ask(request.method, request.target, request.body);
      ++statuses[reply.status];
      ASSERT_TRUE(reply.status < 500) << request.method << " " << request.target << "\n"
                                      << request.body << "\n"
                                      << reply.body;
      if (reply.status >= 400) {
        ASSERT_EQ(api.check_answer(operation, reply.status, reply.body), "") << reply.body;
      }
    }
  }
  EXPECT_GT(statuses[200], 1000);
  EXPECT_GT(statuses[400], 500);
}

TEST_F(ApiTest, ABodyOfMoreValuesThanAreWorthReadingIsRefused) {
  std::string objects = "{}";
  std::string keys = "\"k\":0";
  for (int i = 0; i < 20'000; ++i) {
    objects += ",{}";
    keys += ",\"k" + std::to_string(i) + "\":0";
  }
  for (const std::string& body : {"{\"disks\":[" + objects + "]}", "{" + keys + "}"}) {
    const auto reply = rig.ask("PUT", "/v0/nodes/n1/pools/p1", body);
    EXPECT_EQ(reply.status, 400);
    EXPECT_THAT(reply.body, HasSubstr("more than 16384 values"));
  }
}

TEST(ApiForwarding, ReachesLeadersByWhateverUrlTheyHave) {
  http::ServerOptions options;
  options.at = {"127.0.0.1", 0};
  auto server = http::Server::start(
      options,
      [](const http::Request& request) {
        http::Reply reply;
        reply.body = request.target + " from " + request.forwarded_by;
        return reply;
      },
      http::test::plain_refusal);
  ASSERT_TRUE(server.ok());
  ForwarderOptions forwarding;
  forwarding.agent = "a";
  const Forwarder forwarder(std::move(forwarding));
  http::Request request;
  request.method = "PUT";
  request.target = "/v0/x";
  const std::string port = std::to_string(server.value()->port());
  for (const std::string& at :
       {"127.0.0.1:" + port, "127.0.0.1:" + port + "/", "[::ffff:127.0.0.1]:" + port}) {
    const auto reply = forwarder.send("http://" + at, request, std::chrono::seconds(2));
    EXPECT_EQ(reply.status, 200) << at << " " << reply.body;
    EXPECT_EQ(reply.body, "/v0/x from a");
  }
}

}  // namespace
}  // namespace holdfast::control::rest
