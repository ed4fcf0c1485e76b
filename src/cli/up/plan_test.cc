#include "cli/up/plan.h"

#include <set>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "base/units.h"

namespace holdfast::cli {
namespace {

using testing::HasSubstr;

TEST(ClusterPlan, EveryPortIsItsOwn) {
  UpOptions options;
  options.nodes = up_nodes_max;
  const auto plan = make_plan("/tmp/x", options);
  ASSERT_TRUE(plan.ok());
  std::set<std::uint16_t> ports;
  for (const auto& [port, use] : plan.value().ports()) EXPECT_TRUE(ports.insert(port).second) << port << use;
  EXPECT_EQ(plan.value().rest_url(), "http://127.0.0.1:8081");
  EXPECT_EQ(plan.value().disks(plan.value().engines[1])[1], "/tmp/x/node-2/disk-1.img");
}

TEST(ClusterPlan, IsTheSameAfterItWasKept) {
  UpOptions options;
  options.nodes = 4;
  options.port_offset = 100;
  options.disk_bytes = 1 * GiB;
  options.replace_after_seconds = 20;
  const auto plan = make_plan("/tmp/x", options);
  ASSERT_TRUE(plan.ok());
  const auto again = parse_plan(plan_json(plan.value()).dump(), "/tmp/x");
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(plan_json(again.value()), plan_json(plan.value()));
  EXPECT_EQ(again.value().rest_port, 8181);
  EXPECT_EQ(again.value().replace_after_seconds, 20u);
  options.replace_after_seconds = 0.5;
  EXPECT_EQ(make_plan("/tmp/x", options).value().replace_after_seconds, 1u) << "said, and not nothing";
}

TEST(ClusterPlan, WhatCannotBeIsRefused) {
  UpOptions many;
  many.nodes = up_nodes_max + 1;
  EXPECT_FALSE(make_plan("/x", many).ok());
  UpOptions high;
  high.port_offset = 60000;
  EXPECT_FALSE(make_plan("/x", high).ok());
  UpOptions small;
  small.disk_bytes = 1 * MiB;
  EXPECT_FALSE(make_plan("/x", small).ok());
}

TEST(ClusterPlan, GrowsAndNeverShrinks) {
  auto plan = make_plan("/x", UpOptions());
  ASSERT_TRUE(plan.ok());
  UpOptions more;
  more.nodes = 5;
  ASSERT_TRUE(extend_plan(plan.value(), more).ok());
  EXPECT_EQ(plan.value().engines.size(), 5u);
  EXPECT_EQ(plan.value().engines[4].grpc_port, 10128);
  UpOptions fewer;
  fewer.nodes = 2;
  const Status refused = extend_plan(plan.value(), fewer);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message(), HasSubstr("down --purge"));
  UpOptions other;
  other.disk_bytes = 1 * GiB;
  EXPECT_FALSE(extend_plan(plan.value(), other).ok());
}

TEST(ClusterPlan, BadFilesAreNamed) {
  const std::string good = plan_json(make_plan("/x", UpOptions()).value()).dump();
  for (const auto& [from, to] :
       std::vector<std::pair<std::string, std::string>>{{"{", "["},
                                                        {"\"schema\":2", "\"schema\":1"},
                                                        {"node-1", "../node"},
                                                        {"\"grpc_port\":10124", "\"grpc_port\":0"},
                                                        {"\"grpc_port\":10124", "\"grpc_port\":70000"},
                                                        {"127.0.0.1", ""},
                                                        {"\"pool\":\"pool-1\"", "\"pool\":[]"}}) {
    std::string bad = good;
    bad.replace(bad.find(from), from.size(), to);
    const auto plan = parse_plan(bad, "/x");
    ASSERT_FALSE(plan.ok()) << bad;
    EXPECT_EQ(plan.error().code(), Errc::bad_format);
    EXPECT_THAT(plan.error().message(), HasSubstr("/x/cluster.json"));
  }
}

}  // namespace
}  // namespace holdfast::cli
