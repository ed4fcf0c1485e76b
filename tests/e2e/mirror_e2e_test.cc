// A mirror over three engines, while they are killed, stopped and restarted.
#include <chrono>
#include <map>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/prng.h"
#include "e2e/cluster.h"
#include "e2e/remote_disk.h"

namespace holdfast::e2e {
namespace {

using testing::HasSubstr;

constexpr std::size_t piece = 64 << 10;

class Mirror : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(cluster_.start());
    for (std::size_t i = 0; i < Cluster::replicas; ++i) cluster_.open_replica(i);
    ASSERT_EQ(cluster_.create_nexus().state(), v1::NEXUS_ONLINE);
    uri_ = cluster_.publish();
  }
  void TearDown() override {
    if (HasFailure()) std::printf("%s", cluster_.logs().c_str());
  }
  // Writes `count` pieces at places drawn from the seed, each with its next generation.
  void write_some(RemoteDisk& disk, int count) {
    for (int i = 0; i < count; ++i) {
      const std::uint64_t offset = prng_.below(Cluster::volume_bytes / piece) * piece;
      const auto status = disk.write(offset, pattern(offset, ++written_[offset], piece));
      ASSERT_TRUE(status.ok()) << "at " << offset << ": " << status.error().message();
    }
  }
  void verify(RemoteDisk& disk) {
    for (const auto& [offset, generation] : written_) {
      auto got = disk.read(offset, piece);
      ASSERT_TRUE(got.ok()) << "at " << offset << ": " << got.error().message();
      ASSERT_TRUE(got.value() == pattern(offset, generation, piece)) << "at " << offset;
    }
  }
  void expect_equal_replicas() {
    EXPECT_EQ(cluster_.first_difference(0, 1), -1);
    EXPECT_EQ(cluster_.first_difference(0, 2), -1);
  }

  Cluster cluster_;
  std::string uri_;
  Prng prng_{42};
  std::map<std::uint64_t, std::uint32_t> written_;
};

TEST_F(Mirror, AKilledEngineCostsNothingAndHeals) {
  RemoteDisk disk(uri_);
  const auto opened = disk.opened();
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  EXPECT_EQ(disk.size_bytes(), Cluster::volume_bytes);
  write_some(disk, 200);
  verify(disk);
  const auto killed = std::chrono::steady_clock::now();
  cluster_.engine(1).kill();
  write_some(disk, 200);
  EXPECT_TRUE(cluster_.wait_for_state(v1::NEXUS_DEGRADED));
  // A refused connection tells that the engine is gone: sooner than the latency budget of 3 s.
  EXPECT_LT(std::chrono::steady_clock::now() - killed, std::chrono::milliseconds(2500));
  verify(disk);
  ASSERT_TRUE(cluster_.engine(1).start());
  cluster_.open_replica(1);
  const auto returned = std::chrono::steady_clock::now();
  const auto status = cluster_.online(1);
  EXPECT_LT(std::chrono::steady_clock::now() - returned, std::chrono::seconds(5));
  ASSERT_TRUE(status.ok()) << status.error_message();
  write_some(disk, 50);
  ASSERT_TRUE(cluster_.wait_for_state(v1::NEXUS_ONLINE));
  ASSERT_FALSE(cluster_.history().empty());
  EXPECT_TRUE(cluster_.history().back().is_partial()) << "more was copied than what was missed";
  verify(disk);
  EXPECT_TRUE(disk.flush().ok());
  expect_equal_replicas();
}

TEST_F(Mirror, ACleanStopIsRecordedAndNothingIsCopiedAfterIt) {
  {
    RemoteDisk disk(uri_);
    ASSERT_TRUE(disk.opened().ok());
    write_some(disk, 20);
  }
  EXPECT_THAT(cluster_.record(), HasSubstr("\"clean_shutdown\":false"));
  cluster_.engine(0).signal(SIGTERM);
  EXPECT_EQ(cluster_.engine(0).wait_exit(std::chrono::seconds(15)), 0);
  EXPECT_THAT(cluster_.record(), HasSubstr("\"clean_shutdown\":true"));
  expect_equal_replicas();
  ASSERT_TRUE(cluster_.engine(0).start());
  cluster_.open_replica(0);
  EXPECT_EQ(cluster_.create_nexus().state(), v1::NEXUS_ONLINE);
  EXPECT_TRUE(cluster_.history().empty());
  RemoteDisk disk(cluster_.publish());
  ASSERT_TRUE(disk.opened().ok());
  verify(disk);
}

TEST_F(Mirror, AfterAKilledNexusTheReplicasBecomeEqualAgain) {
  {
    RemoteDisk disk(uri_);
    ASSERT_TRUE(disk.opened().ok());
    write_some(disk, 50);
    cluster_.engine(0).kill();
  }
  EXPECT_THAT(cluster_.record(), HasSubstr("\"clean_shutdown\":false"));
  ASSERT_TRUE(cluster_.engine(0).start());
  cluster_.open_replica(0);
  cluster_.create_nexus();
  RemoteDisk disk(cluster_.publish());
  ASSERT_TRUE(disk.opened().ok());
  verify(disk);
  ASSERT_TRUE(cluster_.wait_for_state(v1::NEXUS_ONLINE));
  verify(disk);
  EXPECT_TRUE(disk.flush().ok());
  expect_equal_replicas();
}

}  // namespace
}  // namespace holdfast::e2e
