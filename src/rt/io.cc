#include "rt/io.h"

#include <charconv>

namespace holdfast {

std::string Endpoint::to_string() const {
  return (is_ipv6() ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

Result<Endpoint> parse_host_port(std::string_view text, std::uint16_t default_port) {
  const auto bad = [&](const char* why) {
    return Error(Errc::invalid_argument,
                 "'" + std::string(text.substr(0, 255)) + "' is not HOST[:PORT]: " + why);
  };
  std::string_view host = text;
  std::string_view port;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos) return bad("']' is missing");
    host = text.substr(1, close - 1);
    port = text.substr(close + 1);
    if (!port.empty() && !port.starts_with(':')) return bad("unexpected text after ']'");
  } else if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    if (text.find(':', colon + 1) != std::string_view::npos) return bad("put an IPv6 address in brackets");
    host = text.substr(0, colon);
    port = text.substr(colon);
  }
  if (host.empty() || host.size() > 253) return bad("the host is empty or too long");
  Endpoint e{std::string(host), default_port};
  if (port.empty()) return e;
  port.remove_prefix(1);
  const auto [end, ec] = std::from_chars(port.data(), port.data() + port.size(), e.port);
  if (ec != std::errc{} || end != port.data() + port.size()) return bad("the port must be 0 to 65535");
  return e;
}

}  // namespace holdfast
