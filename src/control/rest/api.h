// The REST API over a service: from a request to its reply, with authentication, errors and counts.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "control/rest/forwarder.h"
#include "control/rest/home.h"
#include "control/rest/operations.h"
#include "control/rest/watches.h"
#include "http/jwt.h"
#include "http/router.h"
#include "http/server.h"

namespace holdfast::control::rest {

struct ApiOptions {
  std::string version;
  // How long the answer to a change is waited for, and whether operations that take longer by nature get their own
  // minimum.
  std::chrono::milliseconds request_timeout{5000};
  bool minimum_timeouts = true;
  // Outlives the Api. None: everybody may call.
  const http::TokenVerifier* tokens = nullptr;
  ForwarderOptions forwarding;
};

class Api {
 public:
  // `home` outlives it.
  Api(Home& home, ApiOptions options);
  ~Api();
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  // Any thread of a server.
  http::Reply handle(const http::Request& request);
  // What a server refuses by itself.
  static http::Reply refuse(int status, std::string why);
  // Ends what runs by itself. Called before the agent's home stops to answer.
  void stop() { watches_.stop(); }

 private:
  struct Count;

  http::Reply dispatch(const http::Request& request, std::size_t* route);
  http::Reply run(std::size_t route, const http::Request& request, const http::Target& target,
                  const http::PathParameters& path);
  // What needs no token: the documentation and the probes.
  std::optional<http::Reply> open_page(const http::Request& request, const http::Target& target);
  http::Reply metrics();
  Status authenticate(const http::Request& request) const;
  // The leader's reply to a change, while this agent is not it; nothing when the change is for this one to judge.
  std::optional<http::Reply> forward(const Operation& operation, const http::Request& request,
                                     std::chrono::milliseconds patience);

  Home& home_;
  const ApiOptions options_;
  const Forwarder forwarder_;
  Watches watches_;
  const std::vector<Operation> operations_;
  http::Router router_;
  // Those without parameters in the query, where nobody else looks whether some were given.
  std::vector<bool> without_query_;
  std::unique_ptr<Count[]> counts_;  // by operation, and one for everything else
};

// {"details":...,"message":...,"kind":...} with the status of the kind.
http::Reply error_reply(const Error& error);

}  // namespace holdfast::control::rest
