// Events, live I/O and the support bundle: what they make of what they get.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>

#include "cli/cluster/event_stream.h"
#include "cli/cluster/redact.h"
#include "cli/cluster/testing/commands_test_base.h"
#include "cli/cluster/top.h"

namespace holdfast::cli {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(EventStreamTest, CutAnywhereItIsTheSame) {
  const std::string stream =
      ": hello\r\nid: 1\r\ndata: {\"a\":1}\r\n\r\ndata:one\ndata: two\n\n\nevent: x\n\ndata: cut";
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    std::vector<std::string> got;
    EventStream events([&](const std::string& data) { got.push_back(data); });
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      EXPECT_TRUE(events.feed(std::string_view(stream).substr(at, piece)));
    }
    EXPECT_THAT(got, ElementsAre("{\"a\":1}", "one\ntwo")) << piece;
  }
}

TEST(EventStreamTest, AnEventWithoutEndIsRefused) {
  EventStream events([](const std::string&) {});
  EXPECT_FALSE(events.feed("data: " + std::string(2 << 20, 'x')));
}

TEST(Metrics, LinesThatAreNoneAreLeftOut) {
  const auto samples = parse_metrics(
      "# HELP a b\n# TYPE a counter\na 1\nb{x=\"1\",y=\"a\\\"b\\\\c\\nd\"} 2.5 1700000000\nc{} NaN\n{ "
      "1\nd{x=\"1} 3\n"
      "e{x=} 3\nf\n\n  g 7");
  ASSERT_EQ(samples.size(), 3u);
  EXPECT_EQ(samples[0].value, 1);
  EXPECT_EQ(samples[1].label("y"), "a\"b\\c\nd");
  EXPECT_EQ(samples[1].value, 2.5);
  EXPECT_EQ(samples[2].name, "g");
}

TEST(Metrics, WhereTheyAre) {
  EXPECT_EQ(metrics_url("10.0.0.1:10124", 0), "http://10.0.0.1:9502");
  EXPECT_EQ(metrics_url("127.0.0.1:10126", 0), "http://127.0.0.1:9504");
  EXPECT_EQ(metrics_url("[::1]:10124", 99), "http://[::1]:99");
  EXPECT_EQ(metrics_url("h:80", 0), "http://h:9502");
  for (const char* wrong : {"", "host", ":1", "h:x", "h:65535"}) {
    if (std::string(wrong) == "h:65535") {
      EXPECT_EQ(metrics_url(wrong, 0), "http://h:64913");
    } else {
      EXPECT_EQ(metrics_url(wrong, 0), "") << wrong;
    }
  }
}

class TopTest : public testing::Test {
 protected:
  Reading reading(double at, double reads, double bytes) {
    Reading r;
    r.nodes = Tree::parse(
        R"([{"id": "n1", "state": {"status": "Online"}}, {"id": "n2", "state": {"status": "Offline"}}])");
    r.volumes = Tree::parse(R"([
      {"spec": {"uuid": "v1", "size": 1048576}, "state": {"status": "Online"}},
      {"spec": {"uuid": "v2", "size": 1048576}, "state": {"status": "Degraded", "target": {"node": "n1", "uuid": "x"},
       "replica_topology": {"a": {"rebuild-progress": 40}}}}])");
    const std::string metrics =
        "holdfast_nexus_info{nexus=\"nexus-1\",uuid=\"x\",state=\"degraded\"} 1\n"
        "holdfast_device_reads_total{device=\"nexus-1\"} " +
        std::to_string(reads) + "\nholdfast_device_read_bytes_total{device=\"nexus-1\"} " +
        std::to_string(bytes) +
        "\nholdfast_device_reads_total{device=\"other\"} 9999\n"
        "holdfast_core_busy_seconds_total{core=\"0\"} " +
        std::to_string(at / 2) + "\nprocess_cpu_seconds_total " + std::to_string(at / 4) +
        "\nprocess_resident_memory_bytes 1048576\n";
    r.engines["n1"] = read_node(parse_metrics(metrics), at);
    r.engines["n2"];
    return r;
  }
  std::ostringstream text_stream, err;
  Output out{text_stream, err, false};
};

