// A pool of 100 TiB of sparse files in a real engine: made, filled with volumes and snapshots over gRPC, there again
// after the engine was killed and after it was stopped, and gone when it is deleted. Times and memory are printed.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "api/pool_api_test.h"

namespace holdfast::api_test {
namespace {

constexpr std::uint64_t TB = MB << 20;
constexpr unsigned disks = 10;

class LargePoolApi : public PoolApiTest {
 protected:
  static std::string numbered(const char* kind, unsigned n) {
    char text[64];
    std::snprintf(text, sizeof text, "%s-0000-4000-8000-%012u", kind, n);
    return text;
  }
  static std::string volume(unsigned n) { return numbered("aaaaaaaa", n); }
  static std::string snapshot(unsigned n) { return numbered("bbbbbbbb", n); }

  // Prints how long it took since the last call.
  void lap(const char* what) {
    const auto now = std::chrono::steady_clock::now();
    std::printf("%s: %.2f s\n", what, std::chrono::duration<double>(now - last_).count());
    last_ = std::chrono::steady_clock::now();
  }

  void make(unsigned volumes, unsigned snapshots) {
    std::vector<std::string> paths;
    for (unsigned d = 0; d < disks; ++d) paths.push_back(disk("large" + std::to_string(d), 10 * TB));
    lap("sparse files");
    const auto made = create_pool("p1", paths, pool_uuid);
    ASSERT_TRUE(made.status.ok()) << made.status.error_message();
    lap("create the pool");
    for (unsigned n = 0; n < volumes; ++n) {
      const auto request = replica_request("v" + std::to_string(n), volume(n), 100 * TB / volumes);
      const auto created = create(request);
      ASSERT_TRUE(created.status.ok()) << created.status.error_message();
    }
    lap("create volumes");
    for (unsigned n = 0; n < snapshots; ++n) {
      const auto taken = snap(volume(n % 10), "s" + std::to_string(n), snapshot(n));
      ASSERT_TRUE(taken.status.ok()) << taken.status.error_message();
    }
    lap("take snapshots");
  }
  void expect_all(unsigned volumes, unsigned snapshots) {
    EXPECT_EQ(replicas().size(), volumes + snapshots);  // a snapshot is a replica as well
    EXPECT_EQ(this->snapshots().size(), snapshots);
    const v1::Pool p = pool("p1");
    EXPECT_EQ(p.state(), v1::POOL_ONLINE);
    EXPECT_GT(p.capacity(), 99 * TB);
    EXPECT_LT(p.used(), TB / 100);
    lap("list everything");
    std::printf("memory of the engine: %.0f MiB\n", static_cast<double>(engine_.resident_bytes()) / MB);
  }
  void remove(unsigned volumes, unsigned snapshots) {
    for (unsigned n = 0; n < snapshots; ++n) EXPECT_OK(destroy_snapshot(snapshot(n)));
    for (unsigned n = 0; n < volumes; ++n) EXPECT_OK(destroy_replica(volume(n)));
    lap("delete everything");
    EXPECT_TRUE(replicas().empty());
    EXPECT_TRUE(this->snapshots().empty());
  }
  void live(unsigned volumes, unsigned snapshots) {
    const std::uint64_t before = engine_.resident_bytes();
    ASSERT_NO_FATAL_FAILURE(make(volumes, snapshots));
    ASSERT_NO_FATAL_FAILURE(expect_all(volumes, snapshots));
    // 4 GiB of counts if every cluster had one; what is not used takes no memory.
    EXPECT_LT(engine_.resident_bytes(), before + 512 * MB);
    restart(true);
    lap("killed, started again");
    expect_all(volumes, snapshots);
    restart(false);
    lap("stopped, started again");
    expect_all(volumes, snapshots);
    remove(volumes, snapshots);
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

TEST_F(LargePoolApi, AHundredTebibytes) { live(200, 20); }

// The figures of docs/performance.md.
TEST_F(LargePoolApi, DISABLED_AHundredTebibytesWithAThousandVolumes) { live(1000, 100); }

}  // namespace
}  // namespace holdfast::api_test
