// HostRpc, the services that this engine lacks, limits of the server, /metrics, and the heartbeat.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <thread>

#include <arpa/inet.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <httplib.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/api_test.h"
#include "mayastor/v1/json.grpc.pb.h"
#include "mayastor/v1/registration.grpc.pb.h"

namespace holdfast::api_test {
namespace {

using google::protobuf::Empty;

class HostApi : public ApiTest {};

TEST_F(HostApi, InfoIntroducesTheEngine) {
  v1::MayastorInfoResponse info;
  EXPECT_OK(call(engine_.host(), &v1::HostRpc::Stub::GetMayastorInfo, Empty(), &info));
  EXPECT_EQ(info.version(), info.registration_info().version());
  EXPECT_TRUE(info.previous_features().asymmetricnamespaceaccess());
  const auto& self = info.registration_info();
  EXPECT_EQ(self.id(), "engine");
  EXPECT_EQ(self.grpc_endpoint(), "127.0.0.1:" + std::to_string(engine_.grpc_port()));
  EXPECT_EQ(self.hostnqn().value(), "nqn.2019-05.io.openebs:node-name:engine");
  EXPECT_EQ(self.api_version_size(), 1);
  EXPECT_EQ(self.api_version(0), v1::V1);
  EXPECT_EQ(self.instance_uuid().value().size(), 36u);
  EXPECT_TRUE(self.bugfixes().nexusrebuildreplicaancestry());
}

TEST_F(HostApi, BlockDevicesAreListed) {
  v1::ListBlockDevicesRequest request;
  v1::ListBlockDevicesResponse available;
  EXPECT_OK(call(engine_.host(), &v1::HostRpc::Stub::ListBlockDevices, request, &available));
  request.set_all(true);
  v1::ListBlockDevicesResponse all;
  EXPECT_OK(call(engine_.host(), &v1::HostRpc::Stub::ListBlockDevices, request, &all));
  EXPECT_LE(available.devices_size(), all.devices_size());
  for (const auto& d : available.devices()) EXPECT_TRUE(d.available());
}

TEST_F(HostApi, ResourceUsageCounts) {
  v1::GetMayastorResourceUsageResponse usage;
  EXPECT_OK(call(engine_.host(), &v1::HostRpc::Stub::GetMayastorResourceUsage, Empty(), &usage));
  EXPECT_GT(usage.usage().soft_faults(), 0);
  EXPECT_GT(usage.usage().vol_csw(), 0);
}

TEST_F(HostApi, RemoteControllersAreListedAndCounted) {
  v1::ListNvmeControllersResponse none;
  EXPECT_OK(call(engine_.host(), &v1::HostRpc::Stub::ListNvmeControllers, Empty(), &none));
  EXPECT_EQ(none.controllers_size(), 0);
  // An engine may be its own remote.
  create_bdev("malloc:///disk0?size_mb=8");
  v1::BdevShareRequest share;
  share.set_name("disk0");
  share.set_protocol(v1::NVMF);
  v1::BdevShareResponse shared;
  EXPECT_OK(call(engine_.bdev(), &v1::BdevRpc::Stub::Share, share, &shared));
  const auto remote = create_bdev(shared.bdev().share_uri());
  EXPECT_EQ(remote.uuid(), shared.bdev().uuid());
  v1::ListNvmeControllersResponse one;
  EXPECT_OK(call(engine_.host(), &v1::HostRpc::Stub::ListNvmeControllers, Empty(), &one));
  ASSERT_EQ(one.controllers_size(), 1);
  EXPECT_EQ(one.controllers(0).name(), remote.name());
  EXPECT_EQ(one.controllers(0).state(), v1::RUNNING);
  EXPECT_EQ(one.controllers(0).size(), (8u << 20) / 512);
  EXPECT_EQ(one.controllers(0).blk_size(), 512u);
  v1::StatNvmeControllerRequest request;
  request.set_name(remote.name());
  v1::StatNvmeControllerResponse stats;
  EXPECT_OK(call(engine_.host(), &v1::HostRpc::Stub::StatNvmeController, request, &stats));
  EXPECT_EQ(stats.stats().num_write_ops(), 0u);
  request.set_name("disk0");
  EXPECT_CODE(call(engine_.host(), &v1::HostRpc::Stub::StatNvmeController, request, &stats), NOT_FOUND,
              "no NVMe controller 'disk0'");
}

TEST_F(HostApi, OtherServicesSayThatTheyAreNotOffered) {
  v1::JsonRpcResponse answer;
  EXPECT_CODE(call(*v1::JsonRpc::NewStub(engine_.channel()), &v1::JsonRpc::Stub::JsonRpcCall,
                   v1::JsonRpcRequest(), &answer),
              UNIMPLEMENTED, "mayastor.v1.JsonRpc/JsonRpcCall is not offered by this engine");
}

TEST_F(HostApi, AMessageThatIsTooLongIsRefused) {
  v1::CreateBdevRequest request;
  request.set_uri(std::string(2 << 20, 'x'));
  v1::CreateBdevResponse reply;
  EXPECT_CODE(call(engine_.bdev(), &v1::BdevRpc::Stub::Create, request, &reply), RESOURCE_EXHAUSTED, "");
  EXPECT_EQ(create_bdev("malloc:///disk0?size_mb=8").name(), "disk0");
}

TEST_F(HostApi, ACallPastItsDeadlineDoesNotStopTheOthers) {
  v1::CreateBdevRequest request;
  // Nobody answers there: TEST-NET-1 (RFC 5737).
  request.set_uri("nvmf://192.0.2.1:8420/nqn.2019-05.io.openebs:none");
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  v1::CreateBdevResponse reply;
  const auto status = engine_.bdev().Create(&context, request, &reply);
  // Some networks refuse at once.
  EXPECT_TRUE(status.error_code() == StatusCode::DEADLINE_EXCEEDED ||
              status.error_code() == StatusCode::INVALID_ARGUMENT)
      << status.error_code() << ": " << status.error_message();
  EXPECT_EQ(create_bdev("malloc:///disk0?size_mb=8").name(), "disk0");
}

TEST_F(HostApi, MetricsDescribeDevicesAndNexuses) {
  create_nexus(make_children(2));
  httplib::Client client("127.0.0.1", engine_.metrics_port());
  const auto got = client.Get("/metrics");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->status, 200);
  for (const char* line :
       {"holdfast_build_info{", "node=\"engine\"", "holdfast_core_cpu_seconds_total{core=\"0\"}",
        "holdfast_core_busy_seconds_total{core=\"0\"}", "holdfast_core_sends_total{core=\"0\"}",
        "holdfast_core_sends_without_copy_total{core=\"0\"} 0", "holdfast_buffer_budget_bytes{core=\"0\"}",
        "holdfast_device_size_bytes{device=\"m0\"", "holdfast_nexus_info{nexus=\"volume-1\"",
        "holdfast_nexus_child_state{nexus=\"volume-1\"", "state=\"online\"",
        "volume_num_write_ops{node=\"engine\",pv_name=\"volume-1\"} 0",
        "volume_read_latency_us{node=\"engine\",pv_name=\"volume-1\"} 0",
        "holdfast_nexus_retired_children_total{nexus=\"volume-1\"} 0", "holdfast_exports 0",
        "holdfast_target_connections 0", "process_resident_memory_bytes "}) {
    EXPECT_THAT(got->body, HasSubstr(line));
  }
  const auto other = client.Get("/other");
  ASSERT_TRUE(other);
  EXPECT_EQ(other->status, 404);
}

// A control plane that remembers what it was told.
class ControlPlane final : public v1::Registration::Service {
 public:
  ControlPlane() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~ControlPlane() override { server_->Shutdown(std::chrono::system_clock::now()); }
  std::string endpoint() const { return "127.0.0.1:" + std::to_string(port_); }
  bool wait_for(int registrations, int deregistrations) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(15), [&] {
      return registrations_ >= registrations && deregistrations_ >= deregistrations;
    });
  }
  v1::RegisterRequest last() {
    const std::lock_guard lock(mutex_);
    return last_;
  }

 private:
  grpc::Status Register(grpc::ServerContext*, const v1::RegisterRequest* request, Empty*) override {
    const std::lock_guard lock(mutex_);
    last_ = *request;
    ++registrations_;
    changed_.notify_all();
    return grpc::Status::OK;
  }
  grpc::Status Deregister(grpc::ServerContext*, const v1::DeregisterRequest* request, Empty*) override {
    const std::lock_guard lock(mutex_);
    if (request->id() == last_.id()) ++deregistrations_;
    changed_.notify_all();
    return grpc::Status::OK;
  }
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::mutex mutex_;
  std::condition_variable changed_;
  v1::RegisterRequest last_;
  int registrations_ = 0;
  int deregistrations_ = 0;
};