TEST_F(TopTest, RatesOfTwoReadingsTheBusiestFirst) {
  out.default_units = Units::binary;
  const Reading before = reading(10, 100, 0);
  const Reading now = reading(12, 300, 4 << 20);
  EXPECT_EQ(top_volumes(out, before, now, 20).to_string(true),
            "VOLUME  STATUS    TARGET-NODE   SIZE  READS/s     READ  WRITES/s  WRITTEN  ERRORS  REBUILD\n"
            "v2      Degraded  n1           1 MiB      100  2 MiB/s         0    0 B/s       0      40%\n"
            "v1      Online    -            1 MiB        -        -         -        -       -        -\n");
  EXPECT_EQ(top_nodes(out, before, now).to_string(true),
            "NODE  STATUS   TARGETS  READS/s     READ  WRITES/s  WRITTEN  BUSY  CPU  MEMORY\n"
            "n1    Online         1      100  2 MiB/s         0    0 B/s   50%  25%   1 MiB\n"
            "n2    Offline        -        -        -         -        -     -    -       -\n");
  EXPECT_EQ(number(at(top_tree(before, now), "volumes")[0], "io/reads_per_second"), 0u);  // a fraction
  EXPECT_EQ(at(at(top_tree(before, now), "volumes")[0], "io/reads_per_second"), 100.0);
}

TEST_F(TopTest, AnEngineThatBeganAnewCountsFromThere) {
  const Reading before = reading(10, 1000, 1 << 20);
  const Reading now = reading(12, 20, 0);
  EXPECT_THAT(top_volumes(out, before, now, 1).to_string(false), HasSubstr(" 10 "));
}

TEST(Redact, MembersWhoseNamesAreSecret) {
  Tree tree =
      Tree::parse(R"({"a": {"dhchap-key": "x", "Password": {"deep": 1}, "ok": "fine", "list": [{"token": 3}]},
    "next_token": 5, "empty_secret": null, "uri": "https://user:word@host/p"})");
  redact(tree);
  EXPECT_EQ(tree, Tree::parse(R"({"a": {"dhchap-key": "REDACTED", "Password": "REDACTED", "ok": "fine",
    "list": [{"token": "REDACTED"}]}, "next_token": 5, "empty_secret": null, "uri": "https://REDACTED@host/p"})"));
}

TEST(Redact, SecretsInText) {
  struct Case {
    const char* text;
    const char* redacted;
  };
  for (const Case& c : std::vector<Case>{
           {"nothing to see", "nothing to see"},
           {"Authorization: Bearer abc.def-1, next", "Authorization: Bearer REDACTED, next"},
           {"key DHHC-1:00:abcd/ef+=: set", "key REDACTED set"},
           {"password=hunter2 user=x", "password=REDACTED user=x"},
           {"password=hunt!er$2#x user=x", "password=REDACTED user=x"},
           {"password=\"two words\" user=x", "password=\"REDACTED\" user=x"},
           {"secret='it is \"so\"' user=x", "secret='REDACTED' user=x"},
           {R"({"user":"x","Password": "a\"b c","client_secret":"d"})",
            R"({"user":"x","Password": "REDACTED","client_secret":"REDACTED"})"},
           {R"({"message":"got {\"token\": \"abc d\"}"})", R"({"message":"got {\"token\": \"REDACTED\"}"})"},
           {"a cut off password=\"of a log", "a cut off password=\"REDACTED"},
           {"jwt eyJhbGciOiJSUzI1.eyJ.sig end", "jwt REDACTED end"},
           {"a\n-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nb", "a\nREDACTED\nb"},
           {"a\n-----BEGIN PRIVATE KEY-----\nMII", "a\nREDACTED"},
           {"-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----"},
           {"http://u:p@h:1/x http://h/y@z", "http://REDACTED@h:1/x http://h/y@z"}}) {
    EXPECT_EQ(redact_text(c.text), c.redacted);
  }
}

class ObserveTest : public ClusterCommandsTest {};

TEST_F(ObserveTest, EventsThatWereAndThatWereAskedFor) {
  agent.on("GET /v1/events?follow=false&after=0", R"([
    {"number": 1, "timestamp": "2026-01-02T03:04:05.678Z", "category": "Volume", "action": "Create", "resource": "v1",
     "text": "created", "warning": false},
    {"number": 2, "timestamp": "2026-01-02T03:04:06Z", "category": "Node", "action": "StateChange", "resource": "n1",
     "node": "n1", "text": "does not answer", "warning": true}])");
  EXPECT_EQ(run({"events"}), 0);
  EXPECT_EQ(out,
            "TIME                  CATEGORY  ACTION       RESOURCE  NODE  TEXT\n"
            "2026-01-02T03:04:05Z  Volume    Create       v1        -     created\n"
            "2026-01-02T03:04:06Z  Node      StateChange  n1        n1    ! does not answer\n");
  EXPECT_EQ(run({"events", "--warnings", "-q"}), 0);
  EXPECT_THAT(out, AllOf(HasSubstr("n1"), Not(HasSubstr("v1"))));
  EXPECT_EQ(run({"events", "--resource", "v1", "-o", "json"}), 0);
  EXPECT_EQ(Tree::parse(out).size(), 1u);
  EXPECT_EQ(run_as_is({"events", "-f", "-r", "http://127.0.0.1:9"}), 3);
}

