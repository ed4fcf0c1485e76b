// A server that is wrong in one way: it stands between the tool and a real target, and changes what passes.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace holdfast::conformance_test {

using Bytes = std::vector<std::uint8_t>;

inline std::uint16_t get16(const Bytes& b, std::size_t at) {
  return static_cast<std::uint16_t>(b.at(at) | b.at(at + 1) << 8);
}
inline std::uint32_t get32(const Bytes& b, std::size_t at) {
  return get16(b, at) | static_cast<std::uint32_t>(get16(b, at + 2)) << 16;
}
inline void put16(Bytes& b, std::size_t at, unsigned v) {
  b.at(at) = static_cast<std::uint8_t>(v);
  b.at(at + 1) = static_cast<std::uint8_t>(v >> 8);
}
inline void put32(Bytes& b, std::size_t at, std::uint32_t v) {
  put16(b, at, v & 0xffff);
  put16(b, at + 2, v >> 16);
}

// One connection, for a fault to look at and to add to.
struct Relay {
  std::map<std::uint16_t, Bytes> commands;  // submission queue entries by CID, the last of each
  Bytes to_host;                            // sent before the next PDU of the target
  unsigned answers = 0;                     // PDUs of the target so far

  // Of the command that a response or C2HData belongs to; 64 zeroes when there is none.
  Bytes sqe_of(const Bytes& pdu) const;
};

struct Fault {
  const char* name;
  const char* test;  // the case that has to find it
  // PDUs of the target and of the host; one that is emptied is not passed on.
  std::function<void(Relay&, Bytes&)> answer;
  std::function<void(Relay&, Bytes&)> command;
  bool never_ends = false;  // keeps the host's connection when the target ends it
  bool one_sender = false;  // all connections wait for the one whose host does not read
};

class BrokenPeer {
 public:
  BrokenPeer(std::uint16_t target_port, const Fault& fault);
  ~BrokenPeer();
  BrokenPeer(const BrokenPeer&) = delete;
  BrokenPeer& operator=(const BrokenPeer&) = delete;
  std::uint16_t port() const { return port_; }

 private:
  void accept_all();
  void serve(int host);

  const std::uint16_t target_port_;
  const Fault& fault_;
  std::uint16_t port_ = 0;
  int listener_ = -1;
  std::atomic<bool> stopping_{false};
  std::mutex sending_;
  std::vector<std::thread> connections_;
  std::thread acceptor_;
};

}  // namespace holdfast::conformance_test
