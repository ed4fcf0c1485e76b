#include "engine/options.h"

#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::engine {
namespace {

using testing::HasSubstr;

Result<ParsedOptions> parse(std::vector<const char*> flags,
                            std::map<std::string, std::string> environment = {}) {
  flags.insert(flags.begin(), "holdfast-engine");
  Surroundings s;
  s.environment = [&environment](const char* name) -> const char* {
    const auto it = environment.find(name);
    return it == environment.end() ? nullptr : it->second.c_str();
  };
  s.hostname = "host-1";
  s.version = "1.2.3";
  return parse_options(static_cast<int>(flags.size()), flags.data(), s);
}

Options good(std::vector<const char*> flags, std::map<std::string, std::string> environment = {}) {
  auto parsed = parse(std::move(flags), std::move(environment));
  EXPECT_TRUE(parsed.ok()) << parsed.error().message();
  return *parsed.value().options;
}

std::string refusal(std::vector<const char*> flags) {
  auto parsed = parse(std::move(flags));
  if (parsed.ok()) return "(accepted)";
  EXPECT_EQ(parsed.code(), Errc::invalid_argument);
  return parsed.error().message();
}

TEST(Options, DefaultsAreThoseOfAnEngineThatStandsAlone) {
  const Options o = good({});
  EXPECT_EQ(o.node_name, "host-1");
  EXPECT_EQ(o.grpc, (Endpoint{"::", 10124}));
  EXPECT_EQ(o.nvmf, (std::vector<Endpoint>{{"127.0.0.1", 8420}}));
  EXPECT_EQ(o.metrics, (Endpoint{"127.0.0.1", 9502}));
  EXPECT_EQ(o.registration, "");
  EXPECT_EQ(o.advertised_grpc, "127.0.0.1:10124");
  EXPECT_EQ(o.spin, 50us);
  EXPECT_EQ(o.data_dir, "/var/lib/holdfast");
}

TEST(Options, TheStoreOfTheControlPlane) {
  const Options none = good({});
  EXPECT_TRUE(none.store.endpoints.empty());
  EXPECT_EQ(none.store.cluster, "default");
  const Options o = good({"--store", "http://10.0.0.1:2379,https://b", "--cluster", "prod"});
  EXPECT_EQ(o.store.endpoints, (std::vector<std::string>{"http://10.0.0.1:2379", "https://b"}));
  EXPECT_EQ(o.store.cluster, "prod");
  const Options with_keys = good({"--store", "https://b", "--store-ca", "/ca", "--store-cert", "/c",
                                  "--store-key", "/k", "--store-name", "etcd"});
  EXPECT_EQ(with_keys.store.tls.authority, "/ca");
  EXPECT_EQ(with_keys.store.tls.certificate, "/c");
  EXPECT_EQ(with_keys.store.tls.key, "/k");
  EXPECT_EQ(with_keys.store.peer_name, "etcd");
  EXPECT_THAT(refusal({"--store", "https://b", "--store-cert", "/c"}), HasSubstr("give both or neither"));
  EXPECT_THAT(refusal({"--store", "http://b", "--store-ca", "/ca"}), HasSubstr("use --store https://"));
  EXPECT_THAT(refusal({"--store", "ftp://a"}), HasSubstr("--store: 'ftp://a' is not an endpoint"));
  EXPECT_THAT(refusal({"--cluster", "a/b"}), HasSubstr("--cluster: 'a/b' is not a cluster's name"));
  EXPECT_THAT(refusal({"--cores", "8", "--memory", "16MiB"}),
              HasSubstr("--memory: 16MiB is less than 4 MiB for each of 8 cores"));
}

TEST(Options, ThePodsEnvironmentGivesAddressesAndName) {
  const Options o = good({}, {{"MY_POD_IP", "10.1.2.3"}, {"HOSTNAME", "worker-7"}});
  EXPECT_EQ(o.node_name, "worker-7");
  EXPECT_EQ(o.nvmf.front(), (Endpoint{"10.1.2.3", 8420}));
  EXPECT_EQ(o.metrics.address, "10.1.2.3");
  EXPECT_EQ(o.advertised_grpc, "10.1.2.3:10124");
}

TEST(Options, FlagsWinOverTheEnvironment) {
  const Options o = good({"-N",
                          "n",
                          "--grpc-ip",
                          "[::1]",
                          "--grpc-port",
                          "1",
                          "--nvmf-ip",
                          "127.0.0.2",
                          "--nvmf-ip",
                          "::1",
                          "--nvmf-port",
                          "2",
                          "--metrics-port",
                          "0",
                          "-R",
                          "cp",
                          "--spin-us",
                          "-1",
                          "--memory",
                          "1GiB",
                          "--hold-timeout",
                          "2min",
                          "--child-latency-budget",
                          "1500ms",
                          "--disk-stall-time",
                          "250ms",
                          "--disk-stall-limit",
                          "0",
                          "--disk-error-limit",
                          "64",
                          "--disk-health-window",
                          "1h",
                          "--disk-quiet-time",
                          "1d",
                          "--pool-map-memory",
                          "3GiB",
                          "--log-format",
                          "json"},
                         {{"MY_POD_IP", "10.1.2.3"}, {"HOSTNAME", "worker-7"}});
  EXPECT_EQ(o.node_name, "n");
  EXPECT_EQ(o.grpc, (Endpoint{"::1", 1}));
  EXPECT_EQ(o.nvmf, (std::vector<Endpoint>{{"127.0.0.2", 2}, {"::1", 2}}));
  EXPECT_EQ(o.metrics.port, 0);
  EXPECT_EQ(o.registration, "cp:50051");
  EXPECT_EQ(o.advertised_grpc, "[::1]:1");
  EXPECT_LT(o.spin, Nanos{0});
  EXPECT_EQ(o.memory_bytes, GiB);
  EXPECT_EQ(o.hold_timeout, 2min);
  EXPECT_EQ(o.child_latency_budget, 1500ms);
  EXPECT_EQ(o.disk_health.stall_time, 250ms);
  EXPECT_EQ(o.disk_health.stalls, 0u);
  EXPECT_EQ(o.disk_health.errors, 64u);
  EXPECT_EQ(o.disk_health.window, 1h);
  EXPECT_EQ(o.disk_health.quiet, 24h);
  EXPECT_EQ(o.pool_map_bytes, 3 * GiB);
  EXPECT_EQ(o.log_format, log::Format::json);
}

TEST(Options, OfTheTarget) {
  EXPECT_EQ(good({}).crdt, (std::array<std::uint16_t, 3>{10, 10, 10}));
  EXPECT_EQ(good({"--tgt-crdt", "30"}).crdt, (std::array<std::uint16_t, 3>{30, 30, 30}));
  EXPECT_EQ(good({}, {{"NVMF_TGT_CRDT", "1,0,100"}}).crdt, (std::array<std::uint16_t, 3>{1, 0, 100}));
  EXPECT_EQ(good({"--nvmf-referral", "10.0.0.1", "--nvmf-referral", "[fd00::1]:1"}).nvmf_referrals,
            (std::vector<Endpoint>{{"10.0.0.1", 8009}, {"fd00::1", 1}}));
}

TEST(Options, HelpAndVersionAreTextsAndNoErrors) {
  EXPECT_EQ(parse({"--version"}).value().text, "holdfast-engine 1.2.3\n");
  EXPECT_THAT(parse({"--help"}).value().text, HasSubstr("--registration-endpoint"));
  EXPECT_FALSE(parse({"--help"}).value().options.has_value());
}

TEST(Options, EveryRefusalNamesTheFlag) {
  EXPECT_THAT(refusal({"--wrong"}), HasSubstr("--wrong"));
  EXPECT_THAT(refusal({"--grpc-port", "70000"}), HasSubstr("--grpc-port"));
  EXPECT_THAT(refusal({"--grpc-port", "x"}), HasSubstr("--grpc-port"));
  EXPECT_THAT(refusal({"--grpc-ip", "host name"}), HasSubstr("--grpc-ip: 'host name' is not an IP address"));
  EXPECT_THAT(refusal({"--nvmf-referral", "0.0.0.0"}), HasSubstr("--nvmf-referral: 0.0.0.0 is every"));
  EXPECT_THAT(refusal({"--nvmf-referral", "host:x"}), HasSubstr("--nvmf-referral"));
  for (const char* delays : {"1,2", "101", "1,2,3,4", "1,,3", "1,2,3,", "soon", "-1"}) {
    EXPECT_THAT(refusal({"--tgt-crdt", delays}), HasSubstr("--tgt-crdt: '" + std::string(delays) + "'"));
  }
  EXPECT_THAT(refusal({"--nvmf-ip", "0.0.0.0"}), HasSubstr("--nvmf-ip: 0.0.0.0 is every address"));
  EXPECT_THAT(refusal({"-N", "a b"}), HasSubstr("--node-name: 'a b'"));
  EXPECT_THAT(refusal({"--cores", "1000"}), HasSubstr("--cores"));
  EXPECT_THAT(refusal({"--spin-us", "-2"}), HasSubstr("--spin-us"));
  EXPECT_THAT(refusal({"--memory", "lots"}), HasSubstr("--memory"));
  EXPECT_THAT(refusal({"--memory", "1MiB"}), HasSubstr("--memory: 1MiB is less than 16 MiB"));
  EXPECT_THAT(refusal({"--pool-map-memory", "1MiB"}),
              HasSubstr("--pool-map-memory: 1MiB is less than 16 MiB"));
  EXPECT_THAT(refusal({"--data-dir", "relative"}), HasSubstr("--data-dir"));
  EXPECT_THAT(refusal({"--hold-timeout", "soon"}), HasSubstr("--hold-timeout: 'soon' is not a duration"));
  EXPECT_THAT(refusal({"--child-latency-budget", "0s"}), HasSubstr("--child-latency-budget"));
  EXPECT_THAT(refusal({"--disk-stall-time", "0"}), HasSubstr("--disk-stall-time"));
  EXPECT_THAT(refusal({"--disk-stall-limit", "1001"}), HasSubstr("--disk-stall-limit: 1001 is more"));
  EXPECT_THAT(refusal({"--disk-error-limit", "-1"}), HasSubstr("--disk-error-limit"));
  EXPECT_THAT(refusal({"--disk-health-window", "soon"}), HasSubstr("--disk-health-window"));
  EXPECT_THAT(refusal({"--disk-quiet-time", "x"}), HasSubstr("--disk-quiet-time"));
  EXPECT_THAT(refusal({"--log-level", "loud"}), HasSubstr("'loud' is not a log level"));
  EXPECT_THAT(refusal({"--log-format", "xml"}), HasSubstr("--log-format"));
}

}  // namespace
}  // namespace holdfast::engine
