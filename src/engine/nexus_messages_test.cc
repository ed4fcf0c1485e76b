#include "engine/nexus_messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::engine {
namespace {

namespace v1 = mayastor::v1;
using testing::HasSubstr;

nexus::NexusView view() {
  nexus::NexusView v;
  v.name = "volume";
  v.uuid = Uuid::parse("6e3c062c-293b-46e6-8ab3-ff13c1643437").value();
  v.requested_bytes = 1 << 30;
  v.capacity_bytes = (1 << 30) - (5 << 20);
  v.state = nexus::NexusState::degraded;
  v.rebuilds = 1;
  nexus::ChildView child;
  child.uri = "bdev:///a";
  child.state = nexus::ChildState::degraded;
  child.reason = nexus::ChildReason::out_of_sync;
  child.device_name = "a";
  child.fault_timestamp = WallTime{1'500'000'000'123'456'789};
  child.rebuild.emplace().progress_percent = 40;
  v.children.push_back(child);
  return v;
}

TEST(NexusMessages, ANexusIsShownWithTheSizeThatWasAskedFor) {
  const v1::Nexus n = to_message(view());
  EXPECT_EQ(n.size(), 1u << 30);
  EXPECT_EQ(n.state(), v1::NEXUS_DEGRADED);
  ASSERT_EQ(n.children_size(), 1);
  EXPECT_EQ(n.children(0).state(), v1::CHILD_STATE_DEGRADED);
  EXPECT_EQ(n.children(0).state_reason(), v1::CHILD_STATE_REASON_OUT_OF_SYNC);
  EXPECT_EQ(n.children(0).rebuild_progress(), 40);
  EXPECT_EQ(n.children(0).fault_timestamp().seconds(), 1'500'000'000);
  EXPECT_EQ(n.children(0).fault_timestamp().nanos(), 123'456'789);
}

TEST(NexusMessages, EnumerationsHaveTheContractsNumbers) {
  EXPECT_EQ(static_cast<int>(nexus::NexusState::shutdown), v1::NEXUS_SHUTDOWN);
  EXPECT_EQ(static_cast<int>(nexus::ChildState::faulted), v1::CHILD_STATE_FAULTED);
  EXPECT_EQ(static_cast<int>(nexus::ChildReason::admin_failed), v1::CHILD_STATE_REASON_ADMIN_FAILED);
  EXPECT_EQ(static_cast<int>(nexus::ChildReason::by_client), v1::CHILD_STATE_REASON_BY_CLIENT);
  EXPECT_EQ(static_cast<int>(nexus::RebuildState::completed), v1::Completed);
}

TEST(NexusMessages, HistoriesAreTheNewestOfThoseAfterATime) {
  std::vector<nexus::RebuildRecord> records(5);
  for (int i = 0; i < 5; ++i) {
    records[static_cast<std::size_t>(i)].end_time = WallTime{i + 1};
    records[static_cast<std::size_t>(i)].child_uri = std::to_string(i + 1);
  }
  const auto last_two = to_message(view(), records, 2, WallTime{1});
  ASSERT_EQ(last_two.records_size(), 2);
  EXPECT_EQ(last_two.records(0).child_uri(), "4");
  EXPECT_EQ(last_two.records(1).child_uri(), "5");
  EXPECT_EQ(to_message(view(), records, 9, WallTime{3}).records_size(), 2);
  EXPECT_EQ(to_message(view(), records, 0, WallTime{0}).records_size(), 0);
  EXPECT_EQ(to_message(view(), records, 9, WallTime{5}).records_size(), 0);
}

TEST(NexusMessages, TimesThatAreNoneAreRefused) {
  google::protobuf::Timestamp t;
  t.set_seconds(-1);
  EXPECT_EQ(to_wall_time(t).code(), Errc::invalid_argument);
  t.set_seconds(std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(to_wall_time(t).code(), Errc::invalid_argument);
  t.set_seconds(1);
  t.set_nanos(1'000'000'000);
  EXPECT_EQ(to_wall_time(t).code(), Errc::invalid_argument);
  t.set_nanos(5);
  EXPECT_EQ(to_wall_time(t).value(), WallTime{1'000'000'005});
}

TEST(NexusMessages, RequestsBecomeParameters) {
  v1::CreateNexusRequest r;
  r.set_uuid("6E3C062C-293B-46E6-8AB3-FF13C1643437");
  r.set_size(1 << 20);
  r.add_children("bdev:///a");
  r.set_nexusinfokey("/key");
  const auto params = to_params(r);
  ASSERT_TRUE(params.ok()) << params.error().message();
  EXPECT_EQ(params.value().name, "nexus-6e3c062c-293b-46e6-8ab3-ff13c1643437");
  EXPECT_EQ(params.value().membership_key, "/key");
  EXPECT_EQ(controller_ids(r).min, 1);
  EXPECT_EQ(controller_ids(r).max, 0xffef);
  r.set_mincntlid(5);
  r.set_maxcntlid(6);
  EXPECT_EQ(controller_ids(r).min, 5);
  EXPECT_EQ(controller_ids(r).max, 6);
  r.set_uuid("00000000-0000-0000-0000-000000000000");
  EXPECT_THAT(to_params(r).error().message(), HasSubstr("nil UUID"));
}

}  // namespace
}  // namespace holdfast::engine
