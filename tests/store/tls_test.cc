// Goal: a store with TLS is used with the right certificates, and each wrong one says what is wrong.
// Method: a real etcd, and the embedded store, that ask for client certificates; certificates made by openssl.
#include <chrono>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/embedded_server.h"
#include "store/etcd_rig.h"
#include "store/keys.h"
#include "store/store_process.h"
#include "support/certificates.h"

namespace holdfast::store {
namespace {

using ::testing::HasSubstr;
using testing_support::Certificates;
using testing_support::ChildProcess;
using testing_support::ScratchDir;

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

class StoreTls : public ::testing::Test {
 protected:
  void SetUp() override {
    certificates_.make_authority("ca");
    certificates_.make_authority("other-ca");
    certificates_.make("store", "ca");
    certificates_.make("client", "ca");
    certificates_.make("stranger", "other-ca");
  }
  rpc::Tls tls(const std::string& authority, const std::string& own) const {
    rpc::Tls made;
    made.authority = text_of(certificates_.certificate(authority));
    if (!own.empty()) {
      made.certificate = text_of(certificates_.certificate(own));
      made.key = text_of(certificates_.key(own));
    }
    return made;
  }
  static Status put(const std::string& endpoint, rpc::Tls tls, Nanos patience) {
    EtcdOptions options({endpoint});
    options.tls = std::move(tls);
    options.call_timeout = patience;
    EtcdRig rig(std::move(options));
    const auto done = rig.run(rig.kv().put(PutRequest("k", "v")));
    if (!done.ok()) return done.error();
    return Status();
  }
  // Slow machines: the store may still be starting.
  static Status put_in_time(const std::string& endpoint, const rpc::Tls& tls) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(90);
    for (;;) {
      Status done = put(endpoint, tls, 10s);
      if (done.ok() || std::chrono::steady_clock::now() > deadline) return done;
      done.ignore("it is tried again");
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
  }
  std::string refusal(const std::string& endpoint, rpc::Tls tls) const {
    const Status done = put(endpoint, std::move(tls), 3s);
    EXPECT_FALSE(done.ok());
    return done.ok() ? "" : done.error().message();
  }
  void check(const std::string& endpoint) {
    const Status good = put_in_time(endpoint, tls("ca", "client"));
    ASSERT_TRUE(good.ok()) << good.error().message();
    EXPECT_THAT(refusal(endpoint, tls("other-ca", "client")), HasSubstr("certificate verify failed"));
    EXPECT_THAT(refusal(endpoint, tls("ca", "")), HasSubstr("no certificate of ours is given"));
    EXPECT_THAT(refusal(endpoint, tls("ca", "stranger")), HasSubstr("store " + endpoint.substr(8)));
    rpc::Tls named = tls("ca", "client");
    named.peer_name = "another-store";
    EXPECT_THAT(refusal(endpoint, named), HasSubstr("another-store"));
    named.peer_name = "localhost";
    EXPECT_TRUE(put_in_time(endpoint, named).ok());
    std::string plain = endpoint;
    plain.replace(0, 8, "http://");
    EXPECT_NE(refusal(plain, rpc::Tls()), "");
  }
  // One that has expired.
  void check_expired(const std::string& endpoint) {
    EXPECT_THAT(refusal(endpoint, tls("ca", "client")), HasSubstr("certificate verify failed"));
  }

  Certificates certificates_;
  ScratchDir scratch_;
};

TEST_F(StoreTls, Etcd) {
  const auto port = testing_support::free_port();
  const auto peer = testing_support::free_port();
  const std::string url = "https://127.0.0.1:" + std::to_string(port);
  const std::string peer_url = "http://127.0.0.1:" + std::to_string(peer);
  ChildProcess etcd({"etcd",
                     "--data-dir",
                     scratch_.path("etcd"),
                     "--listen-client-urls",
                     url,
                     "--advertise-client-urls",
                     url,
                     "--listen-peer-urls",
                     peer_url,
                     "--initial-advertise-peer-urls",
                     peer_url,
                     "--initial-cluster",
                     "default=" + peer_url,
                     "--cert-file",
                     certificates_.certificate("store"),
                     "--key-file",
                     certificates_.key("store"),
                     "--client-cert-auth",
                     "--trusted-ca-file",
                     certificates_.certificate("ca"),
                     "--log-level",
                     "error"},
                    scratch_.path("log"));
  etcd.start();
  check(url);
}

TEST_F(StoreTls, Embedded) {
  certificates_.make("expired", "ca", -1);
  const auto serve = [&](const std::string& name) {
    EmbeddedOptions options;
    options.path = scratch_.path(name + ".db");
    options.listen = "127.0.0.1:0";
    options.seed = 1;
    options.tls = tls("ca", name);
    return EmbeddedServer::start(std::move(options)).value();
  };
  const auto good = serve("store");
  check("https://" + good->address());
  const auto expired = serve("expired");
  check_expired("https://" + expired->address());
}

// An engine keeps the record of a nexus in a store that asks for certificates.
TEST_F(StoreTls, OfAnEngine) {
  EmbeddedOptions served;
  served.path = scratch_.path("store.db");
  served.listen = "127.0.0.1:0";
  served.seed = 1;
  served.tls = tls("ca", "store");
  const auto store = EmbeddedServer::start(std::move(served)).value();
  const std::string url = "https://" + store->address();
  std::vector<std::string> flags = {"--store",      url,
                                    "--cluster",    "test",
                                    "--store-ca",   certificates_.certificate("ca"),
                                    "--store-cert", certificates_.certificate("client"),
                                    "--store-key",  certificates_.key("client")};
  testing_support::EngineProcess engine(scratch_, "one", flags);
  ASSERT_TRUE(engine.start());
  mayastor::v1::CreateNexusRequest request;
  request.set_name("n1");
  request.set_uuid("0b1c2d3e-0000-4000-8000-00000000b001");
  request.set_size(32 << 20);
  request.set_nexusinfokey("0b1c2d3e-0000-4000-8000-00000000a001");
  request.set_mincntlid(1);
  request.set_maxcntlid(100);
  request.add_children("malloc:///a?size_mb=64");
  mayastor::v1::CreateNexusResponse created;
  const auto status =
      testing_support::call(engine.nexus(), &mayastor::v1::NexusRpc::Stub::CreateNexus, request, &created);
  ASSERT_TRUE(status.ok()) << status.error_message() << engine.log();
  EtcdOptions options({url});
  options.tls = tls("ca", "client");
  EtcdRig rig(std::move(options));
  const auto found = rig.run(
      rig.kv().range(RangeRequest(Keys::of_cluster("test").value().membership(request.nexusinfokey()))));
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_EQ(found.value().kvs.size(), 1U);

  // The key of another certificate: it says so and does not start.
  flags.back() = certificates_.key("store");
  flags.insert(flags.begin(), testing_support::EngineProcess::program());
  flags.insert(flags.end(), {"--data-dir", scratch_.path("other")});
  const auto refused = testing_support::run(flags);
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.output, HasSubstr("--store-ca, --store-cert"));
}

}  // namespace
}  // namespace holdfast::store
