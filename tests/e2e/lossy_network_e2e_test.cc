// Goal: a network that loses and delays packets, and that is gone for moments, costs time and nothing else: nothing is
// lost, nothing is done twice, no operation fails. Method: verified reads and writes over a link that drops.
#include <chrono>
#include <thread>

#include <gtest/gtest.h>

#include "e2e/lossy_link.h"
#include "e2e/verified_load.h"
#include "support/engine_process.h"

namespace holdfast::e2e {
namespace {

using std::chrono::milliseconds;
using testing_support::EngineProcess;
using testing_support::ScratchDir;

std::string at(std::string uri, const std::string& address) {
  const std::string loopback = "127.0.0.1";
  return uri.replace(uri.find(loopback), loopback.size(), address);
}

void verified_io(const std::string& parameters) {
  const LossyLink link;
  if (!link.lacks().empty()) GTEST_SKIP() << "no link that loses packets can be made here: " << link.lacks();
  ScratchDir scratch;
  EngineProcess engine(scratch, "far", {"--nvmf-ip", link.near_address()});
  ASSERT_TRUE(engine.start());
  std::string uri = at(testing_support::share_malloc(engine, "disk", 32), link.near_address());
  if (!parameters.empty()) uri += (uri.find('?') == std::string::npos ? "?" : "&") + parameters;
  LoadOutcome outcome;
  std::thread host([&] {
    if (link.enter()) {
      VerifiedLoad load(uri, {});
      std::this_thread::sleep_for(milliseconds(8000));
      outcome = load.finish();
    } else {
      outcome.wrong = "the namespace cannot be entered";
    }
  });
  for (const int pause : {1000, 500, 700, 300}) {
    std::this_thread::sleep_for(milliseconds(pause));
    link.black_out(milliseconds(pause / 2));
  }
  host.join();
  const std::uint64_t dropped = link.dropped();
  const std::uint64_t operations = outcome.reads + outcome.writes;
  std::printf("  %lu operations, %lu packets dropped, 4 times nothing passed\n",
              static_cast<unsigned long>(operations), static_cast<unsigned long>(dropped));
  EXPECT_EQ(outcome.wrong, "");
  EXPECT_EQ(outcome.lost, 0u) << outcome.last_error;
  EXPECT_GT(outcome.reads, 256u);  // so many places are read at the end
  EXPECT_GT(outcome.writes, 20u);
  EXPECT_GT(dropped, 0u);
}

TEST(LossyNetwork, NothingIsLostAndNothingIsDoneTwice) { verified_io(""); }

TEST(LossyNetwork, WithDigests) { verified_io("hdgst&ddgst"); }

}  // namespace
}  // namespace holdfast::e2e
