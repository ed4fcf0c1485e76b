#include "cli/rest/rest_client.h"

#include <cstdlib>
#include <fstream>

#include <fmt/format.h>
#include <httplib.h>

#include "cli/tool/output.h"
#include "cli/tool/progress.h"
#include "cli/tool/read_all.h"
#include "http/client.h"

namespace holdfast::cli {
namespace {

constexpr const char* default_port = "8081";
// A whole answer is held in memory; nothing that a cluster answers comes near.
constexpr std::size_t answer_bytes_max = 256u << 20;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

std::vector<std::string> split(const std::string& text, char between) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const auto end = std::min(text.find(between, begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

bool has_port(std::string_view host) {
  const auto colon = host.rfind(':');
  const auto bracket = host.rfind(']');
  if (colon == std::string_view::npos) return false;
  return bracket == std::string_view::npos ? host.find(':') == colon : colon > bracket;
}

void set_timeouts(httplib::ClientImpl& client, double seconds) {
  const auto whole = static_cast<time_t>(seconds);
  const auto micros = static_cast<time_t>((seconds - static_cast<double>(whole)) * 1e6);
  client.set_connection_timeout(whole, micros);
  client.set_read_timeout(whole, micros);
  client.set_write_timeout(whole, micros);
}

// What went wrong before there was an answer, in words.
std::string transport_text(httplib::Error error, double timeout_seconds) {
  switch (error) {
    case httplib::Error::Connection:
      return "nothing accepts connections there";
    case httplib::Error::ConnectionTimeout:
      return fmt::format("no connection within {} s", timeout_seconds);
    case httplib::Error::Read:
      return fmt::format("the connection ended, or stayed silent for {} s, before the answer was there",
                         timeout_seconds);
    case httplib::Error::Write:
      return "the connection ended while the request was sent";
    case httplib::Error::SSLConnection:
      return "no TLS connection: is it a server of https?";
    case httplib::Error::SSLLoadingCerts:
      return "the certificates to trust cannot be read";
    case httplib::Error::SSLServerVerification:
      return "the server's certificate is not one of those to trust";
    default:
      return "the request failed: " + httplib::to_string(error);
  }
}

// Nothing of the request can have reached anybody: another address may be tried, whatever the request.
bool never_sent(httplib::Error error) noexcept {
  return error == httplib::Error::Connection || error == httplib::Error::ConnectionTimeout ||
         error == httplib::Error::SSLConnection;
}

const char* kind_of_status(int status) noexcept {
  switch (status) {
    case 400:
      return "InvalidArgument";
    case 401:
    case 403:
      return "Unauthorized";
    case 404:
      return "NotFound";
    case 408:
      return "Timeout";
    case 409:
      return "Conflict";
    case 501:
      return "Unimplemented";
    case 502:
    case 503:
      return "Unavailable";
    case 504:
      return "DeadlineExceeded";
    default:
      return "Internal";
  }
}

}  // namespace

struct RestClient::Request {
  std::string_view method;
  const std::string& path;
  std::string body;  // empty: none
  bool json_answer = true;
  double idle_seconds = 0;  // 0: the client's timeout
  const std::function<bool(std::string_view)>* piece = nullptr;
};

struct RestClient::Reply {
  httplib::Error error = httplib::Error::Success;
  int status = 0;
  std::string body;
  bool stopped = false;  // by the receiver of the pieces
};

Result<RestUrl> parse_rest_url(const std::string& url) {
  const auto wrong = [&url] {
    return Error(Errc::invalid_argument,
                 fmt::format("'{}' is not an address: http://host:port or https://host:port is wanted", url));
  };
  std::string scheme = "http://";
  std::string_view rest = url;
  if (rest.starts_with("https://")) {
    scheme = "https://";
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  }
  while (rest.ends_with('/')) rest.remove_suffix(1);
  const auto slash = rest.find('/');
  const std::string host(rest.substr(0, slash));
  const std::string prefix(slash == std::string_view::npos ? std::string_view() : rest.substr(slash));
  if (host.empty() || host.find_first_of(" \t\r\n?#@") != std::string::npos) return wrong();
  if (prefix.find_first_of(" \t\r\n?#") != std::string::npos) return wrong();
  if (!has_port(host)) {
    const bool bare_ipv6 = host.find(':') != std::string::npos && host.find(']') == std::string::npos;
    return RestUrl{scheme + (bare_ipv6 ? "[" + host + "]" : host) + ":" + default_port, prefix};
  }
  const std::string port = host.substr(host.rfind(':') + 1);
  if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string::npos ||
      std::stoi(port) > 65535 || std::stoi(port) == 0)
    return wrong();
  return RestUrl{scheme + host, prefix};
}

std::string url_encoded(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    encoded += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  // A segment of only dots means a folder to some servers.
  if (encoded == ".") return "%2E";
  if (encoded == "..") return "%2E%2E";
  return encoded;
}

RestClient::RestClient(RestOptions options, Output* log) : options_(std::move(options)), log_(log) {}

std::optional<RestFailure> RestClient::prepare() {
  if (!targets_.empty()) return std::nullopt;
  if (options_.urls.empty()) options_.urls = split(environment("HOLDFAST_REST"), ',');
  if (options_.urls.empty()) options_.urls = {default_rest_url};
  for (const std::string& url : options_.urls) {
    auto target = parse_rest_url(url);
    if (!target.ok()) return RestFailure{0, "InvalidArgument", target.error().message(), {}};
    targets_.push_back(std::move(target).value());
  }
  if (options_.ca_file.empty()) options_.ca_file = environment("HOLDFAST_CA_FILE");
  if (options_.anonymous) return std::nullopt;
  if (options_.token.empty()) options_.token = environment("HOLDFAST_TOKEN");
  if (options_.token_file.empty()) options_.token_file = environment("HOLDFAST_TOKEN_FILE");
  if (!options_.token.empty() || options_.token_file.empty()) return std::nullopt;
  std::ifstream file(options_.token_file);
  options_.token = read_all(file);
  while (!options_.token.empty() && std::isspace(static_cast<unsigned char>(options_.token.back())) != 0)
    options_.token.pop_back();
  if (!file.is_open() || options_.token.empty()) {
    targets_.clear();
    return RestFailure{
        0, "InvalidArgument", fmt::format("no token can be read from {}", options_.token_file), {}};
  }
  return std::nullopt;
}

double RestClient::patience_seconds(const Request& request) const noexcept {
  if (options_.timeout_seconds > 0) return options_.timeout_seconds;
  return request.method == "GET" ? 10 : 60;
}

RestClient::Reply RestClient::send(const RestUrl& to, const Request& request) {
  Reply reply;
  const auto made = http::client_of(to.origin);
  if (made == nullptr) {
    reply.error = httplib::Error::Connection;
    return reply;
  }
  httplib::ClientImpl& client = *made;
  set_timeouts(client, patience_seconds(request));
  if (request.idle_seconds > 0) client.set_read_timeout(static_cast<time_t>(request.idle_seconds));
  client.set_keep_alive(false);
  if (!options_.ca_file.empty()) client.set_ca_cert_path(options_.ca_file);
  client.enable_server_certificate_verification(!options_.insecure);
  if (!options_.token.empty()) client.set_bearer_token_auth(options_.token);
  httplib::Request wire;
  wire.method = std::string(request.method);
  wire.path = to.prefix + request.path;
  wire.set_header("Accept", request.piece != nullptr ? "text/event-stream" : "application/json, text/plain");
  if (!request.body.empty()) {
    wire.body = request.body;
    wire.set_header("Content-Type", "application/json");
  }
  bool success = false;
  wire.response_handler = [&](const httplib::Response& head) {
    success = head.status >= 200 && head.status < 300;
    return true;
  };
  wire.content_receiver = [&](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
    if (request.piece != nullptr && success) {
      reply.stopped = !(*request.piece)(std::string_view(data, size));
      return !reply.stopped;
    }
    if (reply.body.size() + size > answer_bytes_max) return false;
    reply.body.append(data, size);
    return true;
  };
  const httplib::Result result = client.send(wire);
  reply.error = result.error();
  if (result) reply.status = result->status;
  return reply;
}

RestFailure RestClient::unreachable(const Request& request, const Reply& reply) const {
  std::string all;
  for (const RestUrl& target : targets_) all += (all.empty() ? "" : ", ") + target.origin + target.prefix;
  const bool maybe_done = !never_sent(reply.error) && request.method != "GET";
  RestFailure failure{0,
                      kind_unreachable,
                      fmt::format("{}: {}", all, transport_text(reply.error, patience_seconds(request))),
                      {}};
  if (maybe_done) {
    failure.kind = "Timeout";
    failure.hint = "it may still happen. Look before you repeat it, or wait longer with --timeout";
  } else if (never_sent(reply.error)) {
    failure.hint =
        "is the agent running there? Name another with --rest or HOLDFAST_REST, or start a cluster on "
        "this machine: holdfast up";
  } else if (reply.error == httplib::Error::SSLServerVerification ||
             reply.error == httplib::Error::SSLLoadingCerts) {
    failure.hint = "name the authority's certificate with --ca-file or HOLDFAST_CA_FILE";
  } else {
    failure.hint = "wait longer with --timeout";
  }
  return failure;
}

RestClient::Reply RestClient::tell_and_send(const RestUrl& to, const Request& request) {
  if (log_ == nullptr) return send(to, request);
  log_->verbose(1, fmt::format("{} {}{}{}", request.method, to.origin, to.prefix, request.path));
  const double began = monotonic_seconds();
  Reply reply = send(to, request);
  log_->verbose(1, fmt::format("{} after {:.1f} ms", reply.status, (monotonic_seconds() - began) * 1e3));
  return reply;
}

std::optional<RestUrl> RestClient::leader_named_by(const RestUrl& follower) {
  static const std::string path = "/v1/status";
  const Reply reply = send(follower, Request{"GET", path, {}, true, 0, nullptr});
  if (reply.status != 200) return std::nullopt;
  const Tree status = Tree::parse(reply.body, nullptr, false);
  const std::string leader = text(status, "leader");
  if (flag(status, "leading") || leader.empty()) return std::nullopt;
  auto url = parse_rest_url(leader);
  if (!url.ok()) return std::nullopt;
  return std::move(url).value();
}

RestAnswer RestClient::run(const Request& request) {
  if (auto wrong = prepare()) return std::move(*wrong);
  Reply reply;
  for (std::size_t attempt = 0; attempt < targets_.size(); ++attempt) {
    const RestUrl to = targets_[current_];
    reply = tell_and_send(to, request);
    constexpr int unavailable = 503;
    if (reply.status == unavailable && request.method != "GET") {
      if (const auto leader = leader_named_by(to)) reply = tell_and_send(*leader, request);
    }
    const bool try_next = never_sent(reply.error) || (reply.status == unavailable && targets_.size() > 1);
    if (!try_next) break;
    current_ = (current_ + 1) % targets_.size();
  }
  return understand(request, reply);
}

RestAnswer RestClient::understand(const Request& request, const Reply& reply) {
  if (reply.stopped) return Tree();
  if (reply.error != httplib::Error::Success) return unreachable(request, reply);
  if (log_ != nullptr && !reply.body.empty()) log_->verbose(2, reply.body);
  const bool success = reply.status >= 200 && reply.status < 300;
  if (success && !request.json_answer) return Tree(reply.body);
  Tree body = reply.body.empty() ? Tree() : Tree::parse(reply.body, nullptr, false);
  if (success && !body.is_discarded()) return body;
  RestFailure failure;
  failure.status = reply.status;
  if (success) {
    failure.kind = "Deserialize";
    failure.text = fmt::format("{} answered what is no JSON", where());
    failure.hint = "is it a Holdfast agent?";
    return failure;
  }
  if (body.is_object() && has(body, "kind")) {
    failure.kind = text(body, "kind");
    const std::string message = text(body, "message");
    const std::string details = text(body, "details");
    failure.text = message;
    if (details.find(message) != std::string::npos) {
      failure.text = details;
    } else if (!details.empty() && message.find(details) == std::string::npos) {
      failure.text += ": " + details;
    }
  } else {
    failure.kind = kind_of_status(reply.status);
    failure.text = fmt::format("{} answered {} with status {}", where(), request.path, reply.status);
  }
  failure.hint = remedy(failure, request.path);
  return failure;
}

RestAnswer RestClient::call(std::string_view method, const std::string& path, const Tree& body) {
  Request request{method, path, {}, true, 0, nullptr};
  if (!body.is_null()) request.body = body.dump(-1, ' ', false, Tree::error_handler_t::replace);
  return run(request);
}

RestAnswer RestClient::get_text(const std::string& path) {
  return run(Request{"GET", path, {}, false, 0, nullptr});
}

RestAnswer RestClient::stream(const std::string& path, double idle_seconds,
                              const std::function<bool(std::string_view piece)>& piece) {
  return run(Request{"GET", path, {}, false, idle_seconds, &piece});
}

RestAnswer RestClient::get_all(const std::string& path, unsigned page) {
  Tree all = Tree::array();
  std::string token = "0";
  const char joint = path.find('?') == std::string::npos ? '?' : '&';
  for (;;) {
    const std::string at_page =
        fmt::format("{}{}max_entries={}&starting_token={}", path, joint, page, url_encoded(token));
    RestAnswer answer = get(at_page);
    if (!answer.ok()) return answer;
    const Tree& entries = at(answer.body(), "entries");
    if (!entries.is_array()) {
      return RestFailure{200, "Deserialize", fmt::format("{}: a list without entries", path), {}};
    }
    all.insert(all.end(), entries.begin(), entries.end());
    const std::string next = text(answer.body(), "next_token");
    // A token that does not move on would never come to an end.
    if (next.empty() || next == token || entries.empty()) return all;
    token = next;
  }
}

std::string RestClient::where() const {
  return targets_.empty() ? std::string(default_rest_url)
                          : targets_[current_].origin + targets_[current_].prefix;
}

}  // namespace holdfast::cli
