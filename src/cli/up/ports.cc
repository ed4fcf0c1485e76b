#include "cli/up/ports.h"

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <vector>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;

// A TCP socket and what `act` makes of it; false also for an address that is none.
template <class Act>
bool with_socket(const std::string& address, std::uint16_t port, Act act) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  if (inet_pton(AF_INET, address.c_str(), &to.sin_addr) != 1) return false;
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool result = act(fd, reinterpret_cast<const sockaddr*>(&to), socklen_t{sizeof to});
  ::close(fd);
  return result;
}

// Inodes of the sockets that listen on the port, from lines of /proc/net/tcp:
// "sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode".
void listening_inodes(const char* table, std::uint16_t port, std::set<std::string>& inodes) {
  std::ifstream file(table);
  std::string line;
  std::getline(file, line);
  const std::string wanted = fmt::format(":{:04X}", port);
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::vector<std::string> w;
    for (std::string word; words >> word;) w.push_back(word);
    constexpr const char* listen = "0A";
    if (w.size() > 9 && w[1].ends_with(wanted) && w[3] == listen) inodes.insert(w[9]);
  }
}

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

bool holds_one_of(const fs::path& process, const std::set<std::string>& inodes) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(process / "fd", error)) {
    const std::string target = fs::read_symlink(entry.path(), error).string();
    if (!target.starts_with("socket:[")) continue;
    if (inodes.contains(target.substr(8, target.size() - 9))) return true;
  }
  return false;
}

}  // namespace

bool port_is_taken(const std::string& address, std::uint16_t port) {
  return with_socket(address, port, [](int fd, const sockaddr* to, socklen_t size) {
    const int on = 1;  // what only lingers is no hindrance
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return ::bind(fd, to, size) != 0;
  });
}

bool port_answers(const std::string& address, std::uint16_t port) {
  return with_socket(address, port,
                     [](int fd, const sockaddr* to, socklen_t size) { return ::connect(fd, to, size) == 0; });
}

std::string port_owner(std::uint16_t port) {
  std::set<std::string> inodes;
  listening_inodes("/proc/net/tcp", port, inodes);
  listening_inodes("/proc/net/tcp6", port, inodes);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string pid = entry.path().filename().string();
    if (inodes.empty() || !is_number(pid) || !holds_one_of(entry.path(), inodes)) continue;
    std::ifstream comm(entry.path() / "comm");
    std::string name;
    std::getline(comm, name);
    return fmt::format("process {} ({})", pid, name);
  }
  return "another process";
}

}  // namespace holdfast::cli
