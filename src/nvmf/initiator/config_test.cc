#include "nvmf/initiator/config.h"

#include <gtest/gtest.h>

namespace holdfast::nvmf {
namespace {

Result<RemoteConfig> parse(const std::string& text) {
  HF_TRY(const Uri uri, Uri::parse(text));
  InitiatorConfig defaults;
  defaults.hostnqn = "nqn.2019-05.io.openebs:node-name:n1";
  complete_identity(defaults);
  return parse_remote(uri, defaults);
}

TEST(RemoteConfig, ReadsHostNqnAndParameters) {
  const auto r = parse(
      "nvmf://storage-2:9000/"
      "nqn.2019-05.io.openebs:r1?uuid=8c5e6ef7-1a4d-4cf5-8d9b-0ab1c2d3e4f5&nsid=3&hdgst&ddgst=1"
      "&queue_depth=64&io_timeout_ms=2500&kato_ms=4000&grace_ms=0&hostnqn=nqn.2014-08.org.nvmexpress:uuid:x");
  ASSERT_TRUE(r.ok()) << r.error().message();
  const RemoteConfig& c = r.value();
  EXPECT_EQ(c.host, (Endpoint{"storage-2", 9000}));
  EXPECT_EQ(c.nqn, "nqn.2019-05.io.openebs:r1");
  EXPECT_EQ(c.uuid->to_string(), "8c5e6ef7-1a4d-4cf5-8d9b-0ab1c2d3e4f5");
  EXPECT_EQ(c.device_name(), "storage-2:9000/nqn.2019-05.io.openebs:r1n3");
  EXPECT_TRUE(c.config.header_digest && c.config.data_digest);
  EXPECT_EQ(c.config.queue_depth, 64u);
  EXPECT_EQ(c.config.io_timeout, Nanos(2500ms));
  EXPECT_EQ(c.config.keep_alive, Nanos(4s));
  EXPECT_EQ(c.config.grace, Nanos(0));
  EXPECT_EQ(c.config.hostnqn, "nqn.2014-08.org.nvmexpress:uuid:x");
  EXPECT_FALSE(c.config.hostid.is_nil());
}

TEST(RemoteConfig, ReadsFurtherAddresses) {
  const auto r = parse(
      "nvmf://a/nqn.2019-05.io.openebs:r1?paths=b:9000,[fd00::7]:8421,%5Bfd00::8%5D,a,b:9000&grace_ms=9000"
      "&refused_grace_ms=500");
  ASSERT_TRUE(r.ok()) << r.error().message();
  const RemoteConfig& c = r.value();
  ASSERT_EQ(c.path_count(), 4u);
  EXPECT_EQ(c.address(0), (Endpoint{"a", 8420}));
  EXPECT_EQ(c.address(1), (Endpoint{"b", 9000}));
  EXPECT_EQ(c.address(2), (Endpoint{"fd00::7", 8421}));
  EXPECT_EQ(c.address(3), (Endpoint{"fd00::8", 8420}));
  EXPECT_EQ(c.device_name(), "a:8420/nqn.2019-05.io.openebs:r1n1");
  EXPECT_EQ(c.config.refused_grace, Nanos(500ms));
}

TEST(RemoteConfig, DefaultsPortNamespaceAndIdentity) {
  const auto v4 = parse("nvmf+tcp://10.1.2.3/nqn.2019-05.io.openebs:r1");
  ASSERT_TRUE(v4.ok()) << v4.error().message();
  EXPECT_EQ(v4.value().device_name(), "10.1.2.3:8420/nqn.2019-05.io.openebs:r1n1");
  EXPECT_EQ(v4.value().config.hostnqn, "nqn.2019-05.io.openebs:node-name:n1");
  EXPECT_FALSE(v4.value().uuid);
  const auto v6 = parse("nvmf://[fd00::7]:8421/nqn.2019-05.io.openebs:r1");
  ASSERT_TRUE(v6.ok()) << v6.error().message();
  EXPECT_EQ(v6.value().device_name(), "[fd00::7]:8421/nqn.2019-05.io.openebs:r1n1");
}

TEST(RemoteConfig, RefusesAndNamesWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"nvmf://h/nqn.2019-05.io.openebs:r1?foo=1", "foo"},
      {"nvmf://h/nqn.2019-05.io.openebs:r1/2", "path"},
      {"nvmf://h/", "NQN"},
      {"nvmf://h", "NQN"},
      {"nvmf:///nqn.2019-05.io.openebs:r1", "host"},
      {"nvmf://h:0/nqn.2019-05.io.openebs:r1", "port"},
      {"nvmf://h:99999/nqn.2019-05.io.openebs:r1", "port"},
      {"nvmf://fd00::7/nqn.2019-05.io.openebs:r1", "brackets"},
      {"nvmf://h/volume", "volume"},
      {"nvmf://h/nqn.2019-05.io.openebs:r1?uuid=7", "7"},
      {"nvmf://h/nqn.2019-05.io.openebs:r1?nsid=0", "nsid"},
      {"nvmf://h/nqn.2019-05.io.openebs:r1?queue_depth=2000", "queue_depth"},
      {"nvmf://h/nqn.2019-05.io.openebs:r1?io_timeout_ms=0", "io_timeout_ms"},
      {"nvmf://h/nqn.2019-05.io.openebs:r1?kato_ms=5", "kato_ms"},
      {"nvmf://h/nqn.2019-05.io.openebs:r1?hostnqn=me", "me"},
      {"nvmf://h/nqn.2019-05.io.openebs:r1?guard=1", "guard"},
      {"nvmf://h/nqn.2019-05.io.openebs:r1?paths=", "HOST"},
      {"nvmf://h/nqn.2019-05.io.openebs:r1?paths=a,", "HOST"},
      {"nvmf://h/nqn.2019-05.io.openebs:r1?paths=a:0", "port 0"},
      {"nvmf://h/nqn.2019-05.io.openebs:r1?paths=fd00::7", "brackets"},
      {"nvmf://h/nqn.2019-05.io.openebs:r1?paths=a,b,c,d,e,f,g,i", "8 addresses"},
  };
  for (const auto& [uri, names] : cases) {
    const auto r = parse(uri);
    ASSERT_EQ(r.code(), Errc::invalid_argument) << uri;
    EXPECT_NE(r.error().message().find(names), std::string::npos) << r.error().message();
  }
}

}  // namespace
}  // namespace holdfast::nvmf
