// holdfast dump system: what somebody who helps needs to know, in one file.
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/utsname.h>

#include "cli/cluster/archive.h"
#include "cli/cluster/cluster.h"
#include "cli/cluster/redact.h"
#include "cli/cluster/top.h"
#include "cli/tool/paths.h"
#include "cli/tool/read_all.h"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;

constexpr unsigned page = 200;
// Of each log its end: what happened lately is what matters.
constexpr std::uintmax_t log_bytes_max = 16u << 20;

struct DumpOptions {
  std::string directory = ".";
  std::vector<std::string> logs;
  bool no_logs = false;
  std::uint32_t metrics_port = 0;
};

std::string stamp(const char* format) {
  const std::time_t now = std::time(nullptr);
  std::tm calendar{};
  gmtime_r(&now, &calendar);
  char text_form[64];
  return {text_form, std::strftime(text_form, sizeof text_form, format, &calendar)};
}

// Ids come from the cluster: in names of files they are harmless.
std::string file_name(const std::string& id) {
  std::string name;
  for (const char c : id)
    name += std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.' ? c : '_';
  return name.empty() || name.front() == '.' ? "_" + name : name;
}

// Gathers what it can: a part that is not to be had is noted, and the rest goes on.
class Bundle {
 public:
  Bundle(Cluster& c, Archive& archive) : c_(c), archive_(archive) {}

  // An answer of the API under a name, without secrets. What it was, or null.
  Tree add_answer(const std::string& name, RestAnswer answer) {
    if (!answer.ok()) {
      missing_[name] = answer.failure().kind + ": " + answer.failure().text;
      return Tree();
    }
    Tree content = answer.body();
    redact(content);
    add(name, content.dump(2, ' ', false, Tree::error_handler_t::replace));
    return answer.body();
  }
  void add_text(const std::string& name, RestAnswer answer) {
    if (answer.ok() && answer.body().is_string())
      return add(name, redact_text(answer.body().get<std::string>()));
    missing_[name] = answer.ok() ? "no text" : answer.failure().kind + ": " + answer.failure().text;
  }
  void add_file(const std::string& name, const fs::path& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    const std::streamoff size = file.is_open() ? static_cast<std::streamoff>(file.tellg()) : -1;
    if (size < 0) {
      missing_[name] = path.string() + " cannot be read";
      return;
    }
    file.seekg(std::max<std::streamoff>(0, size - static_cast<std::streamoff>(log_bytes_max)));
    add(name, redact_text(read_all(file)));
  }
  // Each of a list in a file of its own.
  void add_each(const std::string& folder, const Tree& list, const char* id) {
    for (const Tree& thing : list)
      add_answer(fmt::format("{}/{}.json", folder, file_name(text(thing, id))), thing);
  }
  void add(const std::string& name, std::string_view content) {
    if (!written_.ok()) return;
    c_.out().live_line("adding " + name);
    written_ = archive_.add(name, content);
    ++files_;
  }

  const Status& written() const noexcept { return written_; }
  std::size_t files() const noexcept { return files_; }
  const std::map<std::string, std::string>& missing() const noexcept { return missing_; }

 private:
  Cluster& c_;
  Archive& archive_;
  Status written_;
  std::size_t files_ = 0;
  std::map<std::string, std::string> missing_;
};

void add_topology(Cluster& c, Bundle& bundle) {
  RestClient& rest = c.client();
  const Tree volumes = bundle.add_answer("volumes.json", rest.get_all("/v1/volumes", page));
  bundle.add_each("topology/volume", volumes, "spec/uuid");
  for (const Tree& v : volumes) {
    if (!has(v, "state/target")) continue;
    const std::string id = text(v, "spec/uuid");
    bundle.add_answer(fmt::format("topology/volume/{}-rebuilds.json", file_name(id)),
                      rest.get("/v0/volumes/" + url_encoded(id) + "/rebuild-history"));
  }
  bundle.add_each("topology/snapshot",
                  bundle.add_answer("snapshots.json", rest.get_all("/v0/volumes/snapshots", page)),
                  "definition/spec/uuid");
  bundle.add_each("topology/pool", bundle.add_answer("pools.json", rest.get("/v1/pools")), "id");
}

// What the engine of a node says of itself.
void add_engine(Cluster& c, Bundle& bundle, const DumpOptions& o, const Tree& node) {
  const std::string id = text(node, "id");
  const std::string folder = "engines/" + file_name(id);
  for (const char* what : {"pools", "replicas", "nexuses", "block_devices"}) {
    bundle.add_answer(fmt::format("{}/{}.json", folder, what),
                      c.client().get(fmt::format("/v0/nodes/{}/{}", url_encoded(id), what)));
  }
  RestOptions options;
  options.urls = {
      metrics_url(text_or(node, "state/grpcEndpoint", text(node, "spec/grpcEndpoint")), o.metrics_port)};
  options.timeout_seconds = 3;
  options.anonymous = true;
  if (!options.urls.front().empty())
    bundle.add_text(folder + "/metrics.txt", RestClient(options).get_text("/metrics"));
}

