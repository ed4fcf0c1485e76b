#include "api/api_test.h"

#include <chrono>
#include <thread>

namespace holdfast::api_test {

v1::Bdev ApiTest::create_bdev(const std::string& uri) {
  v1::CreateBdevRequest request;
  request.set_uri(uri);
  v1::CreateBdevResponse reply;
  EXPECT_OK(call(engine_.bdev(), &v1::BdevRpc::Stub::Create, request, &reply));
  return reply.bdev();
}

std::vector<std::string> ApiTest::make_children(int count, const std::string& prefix) {
  std::vector<std::string> uris;
  for (int i = 0; i < count; ++i) {
    const std::string name = prefix + std::to_string(i);
    uris.push_back(create_bdev("malloc:///" + name + "?size_mb=32").share_uri());
  }
  return uris;
}

v1::CreateNexusRequest ApiTest::nexus_request(const std::vector<std::string>& children) {
  v1::CreateNexusRequest request;
  request.set_name("volume-1");
  request.set_uuid(uuid);
  request.set_size(16 << 20);
  request.set_mincntlid(1);
  request.set_maxcntlid(0xffef);
  request.set_resvkey(1);
  for (const auto& uri : children) request.add_children(uri);
  return request;
}

v1::Nexus ApiTest::create_nexus(const std::vector<std::string>& children) {
  v1::CreateNexusResponse reply;
  EXPECT_OK(call(engine_.nexus(), &v1::NexusRpc::Stub::CreateNexus, nexus_request(children), &reply));
  return reply.nexus();
}

v1::Nexus ApiTest::find_nexus() {
  v1::ListNexusOptions request;
  request.mutable_uuid()->set_value(uuid);
  v1::ListNexusResponse reply;
  EXPECT_OK(call(engine_.nexus(), &v1::NexusRpc::Stub::ListNexus, request, &reply));
  EXPECT_EQ(reply.nexus_list_size(), 1);
  return reply.nexus_list_size() == 1 ? reply.nexus_list(0) : v1::Nexus();
}

v1::Nexus ApiTest::wait_for_state(v1::NexusState state) {
  v1::Nexus seen;
  for (int i = 0; i < 500; ++i) {
    seen = find_nexus();
    if (seen.state() == state) return seen;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ADD_FAILURE() << "the nexus did not become " << v1::NexusState_Name(state) << ":\n" << seen.DebugString();
  return seen;
}

v1::Nexus ApiTest::publish() {
  v1::PublishNexusRequest request;
  request.set_uuid(uuid);
  request.set_share(v1::NVMF);
  v1::PublishNexusResponse reply;
  EXPECT_OK(call(engine_.nexus(), &v1::NexusRpc::Stub::PublishNexus, request, &reply));
  return reply.nexus();
}

}  // namespace holdfast::api_test
