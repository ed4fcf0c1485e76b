// A network of namespaces on one bridge: an address for each engine and for the agent, and the test's own end. Links
// are cut without a word: what is sent is lost, and nobody is told. Made with ip, as root; it goes with the object.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "support/engine_process.h"

namespace holdfast::testing_support {

class Network {
 public:
  // Of a place: engines are 1, 2, ...
  static constexpr std::size_t host = 0;  // the test's own namespace
  explicit Network(std::size_t engines);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  // What is missing here, and then all places are on loopback; empty when the network is there.
  const std::string& lacks() const noexcept { return lacks_; }
  std::size_t agent() const noexcept { return engines_ + 1; }
  Place place(std::size_t i) const;

  // Nothing passes between two places, or from a place to anywhere; and again.
  void cut(std::size_t a, std::size_t b) const;
  void mend(std::size_t a, std::size_t b) const;
  void isolate(std::size_t i) const;
  void rejoin(std::size_t i) const;

 private:
  bool make();
  bool make_place(std::size_t i);
  bool command(const std::string& line);
  std::string address(std::size_t i) const;
  std::string name(std::size_t i) const { return prefix_ + "n" + std::to_string(i); }
  std::string port(std::size_t i) const { return prefix_ + "p" + std::to_string(i); }
  std::string bridge() const { return prefix_ + "br"; }
  // The neighbour table of `from` has a wrong address for `to`.
  void lose(const char* verb, std::size_t from, std::size_t to) const;

  const std::size_t engines_;
  const std::string prefix_;
  const std::string net_;
  std::string lacks_;
};

}  // namespace holdfast::testing_support