TEST(Registration, AnEngineRegistersBeatsAndDeregisters) {
  ControlPlane control;
  testing_support::ScratchDir scratch;
  testing_support::EngineProcess engine(scratch, "node-7", {"-R", control.endpoint()});
  ASSERT_TRUE(engine.start());
  EXPECT_TRUE(control.wait_for(2, 0)) << "no heartbeat";
  const auto told = control.last();
  EXPECT_EQ(told.id(), "node-7");
  EXPECT_EQ(told.grpc_endpoint(), "127.0.0.1:" + std::to_string(engine.grpc_port()));
  EXPECT_EQ(told.hostnqn().value(), "nqn.2019-05.io.openebs:node-name:node-7");
  engine.signal(SIGTERM);
  EXPECT_TRUE(control.wait_for(2, 1)) << "no deregistration";
  EXPECT_EQ(engine.wait_exit(std::chrono::seconds(10)), 0);
}

TEST(Registration, AMissingControlPlaneStopsNothing) {
  testing_support::ScratchDir scratch;
  testing_support::EngineProcess engine(scratch, "node-7", {"-R", "127.0.0.1:1"});
  ASSERT_TRUE(engine.start());
  v1::MayastorInfoResponse info;
  EXPECT_OK(call(engine.host(), &v1::HostRpc::Stub::GetMayastorInfo, Empty(), &info));
  engine.signal(SIGTERM);
  EXPECT_EQ(engine.wait_exit(std::chrono::seconds(15)), 0);
}

