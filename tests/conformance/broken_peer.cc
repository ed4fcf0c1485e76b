#include "conformance/broken_peer.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace holdfast::conformance_test {
namespace {

constexpr std::uint8_t command_type = 0x04, response_type = 0x05, c2h_data_type = 0x07;

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = htons(port);
  return at;
}

void send_all(int fd, const Bytes& bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t n = ::send(fd, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
    if (n <= 0) return;
    at += static_cast<std::size_t>(n);
  }
}

// False: the peer ended its stream.
bool receive(int fd, Bytes& into) {
  std::uint8_t piece[65536];
  const ssize_t n = ::recv(fd, piece, sizeof piece, 0);
  if (n <= 0) return false;
  into.insert(into.end(), piece, piece + n);
  return true;
}

// The next whole PDU; what cannot be one is passed on as it is.
Bytes take_pdu(Bytes& from) {
  Bytes pdu;
  if (from.size() < 8) return pdu;
  const std::uint32_t plen = get32(from, 4);
  const bool is_pdu = plen >= 8 && plen <= (8u << 20);
  if (is_pdu && from.size() < plen) return pdu;
  const auto end = from.begin() + static_cast<std::ptrdiff_t>(is_pdu ? plen : from.size());
  pdu.assign(from.begin(), end);
  from.erase(from.begin(), end);
  return pdu;
}

}  // namespace

Bytes Relay::sqe_of(const Bytes& pdu) const {
  if (pdu.size() < 24 || (pdu[0] != response_type && pdu[0] != c2h_data_type)) return Bytes(64);
  const auto it = commands.find(get16(pdu, pdu[0] == response_type ? 20 : 8));
  return it == commands.end() ? Bytes(64) : it->second;
}

BrokenPeer::BrokenPeer(std::uint16_t target_port, const Fault& fault)
    : target_port_(target_port), fault_(fault), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in at = loopback(0);
  socklen_t size = sizeof at;
  EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&at), size), 0);
  EXPECT_EQ(::listen(listener_, 64), 0);
  EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size), 0);
  port_ = ntohs(at.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

BrokenPeer::~BrokenPeer() {
  stopping_ = true;
  acceptor_.join();
  for (auto& c : connections_) c.join();
  ::close(listener_);
}

void BrokenPeer::accept_all() {
  while (!stopping_) {
    pollfd wanted{listener_, POLLIN, 0};
    if (::poll(&wanted, 1, 20) != 1) continue;
    const int host = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (host >= 0) connections_.emplace_back([this, host] { serve(host); });
  }
}

void BrokenPeer::serve(int host) {
  const int target = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  ::setsockopt(host, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  ::setsockopt(target, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  sockaddr_in at = loopback(target_port_);
  bool host_there = true, target_there = ::connect(target, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0;
  Relay relay;
  Bytes from_host, from_target;
  while (!stopping_ && host_there && (target_there || fault_.never_ends)) {
    pollfd wanted[2] = {{host, POLLIN, 0}, {target_there ? target : -1, POLLIN, 0}};
    if (::poll(wanted, 2, 20) <= 0) continue;
    if (wanted[0].revents != 0) host_there = receive(host, from_host);
    if (wanted[1].revents != 0) target_there = receive(target, from_target);
    for (Bytes pdu; !(pdu = take_pdu(from_host)).empty();) {
      if (pdu[0] == command_type && pdu.size() >= 72)
        relay.commands[get16(pdu, 10)] = Bytes(pdu.begin() + 8, pdu.begin() + 72);
      if (fault_.command) fault_.command(relay, pdu);
      send_all(target, pdu);
    }
    send_all(host, std::exchange(relay.to_host, Bytes()));
    for (Bytes pdu; !(pdu = take_pdu(from_target)).empty();) {
      ++relay.answers;
      if (fault_.answer) fault_.answer(relay, pdu);
      send_all(host, std::exchange(relay.to_host, Bytes()));
      std::unique_lock lock(sending_, std::defer_lock);
      if (fault_.one_sender) lock.lock();
      send_all(host, pdu);
    }
  }
  ::close(target);
  ::close(host);
}

}  // namespace holdfast::conformance_test
