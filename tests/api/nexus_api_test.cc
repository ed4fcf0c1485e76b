// NexusRpc: life, export and state of a nexus. Children and rebuilds: nexus_children_api_test.cc.
#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include <httplib.h>

#include "api/api_test.h"
#include "support/silent_server.h"

namespace holdfast::api_test {
namespace {

using google::protobuf::Empty;
using Stub = v1::NexusRpc::Stub;

class NexusApi : public ApiTest {
 protected:
  grpc::Status create(const v1::CreateNexusRequest& request) {
    v1::CreateNexusResponse reply;
    return call(engine_.nexus(), &Stub::CreateNexus, request, &reply);
  }
  grpc::Status destroy(const std::string& id) {
    v1::DestroyNexusRequest request;
    request.set_uuid(id);
    Empty reply;
    return call(engine_.nexus(), &Stub::DestroyNexus, request, &reply);
  }
  grpc::Status publish_as(const std::string& id, v1::ShareProtocol protocol,
                          const std::vector<std::string>& hosts = {}, const std::string& key = "") {
    v1::PublishNexusRequest request;
    request.set_uuid(id);
    request.set_share(protocol);
    request.set_key(key);
    for (const auto& h : hosts) request.add_allowed_hosts(h);
    v1::PublishNexusResponse reply;
    return call(engine_.nexus(), &Stub::PublishNexus, request, &reply);
  }
  grpc::Status unpublish(const std::string& id) {
    v1::UnpublishNexusRequest request;
    request.set_uuid(id);
    v1::UnpublishNexusResponse reply;
    return call(engine_.nexus(), &Stub::UnpublishNexus, request, &reply);
  }
  grpc::Status shutdown(const std::string& id) {
    v1::ShutdownNexusRequest request;
    request.set_uuid(id);
    v1::ShutdownNexusResponse reply;
    return call(engine_.nexus(), &Stub::ShutdownNexus, request, &reply);
  }
  grpc::Status resize(const std::string& id, std::uint64_t bytes) {
    v1::ResizeNexusRequest request;
    request.set_uuid(id);
    request.set_requested_size(bytes);
    v1::ResizeNexusResponse reply;
    return call(engine_.nexus(), &Stub::ResizeNexus, request, &reply);
  }
  std::vector<v1::Nexus> list(const v1::ListNexusOptions& request = {}) {
    v1::ListNexusResponse reply;
    EXPECT_OK(call(engine_.nexus(), &Stub::ListNexus, request, &reply));
    return {reply.nexus_list().begin(), reply.nexus_list().end()};
  }
};

TEST_F(NexusApi, CreateShowsTheNexus) {
  const auto children = make_children(2);
  const auto n = create_nexus(children);
  EXPECT_EQ(n.name(), "volume-1");
  EXPECT_EQ(n.uuid(), uuid);
  EXPECT_EQ(n.size(), 16u << 20);
  EXPECT_EQ(n.state(), v1::NEXUS_ONLINE);
  EXPECT_EQ(n.device_uri(), "");
  EXPECT_EQ(n.rebuilds(), 0u);
  ASSERT_EQ(n.children_size(), 2);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(n.children(i).uri(), children[static_cast<std::size_t>(i)]);
    EXPECT_EQ(n.children(i).state(), v1::CHILD_STATE_ONLINE);
    EXPECT_EQ(n.children(i).state_reason(), v1::CHILD_STATE_REASON_NONE);
    EXPECT_EQ(n.children(i).rebuild_progress(), -1);
  }
}

TEST_F(NexusApi, TheSameRequestAgainGivesTheSameNexus) {
  const auto children = make_children(1);
  create_nexus(children);
  create_nexus(children);
  EXPECT_EQ(list().size(), 1u);
}

TEST_F(NexusApi, TakenNamesAndUuidsExistAlready) {
  const auto children = make_children(2);
  create_nexus({children[0]});
  auto other_name = nexus_request({children[1]});
  other_name.set_name("volume-2");
  EXPECT_CODE(create(other_name), ALREADY_EXISTS, uuid);
  auto other = nexus_request({children[1]});
  other.set_uuid(other_uuid);
  EXPECT_CODE(create(other), ALREADY_EXISTS, "volume-1");
}

TEST_F(NexusApi, CreateRefusesWrongFields) {
  const auto good = nexus_request(make_children(1));
  auto r = good;
  r.set_uuid("volume");
  EXPECT_CODE(create(r), INVALID_ARGUMENT, "uuid: 'volume' is not a UUID");
  r = good;
  r.set_size(0);
  EXPECT_CODE(create(r), INVALID_ARGUMENT, "size: 0 bytes");
  r = good;
  r.set_size((16 << 20) + 100);
  EXPECT_CODE(create(r), INVALID_ARGUMENT, "");
  r = good;
  r.clear_children();
  EXPECT_CODE(create(r), INVALID_ARGUMENT, "children: none given");
  r = good;
  r.add_children(r.children(0));
  EXPECT_CODE(create(r), INVALID_ARGUMENT, "is given twice");
  r = good;
  for (int i = 0; i < 16; ++i) r.add_children("malloc:///x" + std::to_string(i) + "?size_mb=32");
  EXPECT_CODE(create(r), INVALID_ARGUMENT, "at most 16");
  r = good;
  r.set_name(std::string(201, 'n'));
  EXPECT_CODE(create(r), INVALID_ARGUMENT, "at most 200");
  r = good;
  r.set_name("a/b");
  EXPECT_CODE(create(r), INVALID_ARGUMENT, "name has characters");
  r = good;
  r.set_mincntlid(10);
  r.set_maxcntlid(5);
  EXPECT_CODE(create(r), INVALID_ARGUMENT, "minCntlId 10 and maxCntlId 5");
  r = good;
  r.set_maxcntlid(0xfff0);
  EXPECT_CODE(create(r), INVALID_ARGUMENT, "maxCntlId");
  r = good;
  r.set_preemptpolicy(v1::Holder);
  r.set_preemptkey(5);
  EXPECT_CODE(create(r), INVALID_ARGUMENT, "preemptKey");
  r = good;
  r.set_nexusinfokey(std::string(2000, 'k'));
  EXPECT_CODE(create(r), INVALID_ARGUMENT, "nexusInfoKey");
  EXPECT_TRUE(list().empty());
}

TEST_F(NexusApi, CreateRefusesChildrenThatDoNotFit) {
  const auto children = make_children(1);
  create_bdev("malloc:///small?size_mb=8");
  create_bdev("malloc:///tiny?size_mb=4");
  create_bdev("malloc:///large_blocks?size_mb=32&blk_size=4096");
  EXPECT_CODE(create(nexus_request({children[0], "bdev:///small"})), INVALID_ARGUMENT, "small");
  EXPECT_CODE(create(nexus_request({children[0], "bdev:///tiny"})), INVALID_ARGUMENT, "tiny");
  EXPECT_CODE(create(nexus_request({children[0], "bdev:///large_blocks"})), INVALID_ARGUMENT, "large_blocks");
  EXPECT_CODE(create(nexus_request({children[0], "bdev:///missing"})), INVALID_ARGUMENT, "missing");
  EXPECT_CODE(create(nexus_request({children[0], "ftl:///x"})), INVALID_ARGUMENT, "ftl");
  EXPECT_CODE(create(nexus_request({children[0], "nvmf://127.0.0.1:1/nqn.2019-05.io.openebs:gone"})),
              INVALID_ARGUMENT, "127.0.0.1:1");
  // Nothing of the failed attempts is left: the children are free.
  create_nexus(children);
}

TEST_F(NexusApi, AChildOfAnotherNexusIsRefused) {
  const auto children = make_children(1);
  create_nexus(children);
  auto other = nexus_request(children);
  other.set_name("volume-2");
  other.set_uuid(other_uuid);
  EXPECT_CODE(create(other), INVALID_ARGUMENT, "m0");
}

TEST_F(NexusApi, KeysOfControlPlanesMayBeLong) {
  auto request = nexus_request(make_children(1));
  request.set_nexusinfokey("/openebs.io/" + std::string(900, 'k'));
  EXPECT_OK(create(request));
  EXPECT_EQ(find_nexus().state(), v1::NEXUS_ONLINE);
}

TEST_F(NexusApi, SlowWorkOnOneNexusDelaysNoOther) {
  const testing_support::SilentServer silent;
  std::thread slow([&] {
    auto request =
        nexus_request({"nvmf://127.0.0.1:" + std::to_string(silent.port()) + "/nqn.2019-05.io.openebs:x"});
    request.set_name("slow");
    request.set_uuid(other_uuid);
    EXPECT_CODE(create(request), INVALID_ARGUMENT, std::to_string(silent.port()));
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const auto began = std::chrono::steady_clock::now();
  create_nexus(make_children(1));
  publish();
  EXPECT_OK(destroy(uuid));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(2));
  slow.join();
}

TEST_F(NexusApi, WhatWaitsForOneNexusIsBounded) {
  const testing_support::SilentServer silent;
  auto request =
      nexus_request({"nvmf://127.0.0.1:" + std::to_string(silent.port()) + "/nqn.2019-05.io.openebs:x"});
  std::atomic<int> exhausted{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 20; ++i) {
    callers.emplace_back([&] {
      if (destroy(uuid).error_code() == StatusCode::RESOURCE_EXHAUSTED) ++exhausted;
    });
    if (i == 0) {
      callers.emplace_back([&] { EXPECT_FALSE(create(request).ok()); });
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
  }
  for (auto& c : callers) c.join();
  EXPECT_GE(exhausted, 10);
  EXPECT_TRUE(list().empty());
}

TEST_F(NexusApi, DestroyEndsItOnceAndUnpublishes) {
  const auto children = make_children(1);
  create_nexus(children);
  publish();
  EXPECT_OK(destroy(uuid));
  EXPECT_CODE(destroy(uuid), NOT_FOUND, uuid);
  EXPECT_CODE(destroy("x"), INVALID_ARGUMENT, "is not a UUID");
  EXPECT_TRUE(list().empty());
  // Its name, its children and its record are there for the next one.
  EXPECT_EQ(create_nexus(children).state(), v1::NEXUS_ONLINE);
}

TEST_F(NexusApi, ListFilters) {
  create_nexus(make_children(1));
  v1::ListNexusOptions by_name;
  by_name.mutable_name()->set_value("volume-1");
  EXPECT_EQ(list(by_name).size(), 1u);
  by_name.mutable_name()->set_value("volume-2");
  EXPECT_TRUE(list(by_name).empty());
  v1::ListNexusOptions by_uuid;
  by_uuid.mutable_uuid()->set_value(other_uuid);
  EXPECT_TRUE(list(by_uuid).empty());
  by_uuid.mutable_uuid()->set_value("x");
  v1::ListNexusResponse reply;
  EXPECT_CODE(call(engine_.nexus(), &Stub::ListNexus, by_uuid, &reply), INVALID_ARGUMENT, "is not a UUID");
}

TEST_F(NexusApi, PublishGivesAUriAndRefreshesHosts) {
  create_nexus(make_children(1));
  const auto n = publish();
  EXPECT_EQ(n.device_uri(),
            "nvmf://127.0.0.1:" + std::to_string(engine_.nvmf_port()) + "/nqn.2019-05.io.openebs:volume-1");
  EXPECT_EQ(n.ana_state(), v1::NVME_ANA_OPTIMIZED_STATE);
  EXPECT_EQ(n.allowed_hosts_size(), 0);
  EXPECT_OK(publish_as(uuid, v1::NVMF, {"nqn.2014-08.org:b", "nqn.2014-08.org:a"}, "0123456789abcdef"));
  const auto again = find_nexus();
  EXPECT_EQ(again.device_uri(), n.device_uri());
  ASSERT_EQ(again.allowed_hosts_size(), 2);
  EXPECT_EQ(again.allowed_hosts(0), "nqn.2014-08.org:a");
}

TEST_F(NexusApi, PublishRefusesWhatItCannotDo) {
  create_nexus(make_children(1));
  EXPECT_CODE(publish_as(other_uuid, v1::NVMF), NOT_FOUND, other_uuid);
  EXPECT_CODE(publish_as("x", v1::NVMF), INVALID_ARGUMENT, "is not a UUID");
  EXPECT_CODE(publish_as(uuid, v1::ISCSI), INVALID_ARGUMENT, "iSCSI");
  EXPECT_CODE(publish_as(uuid, v1::NONE), INVALID_ARGUMENT, "NONE");
  EXPECT_CODE(publish_as(uuid, v1::NVMF, {"host"}), INVALID_ARGUMENT, "is not an NQN");
  EXPECT_CODE(publish_as(uuid, v1::NVMF, {}, "short"), INVALID_ARGUMENT, "key: 5 bytes");
  EXPECT_EQ(find_nexus().device_uri(), "");
  publish();
  EXPECT_CODE(publish_as(uuid, v1::NONE), INVALID_ARGUMENT, "NONE");
}

TEST_F(NexusApi, UnpublishCanBeRepeated) {
  create_nexus(make_children(1));
  publish();
  EXPECT_OK(unpublish(uuid));
  EXPECT_OK(unpublish(uuid));
  EXPECT_CODE(unpublish(other_uuid), NOT_FOUND, other_uuid);
  EXPECT_EQ(find_nexus().device_uri(), "");
  publish();
}

TEST_F(NexusApi, ShutdownCanBeRepeated) {
  create_nexus(make_children(1));
  publish();
  EXPECT_OK(shutdown(uuid));
  EXPECT_EQ(find_nexus().state(), v1::NEXUS_SHUTDOWN);
  EXPECT_OK(shutdown(uuid));
  EXPECT_CODE(shutdown(other_uuid), NOT_FOUND, other_uuid);
  EXPECT_OK(destroy(uuid));
}

TEST_F(NexusApi, ResizeGrowsWithinTheChildren) {
  create_nexus(make_children(2));
  EXPECT_OK(resize(uuid, 20 << 20));
  EXPECT_EQ(find_nexus().size(), 20u << 20);
  EXPECT_OK(resize(uuid, 20 << 20));
  EXPECT_CODE(resize(uuid, 64 << 20), FAILED_PRECONDITION, "m0");
  EXPECT_CODE(resize(uuid, 16 << 20), INVALID_ARGUMENT, "");
  EXPECT_CODE(resize(uuid, 0), INVALID_ARGUMENT, "0 bytes");
  EXPECT_CODE(resize(other_uuid, 20 << 20), NOT_FOUND, other_uuid);
}

TEST_F(NexusApi, AResizeNamesTheChildThatStandsStill) {
  testing_support::EngineProcess other(scratch_, "other");
  ASSERT_TRUE(other.start());
  const std::string remote = testing_support::share_malloc(other, "remote", 32);
  create_nexus({make_children(1).front(), remote});
  other.signal(SIGSTOP);
  const grpc::Status still = resize(uuid, 20 << 20);
  other.signal(SIGCONT);
  EXPECT_CODE(still, UNAVAILABLE, remote);
  EXPECT_EQ(find_nexus().size(), 16u << 20);
  // As soon as the connection is there again.
  grpc::Status grown;
  for (int i = 0; i < 500; ++i) {
    grown = resize(uuid, 20 << 20);
    if (grown.error_code() != grpc::StatusCode::UNAVAILABLE) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_OK(grown);
  EXPECT_EQ(find_nexus().size(), 20u << 20);
}

TEST_F(NexusApi, AnaStateIsThatOfThePublishedNexus) {
  create_nexus(make_children(1));
  v1::GetNvmeAnaStateRequest get;
  get.set_uuid(uuid);
  v1::GetNvmeAnaStateResponse state;
  EXPECT_CODE(call(engine_.nexus(), &Stub::GetNvmeAnaState, get, &state), INVALID_ARGUMENT,
              "is not published");
  v1::SetNvmeAnaStateRequest set;
  set.set_uuid(uuid);
  set.set_ana_state(v1::NVME_ANA_INACCESSIBLE_STATE);
  v1::SetNvmeAnaStateResponse changed;
  EXPECT_CODE(call(engine_.nexus(), &Stub::SetNvmeAnaState, set, &changed), INVALID_ARGUMENT,
              "is not published");
  publish();
  EXPECT_OK(call(engine_.nexus(), &Stub::SetNvmeAnaState, set, &changed));
  EXPECT_OK(call(engine_.nexus(), &Stub::SetNvmeAnaState, set, &changed));
  EXPECT_OK(call(engine_.nexus(), &Stub::GetNvmeAnaState, get, &state));
  EXPECT_EQ(state.ana_state(), v1::NVME_ANA_INACCESSIBLE_STATE);
  set.set_ana_state(v1::NVME_ANA_PERSISTENT_LOSS_STATE);
  EXPECT_CODE(call(engine_.nexus(), &Stub::SetNvmeAnaState, set, &changed), INVALID_ARGUMENT,
              "cannot be set");
  get.set_uuid(other_uuid);
  EXPECT_CODE(call(engine_.nexus(), &Stub::GetNvmeAnaState, get, &state), NOT_FOUND, other_uuid);
}

// Whoever looks at devices by name meets no nexus that is half gone.
TEST_F(NexusApi, ANexusGoesWhileOthersAskForItsDevice) {
  const auto children = make_children(1);
  std::atomic<bool> over = false;
  const auto share = [&] {
    v1::BdevShareRequest request;
    request.set_name("volume-1");
    request.set_protocol(v1::NVMF);
    v1::BdevShareResponse reply;
    while (!over) EXPECT_FALSE(call(engine_.bdev(), &v1::BdevRpc::Stub::Share, request, &reply).ok());
  };
  const auto scrape = [&] {
    while (!over) {
      httplib::Client client("127.0.0.1", engine_.metrics_port());
      const auto got = client.Get("/metrics");
      EXPECT_TRUE(got && got->status == 200);
    }
  };
  std::vector<std::thread> others;
  for (int i = 0; i < 2; ++i) others.emplace_back(share);
  others.emplace_back(scrape);
  for (int i = 0; i < 200 && !HasFailure(); ++i) {
    EXPECT_OK(create(nexus_request(children)));
    EXPECT_OK(destroy(uuid));
  }
  over = true;
  for (auto& other : others) other.join();
}

}  // namespace
}  // namespace holdfast::api_test
