// Snapshots asked of a node that does not answer: what of it is tried again, and what is cleaned up. The node stands
// still once, before all the tests, for what they need: it takes a minute until nothing of it can happen any more.
#include <csignal>

#include "cluster/rig.h"

namespace holdfast::cluster {
namespace {

using ::testing::SizeIs;

struct Attempt {
  std::string volume;
  std::string id = Rig::new_id();
};

struct SilentNodeTest : Scenarios<SilentNodeTest> {
  // Silent for so long, a node still counts as online: each attempt, of 5 s, is one.
  static Shape shape() {
    return {.engines = 3, .pool_bytes = 256 * mib, .agent_flags = {"--deadline", "40s"}};
  }

  static Answer ask(const Attempt& a) { return rig().put("/v0/volumes/" + a.volume + "/snapshots/" + a.id); }
  static Answer get(const Attempt& a) { return rig().get("/v0/volumes/snapshots/" + a.id); }
  // With its only replica on node-1.
  static Attempt on_first(bool published) {
    const Json first = {{"allowed_nodes", {"node-1"}}, {"preferred_nodes", Json::array()}};
    Attempt a;
    a.volume = rig().volume(1, {{"topology", {{"node_topology", {{"explicit", first}}}}}});
    if (published) rig().publish(a.volume);
    return a;
  }
  static void wait_gone(const Attempt& a) {
    rig().wait("the snapshot to be gone", [&] { return get(a).status == 404; });
  }
  static void wait_taken(const Attempt& a) {
    rig().wait("the snapshot to be taken", [&] {
      const Answer answer = ask(a);
      return answer.ok() || answer.summary() == "422 AlreadyExists";
    });
    EXPECT_EQ(get(a).body["definition"]["metadata"]["status"], "Created");
  }

  static void SetUpTestSuite() {
    Scenarios::SetUpTestSuite();
    if (HasFatalFailure()) return;
    rig().ends_here();
    again = {on_first(true), on_first(false)};
    forsaken = {on_first(true), on_first(false)};
    deleted = on_first(false);
    wide.volume = rig().volume(3);
    const std::vector<Attempt> all = {again[0], forsaken[0], again[1], forsaken[1], deleted, wide};
    rig().engine(1).signal(SIGSTOP);
    for (const Attempt& a : all) EXPECT_GE(ask(a).status, 400);
    // Until no more begin, and none waits for an answer any more.
    rig().wait("the node to be known as lost", [] { return rig().node_status(1) != "Online"; });
    for (const Attempt& a : all) {
      rig().wait("the attempt to be given up", [&] { return ask(a).summary() == "412 FailedPrecondition"; });
      EXPECT_EQ(get(a).body["definition"]["metadata"]["status"], "Creating");
    }
    EXPECT_EQ(rig().del("/v0/volumes/" + deleted.volume).summary(), "204");
    after_deletion = ask(deleted).summary();
    rig().engine(1).signal(SIGCONT);
    rig().wait("the node to be online", [] { return rig().node_status(1) == "Online"; });
  }

  static inline std::vector<Attempt> again, forsaken;
  static inline Attempt deleted, wide;
  static inline std::string after_deletion;
};

TEST_F(SilentNodeTest, RetryingSnapshotCreationUntilItSucceeds) {
  for (const Attempt& a : again) {
    wait_taken(a);
    EXPECT_EQ(ask(a).summary(), "422 AlreadyExists");
  }
}

TEST_F(SilentNodeTest, RetryingSnapshotCreationAfterSourceIsDeletedShouldFail) {
  EXPECT_EQ(after_deletion, "404 NotFound");
  wait_gone(deleted);
}

TEST_F(SilentNodeTest, MultiReplicaSnapshotWithOneNodeDown) {
  wait_taken(wide);
  rig().wait("all its parts to be seen", [] {
    std::size_t online = 0;
    const Json parts = get(wide).body["state"]["replica_snapshots"];
    EXPECT_THAT(parts, SizeIs(3));
    for (const Json& part : parts) online += part.contains("online") ? 1 : 0;
    return online == 3;
  });
}

TEST_F(SilentNodeTest, GarbageCollectionForFailedTransactions) {
  for (const Attempt& a : again) {
    wait_taken(a);
    rig().wait("failed attempts to be cleaned up", [&] {
      const Json metadata = get(a).body["definition"]["metadata"];
      return metadata["transactions"].size() == 1 &&
             metadata["transactions"].contains(metadata["txn_id"].get<std::string>());
    });
  }
}

TEST_F(SilentNodeTest, GarbageCollectionForStuckCreatingSnapshotsWhenSourceIsDeleted) {
  for (const Attempt& a : forsaken) EXPECT_EQ(rig().del("/v0/volumes/" + a.volume).summary(), "204");
  for (const Attempt& a : forsaken) wait_gone(a);
}

}  // namespace
}  // namespace holdfast::cluster
