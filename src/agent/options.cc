#include "agent/options.h"

#include <algorithm>
#include <set>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "base/duration.h"
#include "base/units.h"

namespace holdfast::agent {
namespace {

// What CLI11 fills in; checked and turned into Options afterwards.
struct Raw {
  std::string name;
  std::string cluster = "default";
  std::string advertise;
  std::string advertise_grpc;
  std::string data_dir = "/var/lib/holdfast-agent";
  std::string store = "embedded";
  std::string store_listen = "127.0.0.1:0";
  std::string store_timeout = "5s";
  rpc::TlsPaths store_tls;
  std::string store_name;
  rpc::TlsPaths store_listen_tls;
  std::int64_t lease_ttl_s = control::Options().lease_ttl_s;
  std::size_t page_limit = control::Options().page_limit;
  std::string grpc = fmt::format("[::]:{}", default_grpc_port);
  std::string https = fmt::format("[::]:{}", default_https_port);
  std::string http;
  std::string certificate_file, key_file, client_ca_file, peer_ca_file;
  bool dummy_certificates = false;
  std::string jwk_file, jwt_audience;
  bool no_auth = false;
  std::string request_timeout = "5s";
  bool no_min_timeouts = false;
  unsigned workers = 64;
  std::string reconcile_period = "10s";
  std::string reconcile_idle_period = "30s";
  std::string cache_period = "5s";
  std::string deadline = "10s";
  std::string faulted_wait = "10min";
  std::uint64_t max_rebuilds = 0;
  std::size_t create_volume_limit = control::Options().volume_creations_max;
  std::string pool_commitment = "250%";
  std::string volume_commitment = "40%";
  std::string volume_commitment_initial = "40%";
  std::string snapshot_commitment = "40%";
  std::string cluster_capacity_limit;
  std::string log_level = "info";
  std::string log_format = "text";
  BackupRequest backup;
  std::string fmt_style;
  std::set<std::string> given_foreign;
};

// Flags of Mayastor's core agent that mean nothing here (docs/reference/agent.md): whoever comes from there
// may leave them in place.
struct Foreign {
  const char* flag;
  bool takes_value;
  const char* why;
};
constexpr Foreign foreign[] = {
    {"--connect-timeout", true, "engines are connected to in the background"},
    {"--disable-partial-rebuild", false,
     "what a replica missed is copied and no more, whenever that is known"},
    {"--hosts-acl", true, "targets and replicas always know their hosts"},
    {"--disable-target-acc", false, "targets always hold a reservation: without it two could write"},
    {"--disable-ha", false, "targets move when they are asked to, and when their node is drained"},
    {"--events-url", true, "events are at /v1/events"},
    {"--jaeger", true, "there are no traces"},
    {"--ansi-colors", true, "the log has no colours"},
};

Error bad(const char* flag, const std::string& text, std::string_view wanted) {
  return Error(Errc::invalid_argument, fmt::format("{}: '{}': give {}", flag, text, wanted));
}

void describe_store(CLI::App& app, Raw& raw) {
  app.add_option("--store", raw.store,
                 "Where specs are kept: embedded, embedded:FILE, or endpoints of an etcd with commas "
                 "between, such as "
                 "http://etcd-0:2379")
      ->capture_default_str();
  app.add_option("--store-listen", raw.store_listen,
                 "Where the embedded store is served in etcd's protocol; port 0: any free one")
      ->capture_default_str();
  app.add_option("--store-timeout", raw.store_timeout, "How long the store may take to answer")
      ->capture_default_str();
  app.add_option("--store-lease-ttl", raw.lease_ttl_s,
                 "Seconds until another agent may lead when this one is silent")
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  app.add_option("--etcd-page-limit", raw.page_limit, "Records read at once")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
}

void describe_store_tls(CLI::App& app, Raw& raw) {
  app.add_option("--store-ca", raw.store_tls.authority,
                 "Whose certificates an https store may show, PEM [the host's own authorities]");
  app.add_option("--store-cert", raw.store_tls.certificate, "Our certificate for the store, PEM");
  app.add_option("--store-key", raw.store_tls.key, "Its key, PEM");
  app.add_option("--store-name", raw.store_name,
                 "Name that the store's certificate must have, where it is not the one in its address");
  app.add_option("--store-listen-cert", raw.store_listen_tls.certificate,
                 "Certificate of the embedded store, PEM: it is served with TLS");
  app.add_option("--store-listen-key", raw.store_listen_tls.key, "Its key, PEM");
  app.add_option("--store-listen-ca", raw.store_listen_tls.authority,
                 "Only clients with a certificate signed by one of these may use the embedded store, PEM");
}

void describe_rest(CLI::App& app, Raw& raw) {
  app.add_option(
      "--http", raw.http,
      fmt::format("address[:{}] of the REST API in plain text; 127.0.0.1:{} when no certificate is given",
                  default_http_port, default_http_port));
  app.add_option("--https", raw.https, "address:port of the REST API with TLS, when there is a certificate")
      ->capture_default_str();
  app.add_option("--cert-file", raw.certificate_file,
                 "Certificate for --https, PEM, with those up to its issuer");
  app.add_option("--key-file", raw.key_file, "Its key, PEM");
  app.add_option("--client-ca", raw.client_ca_file,
                 "Only clients with a certificate signed by one of these are served, PEM");
  app.add_option(
      "--peer-ca", raw.peer_ca_file,
      "Whose certificates the REST API of the agent that leads may show, PEM [--client-ca, else the "
      "host's own authorities]");
  app.add_flag("--dummy-certificates", raw.dummy_certificates,
               "A certificate made now: encrypts, proves nothing");
  app.add_option("--jwk", raw.jwk_file,
                 "Public RSA key (JSON Web Key) that requests' tokens have to be signed with");
  app.add_option("--jwt-audience", raw.jwt_audience, "What the tokens' aud has to name");
  app.add_flag("--no-auth", raw.no_auth, "Serve everybody, also beyond this machine");
  app.add_option("--request-timeout", raw.request_timeout, "How long the answer to a change is waited for")
      ->capture_default_str();
  app.add_flag("--no-min-timeouts", raw.no_min_timeouts,
               "No longer waits for operations that take longer by nature");
  app.add_option("--max-workers", raw.workers, "Threads of each REST listener")
      ->check(CLI::Range(2, 1024))
      ->capture_default_str();
}

void describe_control(CLI::App& app, Raw& raw) {
  app.add_option("--reconcile-period", raw.reconcile_period,
                 "What is not at rest is looked at so often at least; changes lead to it at once")
      ->capture_default_str();
  app.add_option("--reconcile-idle-period", raw.reconcile_idle_period,
                 "Everything is looked over so often at least")
      ->capture_default_str();
  app.add_option("--cache-period", raw.cache_period, "How often an engine is asked for all that it has")
      ->capture_default_str();
  app.add_option("--deadline", raw.deadline, "An engine that is silent for so long is offline")
      ->capture_default_str();
  app.add_option("--faulted-child-wait-period", raw.faulted_wait,
                 "How long a replica that is out may come back")
      ->capture_default_str();
  app.add_option("--max-rebuilds", raw.max_rebuilds, "Rebuilds at once in the cluster; 0: no limit")
      ->capture_default_str();
  app.add_option("--create-volume-limit", raw.create_volume_limit, "Volumes created at once")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  app.add_option("--pool-commitment", raw.pool_commitment,
                 "Sizes of all thin replicas against the pool's capacity")
      ->capture_default_str();
  app.add_option("--volume-commitment", raw.volume_commitment,
                 "Free room that a thin replica needs, of its size")
      ->capture_default_str();
  app.add_option("--volume-commitment-initial", raw.volume_commitment_initial, "The same for a new volume")
      ->capture_default_str();
  app.add_option("--snapshot-commitment", raw.snapshot_commitment,
                 "Free room that a snapshot needs, of the volume")
      ->capture_default_str();
  app.add_option("--cluster-capacity-limit", raw.cluster_capacity_limit,
                 "Sizes of all volumes together, such as 10TiB");
}

void describe_backup(CLI::App& app, Raw& raw) {
  auto* backup =
      app.add_option("--backup", raw.backup.backup_file,
                     "Write what the store has of this cluster to the file, and end; agents may run");
  auto* restore = app.add_option("--restore", raw.backup.restore_file,
                                 "Make the store what the file says, and end; no agent may run");
  restore->excludes(backup);
  app.add_flag("--overwrite", raw.backup.overwrite, "With --restore: replace what the store has")
      ->needs(restore);
}

void describe_foreign(CLI::App& app, Raw& raw) {
  for (const Foreign& f : foreign) {
    const auto note = [&raw, flag = std::string(f.flag)](const std::string&) {
      raw.given_foreign.insert(flag);
      return true;
    };
    // Not shown by --help.
    if (f.takes_value) {
      app.add_option(f.flag, CLI::callback_t([note](const CLI::results_t& r) { return note(r.front()); }))
          ->group("");
    } else {
      app.add_flag_function(f.flag, [note](std::int64_t) { note(""); })->group("");
    }
  }
  app.add_option("--fmt-style", raw.fmt_style, "As --log-format: pretty and compact are text")
      ->check(CLI::IsMember({"pretty", "compact", "json"}))
      ->group("");
}

void describe(CLI::App& app, Raw& raw) {
  app.add_option("--name", raw.name, "Of this agent, unique in the cluster [the host's name]");
  app.add_option("--cluster", raw.cluster, "Name of the cluster: several can share one etcd")
      ->capture_default_str();
  app.add_option("--advertise", raw.advertise, "URL under which others reach this agent's REST API");
  app.add_option("--advertise-grpc", raw.advertise_grpc,
                 "host:port under which engines and other agents reach --grpc-server-addr");
  app.add_option("--data-dir", raw.data_dir, "Where the embedded store is kept")->capture_default_str();
  app.add_option("--grpc-server-addr", raw.grpc, "address:port where engines register")
      ->capture_default_str();
  describe_store(app, raw);
  describe_store_tls(app, raw);
  describe_rest(app, raw);
  describe_control(app, raw);
  describe_backup(app, raw);
  describe_foreign(app, raw);
  app.add_option("--log-level", raw.log_level, "trace, debug, info, warn, error or off")
      ->capture_default_str();
  app.add_option("--log-format", raw.log_format, "text, or json for one object a line")
      ->capture_default_str();
}

Result<std::chrono::nanoseconds> duration_of(const char* flag, const std::string& text) {
  auto duration = parse_duration(text);
  if (!duration.ok()) return duration.error().with_context(flag);
  return duration.value();
}

Result<std::uint64_t> percent_of(const char* flag, std::string text) {
  constexpr std::uint64_t percent_max = 100'000;
  const std::string given = text;
  if (text.ends_with('%')) text.pop_back();
  const auto number = parse_number(text);
  if (!number.ok() || number.value() > percent_max) return bad(flag, given, "per cent, such as 250%");
  return number.value();
}

Result<Endpoint> endpoint_of(const char* flag, const std::string& text, std::uint16_t default_port) {
  auto at = parse_host_port(text, default_port);
  if (!at.ok()) return at.error().with_context(flag);
  return at.value();
}

bool is_loopback(const Endpoint& at) {
  return at.address == "::1" || at.address == "localhost" || at.address.starts_with("127.");
}

Status check_name(const char* flag, const std::string& name) {
  constexpr std::size_t name_max = 63;
  const auto fits = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.'; };
  const bool is_dots = name == "." || name == "..";  // keys of the store are paths
  if (!name.empty() && name.size() <= name_max && std::all_of(name.begin(), name.end(), fits) && !is_dots)
    return Status();
  return bad(flag, name.substr(0, name_max), "1 to 63 letters, digits, '-', '_' or '.'");
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    parts.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

Status fill_store(Options& o, const Raw& raw) {
  constexpr std::string_view embedded = "embedded";
  if (raw.data_dir.empty() || raw.data_dir.front() != '/')
    return bad("--data-dir", raw.data_dir, "an absolute path");
  o.data_dir = raw.data_dir;
  HF_TRY(o.store_listen, endpoint_of("--store-listen", raw.store_listen, 0));
  HF_TRY(o.store_timeout, duration_of("--store-timeout", raw.store_timeout));
  o.control.lease_ttl_s = raw.lease_ttl_s;
  o.control.page_limit = raw.page_limit;
  if (raw.store == embedded) {
    o.embedded_path = o.data_dir + "/store.db";
  } else if (raw.store.starts_with("embedded:")) {
    o.embedded_path = raw.store.substr(embedded.size() + 1);
    if (!o.embedded_path.starts_with('/')) return bad("--store", raw.store, "embedded: and an absolute path");
  } else {
    o.store_endpoints = split_at_commas(raw.store);
  }
  // The file is ours alone while we have it open, so the run that had it before is over.
  o.control.former_run_is_over = !o.embedded_path.empty();
  return Status();
}

Status check_pair(const rpc::TlsPaths& given, const char* certificate, const char* key) {
  if (given.certificate.empty() == given.key.empty()) return Status();
  return Error(Errc::invalid_argument, fmt::format("{} and {}: give both or neither", certificate, key));
}

Status fill_store_tls(Options& o, const Raw& raw) {
  HF_CHECK(check_pair(raw.store_tls, "--store-cert", "--store-key"));
  HF_CHECK(check_pair(raw.store_listen_tls, "--store-listen-cert", "--store-listen-key"));
  const bool served_with_tls = !raw.store_listen_tls.certificate.empty();
  if (!served_with_tls && !raw.store_listen_tls.authority.empty()) {
    return Error(
        Errc::invalid_argument,
        "--store-listen-ca: the embedded store has no TLS; give --store-listen-cert and --store-listen-key");
  }
  if (served_with_tls && o.embedded_path.empty()) {
    return Error(Errc::invalid_argument, "--store-listen-cert: --store is no embedded store");
  }
  const bool any =
      !raw.store_tls.authority.empty() || !raw.store_tls.certificate.empty() || !raw.store_name.empty();
  const bool https = std::any_of(o.store_endpoints.begin(), o.store_endpoints.end(),
                                 [](const std::string& e) { return e.starts_with("https://"); });
  if (any && !https && !served_with_tls) {
    return Error(
        Errc::invalid_argument,
        fmt::format(
            "--store-ca, --store-cert, --store-name: the store at {} is used in plain text; give https://",
            raw.store));
  }
  o.store_tls = raw.store_tls;
  // The embedded store is ours: its own certificate is the one to expect.
  if (served_with_tls && o.store_tls.authority.empty())
    o.store_tls.authority = raw.store_listen_tls.certificate;
  o.store_name = raw.store_name;
  o.store_listen_tls = raw.store_listen_tls;
  return Status();
}

Status fill_rest(Options& o, const Raw& raw) {
  const bool files = !raw.certificate_file.empty() || !raw.key_file.empty();
  if (raw.certificate_file.empty() != raw.key_file.empty()) {
    return Error(Errc::invalid_argument, "--cert-file and --key-file: give both or neither");
  }
  if (files && raw.dummy_certificates) {
    return Error(Errc::invalid_argument, "--dummy-certificates: --cert-file is given already");
  }
  if (raw.dummy_certificates && !raw.client_ca_file.empty()) {
    return Error(
        Errc::invalid_argument,
        "--client-ca: with --dummy-certificates nobody is asked for a certificate; give --cert-file and "
        "--key-file");
  }
  const bool tls = files || raw.dummy_certificates;
  if (!tls && !raw.client_ca_file.empty()) {
    return Error(Errc::invalid_argument, "--client-ca: TLS is off; give --cert-file and --key-file");
  }
  if (tls) {
    HF_TRY(o.https, endpoint_of("--https", raw.https, default_https_port));
  }
  if (!raw.http.empty()) {
    HF_TRY(o.http, endpoint_of("--http", raw.http, default_http_port));
  }
  if (!tls && raw.http.empty()) o.http = Endpoint{"127.0.0.1", default_http_port};
  o.certificate_file = raw.certificate_file;
  o.key_file = raw.key_file;
  o.client_ca_file = raw.client_ca_file;
  o.peer_ca_file = raw.peer_ca_file.empty() ? raw.client_ca_file : raw.peer_ca_file;
  o.dummy_certificates = raw.dummy_certificates;
  return Status();
}

Status fill_access(Options& o, const Raw& raw) {
  if (!raw.jwk_file.empty() && raw.no_auth) {
    return Error(Errc::invalid_argument, "--no-auth: --jwk asks for tokens; give one of the two");
  }
  if (raw.jwk_file.empty() && !raw.jwt_audience.empty()) {
    return Error(Errc::invalid_argument, "--jwt-audience: tokens are not asked for; give --jwk");
  }
  const bool protected_by_tls = !raw.client_ca_file.empty();
  const bool open =
      (o.http && !is_loopback(*o.http)) || (o.https && !is_loopback(*o.https) && !protected_by_tls);
  if (open && raw.jwk_file.empty() && !raw.no_auth) {
    return Error(
        Errc::invalid_argument,
        "the REST API would serve everybody who can reach it: give --jwk FILE to ask for tokens, --client-ca "
        "FILE to ask for certificates, a loopback address, or --no-auth if that is meant");
  }
  o.jwk_file = raw.jwk_file;
  o.jwt_audience = raw.jwt_audience;
  HF_TRY(const auto timeout, duration_of("--request-timeout", raw.request_timeout));
  o.request_timeout = std::chrono::duration_cast<std::chrono::milliseconds>(timeout);
  o.minimum_timeouts = !raw.no_min_timeouts;
  o.workers = raw.workers;
  return Status();
}

Status fill_control(control::Options& o, const Raw& raw) {
  HF_TRY(o.reconcile_period, duration_of("--reconcile-period", raw.reconcile_period));
  HF_TRY(o.reconcile_idle_period, duration_of("--reconcile-idle-period", raw.reconcile_idle_period));
  HF_TRY(o.poll_period, duration_of("--cache-period", raw.cache_period));
  HF_TRY(o.heartbeat_deadline, duration_of("--deadline", raw.deadline));
  HF_TRY(const auto wait, duration_of("--faulted-child-wait-period", raw.faulted_wait));
  o.policy.faulted_wait = wait.count();
  if (raw.max_rebuilds != 0) o.policy.rebuilds_max = raw.max_rebuilds;
  o.volume_creations_max = raw.create_volume_limit;
  auto& capacity = o.policy.capacity;
  HF_TRY(capacity.pool_commitment, percent_of("--pool-commitment", raw.pool_commitment));
  HF_TRY(capacity.volume_commitment, percent_of("--volume-commitment", raw.volume_commitment));
  HF_TRY(capacity.volume_commitment_initial,
         percent_of("--volume-commitment-initial", raw.volume_commitment_initial));
  HF_TRY(capacity.snapshot_commitment, percent_of("--snapshot-commitment", raw.snapshot_commitment));
  if (!raw.cluster_capacity_limit.empty()) {
    auto limit = parse_size(raw.cluster_capacity_limit);
    if (!limit.ok()) return limit.error().with_context("--cluster-capacity-limit");
    o.cluster_capacity_limit = limit.value();
  }
  return Status();
}

// Where others reach what listens at every address of this host.
std::string reached_at(Endpoint at, const std::string& hostname) {
  if (at.address == "::" || at.address == "0.0.0.0") at.address = hostname;
  return at.to_string();
}

std::string default_advertise(const Options& o, const std::string& hostname) {
  if (o.https) return "https://" + reached_at(*o.https, hostname);
  return "http://" + reached_at(*o.http, hostname);
}

Result<Options> check(const Raw& raw, const std::string& hostname) {
  Options o;
  o.control.agent = raw.name.empty() ? hostname : raw.name;
  HF_CHECK(check_name("--name", o.control.agent));
  HF_CHECK(check_name("--cluster", raw.cluster));
  o.control.cluster = raw.cluster;
  HF_TRY(o.grpc, endpoint_of("--grpc-server-addr", raw.grpc, default_grpc_port));
  HF_CHECK(fill_store(o, raw));
  HF_CHECK(fill_store_tls(o, raw));
  o.backup = raw.backup;
  HF_CHECK(fill_rest(o, raw));
  HF_CHECK(fill_access(o, raw));
  HF_CHECK(fill_control(o.control, raw));
  o.control.advertise = raw.advertise.empty() ? default_advertise(o, hostname) : raw.advertise;
  o.control.registration = raw.advertise_grpc.empty() ? reached_at(o.grpc, hostname) : raw.advertise_grpc;
  HF_TRY(o.log_level, log::parse_level(raw.log_level));
  if (raw.log_format != "text" && raw.log_format != "json")
    return bad("--log-format", raw.log_format, "text or json");
  for (const Foreign& f : foreign) {
    if (raw.given_foreign.contains(f.flag)) o.without_effect.push_back(fmt::format("{}: {}", f.flag, f.why));
  }
  const bool json = raw.log_format == "json" || raw.fmt_style == "json";
  o.log_format = json ? log::Format::json : log::Format::text;
  return o;
}

}  // namespace

Result<ParsedOptions> parse_options(int argc, const char* const* argv, const std::string& hostname,
                                    const std::string& version) {
  CLI::App app("Control plane of Holdfast: keeps what is wanted true, and serves the REST API.",
               "holdfast-agent");
  Raw raw;
  describe(app, raw);
  bool show_version = false;
  app.add_flag("--version", show_version, "Print the version and end");
  ParsedOptions parsed;
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    parsed.text = app.help();
    return parsed;
  } catch (const CLI::ParseError& e) {
    return Error(Errc::invalid_argument, fmt::format("{} (see holdfast-agent --help)", e.what()));
  }
  if (show_version) {
    parsed.text = fmt::format("holdfast-agent {}\n", version);
    return parsed;
  }
  HF_TRY(parsed.options, check(raw, hostname));
  return parsed;
}

}  // namespace holdfast::agent
