// Fencing as clients of the API see it: the reservation fields of CreateNexus, good and bad, and a nexus that
// loses its child, a local one, to a nexus on another engine.
#include <chrono>
#include <functional>

#include "api/api_test.h"

namespace holdfast::api_test {
namespace {

class ReservationApi : public ApiTest {
 protected:
  static grpc::Status create(const testing_support::EngineProcess& on,
                             const v1::CreateNexusRequest& request) {
    v1::CreateNexusResponse reply;
    return call(on.nexus(), &v1::NexusRpc::Stub::CreateNexus, request, &reply);
  }
  std::string share(const std::string& name) {
    v1::BdevShareRequest request;
    request.set_name(name);
    request.set_protocol(v1::NVMF);
    v1::BdevShareResponse reply;
    EXPECT_OK(call(engine_.bdev(), &v1::BdevRpc::Stub::Share, request, &reply));
    return reply.bdev().share_uri();
  }
  v1::CreateNexusRequest reserved(const std::string& child, std::uint64_t key,
                                  v1::NexusNvmePreemption policy = v1::Holder) {
    auto r = nexus_request({child});
    r.set_resvkey(key);
    r.set_resvtype(v1::ExclusiveAccess);
    r.set_preemptpolicy(policy);
    return r;
  }
  static constexpr const char* replica = "malloc:///r0?size_mb=32&uuid=6b29fc40-ca47-1067-b31d-00dd010662da";
};

TEST_F(ReservationApi, FieldsThatMakeNoSenseAreRefused) {
  const auto children = make_children(1);
  const auto good = reserved(children[0], 0x77);
  struct Row {
    const char* text;
    std::function<void(v1::CreateNexusRequest&)> spoil;
  };
  const Row rows[] = {
      {"preemptKey: must be 0", [](auto& r) { r.set_preemptkey(5); }},
      {"resvKey: 0 is not a key", [](auto& r) { r.set_resvkey(0); }},
      {"resvKey: 0 is not a key",
       [](auto& r) {
         r.set_resvkey(0);
         r.clear_resvtype();
       }},
      {"resvKey: 0 is not a key",
       [](auto& r) {
         r.set_resvkey(0);
         r.set_preemptpolicy(v1::ArgKey);
         r.clear_resvtype();
         r.set_preemptkey(9);
       }},
      {"resvType: Reserved", [](auto& r) { r.set_resvtype(v1::Reserved); }},
      {"resvType: 7", [](auto& r) { r.set_resvtype(static_cast<v1::NvmeReservation>(7)); }},
      {"preemptPolicy: 2", [](auto& r) { r.set_preemptpolicy(static_cast<v1::NexusNvmePreemption>(2)); }},
  };
  for (const Row& row : rows) {
    auto r = good;
    row.spoil(r);
    EXPECT_CODE(create(engine_, r), INVALID_ARGUMENT, row.text);
  }
  EXPECT_OK(create(engine_, good));
  EXPECT_OK(create(engine_, good));  // the same request again
  auto other_key = good;
  other_key.set_resvkey(0x78);
  EXPECT_CODE(create(engine_, other_key), ALREADY_EXISTS, "volume-1");
}

TEST_F(ReservationApi, EveryTypeCanBeHeld) {
  const auto children = make_children(1);
  for (int type = v1::WriteExclusive; type <= v1::ExclusiveAccessAllRegs; ++type) {
    auto r = reserved(children[0], 0x77, v1::ArgKey);
    r.set_resvtype(static_cast<v1::NvmeReservation>(type));
    EXPECT_OK(create(engine_, r));
    v1::DestroyNexusRequest gone;
    gone.set_uuid(uuid);
    google::protobuf::Empty empty;
    EXPECT_OK(call(engine_.nexus(), &v1::NexusRpc::Stub::DestroyNexus, gone, &empty));
  }
}

TEST_F(ReservationApi, OnlyAReservedChildCanBeSharedToo) {
  const auto children = make_children(1);
  auto r = nexus_request(children);
  r.set_resvkey(0);
  EXPECT_OK(create(engine_, r));
  v1::BdevShareRequest request;
  request.set_name("m0");
  request.set_protocol(v1::NVMF);
  v1::BdevShareResponse reply;
  const grpc::Status refused = call(engine_.bdev(), &v1::BdevRpc::Stub::Share, request, &reply);
  EXPECT_FALSE(refused.ok());
  EXPECT_THAT(refused.error_message(), ::testing::HasSubstr("in use"));
}

TEST_F(ReservationApi, AnotherEngineTakesALocalChild) {
  testing_support::EngineProcess second(scratch_, "second");
  ASSERT_TRUE(second.start());
  create_bdev(replica);
  const std::string uri = share("r0");
  EXPECT_OK(create(engine_, reserved("bdev:///r0", 0x1111)));
  EXPECT_EQ(find_nexus().state(), v1::NEXUS_ONLINE);
  const auto without_key = reserved(uri, 0x2222, v1::ArgKey);
  EXPECT_CODE(create(second, without_key), INVALID_ARGUMENT, "0x1111");
  EXPECT_EQ(find_nexus().state(), v1::NEXUS_ONLINE);
  auto with_key = without_key;
  with_key.set_preemptkey(0x1111);
  EXPECT_OK(create(second, with_key));
  EXPECT_EQ(wait_for_state(v1::NEXUS_FAULTED).state(), v1::NEXUS_FAULTED);
  v1::AddChildNexusRequest add;
  add.set_uuid(uuid);
  v1::AddChildNexusResponse reply;
  add.set_uri("malloc:///m2?size_mb=32");
  EXPECT_CODE(call(engine_.nexus(), &v1::NexusRpc::Stub::AddChildNexus, add, &reply), FAILED_PRECONDITION,
              "fenced");
}

TEST_F(ReservationApi, AReservationSurvivesAKill) {
  testing_support::EngineProcess second(scratch_, "second"), third(scratch_, "third");
  ASSERT_TRUE(second.start());
  ASSERT_TRUE(third.start());
  create_bdev(replica);
  const std::string uri = share("r0");
  EXPECT_OK(create(second, reserved(uri, 0x1111)));
  second.kill();
  engine_.kill();
  ASSERT_TRUE(engine_.start());
  create_bdev(replica);
  ASSERT_EQ(share("r0"), uri);
  EXPECT_CODE(create(third, reserved(uri, 0x2222, v1::ArgKey)), INVALID_ARGUMENT, "0x1111");
  EXPECT_OK(create(third, reserved(uri, 0x2222)));
  // Whoever comes back finds it taken.
  ASSERT_TRUE(second.start());
  EXPECT_CODE(create(second, reserved(uri, 0x1111, v1::ArgKey)), INVALID_ARGUMENT, "0x2222");
}

}  // namespace
}  // namespace holdfast::api_test
