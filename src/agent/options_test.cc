#include "agent/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::agent {
namespace {

using testing::HasSubstr;

Result<ParsedOptions> parse(std::vector<const char*> words) {
  words.insert(words.begin(), "holdfast-agent");
  return parse_options(static_cast<int>(words.size()), words.data(), "host-1", "1.2.3");
}

Options good(std::vector<const char*> words) {
  auto parsed = parse(std::move(words));
  EXPECT_TRUE(parsed.ok()) << parsed.error().message();
  return *parsed.value().options;
}

TEST(AgentOptions, DefaultsServeThisMachineAlone) {
  const Options o = good({});
  EXPECT_EQ(o.control.agent, "host-1");
  EXPECT_EQ(o.control.cluster, "default");
  EXPECT_EQ(o.embedded_path, "/var/lib/holdfast-agent/store.db");
  EXPECT_EQ(o.grpc.to_string(), "[::]:50051");
  ASSERT_TRUE(o.http);
  EXPECT_EQ(o.http->to_string(), "127.0.0.1:8081");
  EXPECT_FALSE(o.https);
  EXPECT_EQ(o.control.advertise, "http://127.0.0.1:8081");
  EXPECT_EQ(o.control.policy.capacity.pool_commitment, 250u);
  EXPECT_EQ(o.control.policy.faulted_wait, 600'000'000'000);
  EXPECT_FALSE(o.control.policy.rebuilds_max);
}

TEST(AgentOptions, ABackupIsAllThatARunDoes) {
  EXPECT_FALSE(good({}).backup.any());
  EXPECT_EQ(good({"--backup", "/b"}).backup.backup_file, "/b");
  const Options o = good({"--restore", "/b", "--overwrite"});
  EXPECT_EQ(o.backup.restore_file, "/b");
  EXPECT_TRUE(o.backup.overwrite);
  EXPECT_FALSE(parse({"--backup", "/b", "--restore", "/b"}).ok());
  EXPECT_FALSE(parse({"--overwrite"}).ok());
}

TEST(AgentOptions, OthersReachItWhereItSaysSo) {
  EXPECT_EQ(good({"--http", "0.0.0.0:81", "--no-auth"}).control.advertise, "http://host-1:81");
  EXPECT_EQ(good({}).control.registration, "host-1:50051");
  EXPECT_EQ(good({"--grpc-server-addr", "127.0.0.1:7"}).control.registration, "127.0.0.1:7");
  EXPECT_EQ(good({"--advertise-grpc", "agents:8"}).control.registration, "agents:8");
}

TEST(AgentOptions, FlagsOfTheCoreAgentThatMeanNothingHere) {
  const Options o = good({"--disable-ha", "--reconcile-idle-period", "45s", "--hosts-acl", "nexuses,replicas",
                          "--events-url", "nats://x:4222", "--ansi-colors", "false", "--fmt-style", "json"});
  ASSERT_EQ(o.without_effect.size(), 4U);
  EXPECT_THAT(o.without_effect[0], HasSubstr("--hosts-acl: "));
  EXPECT_EQ(o.control.reconcile_idle_period, Nanos(45s));
  EXPECT_EQ(o.log_format, log::Format::json);
  EXPECT_TRUE(good({}).without_effect.empty());
  EXPECT_FALSE(parse({"--fmt-style", "loud"}).ok());
}

TEST(AgentOptions, TlsOfTheStore) {
  const Options o = good({"--store", "https://x:1", "--store-ca", "/ca", "--store-cert", "/c", "--store-key",
                          "/k", "--store-name", "etcd"});
  EXPECT_EQ(o.store_tls.authority, "/ca");
  EXPECT_EQ(o.store_tls.certificate, "/c");
  EXPECT_EQ(o.store_tls.key, "/k");
  EXPECT_EQ(o.store_name, "etcd");
  const Options own = good({"--store-listen-cert", "/c", "--store-listen-key", "/k"});
  EXPECT_EQ(own.store_listen_tls.certificate, "/c");
  EXPECT_EQ(own.store_tls.authority, "/c") << "the agent trusts the certificate of its own store";
  const struct {
    std::vector<const char*> words;
    const char* named;
  } wrong[] = {
      {{"--store", "https://x:1", "--store-cert", "/c"}, "--store-cert and --store-key"},
      {{"--store-listen-key", "/k"}, "--store-listen-cert and --store-listen-key"},
      {{"--store-listen-ca", "/ca"}, "--store-listen-ca"},
      {{"--store", "https://x:1", "--store-listen-cert", "/c", "--store-listen-key", "/k"},
       "--store-listen-cert"},
      {{"--store", "http://x:1", "--store-ca", "/ca"}, "--store-ca"},
      {{"--store-name", "etcd"}, "--store-name"},
  };
  for (const auto& w : wrong) {
    const auto parsed = parse(w.words);
    ASSERT_FALSE(parsed.ok()) << w.named;
    EXPECT_THAT(parsed.error().message(), HasSubstr(w.named));
  }
}

TEST(AgentOptions, EachIsTaken) {
  const Options o = good({"--name",
                          "a",
                          "--cluster",
                          "c",
                          "--store",
                          "http://x:1,http://y:2",
                          "--cert-file",
                          "/c",
                          "--key-file",
                          "/k",
                          "--jwk",
                          "/j",
                          "--jwt-audience",
                          "me",
                          "--http",
                          "0.0.0.0:81",
                          "--request-timeout",
                          "250ms",
                          "--no-min-timeouts",
                          "--max-rebuilds",
                          "3",
                          "--pool-commitment",
                          "100",
                          "--cluster-capacity-limit",
                          "1GiB",
                          "--deadline",
                          "2s",
                          "--advertise",
                          "https://a.example:8080"});
  EXPECT_THAT(o.store_endpoints, testing::ElementsAre("http://x:1", "http://y:2"));
  EXPECT_EQ(o.https->to_string(), "[::]:8080");
  EXPECT_EQ(o.http->to_string(), "0.0.0.0:81");
  EXPECT_EQ(o.request_timeout.count(), 250);
  EXPECT_FALSE(o.minimum_timeouts);
  EXPECT_EQ(o.control.policy.rebuilds_max, 3u);
  EXPECT_EQ(o.control.policy.capacity.pool_commitment, 100u);
  EXPECT_EQ(o.control.cluster_capacity_limit, std::uint64_t{1} << 30);
  EXPECT_EQ(o.control.heartbeat_deadline, std::chrono::seconds(2));
  EXPECT_EQ(o.control.advertise, "https://a.example:8080");
  EXPECT_EQ(good({"--store", "embedded:/x/y"}).embedded_path, "/x/y");
  EXPECT_EQ(good({"--dummy-certificates", "--no-auth"}).control.advertise, "https://host-1:8080");
}

TEST(AgentOptions, BadOnesAreNamed) {
  const struct {
    std::vector<const char*> words;
    const char* why;
  } cases[] = {
      {{"--name", "a b"}, "--name: 'a b'"},
      {{"--cluster", "a/b"}, "--cluster: 'a/b'"},
      {{"--cluster", ".."}, "--cluster: '..'"},
      {{"--store", "embedded:x"}, "--store: 'embedded:x'"},
      {{"--data-dir", "x"}, "--data-dir: 'x'"},
      {{"--http", "0.0.0.0"}, "would serve everybody"},
      {{"--dummy-certificates"}, "would serve everybody"},
      {{"--dummy-certificates", "--client-ca", "/c"}, "--client-ca"},
      {{"--cert-file", "/c"}, "give both or neither"},
      {{"--cert-file", "/c", "--key-file", "/k", "--dummy-certificates"}, "--cert-file is given already"},
      {{"--client-ca", "/c"}, "TLS is off"},
      {{"--jwk", "/j", "--no-auth"}, "give one of the two"},
      {{"--jwt-audience", "x"}, "give --jwk"},
      {{"--request-timeout", "soon"}, "--request-timeout: 'soon' is not a duration"},
      {{"--pool-commitment", "much"}, "--pool-commitment: 'much'"},
      {{"--cluster-capacity-limit", "big"}, "--cluster-capacity-limit"},
      {{"--log-format", "xml"}, "--log-format: 'xml'"},
      {{"--nonsense"}, "--nonsense"},
      {{"--store-lease-ttl", "0"}, "--store-lease-ttl"},
  };
  for (const auto& c : cases) {
    const auto parsed = parse(c.words);
    ASSERT_FALSE(parsed.ok()) << c.why;
    EXPECT_THAT(parsed.error().message(), HasSubstr(c.why));
  }
}

TEST(AgentOptions, HelpAndVersionAreTexts) {
  EXPECT_THAT(parse({"--help"}).value().text, HasSubstr("--grpc-server-addr"));
  EXPECT_EQ(parse({"--version"}).value().text, "holdfast-agent 1.2.3\n");
}

}  // namespace
}  // namespace holdfast::agent
