// Where replicas go: labels of nodes and of pools, alike, each its own, or only there.
#include <set>

#include "cluster/rig.h"

namespace holdfast::cluster {
namespace {

struct Row {
  const char* key;
  const char* value;  // "": any
  unsigned replicas;
  bool fits;
};

Json labelled(const Json& inclusion, const Json& exclusion = Json::object()) {
  return {{"labelled", {{"inclusion", inclusion}, {"exclusion", exclusion}, {"affinitykey", Json::array()}}}};
}
Json on_pools(const Json& inclusion) { return {{"topology", {{"pool_topology", labelled(inclusion)}}}}; }
Json on_nodes(const Json& inclusion, const Json& exclusion = Json::object()) {
  return {{"topology", {{"node_topology", labelled(inclusion, exclusion)}}}};
}

template <class File>
struct Topology : Scenarios<File> {
  using Scenarios<File>::rig;
  static void label(const std::string& what, const std::string& label) {
    const Answer done = rig().put("/v0/" + what + "/label/" + label);
    EXPECT_EQ(done.summary(), "200") << done.message();
  }
  // Makes the volume of each row; where it is, is judged by `right`.
  template <class Wanted, class Right>
  static void check(const std::vector<Row>& rows, const Wanted& wanted, const Right& right) {
    for (const Row& row : rows) {
      SCOPED_TRACE(std::string(row.key) + "=" + row.value + " " + std::to_string(row.replicas));
      const std::string id = Rig::new_id();
      const Answer made = rig().try_volume(id, row.replicas, wanted(row));
      EXPECT_EQ(made.summary(), row.fits ? "200" : "507 ResourceExhausted") << made.message();
      if (!made.ok()) continue;
      EXPECT_EQ(rig().replica_count(id), row.replicas);
      right(row, id);
      EXPECT_EQ(rig().del("/v0/volumes/" + id).summary(), "204");
    }
  }
};

// For each zone: as many replicas as there is room for, one by one, and one more.
std::vector<Row> up_to(unsigned fits, const char* value = "") {
  std::vector<Row> rows;
  for (const char* key : {"zone-us", "zone-ap", "zone-eu"}) {
    for (unsigned replicas = 1; replicas <= fits; ++replicas) rows.push_back({key, value, replicas, true});
    rows.push_back({key, value, fits + 1, false});
  }
  return rows;
}

// ---- nodes: five. Each of the first three is in a zone of its own; 4 is in all of them, in the same part; 5 is in all
// of them, in another

struct NodeTopologyTest : Topology<NodeTopologyTest> {
  static Shape shape() { return {.engines = 5, .pool_bytes = 128 * mib}; }
  void SetUp() override {
    const char* const zones[] = {"us", "ap", "eu"};
    for (std::size_t i = 0; i < 3; ++i) {
      const std::string zone = std::string("zone-") + zones[i];
      label("nodes/" + Rig::node(i + 1), zone + "=first");
      label("nodes/node-4", zone + "=first");
      label("nodes/node-5", zone + "=second");
    }
  }
  // The one node that is only in this zone.
  static std::string own_node(const Row& row) {
    const std::string key = row.key;
    return Rig::node(key == "zone-us" ? 1 : key == "zone-ap" ? 2 : 3);
  }
  static void expect_on(const std::string& id, const std::set<std::string>& nodes) {
    for (const std::string& n : rig().nodes_of(id)) EXPECT_TRUE(nodes.contains(n)) << n;
  }
};

TEST_F(NodeTopologyTest, SuitableNodesWhichContainVolumeSpreadTopologyKey) {
  // Three nodes of each zone, in two parts of it.
  check(
      up_to(2),
      [](const Row& row) {
        return on_nodes(Json::object(), {{row.key, ""}});
      },
      [](const Row& row, const std::string& id) {
        expect_on(id, {own_node(row), "node-4", "node-5"});
        EXPECT_TRUE(row.replicas == 1 || rig().nodes_of(id).back() == "node-5");
      });
}

TEST_F(NodeTopologyTest, SuitableNodesWhichContainVolumeTopologyLabels) {
  std::vector<Row> rows = up_to(2, "first");
  for (const Row& row : up_to(1, "second")) rows.push_back(row);
  rows.push_back({"zone-us", "third", 1, false});
  rows.push_back({"zone-sa", "first", 1, false});
  check(
      rows,
      [](const Row& row) {
        return on_nodes({{row.key, row.value}});
      },
      [](const Row& row, const std::string& id) {
        if (std::string(row.value) == "first") expect_on(id, {own_node(row), "node-4"});
        if (std::string(row.value) == "second") expect_on(id, {"node-5"});
      });
}

TEST_F(NodeTopologyTest, SuitableNodesWhichContainVolumeNodeTopologyKeysOnly) {
  std::vector<Row> rows = up_to(3);
  rows.push_back({"zone-sa", "", 1, false});
  check(
      rows,
      [](const Row& row) {
        return on_nodes({{row.key, ""}});
      },
      [](const Row& row, const std::string& id) {
        expect_on(id, {own_node(row), "node-4", "node-5"});
      });
}

// ---- pools: three on each of three nodes, each of the three with its own label

struct PoolTopologyTest : Topology<PoolTopologyTest> {
  static Shape shape() { return {.engines = 3, .pool_bytes = 128 * mib}; }
  void SetUp() override {
    for (std::size_t n = 1; n <= 3; ++n) {
      label("pools/" + Rig::pool(n), "zone-us=first");
      for (const char* zone : {"ap", "eu"}) {
        const std::string id = std::string(zone) + "-" + std::to_string(n);
        EXPECT_EQ(rig().create_pool(n, id, {rig().make_disk(id)}).summary(), "200");
        label("pools/" + id, "zone-" + std::string(zone) + "=first");
      }
    }
  }
  static void expect_in_zone(const Row& row, const std::string& id) {
    const std::string key = row.key;
    const std::string prefix = key == "zone-us" ? "pool-" : key.substr(5) + "-";
    for (const std::string& p : rig().pools_of(id)) EXPECT_THAT(p, ::testing::StartsWith(prefix));
  }
};

TEST_F(PoolTopologyTest, SuitablePoolsWhichContainVolumeTopologyLabels) {
  std::vector<Row> rows = up_to(3, "first");
  rows.push_back({"zone-us", "second", 1, false});
  check(
      rows,
      [](const Row& row) {
        return on_pools({{row.key, row.value}});
      },
      expect_in_zone);
}

TEST_F(PoolTopologyTest, SuitablePoolsWhichContainVolumeTopologyKeysOnly) {
  std::vector<Row> rows = up_to(3);
  rows.push_back({"zone-sa", "", 1, false});
  check(
      rows,
      [](const Row& row) {
        return on_pools({{row.key, ""}});
      },
      expect_in_zone);
}

// ---- what a volume asks for has to be met by all that it gets, later, too

struct TopologyTest : Topology<TopologyTest> {
  static Shape shape() { return {.engines = 3}; }
  static Answer scale(const std::string& id, unsigned count) {
    return rig().put("/v0/volumes/" + id + "/replica_count/" + std::to_string(count));
  }
};

TEST_F(TopologyTest, SufficientSuitablePoolsWhichContainVolumeTopologyLabels) {
  for (const std::size_t i : {1U, 3U}) {
    label("pools/" + Rig::pool(i), "disk=ssd");
    label("pools/" + Rig::pool(i), "room=7");
  }
  label("pools/pool-2", "disk=ssd");
  const std::string id = rig().volume(2, on_pools({{"disk", "ssd"}, {"room", "7"}}));
  EXPECT_EQ(rig().pools_of(id), Strings({"pool-1", "pool-3"}));
  EXPECT_EQ(rig().get_volume(id)["spec"]["topology"]["pool_topology"]["labelled"]["inclusion"],
            Json({{"disk", "ssd"}, {"room", "7"}}));
}

TEST_F(TopologyTest, DesiredNumberOfReplicasCannotBeCreated) {
  for (const std::size_t i : {1U, 2U}) label("pools/" + Rig::pool(i), "disk=ssd");
  label("pools/pool-3", "disk=hdd");
  const Answer refused = rig().try_volume(Rig::new_id(), 3, on_pools({{"disk", "ssd"}}));
  EXPECT_EQ(refused.summary(), "507 ResourceExhausted");
  EXPECT_THAT(refused.message(), ::testing::HasSubstr("pool-3"));
}

TEST_F(TopologyTest, SufficientSuitablePoolsWhichDoNotContainVolumePoolTopologyLabels) {
  label("pools/pool-1", "disk=ssd");
  const std::string id = rig().volume(3);
  EXPECT_EQ(rig().pools_of(id), Strings({"pool-1", "pool-2", "pool-3"}));
  EXPECT_FALSE(rig().get_volume(id)["spec"].contains("topology"));
}

TEST_F(TopologyTest, SuccessfullyAddingAReplicaToAVolumeWithPoolTopology) {
  for (const std::size_t i : {1U, 2U}) label("pools/" + Rig::pool(i), "disk=ssd");
  const std::string id = rig().volume(1, on_pools({{"disk", "ssd"}}));
  EXPECT_EQ(scale(id, 2).summary(), "200");
  EXPECT_EQ(rig().pools_of(id), Strings({"pool-1", "pool-2"}));
}

TEST_F(TopologyTest, CannotAddAReplicaToAVolumeWithPoolTopologyLabels) {
  label("pools/pool-1", "disk=ssd");
  const std::string id = rig().volume(1, on_pools({{"disk", "ssd"}}));
  const Answer refused = scale(id, 2);
  EXPECT_EQ(refused.summary(), "507 ResourceExhausted");
  EXPECT_EQ(rig().get_volume(id)["spec"]["num_replicas"], 1);
  EXPECT_EQ(rig().pools_of(id), Strings({"pool-1"}));
}

TEST_F(TopologyTest, SuccessfullyAddingAReplicaToAVolumeWithoutPoolTopology) {
  label("pools/pool-1", "disk=ssd");
  const std::string id = rig().volume(1);
  EXPECT_EQ(scale(id, 2).summary(), "200");
  EXPECT_EQ(rig().replica_count(id), 2u);
}

}  // namespace
}  // namespace holdfast::cluster
