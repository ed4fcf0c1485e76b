// The agent's REST API (api/openapi.yaml) from the caller's side: one request, one answer, and an error that
// says what to do. Tries each address given; goes on to the leader that an agent names.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/rest/json_view.h"

namespace holdfast::cli {

class Output;

inline constexpr const char* default_rest_url = "http://127.0.0.1:8081";

struct RestOptions {
  std::vector<std::string> urls;  // tried in order; empty: $HOLDFAST_REST (commas), else default_rest_url
  double timeout_seconds = 0;     // for one request; 0: 10, and 60 where something changes
  std::string token;              // bearer token; empty: $HOLDFAST_TOKEN
  std::string token_file;         // holds the token; empty: $HOLDFAST_TOKEN_FILE
  std::string ca_file;            // PEM certificates to trust; empty: $HOLDFAST_CA_FILE, else the system's
  bool insecure = false;          // any certificate will do
  bool anonymous = false;         // no token, whatever the environment has: it is no agent that is asked
};

// An answer that is not a success, or none at all. kind: of the API's RestJsonError, or Unreachable.
struct RestFailure {
  int status = 0;  // of HTTP; 0: no answer
  std::string kind;
  std::string text;
  std::string hint;  // what to do about it; may be empty
};
inline constexpr const char* kind_unreachable = "Unreachable";

class [[nodiscard]] RestAnswer {
 public:
  RestAnswer(Tree body) : body_(std::move(body)) {}
  RestAnswer(RestFailure failure) : failure_(std::move(failure)) {}

  bool ok() const noexcept { return !failure_; }
  const Tree& body() const noexcept { return body_; }  // null for an answer without content
  const RestFailure& failure() const noexcept { return *failure_; }

 private:
  Tree body_;
  std::optional<RestFailure> failure_;
};

// An address taken apart. Errors: invalid_argument, naming the text.
struct RestUrl {
  std::string origin;  // "http://host:port", "https://host:port"
  std::string prefix;  // of every path; without a slash at its end
};
Result<RestUrl> parse_rest_url(const std::string& url);

// A path segment or query value as a URL may carry it.
std::string url_encoded(std::string_view text);

class RestClient {
 public:
  // `log` (may be null) is told each request when it is verbose.
  explicit RestClient(RestOptions options, Output* log = nullptr);

  // `path` begins with "/v0/" or the like. `body` null: none.
  RestAnswer call(std::string_view method, const std::string& path, const Tree& body = Tree());
  RestAnswer get(const std::string& path) { return call("GET", path); }
  RestAnswer put(const std::string& path, const Tree& body = Tree()) { return call("PUT", path, body); }
  RestAnswer del(const std::string& path) { return call("DELETE", path); }
  // All entries of a paged list, as one array; `page` entries a request.
  RestAnswer get_all(const std::string& path, unsigned page);
  // An answer that is no JSON, as it is: in the form of a JSON string.
  RestAnswer get_text(const std::string& path);
  // Reads an answer without end, piece by piece, until `piece` returns false or the server ends it.
  // `idle_seconds` without a byte is an error (Timeout).
  RestAnswer stream(const std::string& path, double idle_seconds,
                    const std::function<bool(std::string_view piece)>& piece);

  // Where the last answer came from, or the first address.
  std::string where() const;

 private:
  struct Request;
  struct Reply;

  std::optional<RestFailure> prepare();
  Reply send(const RestUrl& to, const Request& request);
  Reply tell_and_send(const RestUrl& to, const Request& request);
  // Nothing when it leads itself, or knows nobody who does.
  std::optional<RestUrl> leader_named_by(const RestUrl& follower);
  RestAnswer run(const Request& request);
  RestAnswer understand(const Request& request, const Reply& reply);
  RestFailure unreachable(const Request& request, const Reply& reply) const;
  double patience_seconds(const Request& request) const noexcept;

  RestOptions options_;
  Output* log_;
  std::vector<RestUrl> targets_;  // empty until the first request
  std::size_t current_ = 0;       // of targets_: the one that answered last
};

// What somebody who gets this kind of error may do, where there is something to do in general.
std::string remedy(const RestFailure& failure, std::string_view path);

}  // namespace holdfast::cli