// Logs of a folder, whatever lies in it.
void add_logs(Bundle& bundle, const std::string& name, const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return bundle.add_file("logs/" + name, path);
  std::set<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (entry.is_regular_file(error)) files.insert(entry.path());
  }
  for (const fs::path& file : files)
    bundle.add_file(fmt::format("logs/{}/{}", name, file_name(file.filename())), file);
}

// The cluster of this machine, if it is the one that was asked.
void add_local(Cluster& c, Bundle& bundle, const DumpOptions& o) {
  const std::string dir = default_state_dir();
  std::ifstream file(dir + "/cluster.json");
  const std::string content = read_all(file);
  const Tree plan = Tree::parse(content, nullptr, false);
  const std::string url = fmt::format("http://{}:{}", text(plan, "address"), text(plan, "rest_port"));
  if (url != c.client().where()) return;
  bundle.add("configuration/cluster.json", content);
  if (!o.no_logs) add_logs(bundle, "up", dir + "/logs");
}

std::string manifest(Cluster& c, const Bundle& bundle) {
  utsname system{};
  ::uname(&system);
  Tree tree{{"taken", stamp("%Y-%m-%dT%H:%M:%SZ")},
            {"from", c.client().where()},
            {"host", {{"name", system.nodename}, {"kernel", system.release}, {"machine", system.machine}}},
            {"files", bundle.files()},
            {"missing", bundle.missing()}};
  redact(tree);
  return tree.dump(2, ' ', false, Tree::error_handler_t::replace);
}

int dump_system(Cluster& c, const DumpOptions& o) {
  const RestAnswer status = c.client().get("/v1/status");
  if (!status.ok() && status.failure().kind == kind_unreachable) return c.fail(status.failure());
  const std::string name = "holdfast-" + stamp("%Y-%m-%d--%H-%M-%S-UTC");
  const std::string path = (fs::path(o.directory) / (name + ".tar.gz")).string();
  auto archive = Archive::create(path, name);
  if (!archive.ok())
    return c.out().error(archive.error(), "name another directory with --output-directory-path");
  Bundle bundle(c, archive.value());
  bundle.add_answer("status.json", status);
  bundle.add_answer("specs.json", c.client().get("/v0/specs"));
  bundle.add_answer("states.json", c.client().get("/v0/states"));
  bundle.add_answer("events.json", c.client().get("/v1/events?follow=false"));
  bundle.add_text("metrics.txt", c.client().get_text("/metrics"));
  bundle.add_answer("app_nodes.json", c.client().get_all("/v0/app-nodes", page));
  add_topology(c, bundle);
  const Tree nodes = bundle.add_answer("nodes.json", c.client().get("/v0/nodes"));
  bundle.add_each("topology/node", nodes, "id");
  for (const Tree& node : nodes) add_engine(c, bundle, o, node);
  add_local(c, bundle, o);
  for (const std::string& log : o.logs)
    add_logs(bundle, file_name(fs::path(log).lexically_normal().string()), log);
  bundle.add("manifest.json", manifest(c, bundle));
  c.out().clear_live();
  const Status finished = bundle.written().ok() ? archive.value().finish() : Status(bundle.written().error());
  if (!finished.ok()) return c.out().error(finished.error());
  for (const auto& [part, why] : bundle.missing()) c.out().note(fmt::format("without {}: {}", part, why));
  const Tree answer{{"file", path}, {"files", bundle.files()}, {"missing", bundle.missing()}};
  c.out().answer(answer, [&] { c.out().line(path); });
  return exit_ok;
}

}  // namespace

void add_dump_commands(Cluster& c) {
  auto& o = c.tool().keep<DumpOptions>();
  auto& verb = c.add_verb("dump", "Gather what somebody who helps needs to know");
  auto& system =
      c.tool().add_command(verb, "system", "Specs, states, events, metrics, logs and engines, in one file",
                           [&] { return dump_system(c, o); });
  system.add_option("-d,--output-directory-path", o.directory, "Where the file goes")
      ->type_name("DIR")
      ->capture_default_str();
  system.add_option("--logs", o.logs, "A log file, or a directory of them, to put in; may be repeated")
      ->type_name("PATH")
      ->allow_extra_args(false);
  system.add_flag("--disable-log-collection", o.no_logs, "Without the logs of a cluster of 'holdfast up'");
  system.add_option("--metrics-port", o.metrics_port, "Where engines answer /metrics, as for 'holdfast top'")
      ->check(CLI::Range(1, 65535).description(""))
      ->type_name("PORT");
  system.footer("Passwords, tokens and keys are taken out. Prints the path of the file.");
}

}  // namespace holdfast::cli
