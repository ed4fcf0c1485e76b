#include <gtest/gtest.h>

#include "control/model/codec.h"
#include "control/model/kind.h"
#include "control/model/validate.h"

namespace holdfast::control {
namespace {

Uuid id(const char* name) { return Uuid::from_name(name); }

TEST(Kind, TravelsInAnError) {
  for (std::size_t i = 0; i < kind_count; ++i) {
    const auto kind = static_cast<Kind>(i);
    const Error e = refusal(kind, "volume v: no");
    EXPECT_EQ(kind_of(e), kind);
    EXPECT_EQ(e.message(), "volume v: no");
    EXPECT_EQ(kind_of(e.with_context("cannot publish")), kind);
    EXPECT_EQ(e.with_context("cannot publish").message(), "cannot publish: volume v: no");
    EXPECT_EQ(parse_kind(name(kind)), kind);
    EXPECT_GE(http_status(kind), 400);
  }
  EXPECT_EQ(parse_kind("Nonsense"), std::nullopt);
}

TEST(Kind, OfAnErrorFromElsewhereIsThatOfItsCode) {
  EXPECT_EQ(kind_of(Error(Errc::not_found, "x")), Kind::not_found);
  EXPECT_EQ(kind_of(Error(Errc::not_connected)), Kind::unavailable);
  EXPECT_EQ(kind_of(Error(Errc::io_error, EIO)), Kind::internal);
  EXPECT_EQ(kind_of(with_kind(Error(Errc::not_found, "x"), Kind::in_use)), Kind::in_use);
}

TEST(Kind, HasTheStatusOfTheContract) {
  const std::pair<Kind, int> expected[] = {
      {Kind::deserialize, 400},       {Kind::unauthorized, 401},   {Kind::not_found, 404},
      {Kind::not_acceptable, 406},    {Kind::timeout, 408},        {Kind::in_use, 409},
      {Kind::already_published, 412}, {Kind::out_of_range, 416},   {Kind::already_exists, 422},
      {Kind::internal, 500},          {Kind::unimplemented, 501},  {Kind::unavailable, 503},
      {Kind::deadline_exceeded, 504}, {Kind::failed_persist, 507}, {Kind::resource_exhausted, 507},
  };
  for (const auto& [kind, status] : expected) EXPECT_EQ(http_status(kind), status) << name(kind);
}

VolumeSpec full_volume() {
  VolumeSpec v;
  v.uuid = id("v");
  v.size_bytes = std::uint64_t{1} << 40;
  v.num_replicas = 3;
  v.self_heal = false;
  v.thin = true;
  v.labels = {{"a", "b"}};
  v.topology.explicit_nodes = ExplicitTopology{{"n1"}, {"n2"}};
  v.topology.nodes = LabelledTopology{{{"rack", ""}}, {{"zone", "z1"}}, {"room"}};
  v.affinity_group = "set";
  v.content_source = ContentSource{id("s"), id("old")};
  v.max_snapshots = 7;
  v.target = VolumeTarget{"n1", id("x"), Protocol::nvmf, {{"app", "nqn.2019-05.io.openebs:node-name:app"}}};
  v.publish_context = {{"k", "v"}};
  v.publish_count = 4;
  v.moves = {{id("r1"), "p2", std::nullopt}};
  v.status = SpecStatus::created;
  v.operation = PendingVolumeOp{VolumeOp::resize, true, 123, std::nullopt, id("x")};
  return v;
}

TEST(Codec, KeepsEveryField) {
  const VolumeSpec v = full_volume();
  EXPECT_EQ(parse_spec<VolumeSpec>("k", to_json(v)).value(), v);

  NodeSpec n{"n1",
             "10.0.0.1:10124",
             {{"zone", "a"}},
             "nqn.x",
             "v1",
             {true, false, true, false, true},
             {"c1"},
             {{"d1", {true}}},
             true,
             77};
  EXPECT_EQ(parse_spec<NodeSpec>("k", to_json(n)).value(), n);

  PoolSpec p{"p1",
             "n1",
             {"/dev/sda"},
             {{"m", "ssd"}},
             1 << 20,
             SpecStatus::deleting,
             Pending<PoolOp>{PoolOp::destroy, false},
             {"c"},
             true};
  EXPECT_EQ(parse_spec<PoolSpec>("k", to_json(p)).value(), p);

  ReplicaSpec r;
  r.uuid = id("r");
  r.owners = {id("v"), {id("x"), id("y")}};
  r.clone_of = id("s");
  r.allowed_hosts = {"nqn.a", "nqn.b"};
  r.kind = ReplicaKind::snapshot_clone;
  r.fill = ReplicaFill{7, true};
  r.in_sync_through = 3;
  EXPECT_EQ(parse_spec<ReplicaSpec>("k", to_json(r)).value(), r);

  NexusSpec x;
  x.uuid = id("x");
  x.children = {{"bdev:///a", id("r")}, {"malloc:///m", std::nullopt}};
  x.reservation_key = ~std::uint64_t{0};
  x.controller_ids = {3, 4};
  EXPECT_EQ(parse_spec<NexusSpec>("k", to_json(x)).value(), x);

  SnapshotSpec s;
  s.uuid = id("s");
  s.transaction = "t1";
  s.transactions["t1"] = {{id("rs"), id("r"), "p1", id("pu"), SpecStatus::created, 9}};
  EXPECT_EQ(parse_spec<SnapshotSpec>("k", to_json(s)).value(), s);
  EXPECT_EQ(s.parts().size(), 1u);

  const AppNodeSpec a{"app", "10.0.0.9:10199", {{"k", ""}}};
  EXPECT_EQ(parse_spec<AppNodeSpec>("k", to_json(a)).value(), a);
}

TEST(Codec, UnknownFieldsAreIgnoredAndMissingOnesHaveTheirDefault) {
  const auto v =
      parse_spec<VolumeSpec>("k", R"({"schema":1,"num_replicas":2,"later":{"x":[1]},"target":null})");
  ASSERT_TRUE(v.ok());
  EXPECT_EQ(v.value().num_replicas, 2u);
  EXPECT_TRUE(v.value().self_heal);
  EXPECT_FALSE(v.value().target);
}

TEST(Codec, NamesTheRecordAndTheFieldThatIsWrong) {
  const std::pair<const char*, const char*> wrong[] = {
      {"", "not JSON"},
      {"[]", "not a JSON object"},
      {"{}", "no schema version"},
      {R"({"schema":"1"})", "schema"},
      {R"({"schema":2})", "upgrade the agent"},
      {R"({"schema":1,"uuid":"x"})", "uuid"},
      {R"({"schema":1,"uuid":7})", "uuid is 7"},
      {R"({"schema":1,"num_replicas":-1})", "num_replicas is -1"},
      {R"({"schema":1,"num_replicas":4294967296})", "num_replicas"},
      {R"({"schema":1,"num_replicas":1.5})", "num_replicas"},
      {R"({"schema":1,"status":"Broken"})", "status"},
      {R"({"schema":1,"labels":{"a":1}})", "labels.a is 1"},
      {R"({"schema":1,"labels":[]})", "labels"},
      {R"({"schema":1,"moves":[{"from":"00000000-0000-0000-0000-000000000000"},5]})", "moves[1] is 5"},
      {R"({"schema":1,"target":{"frontends":{}}})", "target.frontends"},
      {R"({"schema":1,"operation":{"operation":"Explode"}})", "operation.operation"},
  };
  for (const auto& [json, text] : wrong) {
    const auto read = parse_spec<VolumeSpec>("/k/v", json);
    ASSERT_FALSE(read.ok()) << json;
    EXPECT_EQ(read.code(), Errc::bad_format);
    EXPECT_NE(read.error().message().find("/k/v"), std::string::npos) << read.error().message();
    EXPECT_NE(read.error().message().find(text), std::string::npos) << read.error().message();
  }
}

TEST(Codec, AnyPrefixAndAnyFlippedByteIsAnErrorOrASpec) {
  const std::string json = to_json(full_volume());
  for (std::size_t i = 0; i < json.size(); ++i) {
    EXPECT_FALSE(parse_spec<VolumeSpec>("k", json.substr(0, i)).ok());
    for (const int bit : {0, 3, 5, 7}) {
      std::string flipped = json;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
      const auto read = parse_spec<VolumeSpec>("k", flipped);
      if (read.ok()) to_json(read.value());
    }
  }
}

TEST(Codec, DeepNestingIsAnError) {
  std::string deep =
      R"({"schema":1,"num_replicas":)" + std::string(400'000, '[') + std::string(400'000, ']') + "}";
  EXPECT_FALSE(parse_spec<VolumeSpec>("k", deep).ok());
}

TEST(Membership, DeepNestingIsAnError) {
  const std::string deep =
      R"({"children":[{"uuid":1,"x":)" + std::string(400'000, '[') + std::string(400'000, ']') + "}]}";
  EXPECT_FALSE(membership_without("k", deep, id("a")).ok());
}

TEST(Membership, TheFirstOneCallsAllHealthy) {
  const auto m = parse_membership("k", first_membership({id("a"), id("b")}));
  ASSERT_TRUE(m.ok());
  EXPECT_TRUE(m.value().healthy(id("a")) && m.value().healthy(id("b")));
  EXPECT_FALSE(m.value().healthy(id("c")));
  EXPECT_TRUE(m.value().clean_shutdown);
}

TEST(Membership, ChildrenThatAreNoReplicasAreLeftOut) {
  const auto m = parse_membership("k", R"({"children":[{"uuid":"disk0","healthy":true}]})");
  ASSERT_TRUE(m.ok());
  EXPECT_TRUE(m.value().members.empty());
  EXPECT_FALSE(parse_membership("k", R"({"children":[4]})").ok());
  EXPECT_FALSE(parse_membership("k", "{}").ok());
  EXPECT_FALSE(parse_membership("k", R"({"epoch":"x","children":[]})").ok());
}

TEST(Labels, FollowTheRules) {
  EXPECT_TRUE(check_label("openebs.io/created-by", "operator-diskpool").ok());
  EXPECT_TRUE(check_label("a", "").ok());
  EXPECT_TRUE(check_label(std::string(63, 'a'), std::string(63, 'b')).ok());
  const std::pair<std::string, std::string> wrong[] = {
      {"", "v"},      {"-a", "v"},  {"a-", "v"},
      {"a/b/c", "v"}, {"a b", "v"}, {std::string(64, 'a'), "v"},
      {"a", "-"},     {"a", "x/y"}, {"a", std::string(64, 'b')},
      {"a", "x\n"},
  };
  for (const auto& [key, value] : wrong) {
    const Status checked = check_label(key, value);
    ASSERT_FALSE(checked.ok()) << key << '=' << value;
    EXPECT_EQ(kind_of(checked.error()), Kind::invalid_argument);
  }
}

TEST(Labels, MismatchSaysWhich) {
  const LabelledTopology wanted{{{"rack", ""}}, {{"disk", "ssd"}, {"any", ""}}, {"room"}};
  EXPECT_EQ(mismatch(wanted, {{"disk", "ssd"}, {"any", "x"}, {"rack", "1"}, {"room", "2"}}), std::nullopt);
  EXPECT_EQ(mismatch(wanted, {{"disk", "hdd"}, {"any", "x"}}), "label disk is 'hdd', not 'ssd'");
  EXPECT_EQ(mismatch(wanted, {{"disk", "ssd"}}), "label any is missing");
  EXPECT_EQ(mismatch(wanted, {{"disk", "ssd"}, {"any", ""}}), "label rack to spread over is missing");
}

TEST(Validate, RefusesWhatCannotBe) {
  EXPECT_TRUE(check_node_id("node-1.example").ok());
  for (const char* id_text : {"", "a/b", "a b", "..", "\xff"}) EXPECT_FALSE(check_node_id(id_text).ok());
  EXPECT_FALSE(check_pool_id(std::string(64, 'p')).ok());
  EXPECT_TRUE(check_disks("p", {"/dev/sda"}).ok());
  EXPECT_FALSE(check_disks("p", {}).ok());
  EXPECT_FALSE(check_disks("p", {"/dev/sda", "/dev/sda"}).ok());
  EXPECT_FALSE(check_disks("p", {"/dev/ sda"}).ok());
  EXPECT_FALSE(check_size(0).ok());
  EXPECT_FALSE(check_size(~std::uint64_t{0}).ok());
  EXPECT_FALSE(check_replica_count(0).ok());
  EXPECT_FALSE(check_replica_count(256).ok());
  EXPECT_TRUE(check_nqn("nqn.2019-05.io.openebs:node-name:a").ok());
  EXPECT_FALSE(check_nqn("x").ok());
  EXPECT_FALSE(check_cordon_label("").ok());
  EXPECT_TRUE(check_endpoint("10.0.0.1:10124").ok());
  for (const char* text : {"", ":1", "host", "host:", "host:0", "host:65536", "host:1x"}) {
    EXPECT_FALSE(check_endpoint(text).ok()) << text;
  }
}

}  // namespace
}  // namespace holdfast::control
