// A network link that loses and delays packets: a network namespace with a pair of virtual Ethernet ends, both with
// a token bucket whose queue is too short for what TCP sends, so that packets are dropped and the rest waits. Made with
// ip and tc, as root; it goes with the object.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace holdfast::e2e {

class LossyLink {
 public:
  LossyLink();
  ~LossyLink();
  LossyLink(const LossyLink&) = delete;
  LossyLink& operator=(const LossyLink&) = delete;

  // What is missing here; empty when the link is there.
  const std::string& lacks() const noexcept { return lacks_; }
  // The address of the end in the test's own namespace.
  const std::string& near_address() const noexcept { return near_address_; }
  // The calling thread is at the far end from now on, with everything that it opens.
  bool enter() const;
  // Nothing passes for so long.
  void black_out(std::chrono::milliseconds time) const;
  // Packets dropped by both ends' queues so far.
  std::uint64_t dropped() const;

 private:
  bool command(const std::string& line);

  const std::string name_, near_, far_;
  std::string near_address_;
  std::string lacks_;
};

}  // namespace holdfast::e2e
