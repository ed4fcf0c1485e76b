#include "http/client.h"

#include <httplib.h>

#include "rt/io.h"

namespace holdfast::http {

// Not by the URL: the library would take one with letters in an IPv6 address, or with a path, for the name of a host.
std::unique_ptr<httplib::ClientImpl> client_of(const std::string& url, const std::string& certificate_file,
                                               const std::string& key_file) {
  const bool tls = url.starts_with("https://");
  const auto scheme = url.find("://");
  const std::string rest = scheme == std::string::npos ? url : url.substr(scheme + 3);
  const auto at = parse_host_port(rest.substr(0, rest.find('/')), tls ? 443 : 80);
  if (!at.ok()) return nullptr;
  const Endpoint& to = at.value();
  if (!tls) return std::make_unique<httplib::ClientImpl>(to.address, to.port);
  return std::make_unique<httplib::SSLClient>(to.address, to.port, certificate_file, key_file);
}

}  // namespace holdfast::http