// Somebody who asks for the metrics and never comes to the end of it.
class Dribbler {
 public:
  explicit Dribbler(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    thread_ = std::thread([this] {
      const std::string begin = "GET /metrics HTTP/1.1\r\nX: ";
      bool taken = ::send(fd_, begin.data(), begin.size(), MSG_NOSIGNAL) > 0;
      while (taken && !over_) {
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        taken = ::send(fd_, "x", 1, MSG_NOSIGNAL) == 1;
      }
    });
  }
  ~Dribbler() {
    over_ = true;
    thread_.join();
    ::close(fd_);
  }
  Dribbler(const Dribbler&) = delete;
  Dribbler& operator=(const Dribbler&) = delete;

 private:
  const int fd_;
  std::atomic<bool> over_{false};
  std::thread thread_;
};

TEST_F(HostApi, SlowScrapersKeepNobodyOutNorTheEngineFromItsEnd) {
  std::vector<std::unique_ptr<Dribbler>> slow;
  for (int i = 0; i < 8; ++i) slow.push_back(std::make_unique<Dribbler>(engine_.metrics_port()));
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  httplib::Client client("127.0.0.1", engine_.metrics_port());
  client.set_read_timeout(5);
  const auto got = client.Get("/metrics");
  EXPECT_TRUE(got && got->status == 200);
  engine_.signal(SIGTERM);
  EXPECT_EQ(engine_.wait_exit(std::chrono::seconds(20)), 0);
}

}  // namespace
}  // namespace holdfast::api_test
