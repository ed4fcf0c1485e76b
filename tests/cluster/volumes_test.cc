// Volumes: created, listed, published, their replicas counted, deleted.
#include <algorithm>
#include <csignal>

#include <grpcpp/create_channel.h>

#include "cluster/rig.h"
#include "etcd/rpc.grpc.pb.h"

namespace holdfast::cluster {
namespace {

using ::testing::SizeIs;

struct VolumesTest : Scenarios<VolumesTest> {
  static Shape shape() { return {.engines = 3}; }

  static Answer list(const std::string& query) { return rig().get("/v0/volumes?" + query); }
  static Strings ids(const Answer& listed) {
    Strings all;
    for (const Json& v : listed.body["entries"]) all.push_back(v["spec"]["uuid"]);
    return all;
  }
  static Strings five_volumes() {
    Strings all;
    for (int i = 0; i < 5; ++i) all.push_back(rig().volume(1));
    return all;
  }
  static Answer scale(const std::string& id, unsigned count) {
    return rig().put("/v0/volumes/" + id + "/replica_count/" + std::to_string(count));
  }
  // The record of which replicas hold all data, as it is in the store; "": there is none.
  static std::string nexus_info(const std::string& id) {
    const std::string address = rig().agent().store_url().substr(7);
    const auto store =
        etcdserverpb::KV::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
    etcdserverpb::RangeRequest request;
    request.set_key("/holdfast/v1/clusters/default/volume/" + id + "/membership");
    etcdserverpb::RangeResponse reply;
    const auto status = testing_support::call(*store, &etcdserverpb::KV::Stub::Range, request, &reply);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return reply.kvs().empty() ? "" : reply.kvs(0).value();
  }
};

TEST_F(VolumesTest, SufficientSuitablePools) {
  for (const unsigned replicas : {1U, 2U, 3U}) {
    const std::string id = Rig::new_id();
    const Answer made = rig().try_volume(id, replicas);
    EXPECT_EQ(made.summary(), "200") << made.message();
    EXPECT_EQ(made.body["spec"]["uuid"], id);
    EXPECT_EQ(made.body["spec"]["status"], "Created");
    EXPECT_EQ(made.body["state"]["status"], "Online");
    EXPECT_EQ(rig().replica_count(id), replicas);
  }
}

TEST_F(VolumesTest, DesiredNumberOfReplicasCannotBeCreated) {
  const Answer refused = rig().try_volume(Rig::new_id(), 4);
  EXPECT_EQ(refused.summary(), "507 ResourceExhausted");
  EXPECT_THAT(refused.message(), ::testing::HasSubstr("3 of 4 replicas can be placed"));
}

TEST_F(VolumesTest, ProvisioningFailureDueToMissingIoEngine) {
  for (std::size_t i = 1; i <= 3; ++i) rig().stop(i);
  EXPECT_EQ(rig().try_volume(Rig::new_id(), 1).summary(), "412 FailedPrecondition");
}

TEST_F(VolumesTest, DeleteAVolumeThatIsNotSharedOrPublished) {
  const std::string id = rig().volume(3);
  EXPECT_EQ(rig().del("/v0/volumes/" + id).summary(), "204");
  EXPECT_EQ(rig().get("/v0/volumes/" + id).summary(), "404 NotFound");
  rig().wait("its replicas to be gone", [&] { return rig().get("/v0/replicas").body.empty(); });
}

TEST_F(VolumesTest, DeleteAVolumeThatIsSharedOrPublished) {
  const std::string id = rig().volume(3);
  rig().publish(id);
  EXPECT_EQ(rig().del("/v0/volumes/" + id).summary(), "204");
  EXPECT_EQ(rig().get("/v0/volumes/" + id).summary(), "404 NotFound");
  rig().wait("its replicas to be gone", [&] { return rig().get("/v0/replicas").body.empty(); });
  rig().wait("its target to be gone", [&] { return rig().get("/v0/nexuses").body.empty(); });
}

TEST_F(VolumesTest, DeleteASharedOrPublishedVolumeWhilstAReplicaNodeIsInaccessibleAndOffline) {
  const std::string id = rig().volume(3);
  rig().publish(id, 1);
  rig().kill(2);
  EXPECT_EQ(rig().del("/v0/volumes/" + id).summary(), "204");
  EXPECT_EQ(rig().get("/v0/volumes/" + id).summary(), "404 NotFound");
  // What is left there is nobody's, and goes when the node is back.
  rig().wait("the others to be gone", [&] { return rig().get("/v0/specs").body["replicas"].size() == 1; });
  rig().start_engine(2);
  rig().wait("the orphan to be gone", [&] { return rig().get("/v0/specs").body["replicas"].empty(); });
  rig().wait("the node to have none", [&] { return rig().get("/v0/nodes/node-2/replicas").body.empty(); });
}

TEST_F(VolumesTest, DeleteASharedOrPublishedVolumeWhilstTheNexusNodeIsInaccessible) {
  const std::string id = rig().volume(3);
  rig().publish(id, 1);
  rig().kill(1);
  EXPECT_EQ(rig().del("/v0/volumes/" + id).summary(), "204");
  EXPECT_EQ(rig().get("/v0/volumes/" + id).summary(), "404 NotFound");
  rig().start_engine(1);
  rig().wait("the rest to be gone", [&] {
    const Json specs = rig().get("/v0/specs").body;
    return specs["replicas"].empty() && specs["nexuses"].empty();
  });
  rig().wait("the node to have none", [&] { return rig().get("/v0/nodes/node-1/nexuses").body.empty(); });
}

TEST_F(VolumesTest, IssuingAGetRequestWithoutPagination) {
  const Strings made = five_volumes();
  const Answer all = list("max_entries=0");
  EXPECT_THAT(ids(all), ::testing::UnorderedElementsAreArray(made));
  EXPECT_FALSE(all.body.contains("next_token"));
}

TEST_F(VolumesTest, IssuingAGetRequestWithPaginationVariablesWithinRange) {
  const Strings made = five_volumes();
  Strings seen;
  Answer page = list("max_entries=2");
  EXPECT_THAT(ids(page), SizeIs(2));
  ASSERT_TRUE(page.body.contains("next_token"));
  for (int pages = 1; pages < 10; ++pages) {
    for (const std::string& id : ids(page)) seen.push_back(id);
    if (!page.body.contains("next_token")) break;
    page = list("max_entries=2&starting_token=" + page.body["next_token"].dump());
  }
  EXPECT_THAT(seen, ::testing::UnorderedElementsAreArray(made));
}

TEST_F(VolumesTest, IssuingAGetRequestWithPaginationMaxEntriesLargerThanNumberOfVolumes) {
  const Strings made = five_volumes();
  const Answer all = list("max_entries=100");
  EXPECT_THAT(ids(all), ::testing::UnorderedElementsAreArray(made));
  EXPECT_FALSE(all.body.contains("next_token"));
}

TEST_F(VolumesTest, IssuingAGetRequestWithPaginationStartingTokenSetToLessThanTheNumberOfVolumes) {
  five_volumes();
  const Strings all = ids(list("max_entries=0"));
  const Answer page = list("max_entries=1&starting_token=2");
  EXPECT_EQ(ids(page), Strings({all[2]}));
  EXPECT_TRUE(page.body.contains("next_token"));
}

TEST_F(VolumesTest, IssuingAGetRequestWithPaginationStartingTokenSetToGreaterThanTheNumberOfVolumes) {
  five_volumes();
  const Answer page = list("max_entries=1&starting_token=6");
  EXPECT_EQ(page.summary(), "200");
  EXPECT_THAT(ids(page), SizeIs(0));
  EXPECT_FALSE(page.body.contains("next_token"));
}

TEST_F(VolumesTest, RequestingVolumeInformation) {
  const std::string id = rig().volume(2, {{"labels", {{"app", "db"}}}});
  const Json volume = rig().get("/v0/volumes/" + id).body;
  EXPECT_EQ(volume["spec"]["size"], 32 * mib);
  EXPECT_EQ(volume["spec"]["num_replicas"], 2);
  EXPECT_EQ(volume["spec"]["labels"], Json({{"app", "db"}}));
  EXPECT_EQ(volume["state"]["status"], "Online");
  EXPECT_EQ(volume["state"]["replica_topology"].size(), 2u);
  EXPECT_EQ(rig().get("/v0/volumes?max_entries=0&volume_id=" + id).body["entries"][0], volume);
}

TEST_F(VolumesTest, PublishAnUnpublishedVolume) {
  const std::string id = rig().volume(2);
  const std::string uri = rig().publish(id);
  EXPECT_THAT(uri, ::testing::StartsWith("nvmf://127.0.0.1:"));
  Rig::write(uri, 0, 1);
  EXPECT_TRUE(Rig::holds(uri, 0, 1));
}

TEST_F(VolumesTest, ShareOrPublishAnAlreadySharedOrPublishedVolume) {
  const std::string id = rig().volume(2);
  rig().publish(id);
  EXPECT_EQ(rig().try_publish(id).summary(), "412 AlreadyPublished");
}

TEST_F(VolumesTest, UnpublishAPublishedVolume) {
  const std::string id = rig().volume(2);
  const std::string uri = rig().publish(id);
  Rig::write(uri, 0, 1);
  EXPECT_EQ(rig().unpublish(id).summary(), "200");
  EXPECT_EQ(rig().target_node(id), "");
  rig().wait("no target to be left", [&] { return rig().get("/v0/nexuses").body.empty(); });
  EXPECT_TRUE(Rig::holds(rig().publish(id), 0, 1));
}

TEST_F(VolumesTest, UnpublishAnAlreadyUnpublishedVolume) {
  const std::string id = rig().volume(2);
  EXPECT_EQ(rig().unpublish(id).summary(), "412 NotPublished");
}

TEST_F(VolumesTest, TheTargetNexusIsFaulted) {
  const std::string id = rig().volume(1);
  const std::string uri = rig().publish(id);
  Rig::write(uri, 0, 1);
  const std::size_t home = Rig::number_of(rig().target_node(id));
  const Json before = rig().get("/v0/nexuses").body;
  ASSERT_THAT(before, SizeIs(1));
  // Its only child leaves: nothing is left that could be served.
  mayastor::v1::FaultNexusChildRequest fault;
  fault.set_uuid(before[0]["uuid"]);
  fault.set_uri(before[0]["children"][0]["uri"]);
  mayastor::v1::FaultNexusChildResponse reply;
  (void)testing_support::call(rig().engine(home).nexus(), &mayastor::v1::NexusRpc::Stub::FaultNexusChild,
                              fault, &reply);
  rig().kill(home);
  rig().start_engine(home);
  rig().wait_healthy(id, 1);
  rig().wait("the data to be served again", [&] {
    const Json state = rig().get_volume(id)["state"];
    return state.contains("target") && Rig::holds(state["target"]["deviceUri"], 0, 1);
  });
}

TEST_F(VolumesTest, PublishingAVolume) {
  const std::string id = rig().volume(2);
  rig().publish(id);
  const Json info = Json::parse(nexus_info(id), nullptr, false);
  EXPECT_TRUE(info.is_object()) << nexus_info(id);
  EXPECT_FALSE(info.value("clean_shutdown", true)) << info;
}

TEST_F(VolumesTest, UnpublishingAVolume) {
  const std::string id = rig().volume(2);
  rig().publish(id);
  rig().unpublish(id);
  const Json info = Json::parse(nexus_info(id), nullptr, false);
  EXPECT_TRUE(info.value("clean_shutdown", false)) << info;
}

// One record for each volume: that of the target before is replaced.
TEST_F(VolumesTest, RePublishingAVolume) {
  const std::string id = rig().volume(2);
  rig().publish(id, 1);
  rig().unpublish(id);
  const std::string before = nexus_info(id);
  rig().publish(id, 2);
  EXPECT_NE(nexus_info(id), "");
  EXPECT_NE(nexus_info(id), before);
}

TEST_F(VolumesTest, DeletingAPublishedVolume) {
  const std::string id = rig().volume(2);
  rig().publish(id);
  EXPECT_EQ(rig().del("/v0/volumes/" + id).summary(), "204");
  EXPECT_EQ(nexus_info(id), "");
}

TEST_F(VolumesTest, SuccessfullyAddingAReplica) {
  const std::string id = rig().volume(1);
  EXPECT_EQ(scale(id, 2).summary(), "200");
  EXPECT_EQ(rig().replica_count(id), 2u);
  const std::string published = rig().volume(2);
  const std::string uri = rig().publish(published);
  Rig::write(uri, 0, 1);
  EXPECT_EQ(scale(published, 3).summary(), "200");
  rig().wait_healthy(published, 3);
}

TEST_F(VolumesTest, SuccessfullyRemovingAReplica) {
  for (const bool published : {false, true}) {
    const std::string id = rig().volume(3);
    if (published) rig().publish(id);
    EXPECT_EQ(scale(id, 2).summary(), "200");
    rig().wait_healthy(id, 2);
    EXPECT_EQ(rig().get_volume(id)["spec"]["num_replicas"], 2);
  }
}

TEST_F(VolumesTest, SettingVolumeReplicasToZero) {
  const std::string id = rig().volume(2);
  EXPECT_EQ(scale(id, 0).summary(), "400 InvalidArgument");
  EXPECT_EQ(rig().replica_count(id), 2u);
}

TEST_F(VolumesTest, DecreasingTheReplicaCountWhenTheRuntimeReplicaCountMatchesTheDesiredCount) {
  const std::string id = rig().volume(2);
  const Strings nodes = rig().nodes_of(id);
  rig().publish(id, Rig::number_of(nodes.front()));
  for (std::size_t i = 1; i <= 3; ++i) {
    if (std::find(nodes.begin(), nodes.end(), Rig::node(i)) == nodes.end()) rig().stop(i);
  }
  rig().kill(Rig::number_of(nodes.back()));
  rig().wait("the volume to be degraded", [&] { return rig().status(id) == "Degraded"; });
  EXPECT_EQ(scale(id, 1).summary(), "200");
  EXPECT_EQ(rig().get_volume(id)["spec"]["num_replicas"], 1);
  rig().wait("the volume to be online", [&] { return rig().status(id) == "Online"; });
}

// The last of this file: what an engine may still do of an old request is waited for a minute long, until then a
// replica that nobody owns is kept in mind.
TEST_F(VolumesTest, ProvisioningFailureDueToGrpcTimeout) {
  const std::string id = Rig::new_id();
  for (std::size_t i = 1; i <= 3; ++i) rig().engine(i).signal(SIGSTOP);
  EXPECT_FALSE(rig().try_volume(id, 1).ok());
  EXPECT_EQ(rig().get("/v0/volumes/" + id).summary(), "404 NotFound");
  const Json specs = rig().get("/v0/specs").body;
  EXPECT_THAT(specs["volumes"], SizeIs(0));
  for (const Json& replica : specs["replicas"]) {
    EXPECT_EQ(replica["status"], "Deleting");
    EXPECT_FALSE(replica["owners"].contains("volume"));
  }
  rig().ends_here();
}

}  // namespace
}  // namespace holdfast::cluster
