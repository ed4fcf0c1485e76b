#include <deque>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "cli/testing/fake_engine.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

constexpr const char* uuid = "6d5a5b0c-3d3f-4d5c-8d0a-0f6f7d3c9a11";
constexpr const char* uri = "nvmf://b/nqn";

class RebuildCommandsTest : public EngineCommandsTest {};

TEST_F(RebuildCommandsTest, StartStopPauseResumeNameTheChild) {
  std::vector<std::string> asked;
  auto note = [&asked](const char* what) {
    return [&asked, what](const auto& request, auto& answer) {
      asked.push_back(std::string(what) + " " + request.nexus_uuid() + " " + request.uri());
      answer.mutable_nexus()->set_uuid(request.nexus_uuid());
      return grpc::Status::OK;
    };
  };
  nexuses.on_StartRebuild = note("start");
  nexuses.on_StopRebuild = note("stop");
  nexuses.on_PauseRebuild = note("pause");
  nexuses.on_ResumeRebuild = note("resume");
  for (const std::string verb : {"start", "stop", "pause", "resume"}) {
    EXPECT_EQ(run({"rebuild", verb, uuid, uri}), 0);
    EXPECT_EQ(out, std::string(uri) + "\n");
    EXPECT_EQ(asked.back(), verb + " " + uuid + " " + uri);
  }
  EXPECT_EQ(run({"rebuild", "start", uuid}), exit_usage);
}

TEST_F(RebuildCommandsTest, StateStatsProgress) {
  nexuses.on_GetRebuildState = [](const auto&, auto& answer) {
    answer.set_state("running");
    return grpc::Status::OK;
  };
  nexuses.on_GetRebuildStats = [](const auto&, auto& answer) {
    answer.set_blocks_total(1000);
    answer.set_blocks_recovered(330);
    answer.set_progress(33);
    answer.set_is_partial(true);
    answer.mutable_start_time()->set_seconds(1'700'000'000);
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"rebuild", "state", uuid, uri}), 0);
  EXPECT_EQ(out, "STATE\nrunning\n");
  EXPECT_EQ(run({"rebuild", "stats", uuid, uri}), 0);
  EXPECT_THAT(
      out, HasSubstr("TOTAL  RECOVERED  TRANSFERRED  REMAINING  PROGRESS  BLK_PER_TASK  BLK_SIZE  PARTIAL"));
  EXPECT_THAT(out, HasSubstr("2023-11-14T22:13:20Z"));
  EXPECT_EQ(run({"rebuild", "progress", uuid, uri, "-q"}), 0);
  EXPECT_EQ(out, "33%\n");
}

TEST_F(RebuildCommandsTest, History) {
  nexuses.on_GetRebuildHistory = [](const auto& request, auto& answer) {
    answer.set_uuid(request.uuid());
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"rebuild", "history", uuid}), 0);
  EXPECT_THAT(err, HasSubstr("no rebuild has ended yet"));
  nexuses.on_GetRebuildHistory = [](const auto&, auto& answer) {
    auto* r = answer.add_records();
    r->set_child_uri("child");
    r->set_src_uri("source");
    r->set_state(api::Completed);
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"rebuild", "history", uuid}), 0);
  EXPECT_THAT(out, HasSubstr("child  source"));
  EXPECT_THAT(out, HasSubstr("completed"));
}

// An engine whose rebuild advances by one step at every look.
class WatchTest : public EngineCommandsTest {
 protected:
  struct Step {
    api::ChildState state = api::CHILD_STATE_DEGRADED;
    api::ChildStateReason reason = api::CHILD_STATE_REASON_OUT_OF_SYNC;
    int blocks = -1;  // copied of `todo`; -1: there is no rebuild
  };

  WatchTest() {
    nexuses.on_ListNexus = [this](const api::ListNexusOptions& request, api::ListNexusResponse& answer) {
      EXPECT_EQ(request.uuid().value(), uuid);
      if (steps.size() > 1 && looked) steps.pop_front();
      looked = true;
      auto* n = answer.add_nexus_list();
      n->set_uuid(uuid);
      auto* a = n->add_children();
      a->set_uri("bdev:///a");
      a->set_state(api::CHILD_STATE_ONLINE);
      if (gone) return grpc::Status::OK;
      auto* b = n->add_children();
      b->set_uri(uri);
      b->set_state(steps.front().state);
      b->set_state_reason(steps.front().reason);
      return grpc::Status::OK;
    };
    nexuses.on_GetRebuildStats = [this](const auto&, auto& answer) {
      if (steps.front().blocks < 0) return grpc::Status(grpc::StatusCode::NOT_FOUND, "no rebuild");
      answer.set_blocks_total(1000);
      answer.set_block_size(4096);
      const auto copied = static_cast<std::uint64_t>(steps.front().blocks);
      answer.set_blocks_transferred(copied);
      answer.set_blocks_remaining(todo - copied);
      answer.set_blocks_recovered(1000 - todo + copied);
      answer.set_is_partial(todo < 1000);
      return grpc::Status::OK;
    };
    nexuses.on_GetRebuildState = [](const auto&, auto& answer) {
      answer.set_state("running");
      return grpc::Status::OK;
    };
  }

