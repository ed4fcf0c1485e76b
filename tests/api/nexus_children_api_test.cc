// NexusRpc: children and their rebuilds.
#include <chrono>
#include <thread>

#include "api/api_test.h"
#include "support/silent_server.h"

namespace holdfast::api_test {
namespace {

using Stub = v1::NexusRpc::Stub;

class NexusChildrenApi : public ApiTest {
 protected:
  grpc::Status add(const std::string& id, const std::string& uri, bool norebuild = false) {
    v1::AddChildNexusRequest request;
    request.set_uuid(id);
    request.set_uri(uri);
    request.set_norebuild(norebuild);
    v1::AddChildNexusResponse reply;
    return call(engine_.nexus(), &Stub::AddChildNexus, request, &reply);
  }
  grpc::Status remove(const std::string& id, const std::string& uri) {
    v1::RemoveChildNexusRequest request;
    request.set_uuid(id);
    request.set_uri(uri);
    v1::RemoveChildNexusResponse reply;
    return call(engine_.nexus(), &Stub::RemoveChildNexus, request, &reply);
  }
  grpc::Status fault(const std::string& id, const std::string& uri) {
    v1::FaultNexusChildRequest request;
    request.set_uuid(id);
    request.set_uri(uri);
    v1::FaultNexusChildResponse reply;
    return call(engine_.nexus(), &Stub::FaultNexusChild, request, &reply);
  }
  grpc::Status act(const std::string& id, const std::string& uri, v1::ChildAction action) {
    v1::ChildOperationRequest request;
    request.set_nexus_uuid(id);
    request.set_uri(uri);
    request.set_action(action);
    v1::ChildOperationResponse reply;
    return call(engine_.nexus(), &Stub::ChildOperation, request, &reply);
  }
  // The four operations on rebuilds differ in their messages only.
  template <class Request, class Reply>
  grpc::Status rebuild(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                       const std::string& id, const std::string& uri, Reply* reply = nullptr) {
    Request request;
    request.set_nexus_uuid(id);
    request.set_uri(uri);
    Reply ignored;
    return call(engine_.nexus(), method, request, reply != nullptr ? reply : &ignored);
  }
  v1::Child child(const std::string& uri) {
    const auto n = find_nexus();
    for (const auto& c : n.children()) {
      if (c.uri() == uri) return c;
    }
    return {};
  }
  std::vector<v1::RebuildHistoryRecord> history() {
    v1::RebuildHistoryRequest request;
    request.set_uuid(uuid);
    v1::RebuildHistoryResponse reply;
    EXPECT_OK(call(engine_.nexus(), &Stub::GetRebuildHistory, request, &reply));
    EXPECT_EQ(reply.name(), "volume-1");
    return {reply.records().begin(), reply.records().end()};
  }
};

TEST_F(NexusChildrenApi, AnAddedChildIsRebuilt) {
  const auto uris = make_children(2);
  create_nexus({uris[0]});
  EXPECT_OK(add(uuid, uris[1]));
  const auto n = wait_for_state(v1::NEXUS_ONLINE);
  EXPECT_EQ(n.children_size(), 2);
  ASSERT_EQ(history().size(), 1u);
  EXPECT_EQ(history()[0].child_uri(), uris[1]);
  EXPECT_EQ(history()[0].state(), v1::Completed);
  EXPECT_FALSE(history()[0].is_partial());
  EXPECT_CODE(add(uuid, uris[1]), ALREADY_EXISTS, uris[1]);
}

TEST_F(NexusChildrenApi, AddRefusesWhatDoesNotFit) {
  create_nexus(make_children(1));
  create_bdev("malloc:///small?size_mb=8");
  EXPECT_CODE(add(uuid, "bdev:///small"), INVALID_ARGUMENT, "small");
  EXPECT_CODE(add(uuid, "bdev:///missing"), INVALID_ARGUMENT, "missing");
  EXPECT_CODE(add(uuid, "nonsense"), INVALID_ARGUMENT, "nonsense");
  EXPECT_CODE(add(other_uuid, "bdev:///small"), NOT_FOUND, other_uuid);
  EXPECT_CODE(add("x", "bdev:///small"), INVALID_ARGUMENT, "is not a UUID");
  EXPECT_EQ(find_nexus().children_size(), 1);
}

TEST_F(NexusChildrenApi, RemoveKeepsTheLastHealthyChild) {
  const auto uris = make_children(2);
  create_nexus(uris);
  EXPECT_CODE(remove(uuid, "bdev:///other"), NOT_FOUND, "bdev:///other");
  EXPECT_OK(remove(uuid, uris[0]));
  EXPECT_CODE(remove(uuid, uris[0]), NOT_FOUND, uris[0]);
  EXPECT_CODE(remove(uuid, uris[1]), FAILED_PRECONDITION, "m1");
  EXPECT_CODE(remove(other_uuid, uris[1]), NOT_FOUND, other_uuid);
  const auto n = find_nexus();
  EXPECT_EQ(n.children_size(), 1);
  EXPECT_EQ(n.state(), v1::NEXUS_ONLINE);
}

TEST_F(NexusChildrenApi, FaultIsForGoodAndNeverTheLastOne) {
  const auto uris = make_children(2);
  create_nexus(uris);
  EXPECT_OK(fault(uuid, uris[0]));
  const auto n = wait_for_state(v1::NEXUS_DEGRADED);
  EXPECT_EQ(child(uris[0]).state(), v1::CHILD_STATE_FAULTED);
  EXPECT_EQ(child(uris[0]).state_reason(), v1::CHILD_STATE_REASON_BY_CLIENT);
  EXPECT_TRUE(child(uris[0]).has_fault_timestamp());
  EXPECT_CODE(fault(uuid, uris[1]), FAILED_PRECONDITION, "m1");
  EXPECT_CODE(act(uuid, uris[0], v1::Online), FAILED_PRECONDITION, "m0");
  EXPECT_CODE(fault(uuid, "bdev:///other"), NOT_FOUND, "bdev:///other");
  EXPECT_CODE(fault(other_uuid, uris[0]), NOT_FOUND, other_uuid);
  EXPECT_OK(remove(uuid, uris[0]));
}

TEST_F(NexusChildrenApi, OfflineAndOnlineAreUndoneByEachOther) {
  const auto uris = make_children(2);
  create_nexus(uris);
  EXPECT_OK(act(uuid, uris[0], v1::Offline));
  wait_for_state(v1::NEXUS_DEGRADED);
  EXPECT_EQ(child(uris[0]).state(), v1::CHILD_STATE_DEGRADED);
  EXPECT_EQ(child(uris[0]).state_reason(), v1::CHILD_STATE_REASON_BY_CLIENT);
  EXPECT_TRUE(child(uris[0]).has_io_log());
  EXPECT_OK(act(uuid, uris[0], v1::Offline));
  EXPECT_CODE(act(uuid, uris[1], v1::Offline), FAILED_PRECONDITION, "m1");
  EXPECT_OK(act(uuid, uris[0], v1::Online));
  wait_for_state(v1::NEXUS_ONLINE);
  EXPECT_OK(act(uuid, uris[0], v1::Online));
  ASSERT_FALSE(history().empty());
  EXPECT_TRUE(history().back().is_partial());
}

TEST_F(NexusChildrenApi, FaultIoErrorMayComeBack) {
  const auto uris = make_children(2);
  create_nexus(uris);
  EXPECT_OK(act(uuid, uris[1], v1::FaultIOError));
  wait_for_state(v1::NEXUS_DEGRADED);
  EXPECT_EQ(child(uris[1]).state(), v1::CHILD_STATE_FAULTED);
  EXPECT_EQ(child(uris[1]).state_reason(), v1::CHILD_STATE_REASON_IO_FAILURE);
  EXPECT_OK(act(uuid, uris[1], v1::Online));
  wait_for_state(v1::NEXUS_ONLINE);
}

TEST_F(NexusChildrenApi, ChildOperationRefusesWhatItDoesNotKnow) {
  const auto uris = make_children(2);
  create_nexus(uris);
  EXPECT_CODE(act(uuid, uris[0], static_cast<v1::ChildAction>(9)), INVALID_ARGUMENT, "9 is not an action");
  EXPECT_CODE(act(uuid, "bdev:///other", v1::Offline), NOT_FOUND, "bdev:///other");
  EXPECT_CODE(act(other_uuid, uris[0], v1::Offline), NOT_FOUND, other_uuid);
  EXPECT_CODE(act("x", uris[0], v1::Offline), INVALID_ARGUMENT, "nexus_uuid: 'x' is not a UUID");
}

TEST_F(NexusChildrenApi, ARebuildCanBeStartedByHand) {
  const auto uris = make_children(2);
  create_nexus({uris[0]});
  EXPECT_OK(add(uuid, uris[1], true));
  EXPECT_EQ(child(uris[1]).state(), v1::CHILD_STATE_DEGRADED);
  EXPECT_EQ(child(uris[1]).state_reason(), v1::CHILD_STATE_REASON_OUT_OF_SYNC);
  EXPECT_EQ(find_nexus().rebuilds(), 0u);
  v1::RebuildStateResponse state;
  EXPECT_CODE(rebuild(&Stub::GetRebuildState, uuid, uris[1], &state), NOT_FOUND, "m1");
  EXPECT_OK(rebuild(&Stub::StartRebuild, uuid, uris[1]));
  wait_for_state(v1::NEXUS_ONLINE);
  EXPECT_CODE(rebuild(&Stub::StopRebuild, uuid, uris[1]), NOT_FOUND, "m1");
  EXPECT_CODE(rebuild(&Stub::PauseRebuild, uuid, uris[1]), NOT_FOUND, "m1");
  EXPECT_CODE(rebuild(&Stub::ResumeRebuild, uuid, uris[1]), NOT_FOUND, "m1");
}

TEST_F(NexusChildrenApi, ARebuildIsPausedResumedAndStopped) {
  // The destination takes 20 ms a write, so that the job is there to be asked.
  create_bdev("malloc:///fast?size_mb=64");
  create_bdev("malloc:///slow?size_mb=64");
  const std::string slow = "inject://slow?op=w&delay=20";
  auto request = nexus_request({"bdev:///fast"});
  request.set_size(48 << 20);
  v1::CreateNexusResponse created;
  EXPECT_OK(call(engine_.nexus(), &Stub::CreateNexus, request, &created));
  ASSERT_TRUE(add(uuid, slow).ok());
  EXPECT_OK(rebuild(&Stub::PauseRebuild, uuid, slow));
  v1::RebuildStateResponse state;
  EXPECT_OK(rebuild(&Stub::GetRebuildState, uuid, slow, &state));
  EXPECT_EQ(state.state(), "paused");
  EXPECT_OK(rebuild(&Stub::ResumeRebuild, uuid, slow));
  v1::RebuildStatsResponse stats;
  EXPECT_OK(rebuild(&Stub::GetRebuildStats, uuid, slow, &stats));
  EXPECT_EQ(stats.block_size(), 512u);
  EXPECT_GT(stats.blocks_total(), 0u);
  EXPECT_TRUE(stats.has_start_time());
  EXPECT_OK(rebuild(&Stub::StopRebuild, uuid, slow));
  EXPECT_EQ(child(slow).state_reason(), v1::CHILD_STATE_REASON_OUT_OF_SYNC);
  ASSERT_FALSE(history().empty());
  EXPECT_EQ(history().back().state(), v1::Stopped);
}

TEST_F(NexusChildrenApi, RebuildCallsNameWhatIsMissing) {
  const auto uris = make_children(1);
  create_nexus(uris);
  EXPECT_CODE(rebuild(&Stub::StartRebuild, other_uuid, uris[0]), NOT_FOUND, other_uuid);
  EXPECT_CODE(rebuild(&Stub::StartRebuild, uuid, "bdev:///other"), NOT_FOUND, "bdev:///other");
  EXPECT_CODE(rebuild(&Stub::StartRebuild, "x", uris[0]), INVALID_ARGUMENT, "is not a UUID");
  v1::RebuildStatsResponse stats;
  EXPECT_CODE(rebuild(&Stub::GetRebuildStats, uuid, uris[0], &stats), NOT_FOUND, "m0");
  EXPECT_CODE(rebuild(&Stub::GetRebuildStats, other_uuid, uris[0], &stats), NOT_FOUND, other_uuid);
  v1::RebuildHistoryRequest request;
  request.set_uuid(other_uuid);
  v1::RebuildHistoryResponse reply;
  EXPECT_CODE(call(engine_.nexus(), &Stub::GetRebuildHistory, request, &reply), NOT_FOUND, other_uuid);
}

TEST_F(NexusChildrenApi, HistoriesAreListedSinceATime) {
  const auto uris = make_children(2);
  create_nexus({uris[0]});
  v1::ListRebuildHistoryRequest request;
  v1::ListRebuildHistoryResponse reply;
  EXPECT_OK(call(engine_.nexus(), &Stub::ListRebuildHistory, request, &reply));
  EXPECT_TRUE(reply.histories().empty());
  EXPECT_OK(add(uuid, uris[1]));
  wait_for_state(v1::NEXUS_ONLINE);
  EXPECT_OK(call(engine_.nexus(), &Stub::ListRebuildHistory, request, &reply));
  ASSERT_EQ(reply.histories().count(uuid), 1u);
  EXPECT_EQ(reply.histories().at(uuid).records_size(), 1);
  *request.mutable_since_end_time() = reply.end_time();
  EXPECT_OK(call(engine_.nexus(), &Stub::ListRebuildHistory, request, &reply));
  EXPECT_TRUE(reply.histories().empty());
  request.mutable_since_end_time()->set_seconds(-5);
  EXPECT_CODE(call(engine_.nexus(), &Stub::ListRebuildHistory, request, &reply), INVALID_ARGUMENT,
              "since_end_time");
}

// It waits for a child that does not answer; the counters of everything else are set back meanwhile.
TEST_F(NexusChildrenApi, CountersAreSetBackBesideANexusThatIsWorkedOn) {
  const auto uris = make_children(1);
  create_nexus({uris[0]});
  v1::ListStatsOption all;
  v1::NexusIoStatsResponse counted;
  EXPECT_OK(call(engine_.stats(), &v1::StatsRpc::Stub::GetNexusIoStats, all, &counted));
  ASSERT_EQ(counted.stats_size(), 1);
  const testing_support::SilentServer silent;
  const std::string nobody =
      "nvmf://127.0.0.1:" + std::to_string(silent.port()) + "/nqn.2019-05.io.openebs:none";
  std::thread waits([&] { EXPECT_FALSE(add(uuid, nobody).ok()); });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const auto began = std::chrono::steady_clock::now();
  google::protobuf::Empty nothing;
  EXPECT_CODE(call(engine_.stats(), &v1::StatsRpc::Stub::ResetIoStats, nothing, &nothing), ABORTED, uuid);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(2));
  waits.join();
  EXPECT_OK(call(engine_.stats(), &v1::StatsRpc::Stub::ResetIoStats, nothing, &nothing));
}

}  // namespace
}  // namespace holdfast::api_test
