// Volumes of an affinity group keep apart from each other.
#include <set>

#include "cluster/rig.h"

namespace holdfast::cluster {
namespace {

struct AffinityGroupsTest : Scenarios<AffinityGroupsTest> {
  static Shape shape() { return {.engines = 3, .pool_bytes = 256 * mib}; }

  static Json member(bool thin) { return {{"affinity_group", {{"id", "group"}}}, {"thin", thin}}; }
  static void add_pool(std::size_t on, const std::string& id) {
    EXPECT_EQ(rig().create_pool(on, id, {rig().make_disk(id)}).summary(), "200");
  }
  static void remove_pool(std::size_t i) {
    EXPECT_EQ(rig().del("/v0/pools/" + Rig::pool(i)).summary(), "204");
  }
  static Answer scale(const std::string& id, unsigned count) {
    return rig().put("/v0/volumes/" + id + "/replica_count/" + std::to_string(count));
  }
  static Strings three(unsigned replicas, bool thin) {
    Strings ids;
    for (int i = 0; i < 3; ++i) ids.push_back(rig().volume(replicas, member(thin)));
    return ids;
  }
  static void forget(const Strings& ids) {
    for (const std::string& id : ids) EXPECT_EQ(rig().del("/v0/volumes/" + id).summary(), "204");
    rig().wait("the room to be free", [] { return rig().get("/v0/specs").body["replicas"].empty(); });
  }
  static std::map<std::string, int> by(const char* field, const Strings& ids) {
    std::map<std::string, int> counts;
    for (const std::string& id : ids) {
      for (const std::string& at : std::string(field) == "pool" ? rig().pools_of(id) : rig().nodes_of(id))
        ++counts[at];
    }
    return counts;
  }
  // Thin and thick.
  static void both(const std::function<void(bool)>& scenario) {
    for (const bool thin : {true, false}) {
      SCOPED_TRACE(thin ? "thin" : "thick");
      scenario(thin);
    }
  }
  static void each_on_its_own_nodes(const Strings& ids) {
    for (const std::string& id : ids) {
      const Strings nodes = rig().nodes_of(id);
      EXPECT_EQ(std::set<std::string>(nodes.begin(), nodes.end()).size(), nodes.size());
    }
  }
};

TEST_F(AffinityGroupsTest, CreatingAffinityGroupWith3VolumesWith1ReplicaEach) {
  add_pool(1, "more-1");
  add_pool(3, "more-3");
  both([](bool thin) {
    const Strings ids = three(1, thin);
    EXPECT_EQ(by("node", ids).size(), 3u);
    forget(ids);
  });
}

TEST_F(AffinityGroupsTest, CreatingAffinityGroupWith3VolumesWith1ReplicaEachWithLimitedPools) {
  remove_pool(2);
  both([](bool thin) {
    const Strings ids = {rig().volume(1, member(thin)), rig().volume(1, member(thin))};
    EXPECT_EQ(by("node", ids).size(), 2u);
    EXPECT_EQ(rig().try_volume(Rig::new_id(), 1, member(thin)).summary(), "507 ResourceExhausted");
    forget(ids);
  });
}

TEST_F(AffinityGroupsTest, CreatingAffinityGroupWith3VolumesWith3ReplicaOn9Pools) {
  for (std::size_t n = 1; n <= 3; ++n) {
    add_pool(n, "more-" + std::to_string(n));
    add_pool(n, "most-" + std::to_string(n));
  }
  both([](bool thin) {
    const Strings ids = three(3, thin);
    EXPECT_EQ(by("pool", ids).size(), 9u);
    each_on_its_own_nodes(ids);
    forget(ids);
  });
}

TEST_F(AffinityGroupsTest, CreatingAffinityGroupWith3VolumesWith3ReplicaOn5Pools) {
  add_pool(1, "more-1");
  add_pool(3, "more-3");
  both([](bool thin) {
    const Strings ids = three(3, thin);
    each_on_its_own_nodes(ids);
    forget(ids);
  });
}

TEST_F(AffinityGroupsTest, CreatingAffinityGroupWith3VolumesWith3ReplicaOn3Pools) {
  both([](bool thin) {
    const Strings ids = three(3, thin);
    each_on_its_own_nodes(ids);
    for (const auto& [pool, count] : by("pool", ids)) EXPECT_EQ(count, 3) << pool;
    forget(ids);
  });
}

TEST_F(AffinityGroupsTest, AffinityGroupTargetDistribution) {
  remove_pool(3);
  const std::string unpublished = rig().volume(2, member(true));
  rig().publish(rig().volume(2, member(true)), 1);
  rig().publish(rig().volume(2), 2);
  rig().publish(unpublished);
  EXPECT_EQ(rig().target_node(unpublished), "node-2");
}

TEST_F(AffinityGroupsTest, AffinityGroupVolumeUndergoesRepublish) {
  // Two nodes only: the third takes no targets.
  remove_pool(3);
  EXPECT_EQ(rig().put("/v0/nodes/node-3/cordon/a").summary(), "200");
  const std::string first = rig().volume(2, member(true));
  const std::string second = rig().volume(2, member(true));
  rig().publish(first, 1);
  rig().publish(second, 2);
  rig().kill(1);
  const Answer moved = rig().try_publish(first, 0, {{"republish", true}, {"reuse_existing", false}});
  EXPECT_EQ(moved.summary(), "200") << moved.message();
  EXPECT_EQ(rig().target_node(first), "node-2");
  EXPECT_EQ(rig().target_node(second), "node-2");
}

TEST_F(AffinityGroupsTest, AffinityGroupVolumesAreScaledUp) {
  both([](bool thin) {
    const Strings ids = three(2, thin);
    for (const std::string& id : ids) EXPECT_EQ(scale(id, 3).summary(), "200");
    for (const std::string& id : ids) EXPECT_EQ(rig().replica_count(id), 3u);
    forget(ids);
  });
}

TEST_F(AffinityGroupsTest, AffinityGroupVolumesAreScaledDown) {
  both([](bool thin) {
    const Strings ids = three(3, thin);
    for (const std::string& id : ids) {
      EXPECT_EQ(scale(id, 2).summary(), "200");
      rig().wait("a replica to go", [&] { return rig().replica_count(id) == 2; });
    }
    for (const auto& [node, count] : by("node", ids)) EXPECT_LE(count, 2) << node;
    forget(ids);
  });
}

TEST_F(AffinityGroupsTest, AffinityGroupVolumesAreScaledDownBelow2Replicas) {
  both([](bool thin) {
    const Strings ids = three(2, thin);
    for (const std::string& id : ids) EXPECT_EQ(scale(id, 1).summary(), "412 FailedPrecondition");
    for (const std::string& id : ids) EXPECT_EQ(rig().replica_count(id), 2u);
    forget(ids);
  });
}

TEST_F(AffinityGroupsTest, ScaleUpAndSubsequentCreation) {
  remove_pool(2);
  both([](bool thin) {
    const std::string grown = rig().volume(1, member(thin));
    EXPECT_EQ(scale(grown, 2).summary(), "200");
    const Answer refused = rig().try_volume(Rig::new_id(), 1, member(thin));
    EXPECT_EQ(refused.summary(), "507 ResourceExhausted");
    EXPECT_NE(refused.message().find("same affinity group"), std::string::npos) << refused.message();
    add_pool(2, "more-2");
    const std::string second = rig().volume(1, member(thin));
    EXPECT_EQ(rig().nodes_of(second), Strings({"node-2"}));
    forget({grown, second});
    EXPECT_EQ(rig().del("/v0/pools/more-2").summary(), "204");
  });
}

}  // namespace
}  // namespace holdfast::cluster
