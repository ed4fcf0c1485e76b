#include "cli/cluster/cluster.h"

#include <map>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/cluster/cluster_commands.h"
#include "cli/tool/progress.h"

namespace holdfast::cli {
namespace {

constexpr double poll_seconds = 0.5;
constexpr double line_seconds = 5;  // between two lines of progress where no terminal is

std::string check_url(std::string& url) {
  const auto parsed = parse_rest_url(url);
  return parsed.ok() ? std::string() : parsed.error().message();
}

// Trouble that a wait outlives: the thing itself was accepted.
bool passes(const RestFailure& failure) {
  for (const char* kind :
       {kind_unreachable, "Unavailable", "Timeout", "DeadlineExceeded", "Aborted", "Conflict"}) {
    if (failure.kind == kind) return true;
  }
  return false;
}

// One line of progress in the form that suits where it goes.
class ProgressLine {
 public:
  ProgressLine(Output& out, const std::string& what) : out_(out), what_(what) {}

  void show(const Progress& p) {
    std::string line = fmt::format("{}: {}", what_, p.text);
    if (p.percent) line = fmt::format("{}  {} {:3}%", line, bar(*p.percent, 100, 20), *p.percent);
    if (out_.live()) return out_.live_line(line);
    const double now = monotonic_seconds();
    if (line == last_ || now < next_at_) return;
    out_.note(line);
    last_ = line;
    next_at_ = now + line_seconds;
  }

