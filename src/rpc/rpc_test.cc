#include <memory>
#include <string>
#include <thread>

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include "etcd/rpc.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/duplex.h"
#include "rpc/unary.h"
#include "rt/scope.h"
#include "uring/runtime.h"

namespace holdfast::rpc {
namespace {

using etcdserverpb::KV;
using etcdserverpb::Lease;

// Answers ranges as their key says.
class Peer final : public KV::Service {
 public:
  grpc::Status Range(grpc::ServerContext* context, const etcdserverpb::RangeRequest* request,
                     etcdserverpb::RangeResponse* reply) override {
    if (request->key() == "refuse") return {grpc::StatusCode::OUT_OF_RANGE, "too old"};
    if (request->key() == "hang") {
      while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      return grpc::Status::CANCELLED;
    }
    if (request->key() == "metadata") {
      const auto found = context->client_metadata().find("who");
      if (found != context->client_metadata().end()) {
        reply->add_kvs()->set_key(std::string(found->second.data(), found->second.size()));
      }
      context->AddTrailingMetadata("seen", "yes");
    }
    reply->set_count(7);
    return grpc::Status::OK;
  }
};

// Answers every keep-alive with the number of those so far; ends after five.
class Counter final : public Lease::Service {
 public:
  using Stream =
      grpc::ServerReaderWriter<etcdserverpb::LeaseKeepAliveResponse, etcdserverpb::LeaseKeepAliveRequest>;
  grpc::Status LeaseKeepAlive(grpc::ServerContext*, Stream* stream) override {
    etcdserverpb::LeaseKeepAliveRequest request;
    for (int i = 1; i <= 5 && stream->Read(&request); ++i) {
      etcdserverpb::LeaseKeepAliveResponse reply;
      reply.set_id(request.id());
      reply.set_ttl(i);
      stream->Write(reply);
    }
    return {grpc::StatusCode::ABORTED, "enough"};
  }
};

struct Rpc : testing::Test {
  Rpc() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", server_credentials(nullptr), &port);
    builder.RegisterService(&peer);
    builder.RegisterService(&counter);
    server = builder.BuildAndStart();
    target = "127.0.0.1:" + std::to_string(port);
    channel = connect(target, nullptr, ChannelOptions());
    kv = KV::NewStub(channel);
  }
  Result<etcdserverpb::RangeResponse> range(const std::string& key, const CallOptions& options) {
    etcdserverpb::RangeRequest request;
    request.set_key(key);
    return runtime->run(unary(runtime->home(), *kv->async(), &KV::Stub::async::Range, request, options));
  }

  std::unique_ptr<uring::Runtime> runtime = uring::Runtime::create({}).value();
  Peer peer;
  Counter counter;
  std::unique_ptr<grpc::Server> server;
  std::string target;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<KV::Stub> kv;
};

TEST_F(Rpc, GivesTheReplyOrThePeersError) {
  EXPECT_EQ(range("a", CallOptions()).value().count(), 7);
  const auto refused = range("refuse", CallOptions());
  EXPECT_EQ(refused.code(), Errc::out_of_range);
  EXPECT_EQ(refused.error().message(), "too old");
}

TEST_F(Rpc, EndsAtTheDeadline) { EXPECT_EQ(range("hang", CallOptions(50ms)).code(), Errc::timed_out); }

TEST_F(Rpc, EndsWhenItIsStopped) {
  StopSource stop;
  Reactor& home = runtime->home();
  auto both = [&]() -> Task<Errc> {
    TaskScope scope(home);
    auto later = [&]() -> Task<void> {
      co_await home.sleep(50ms);
      stop.request_stop();
    };
    scope.spawn(later());
    etcdserverpb::RangeRequest request;
    request.set_key("hang");
    const CallOptions options(10s, stop.token());
    auto answer = co_await unary(home, *kv->async(), &KV::Stub::async::Range, request, options);
    co_await scope.join();
    co_return answer.code();
  };
  EXPECT_EQ(runtime->run(both()), Errc::cancelled);
}

TEST_F(Rpc, NobodyThereIsNotConnected) {
  server->Shutdown();
  server.reset();
  EXPECT_EQ(range("a", CallOptions(2s)).code(), Errc::not_connected);
  CallOptions patient(100ms);
  patient.wait_for_ready = true;
  EXPECT_EQ(range("a", patient).code(), Errc::timed_out);
}

TEST_F(Rpc, CarriesMetadataBothWays) {
  CallOptions options(5s);
  options.metadata.emplace_back("who", "me");
  etcdserverpb::RangeRequest request;
  request.set_key("metadata");
  const auto answer =
      runtime->run(call(runtime->home(), *kv->async(), &KV::Stub::async::Range, request, options));
  ASSERT_TRUE(answer.status.ok());
  EXPECT_EQ(answer.reply.kvs(0).key(), "me");
  EXPECT_EQ(answer.trailers.at("seen"), "yes");
}

TEST_F(Rpc, StreamsUntilThePeerEnds) {
  const auto lease = Lease::NewStub(channel);
  auto talk = [&]() -> Task<grpc::Status> {
    Duplex<etcdserverpb::LeaseKeepAliveRequest, etcdserverpb::LeaseKeepAliveResponse> stream(runtime->home());
    stream.begin(*lease->async(), &Lease::Stub::async::LeaseKeepAlive, CallOptions(10s));
    etcdserverpb::LeaseKeepAliveRequest request;
    etcdserverpb::LeaseKeepAliveResponse reply;
    int replies = 0;
    for (int i = 0; i < 5; ++i) {
      request.set_id(i);
      const bool written = co_await stream.write(request);
      const bool read = co_await stream.read(reply);
      if (written && read && reply.id() == i) ++replies;
    }
    EXPECT_EQ(replies, 5);
    const bool more = co_await stream.read(reply);
    EXPECT_FALSE(more);
    co_return co_await stream.end();
  };
  EXPECT_EQ(runtime->run(talk()).error_code(), grpc::StatusCode::ABORTED);
}

TEST_F(Rpc, AStreamIsCancelledWhileItReads) {
  const auto lease = Lease::NewStub(channel);
  Reactor& home = runtime->home();
  auto talk = [&]() -> Task<grpc::Status> {
    Duplex<etcdserverpb::LeaseKeepAliveRequest, etcdserverpb::LeaseKeepAliveResponse> stream(home);
    stream.begin(*lease->async(), &Lease::Stub::async::LeaseKeepAlive, CallOptions(no_deadline));
    TaskScope scope(home);
    auto later = [&]() -> Task<void> {
      co_await home.sleep(30ms);
      stream.cancel();
    };
    scope.spawn(later());
    etcdserverpb::LeaseKeepAliveResponse reply;
    const bool read = co_await stream.read(reply);
    EXPECT_FALSE(read);
    co_await scope.join();
    co_return co_await stream.end();
  };
  EXPECT_EQ(runtime->run(talk()).error_code(), grpc::StatusCode::CANCELLED);
}

TEST(Status, TextsFitIntoAHeader) {
  EXPECT_EQ(header_text("a\nb\xff"), "a?b?");
  EXPECT_EQ(header_text(std::string(5000, 'x')).size(), 1027u);
  EXPECT_EQ(error_of(grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone")).code(), Errc::not_connected);
}

}  // namespace
}  // namespace holdfast::rpc
