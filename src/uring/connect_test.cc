// Connecting where nobody listens.
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include "uring/testing/stream_pair.h"

namespace holdfast::uring {
namespace {

constexpr std::uint16_t port = 20000;

Task<Errc> connect_to(Reactor& r, std::string address) {
  Endpoint to{std::move(address), port};
  auto connected = co_await r.connect(std::move(to), r.now() + 5s, StopToken());
  if (connected.ok()) {
    connected.value()->shutdown();
    co_await connected.value()->close();
  }
  co_return connected.code();
}

// A network namespace whose only port for those who connect is the one that they connect to: the kernel connects
// the socket to itself.
bool enter_network_of_one_port() {
  if (::unshare(CLONE_NEWNET) != 0 || std::system("ip link set lo up") != 0) return false;
  std::ofstream range("/proc/sys/net/ipv4/ip_local_port_range");
  range << port << ' ' << port << std::flush;
  return range.good();
}

class SelfConnect : public testing::TestWithParam<const char*> {};

TEST_P(SelfConnect, ASocketIsNotItsOwnPeerHoweverTheAddressIsWritten) {
  if (::geteuid() != 0) GTEST_SKIP() << "a network namespace needs root";
  bool entered = false;
  std::thread elsewhere([&entered] {  // the namespace is that of a thread
    entered = enter_network_of_one_port();
    if (!entered) return;
    auto rt = test::make_runtime();
    EXPECT_EQ(rt->run(connect_to(rt->home(), GetParam())), Errc::not_connected);
  });
  elsewhere.join();
  if (!entered) GTEST_SKIP() << "this machine allows no network namespaces";
}

INSTANTIATE_TEST_SUITE_P(Loopback, SelfConnect,
                         testing::Values("127.0.0.1", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"));

}  // namespace
}  // namespace holdfast::uring