 private:
  Output& out_;
  const std::string& what_;
  std::string last_;
  double next_at_ = 0;
};

}  // namespace

RestClient& Cluster::client() {
  if (client_ == nullptr) {
    client_ = std::make_unique<RestClient>(rest, &out());
    out().default_units = Units::binary;
  }
  return *client_;
}

void Cluster::add_options(CLI::App& to) {
  to.add_option("-r,--rest", rest.urls,
                fmt::format("Agent to speak to; more than one: the first that answers.\n"
                            "Otherwise $HOLDFAST_REST, otherwise {}",
                            default_rest_url))
      ->check(CLI::Validator(check_url, "", "url"))
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("URL");
  to.add_option("-t,--timeout", rest.timeout_seconds,
                "Seconds to wait for an answer; if absent 10, and 60 where something changes")
      ->check(CLI::Validator(CLI::PositiveNumber).description(""))
      ->type_name("SECONDS");
  to.add_option("--token-file", rest.token_file, "File with the bearer token; otherwise $HOLDFAST_TOKEN_FILE")
      ->type_name("FILE");
  to.add_option("--token", rest.token, "The bearer token itself, for all to see; better $HOLDFAST_TOKEN")
      ->type_name("TOKEN");
  to.add_option("--ca-file", rest.ca_file, "Certificates to trust, PEM; otherwise $HOLDFAST_CA_FILE")
      ->type_name("FILE");
  to.add_flag("--insecure", rest.insecure, "Trust any certificate");
  tool_.add_output_options(to, true);
}

CLI::App& Cluster::add_verb(const std::string& name, const std::string& about) {
  auto& verb = tool_.add_group(tool_.app(), name, about);
  add_options(verb);
  // What is added below inherits this, not the verb itself.
  verb.footer(fmt::format("The options of 'holdfast {}' (--rest, --output, ...) may follow, too.", name));
  return verb;
}

CLI::App& Cluster::add_command(const std::string& name, const std::string& about,
                               std::function<int()> action) {
  auto& command = tool_.add_command(tool_.app(), name, about, std::move(action));
  add_options(command);
  return command;
}

int Cluster::fail(const RestFailure& failure) {
  out().error(failure.kind, failure.text, failure.hint);
  return failure.kind == kind_unreachable ? exit_unreachable : exit_failed;
}

int Cluster::show(const RestAnswer& answer, const std::function<void(const Tree&)>& table) {
  if (!answer.ok()) return fail(answer.failure());
  out().answer(answer.body(), [&] { table(answer.body()); });
  return exit_ok;
}

int Cluster::done(const RestAnswer& answer, std::string_view text) {
  return show(answer, [&](const Tree&) { out().line(text); });
}

CLI::Option* add_id(CLI::App& to, const std::string& name, std::string& id, const std::string& about) {
  const auto given = [](const std::string& text) { return text.empty() ? "must not be empty" : ""; };
  return to.add_option(name, id, about)->required()->check(CLI::Validator(given, "", "id"));
}

void add_wait_options(CLI::App& to, WaitOptions& options) {
  to.add_flag("--wait", options.wait, "Return when it is done, and show progress meanwhile");
  add_duration(to, "--wait-timeout", options.timeout_seconds,
               "How long --wait waits: 90s, 10m, 1h30m. Exit status 4 after that")
      ->default_str("10m");
}

int wait_until(Cluster& cluster, const WaitOptions& options, const std::string& what,
               const std::function<Progress(const RestAnswer&)>& judge, const std::string& path) {
  Output& out = cluster.out();
  ProgressLine line(out, what);
  const double deadline = monotonic_seconds() + options.timeout_seconds;
  for (;;) {
    const RestAnswer answer = cluster.client().get(path);
    const bool trouble = !answer.ok() && passes(answer.failure());
    const Progress now =
        trouble ? Progress{false, "the agent does not answer; waiting for it", {}, {}} : judge(answer);
    if (!now.failed.empty()) return out.error("Aborted", fmt::format("{}: {}", what, now.failed));
    if (now.done) {
      out.clear_live();
      out.note(fmt::format("{}: {}", what, now.text));
      return exit_ok;
    }
    line.show(now);
    if (monotonic_seconds() + poll_seconds > deadline) {
      out.error(
          "Timeout",
          fmt::format("{}: not done after {}: {}", what, format_duration(options.timeout_seconds), now.text),
          "it goes on without you");
      return exit_waited;
    }
    sleep_seconds(poll_seconds);
  }
}

namespace {

// keep() makes its values without arguments.
struct Connection {
  std::unique_ptr<Cluster> cluster;
};

// For completion in shells: quickly, or not at all.
std::vector<std::string> names_of(const std::string& kind) {
  static const std::map<std::string, std::pair<const char*, const char*>> lists = {
      {"VOLUME", {"/v0/volumes?max_entries=200", "spec/uuid"}},
      {"SNAPSHOT", {"/v0/volumes/snapshots?max_entries=200", "definition/spec/uuid"}},
      {"REPLICA", {"/v0/replicas", "uuid"}},
      {"POOL", {"/v0/pools", "id"}},
      {"NODE", {"/v0/nodes", "id"}},
      {"APP-NODE", {"/v0/app-nodes?max_entries=200", "id"}}};
  const auto list = lists.find(kind);
  if (list == lists.end()) return {};
  RestOptions options;
  options.timeout_seconds = 1;
  RestClient client(std::move(options));
  const RestAnswer answer = client.get(list->second.first);
  std::vector<std::string> names;
  if (!answer.ok()) return names;
  const Tree& things = answer.body().is_array() ? answer.body() : at(answer.body(), "entries");
  for (const Tree& thing : things) names.push_back(text(thing, list->second.second));
  return names;
}

}  // namespace

void add_cluster_commands(Tool& tool) {
  tool.set_names(names_of);
  auto& connection = tool.keep<Connection>();
  connection.cluster = std::make_unique<Cluster>(tool);
  Cluster& cluster = *connection.cluster;
  cluster.add_options(tool.app());
  add_get_commands(cluster);
  auto& create = cluster.add_verb("create", "Create volumes and pools");
  auto& delete_verb = cluster.add_verb("delete", "Delete volumes, pools and nodes");
  add_volume_verbs(cluster, create, delete_verb);
  add_pool_verbs(cluster, create, delete_verb);
  add_snapshot_verbs(cluster);
  add_node_verbs(cluster, delete_verb);
  add_events_command(cluster);
  add_top_command(cluster);
  add_dump_commands(cluster);
  add_adopt_command(cluster);
}

}  // namespace holdfast::cli