TEST_F(ObserveTest, NoEventAtAllAndNoneOfThoseAskedFor) {
  agent.on("GET /v1/events?follow=false&after=0", "[]");
  agent.on("GET /v1/events?follow=false&after=0", R"([{"number": 1, "category": "Volume"}])");
  EXPECT_EQ(run({"events", "--category", "Pool"}), 0);
  EXPECT_EQ(err, "nothing has happened since the agent started\n");
  EXPECT_EQ(run({"events", "--category", "Pool"}), 0);
  EXPECT_EQ(err, "no such event\n");
  agent.on("GET /v1/events?follow=false&after=1", "[]");
  EXPECT_EQ(run({"events", "--after", "1"}), 0);
  EXPECT_EQ(err, "no such event\n");
}

// Names and contents of a tar file.
std::map<std::string, std::string> unpack(const std::string& path) {
  std::map<std::string, std::string> files;
  archive* a = archive_read_new();
  archive_read_support_filter_gzip(a);
  archive_read_support_format_tar(a);
  EXPECT_EQ(archive_read_open_filename(a, path.c_str(), 10240), ARCHIVE_OK);
  for (archive_entry* entry = nullptr; archive_read_next_header(a, &entry) == ARCHIVE_OK;) {
    std::string content(static_cast<std::size_t>(archive_entry_size(entry)), '\0');
    EXPECT_EQ(archive_read_data(a, content.data(), content.size()), static_cast<la_ssize_t>(content.size()));
    std::string name = archive_entry_pathname(entry);
    files[name.substr(name.find('/') + 1)] = content;
  }
  archive_read_free(a);
  return files;
}

TEST_F(ObserveTest, ABundleHasWhatThereIsAndSaysWhatIsMissing) {
  agent.on("GET /v1/status", R"({"ready": true, "leading": true, "version": "1"})");
  agent.on("GET /v0/specs", R"({"volumes": [], "jwt_token": "abc"})");
  agent.on("GET /v0/nodes",
           R"([{"id": "../n1", "state": {"grpcEndpoint": "127.0.0.1:1", "status": "Offline"}}])");
  agent.on("GET /v1/volumes?max_entries=200&starting_token=0", R"({"entries": [{"spec": {"uuid": "v1"}}]})");
  const std::string log = testing::TempDir() + "/dump-test.log";
  std::ofstream(log) << "line\npassword=hunter2\n";
  EXPECT_EQ(run({"dump", "system", "-d", testing::TempDir(), "--logs", log, "-o", "json"}), 0);
  const Tree answer = Tree::parse(out);
  const std::string file = text(answer, "file");
  const auto files = unpack(file);
  EXPECT_THAT(files.at("specs.json"), AllOf(HasSubstr("REDACTED"), Not(HasSubstr("abc"))));
  EXPECT_TRUE(files.contains("topology/volume/v1.json"));
  EXPECT_TRUE(files.contains("topology/node/_.._n1.json"));
  EXPECT_THAT(files.at("manifest.json"), AllOf(HasSubstr("states.json"), HasSubstr("NotFound")));
  bool logged = false;
  for (const auto& [name, content] : files) {
    EXPECT_THAT(name, Not(HasSubstr("..//")));
    EXPECT_THAT(content, Not(HasSubstr("hunter2")));
    logged = logged || (name.starts_with("logs/") && content.starts_with("line\n"));
  }
  EXPECT_TRUE(logged);
  EXPECT_THAT(err, HasSubstr("without states.json: NotFound"));
  std::filesystem::remove(file);
  EXPECT_EQ(run({"dump", "system", "-d", "/nonexistent"}), 1);
}

TEST_F(ObserveTest, EnginesAreNotToldTheTokenOfTheAgent) {
  FakeAgent engine;
  engine.on("GET /metrics", "process_cpu_seconds_total 1\n");
  agent.on("GET /v1/status", R"({"ready": true, "leading": true, "version": "1"})");
  agent.on("GET /v0/nodes",
           R"([{"id": "n1", "state": {"grpcEndpoint": "127.0.0.1:10124", "status": "Online"}}])");
  const std::string port = engine.url().substr(engine.url().rfind(':') + 1);
  ::setenv("HOLDFAST_TOKEN", "abc.def", 1);
  const int status = run({"dump", "system", "-d", testing::TempDir(), "--metrics-port", port, "-o", "json"});
  ::unsetenv("HOLDFAST_TOKEN");
  ASSERT_EQ(status, 0);
  std::filesystem::remove(text(Tree::parse(out), "file"));
  EXPECT_THAT(engine.asked(), ElementsAre("GET /metrics"));
  EXPECT_EQ(engine.authorization(), "");
  EXPECT_EQ(agent.authorization(), "Bearer abc.def");
}

}  // namespace
}  // namespace holdfast::cli
