#include "support/network.h"

#include <sstream>

#include <gtest/gtest.h>
#include <unistd.h>

#include "support/leftovers.h"

namespace holdfast::testing_support {
namespace {

Finished run_line(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words{"/usr/bin/env"};  // finds the program
  for (std::string word; in >> word;) words.push_back(word);
  return run(words);
}

}  // namespace

Network::Network(std::size_t engines)
    : engines_(engines), prefix_(network_prefix()), net_("10.214." + std::to_string(::getpid() % 250) + ".") {
  if (::geteuid() != 0) {
    lacks_ = "root";
    return;
  }
  remove_leftovers();
  if (make()) lacks_.clear();
}

Network::~Network() {
  if (::geteuid() != 0) return;
  for (std::size_t i = 1; i <= agent(); ++i) {
    run_line("ip link del " + port(i));
    run_line("ip netns del " + name(i));
  }
  run_line("ip link del " + bridge());
}

bool Network::make() {
  const bool made = command("ip link add " + bridge() + " type bridge") &&
                    command("ip addr add " + address(host) + "/24 dev " + bridge()) &&
                    command("ip link set " + bridge() + " up");
  if (!made) return false;
  for (std::size_t i = 1; i <= agent(); ++i) {
    if (!make_place(i)) return false;
  }
  return true;
}

bool Network::make_place(std::size_t i) {
  const std::string inside = "ip -n " + name(i) + " ";
  return command("ip netns add " + name(i)) &&
         command("ip link add " + port(i) + " type veth peer name eth0 netns " + name(i)) &&
         command(inside + "addr add " + address(i) + "/24 dev eth0") && command(inside + "link set lo up") &&
         command(inside + "link set eth0 up") && command("ip link set " + port(i) + " master " + bridge()) &&
         command("ip link set " + port(i) + " up");
}

bool Network::command(const std::string& line) {
  const auto done = run_line(line);
  if (done.status == 0) return true;
  lacks_ = "'" + line + "': " + done.output;
  return false;
}

std::string Network::address(std::size_t i) const { return net_ + std::to_string(i == host ? 254 : i); }

Place Network::place(std::size_t i) const {
  if (!lacks_.empty()) return {};
  return {address(i), name(i)};
}

void Network::cut(std::size_t a, std::size_t b) const {
  lose("replace", a, b);
  lose("replace", b, a);
}

void Network::mend(std::size_t a, std::size_t b) const {
  lose("del", a, b);
  lose("del", b, a);
}

void Network::lose(const char* verb, std::size_t from, std::size_t to) const {
  const std::string what = std::string("neigh ") + verb + " " + address(to);
  const std::string nobody = std::string(verb) == "replace" ? " lladdr 02:00:00:00:00:01 nud permanent" : "";
  const auto done = run_line(from == host ? "ip " + what + nobody + " dev " + bridge()
                                          : "ip -n " + name(from) + " " + what + nobody + " dev eth0");
  EXPECT_EQ(done.status, 0) << done.output;
}

void Network::isolate(std::size_t i) const {
  const auto done = run_line("ip link set " + port(i) + " down");
  EXPECT_EQ(done.status, 0) << done.output;
}

void Network::rejoin(std::size_t i) const {
  const auto done = run_line("ip link set " + port(i) + " up");
  EXPECT_EQ(done.status, 0) << done.output;
}

}  // namespace holdfast::testing_support