  int watch(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"rebuild", "watch", uuid, "--interval", "0.02"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  static Step running(int blocks) {
    return {api::CHILD_STATE_DEGRADED, api::CHILD_STATE_REASON_OUT_OF_SYNC, blocks};
  }
  static Step in_sync() { return {api::CHILD_STATE_ONLINE, api::CHILD_STATE_REASON_NONE, -1}; }

  std::deque<Step> steps;
  std::uint64_t todo = 1000;  // blocks, of 1000
  bool looked = false;
  bool gone = false;
};

TEST_F(WatchTest, EndsWhenEverythingIsInSync) {
  steps = {running(0), running(250), running(500), running(999), in_sync()};
  EXPECT_EQ(watch(), 0);
  EXPECT_EQ(out, "bdev:///a  in sync\nnvmf://b/nqn  in sync\n");
  EXPECT_THAT(err, HasSubstr(" 50 %"));
  EXPECT_THAT(err, HasSubstr("in sync after "));
  EXPECT_THAT(err, Not(HasSubstr("\r"))) << "a log file gets whole lines";
}

TEST_F(WatchTest, DrawsOneLineOnATerminal) {
  live = true;
  steps = {running(0), running(500), in_sync()};
  EXPECT_EQ(watch(), 0);
  EXPECT_THAT(err, HasSubstr("\r\x1b[Krebuild [###############---------------]  50 %  1.95 MiB of 3.91 MiB"));
}

TEST_F(WatchTest, APartialRebuildIsMeasuredByWhatWasMissed) {
  live = true;
  todo = 100;
  steps = {running(0), running(50), in_sync()};
  EXPECT_EQ(watch(), 0);
  EXPECT_THAT(err, HasSubstr(" 50 %  200 KiB of 400 KiB (only what was missed)"));
}

TEST_F(WatchTest, NothingToDoIsSuccess) {
  steps = {in_sync()};
  EXPECT_EQ(watch(), 0);
  EXPECT_THAT(err, Not(HasSubstr("after")));
}

TEST_F(WatchTest, AFaultedChildIsAFailureThatNamesTheReason) {
  steps = {running(100), {api::CHILD_STATE_FAULTED, api::CHILD_STATE_REASON_REBUILD_FAILED, -1}};
  EXPECT_EQ(watch(), exit_failed);
  EXPECT_THAT(err, HasSubstr("nvmf://b/nqn is faulted (rebuild_failed)"));
}

TEST_F(WatchTest, AChildTakenOfflineIsAFailure) {
  steps = {{api::CHILD_STATE_DEGRADED, api::CHILD_STATE_REASON_BY_CLIENT, -1}};
  EXPECT_EQ(watch(), exit_failed);
  EXPECT_THAT(err, HasSubstr("was taken offline"));
}

TEST_F(WatchTest, ARebuildThatIsNotThereYetIsWaitedFor) {
  steps = {running(-1), running(-1), running(700), in_sync()};
  EXPECT_EQ(watch(), 0);
}

TEST_F(WatchTest, OnlyTheChildNamed) {
  steps = {running(100), in_sync()};
  EXPECT_EQ(watch({uri}), 0);
  EXPECT_EQ(out, "nvmf://b/nqn  in sync\n");
  EXPECT_EQ(watch({"bdev:///a"}), 0);
  EXPECT_EQ(watch({"bdev:///x"}), exit_failed);
  EXPECT_THAT(err, HasSubstr("'bdev:///x' is no child of nexus"));
}

TEST_F(WatchTest, AChildThatIsRemovedMeanwhileIsAFailure) {
  steps = {running(100), running(200), running(300)};
  nexuses.on_GetRebuildStats = [this](const auto&, auto&) {
    gone = true;
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "");
  };
  EXPECT_EQ(watch(), exit_failed);
  EXPECT_THAT(err, HasSubstr("is no longer a child of the nexus"));
}

TEST_F(WatchTest, JsonIsTheNexusAtTheEnd) {
  steps = {running(100), in_sync()};
  EXPECT_EQ(watch({"-o", "json"}), 0);
  EXPECT_EQ(json::parse(out)["children"][1]["state"], "CHILD_STATE_ONLINE");
}

}  // namespace
}  // namespace holdfast::cli
