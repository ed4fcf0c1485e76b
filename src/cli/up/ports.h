// Who listens on TCP ports of this machine.
#pragma once

#include <cstdint>
#include <string>

namespace holdfast::cli {

// Nothing can be bound to address:port now.
bool port_is_taken(const std::string& address, std::uint16_t port);
// Something accepts connections at address:port.
bool port_answers(const std::string& address, std::uint16_t port);
// "process 4711 (holdfast-engine)", or "another process" when it cannot be seen from here.
std::string port_owner(std::uint16_t port);

}  // namespace holdfast::cli
