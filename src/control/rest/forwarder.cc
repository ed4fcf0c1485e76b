#include "control/rest/forwarder.h"

#include <memory>

#include <fmt/format.h>
#include <httplib.h>

#include "control/rest/api.h"
#include "http/client.h"

namespace holdfast::control::rest {
namespace {

constexpr std::chrono::seconds connect_patience{2};
// The leader's own patience ends first, and its answer says more.
constexpr std::chrono::seconds slack{2};

http::Reply no_answer(const std::string& leader, httplib::Error error) {
  const bool never_sent = error == httplib::Error::Connection || error == httplib::Error::ConnectionTimeout ||
                          error == httplib::Error::SSLConnection ||
                          error == httplib::Error::SSLLoadingCerts ||
                          error == httplib::Error::SSLServerVerification;
  const std::string why = httplib::to_string(error);
  if (never_sent) {
    return error_reply(refusal(
        Kind::unavailable,
        fmt::format("this agent does not lead, and the leader at {} cannot be reached ({}): try again",
                    leader, why)));
  }
  return error_reply(refusal(
      Kind::timeout,
      fmt::format("the leader at {} did not answer ({}): it may have done what was asked", leader, why)));
}

}  // namespace

http::Reply Forwarder::send(const std::string& leader, const http::Request& request,
                            std::chrono::milliseconds patience) const {
  const auto made = http::client_of(leader, options_.certificate_file, options_.key_file);
  if (made == nullptr || !made->is_valid()) return no_answer(leader, httplib::Error::Connection);
  httplib::ClientImpl& client = *made;
  if (!options_.authority_file.empty()) client.set_ca_cert_path(options_.authority_file);
  client.enable_server_certificate_verification(options_.verify);
  client.set_connection_timeout(connect_patience);
  client.set_write_timeout(connect_patience);
  client.set_read_timeout(patience + slack);
  client.set_url_encode(false);  // the target goes on as it came
  httplib::Request out;
  out.method = request.method;
  out.path = request.target;
  out.body = request.body;
  out.set_header(header, options_.agent);
  if (!request.authorization.empty()) out.set_header("Authorization", request.authorization);
  if (!request.accept.empty()) out.set_header("Accept", request.accept);
  if (!request.content_type.empty()) out.set_header("Content-Type", request.content_type);
  const auto answer = client.send(out);
  if (!answer) return no_answer(leader, answer.error());
  http::Reply reply;
  reply.status = answer->status;
  reply.body = answer->body;
  const std::string type = answer->get_header_value("Content-Type");
  if (!type.empty()) reply.content_type = type;
  for (const char* kept : {"Allow", "WWW-Authenticate"}) {
    if (answer->has_header(kept)) reply.headers.emplace_back(kept, answer->get_header_value(kept));
  }
  return reply;
}

}  // namespace holdfast::control::rest
