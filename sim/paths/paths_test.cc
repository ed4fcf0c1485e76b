#include "sim/paths/paths.h"

#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "sim/paths/covered.h"
#include "sim/paths/run.h"

namespace holdfast::sim {
namespace {

TEST(Paths, ASeedReplaysExactly) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const RunResult first = run_paths_seed(seed, false);
    const RunResult again = run_paths_seed(seed, false);
    EXPECT_EQ(first.trace, again.trace) << "seed " << seed;
    EXPECT_EQ(first.steps, again.steps) << "seed " << seed;
  }
}

// Two PDUs of data and one of the set-up, cut anywhere. What a digest covers is the header with its digest, or the data
// with its digest; never what lies between them, or what has no digest.
TEST(CoveredBytes, AreThoseOfTheDigestThatThereIs) {
  constexpr std::uint32_t hlen = 24, pdo = 32, plen = 32 + 16 + 4;
  nvme::CommonHeader set_up{};
  set_up.hlen = 128;
  set_up.plen = 128;
  for (const bool header : {true, false}) {
    nvme::CommonHeader ch{};
    ch.flags = header ? nvme::flag_header_digest : nvme::flag_data_digest;
    ch.hlen = hlen;
    ch.pdo = pdo;
    ch.plen = plen;
    std::vector<std::byte> stream(128 + 2 * plen);
    store(std::span(stream), set_up);
    store(std::span(stream).subspan(128), ch);
    store(std::span(stream).subspan(128 + plen), ch);
    for (std::size_t step = 1; step < 70; ++step) {
      CoveredBytes covered(header, !header);
      std::set<std::size_t> found;
      for (std::size_t at = 0; at < stream.size(); at += step) {
        const auto piece = std::span(stream).subspan(at, std::min(step, stream.size() - at));
        for (const auto& [first, end] : covered.places(1, 0, piece)) {
          for (std::size_t i = first; i < end; ++i) found.insert(at + i);
        }
      }
      for (std::size_t i = 0; i < stream.size(); ++i) {
        const std::size_t in_pdu = i < 128 ? i : (i - 128) % plen;
        // The first bytes of a header are left alone: what they belong to is known only after them.
        const bool wanted = i >= 128 && (header ? in_pdu >= 7 && in_pdu < hlen + 4 : in_pdu >= pdo);
        EXPECT_EQ(found.contains(i), wanted) << "byte " << i << " in steps of " << step;
      }
    }
  }
}

TEST(Paths, FirstSeedsPass) {
  std::uint64_t operations = 0;
  unsigned faults = 0;
  std::uint64_t damaged = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    const RunResult r = run_paths_seed(seed, false);
    EXPECT_TRUE(r.failures.empty()) << describe_paths_seed(seed) << r.failures.front();
    operations += r.operations;
    faults += r.faults;
    damaged += r.damaged;
  }
  EXPECT_GT(operations, 5000u);
  EXPECT_GT(faults, 200u);
  EXPECT_GT(damaged, 100u);
}

// Seeds that once failed.
TEST(Paths, SeedsThatOnceFailed) {
  for (const auto& [seed, found] :
       {std::pair(3958, "stalls in a row held a write for longer than KATO, and it undid a newer one")}) {
    const RunResult r = run_paths_seed(static_cast<std::uint64_t>(seed), false);
    EXPECT_TRUE(r.failures.empty()) << found << '\n' << r.failures.front();
  }
}

}  // namespace
}  // namespace holdfast::sim
