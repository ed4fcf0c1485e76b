#include "e2e/lossy_link.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "support/engine_process.h"
#include "support/leftovers.h"

namespace holdfast::e2e {
namespace {

// Of each direction. A queue of a few segments: what comes on top is dropped.
constexpr const char* shaper = "root tbf rate 200mbit burst 16kb limit 24kb";

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words{"/usr/bin/env"};  // finds the program
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

std::string output_of(const std::string& line) {
  std::string text;
  std::array<char, 512> piece;
  FILE* pipe = ::popen(line.c_str(), "r");
  if (pipe == nullptr) return text;
  while (std::fgets(piece.data(), piece.size(), pipe) != nullptr) text += piece.data();
  ::pclose(pipe);
  return text;
}

}  // namespace

LossyLink::LossyLink()
    : name_(testing_support::network_prefix()),
      near_("hfn" + std::to_string(::getpid())),
      far_("hff" + std::to_string(::getpid())) {
  const std::string net = "10.213." + std::to_string(::getpid() % 250);
  near_address_ = net + ".1";
  if (::geteuid() != 0) {
    lacks_ = "root";
    return;
  }
  testing_support::remove_leftovers();
  const std::string inside = "ip -n " + name_ + " ";
  const bool made = command("ip netns add " + name_) &&
                    command("ip link add " + near_ + " type veth peer name " + far_ + " netns " + name_) &&
                    command("ip addr add " + near_address_ + "/30 dev " + near_) &&
                    command(inside + "addr add " + net + ".2/30 dev " + far_) &&
                    command("ip link set " + near_ + " up") && command(inside + "link set " + far_ + " up") &&
                    command("tc qdisc add dev " + near_ + " " + shaper) &&
                    command("tc -n " + name_ + " qdisc add dev " + far_ + " " + shaper);
  if (made) lacks_.clear();
}

LossyLink::~LossyLink() {
  if (::geteuid() != 0) return;
  testing_support::run({"/usr/bin/env", "ip", "link", "del", near_});
  testing_support::run({"/usr/bin/env", "ip", "netns", "del", name_});
}

bool LossyLink::command(const std::string& line) {
  const auto done = testing_support::run(words_of(line));
  if (done.status == 0) return true;
  lacks_ = "'" + line + "': " + done.output;
  return false;
}

bool LossyLink::enter() const {
  const int fd = ::open(("/var/run/netns/" + name_).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool entered = ::setns(fd, CLONE_NEWNET) == 0;
  ::close(fd);
  return entered;
}

void LossyLink::black_out(std::chrono::milliseconds time) const {
  testing_support::run({"/usr/bin/env", "ip", "-n", name_, "link", "set", far_, "down"});
  std::this_thread::sleep_for(time);
  testing_support::run({"/usr/bin/env", "ip", "-n", name_, "link", "set", far_, "up"});
}

std::uint64_t LossyLink::dropped() const {
  std::uint64_t sum = 0;
  for (const std::string& show :
       {"tc -s qdisc show dev " + near_, "tc -n " + name_ + " -s qdisc show dev " + far_}) {
    const std::string text = output_of(show);
    const auto at = text.find("dropped ");
    if (at != std::string::npos) sum += std::strtoull(text.c_str() + at + 8, nullptr, 10);
  }
  return sum;
}

}  // namespace holdfast::e2e
