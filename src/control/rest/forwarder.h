// Forwarder: a change that reaches an agent which does not lead goes on to the one that does, as it came.
#pragma once

#include <chrono>
#include <string>

#include "http/server.h"

namespace holdfast::control::rest {

struct ForwarderOptions {
  std::string
      agent;  // this one's name: it stands in the header of what is forwarded, and nobody forwards that again
  // PEM files. Whose certificates the leader may show (empty: the host's own authorities), and our own, for leaders
  // that ask for one.
  std::string authority_file;
  std::string certificate_file;
  std::string key_file;
  bool verify = true;  // the leader's certificate; false where certificates prove nothing anyway
};

class Forwarder {
 public:
  // The request's header that says who has forwarded it.
  static constexpr const char* header = "Holdfast-Forwarded-By";

  explicit Forwarder(ForwarderOptions options) : options_(std::move(options)) {}

  // What the agent at this URL answers. Without an answer: 503 when it was certainly not reached, 408 when the
  // outcome is not known. Blocks for `patience`; any thread.
  http::Reply send(const std::string& leader, const http::Request& request,
                   std::chrono::milliseconds patience) const;

 private:
  const ForwarderOptions options_;
};

}  // namespace holdfast::control::rest
