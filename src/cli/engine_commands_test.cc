// Every command of `holdfast engine` against an engine that records what it is asked.
#include "cli/engine_commands.h"

#include <cstdlib>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <yaml-cpp/yaml.h>

#include "base/uuid.h"
#include "cli/engine_client.h"
#include "cli/testing/fake_engine.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* uuid = "6d5a5b0c-3d3f-4d5c-8d0a-0f6f7d3c9a11";

api::Bdev disk() {
  api::Bdev b;
  b.set_name("disk0");
  b.set_uuid(uuid);
  b.set_num_blocks(131072);
  b.set_blk_size(512);
  b.set_claimed_by("nexus");
  b.set_uri("malloc:///disk0?size_mb=64");
  b.set_share_uri("bdev:///disk0");
  return b;
}

api::Nexus volume() {
  api::Nexus n;
  n.set_name("vol");
  n.set_uuid(uuid);
  n.set_size(1 << 30);
  n.set_state(api::NEXUS_DEGRADED);
  n.set_rebuilds(1);
  n.set_device_uri("nvmf://10.0.0.1:8420/nqn.2019-05.io.openebs:vol");
  auto* a = n.add_children();
  a->set_uri("bdev:///a");
  a->set_state(api::CHILD_STATE_ONLINE);
  a->set_rebuild_progress(-1);
  auto* b = n.add_children();
  b->set_uri("nvmf://b/nqn");
  b->set_state(api::CHILD_STATE_DEGRADED);
  b->set_state_reason(api::CHILD_STATE_REASON_OUT_OF_SYNC);
  b->set_rebuild_progress(42);
  b->set_has_io_log(true);
  b->mutable_fault_timestamp()->set_seconds(1'700'000'000);
  return n;
}

// A handler that keeps the request and answers OK with nothing.
template <class Request, class Answer>
Handler<Request, Answer> keep(Request& request) {
  return [&request](const Request& r, Answer&) {
    request = r;
    return grpc::Status::OK;
  };
}

class BdevCommandsTest : public EngineCommandsTest {};

TEST_F(BdevCommandsTest, ListShowsTheColumnsInOrder) {
  bdevs.on_List = [](const auto&, auto& answer) {
    *answer.add_bdevs() = disk();
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"bdev", "list"}), 0);
  EXPECT_EQ(
      out,
      "UUID                                  NUM_BLOCKS  BLK_SIZE  CAPACITY  CLAIMED_BY  NAME   SHARE_URI\n"
      "6d5a5b0c-3d3f-4d5c-8d0a-0f6f7d3c9a11      131072       512  67108864  nexus       disk0  "
      "bdev:///disk0\n");
  EXPECT_EQ(run({"bdev", "list", "-u", "i", "-q"}), 0);
  EXPECT_THAT(out, HasSubstr("64 MiB"));
}

TEST_F(BdevCommandsTest, JsonAndYamlCarryTheWholeMessage) {
  bdevs.on_List = [](const auto&, auto& answer) {
    *answer.add_bdevs() = disk();
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"bdev", "list", "-o", "json"}), 0);
  const auto tree = json::parse(out);
  EXPECT_EQ(tree["bdevs"][0]["num_blocks"], "131072");
  EXPECT_EQ(tree["bdevs"][0]["claimed"], false) << "defaults are shown, too";
  EXPECT_EQ(tree["bdevs"][0]["product_name"], "");
  EXPECT_EQ(run({"-o", "yaml", "bdev", "list"}), 0);
  EXPECT_EQ(YAML::Load(out)["bdevs"][0]["blk_size"].as<int>(), 512);
}

TEST_F(BdevCommandsTest, CreateAndShare) {
  bdevs.on_Create = [](const auto& request, auto& answer) {
    EXPECT_EQ(request.uri(), "malloc:///disk0?size_mb=64");
    *answer.mutable_bdev() = disk();
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"bdev", "create", "malloc:///disk0?size_mb=64"}), 0);
  EXPECT_EQ(out, "disk0\n");

  api::BdevShareRequest request;
  bdevs.on_Share = [&request](const auto& r, auto& answer) {
    request = r;
    answer.mutable_bdev()->set_share_uri("nvmf://h:8420/nqn");
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"bdev", "share", "disk0", "--allowed-host", "nqn.a", "--allowed-host", "nqn.b"}), 0);
  EXPECT_EQ(out, "nvmf://h:8420/nqn\n");
  EXPECT_EQ(request.name(), "disk0");
  EXPECT_EQ(request.protocol(), api::NVMF);
  EXPECT_THAT(request.allowed_hosts(), ElementsAre("nqn.a", "nqn.b"));
  EXPECT_EQ(run({"bdev", "share", "disk0", "nvmf"}), 0);
  EXPECT_EQ(run({"bdev", "share", "disk0", "iscsi"}), exit_usage);
}

TEST_F(BdevCommandsTest, DestroyTakesTheNameOrTheUri) {
  api::DestroyBdevRequest request;
  bdevs.on_Destroy = keep<api::DestroyBdevRequest, google::protobuf::Empty>(request);
  bdevs.on_List = [](const auto&, auto& answer) {
    *answer.add_bdevs() = disk();
    return grpc::Status::OK;
  };
  for (const char* target : {"disk0", "malloc:///disk0?size_mb=64"}) {
    request.Clear();
    EXPECT_EQ(run({"bdev", "destroy", target}), 0);
    EXPECT_EQ(request.uri(), "malloc:///disk0?size_mb=64");
    EXPECT_EQ(out, "disk0\n");
  }
  EXPECT_EQ(run({"bdev", "destroy", "disk1"}), exit_failed);
  EXPECT_THAT(err, HasSubstr("error: NOT_FOUND: device 'disk1' does not exist"));
  EXPECT_EQ(run({"bdev", "destroy", "malloc:///other"}), 0) << "the engine knows best";
  EXPECT_EQ(request.uri(), "malloc:///other");
}

TEST_F(BdevCommandsTest, DestroyEndsTheExportFirst) {
  api::BdevUnshareRequest unshared;
  api::DestroyBdevRequest destroyed;
  auto bdev = disk();
  bdevs.on_Unshare = keep<api::BdevUnshareRequest, google::protobuf::Empty>(unshared);
  bdevs.on_Destroy = keep<api::DestroyBdevRequest, google::protobuf::Empty>(destroyed);
  bdevs.on_List = [&bdev](const auto&, auto& answer) {
    *answer.add_bdevs() = bdev;
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"bdev", "destroy", "disk0"}), 0);
  EXPECT_EQ(unshared.name(), "") << "there is none";
  bdev.set_share_uri("nvmf://h/nqn");
  EXPECT_EQ(run({"bdev", "destroy", "disk0"}), 0);
  EXPECT_EQ(unshared.name(), "disk0");
  EXPECT_EQ(destroyed.uri(), bdev.uri());
}

class NexusCommandsTest : public EngineCommandsTest {
 protected:
  NexusCommandsTest() {
    nexuses.on_ListNexus = [](const auto&, auto& answer) {
      *answer.add_nexus_list() = volume();
      return grpc::Status::OK;
    };
  }
};

TEST_F(NexusCommandsTest, CreatePassesEverythingOn) {
  api::CreateNexusRequest request;
  nexuses.on_CreateNexus = [&request](const auto& r, auto& answer) {
    request = r;
    answer.mutable_nexus()->set_uuid(r.uuid());
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"nexus", "create", uuid, "1GiB", "bdev:///a", "nvmf://b/nqn"}), 0);
  EXPECT_EQ(out, std::string(uuid) + "\n");
  EXPECT_EQ(request.name(), uuid);
  EXPECT_EQ(request.size(), 1u << 30);
  EXPECT_EQ(request.mincntlid(), 1u);
  EXPECT_EQ(request.maxcntlid(), 65519u);
  EXPECT_THAT(request.children(), ElementsAre("bdev:///a", "nvmf://b/nqn"));
  EXPECT_FALSE(request.has_resvtype());

  EXPECT_EQ(run({"nexus",
                 "create",
                 uuid,
                 "4096",
                 "bdev:///a",
                 "--name",
                 "vol",
                 "--min-cntlid",
                 "5",
                 "--max-cntlid",
                 "6",
                 "--resv-key",
                 "0x12345678",
                 "--preempt-key",
                 "7",
                 "--resv-type",
                 "ExclusiveAccess",
                 "--preempt-policy",
                 "Holder",
                 "--nexus-info-key",
                 "/k"}),
            0);
  EXPECT_EQ(request.name(), "vol");
  EXPECT_EQ(request.mincntlid(), 5u);
  EXPECT_EQ(request.maxcntlid(), 6u);
  EXPECT_EQ(request.resvkey(), 0x12345678u);
  EXPECT_EQ(request.preemptkey(), 7u);
  EXPECT_EQ(request.resvtype(), api::ExclusiveAccess);
  EXPECT_EQ(request.preemptpolicy(), api::Holder);
  EXPECT_EQ(request.nexusinfokey(), "/k");
}

TEST_F(NexusCommandsTest, CreateMakesUpAUuid) {
  api::CreateNexusRequest request;
  nexuses.on_CreateNexus = keep<api::CreateNexusRequest, api::CreateNexusResponse>(request);
  EXPECT_EQ(run({"nexus", "create", "", "1GiB", "bdev:///a"}), 0);
  EXPECT_TRUE(Uuid::parse(request.uuid()).ok());
  const auto first = request.uuid();
  EXPECT_EQ(run({"nexus", "create", "", "1GiB", "bdev:///a"}), 0);
  EXPECT_NE(first, request.uuid());
}

TEST_F(NexusCommandsTest, ListWithAndWithoutChildren) {
  EXPECT_EQ(run({"nexus", "list"}), 0);
  EXPECT_EQ(out,
            "NAME  UUID                                        SIZE  STATE     REBUILDS  PATH\n"
            "vol   6d5a5b0c-3d3f-4d5c-8d0a-0f6f7d3c9a11  1073741824  degraded         1  "
            "nvmf://10.0.0.1:8420/nqn.2019-05.io.openebs:vol\n");
  EXPECT_EQ(run({"nexus", "list", "-c"}), 0);
  EXPECT_THAT(out, HasSubstr("CHILDREN"));
  EXPECT_THAT(out, HasSubstr("bdev:///a,nvmf://b/nqn"));
}

TEST_F(NexusCommandsTest, Children) {
  for (const char* target : {uuid, "vol"}) {
    EXPECT_EQ(run({"nexus", "children", target}), 0);
    EXPECT_EQ(out,
              "NAME          STATE     REASON       PROGRESS  LOG  LAST_FAULTED_AT\n"
              "bdev:///a     online    -                   -  no   -\n"
              "nvmf://b/nqn  degraded  out_of_sync       42%  yes  2023-11-14T22:13:20Z\n");
  }
  EXPECT_EQ(run({"nexus", "children", uuid, "-o", "json"}), 0);
  EXPECT_EQ(json::parse(out)[1]["state_reason"], "CHILD_STATE_REASON_OUT_OF_SYNC");
  EXPECT_EQ(run({"nexus", "children", "nobody"}), exit_failed);
  EXPECT_THAT(err, HasSubstr("NOT_FOUND"));
}

TEST_F(NexusCommandsTest, PublishPrintsWhereToConnect) {
  api::PublishNexusRequest request;
  nexuses.on_PublishNexus = [&request](const auto& r, auto& answer) {
    request = r;
    *answer.mutable_nexus() = volume();
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"nexus", "publish", uuid, "--allowed-host", "nqn.h", "-p", "nvmf"}), 0);
  EXPECT_EQ(out, "nvmf://10.0.0.1:8420/nqn.2019-05.io.openebs:vol\n");
  EXPECT_EQ(request.share(), api::NVMF);
  EXPECT_EQ(request.key(), "");
  EXPECT_THAT(request.allowed_hosts(), ElementsAre("nqn.h"));
  EXPECT_EQ(run({"nexus", "publish", uuid, "0123456789abcdef"}), 0);
  EXPECT_EQ(request.key(), "0123456789abcdef");
}

TEST_F(NexusCommandsTest, CallsThatTakeAUuidOnly) {
  api::DestroyNexusRequest destroyed;
  api::ShutdownNexusRequest stopped;
  api::UnpublishNexusRequest unpublished;
  nexuses.on_DestroyNexus = keep<api::DestroyNexusRequest, google::protobuf::Empty>(destroyed);
  nexuses.on_ShutdownNexus = keep<api::ShutdownNexusRequest, api::ShutdownNexusResponse>(stopped);
  nexuses.on_UnpublishNexus = keep<api::UnpublishNexusRequest, api::UnpublishNexusResponse>(unpublished);
  for (const char* verb : {"destroy", "shutdown", "unpublish"}) {
    EXPECT_EQ(run({"nexus", verb, uuid}), 0);
    EXPECT_EQ(out, std::string(uuid) + "\n");
  }
  EXPECT_EQ(destroyed.uuid(), uuid);
  EXPECT_EQ(stopped.uuid(), uuid);
  EXPECT_EQ(unpublished.uuid(), uuid);
  EXPECT_EQ(run({"nexus", "destroy", uuid, "-o", "json"}), 0);
  EXPECT_EQ(json::parse(out), json::object());
}

TEST_F(NexusCommandsTest, AnaState) {
  nexuses.on_GetNvmeAnaState = [](const auto&, auto& answer) {
    answer.set_ana_state(api::NVME_ANA_NON_OPTIMIZED_STATE);
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"nexus", "ana_state", uuid}), 0);
  EXPECT_EQ(out, "non_optimized\n");
  api::SetNvmeAnaStateRequest request;
  nexuses.on_SetNvmeAnaState = keep<api::SetNvmeAnaStateRequest, api::SetNvmeAnaStateResponse>(request);
  EXPECT_EQ(run({"nexus", "ana_state", uuid, "inaccessible"}), 0);
  EXPECT_EQ(request.ana_state(), api::NVME_ANA_INACCESSIBLE_STATE);
  EXPECT_EQ(run({"nexus", "ana_state", uuid, "sleepy"}), exit_usage);
}

TEST_F(NexusCommandsTest, AddRemoveResize) {
  api::AddChildNexusRequest added;
  nexuses.on_AddChildNexus = keep<api::AddChildNexusRequest, api::AddChildNexusResponse>(added);
  EXPECT_EQ(run({"nexus", "add", uuid, "bdev:///c"}), 0);
  EXPECT_FALSE(added.norebuild());
  EXPECT_EQ(run({"nexus", "add", uuid, "bdev:///c", "norebuild"}), 0);
  EXPECT_TRUE(added.norebuild());
  EXPECT_EQ(run({"nexus", "add", uuid, "bdev:///c", "false"}), 0);
  EXPECT_FALSE(added.norebuild());

  api::RemoveChildNexusRequest removed;
  nexuses.on_RemoveChildNexus = keep<api::RemoveChildNexusRequest, api::RemoveChildNexusResponse>(removed);
  EXPECT_EQ(run({"nexus", "remove", uuid, "bdev:///c"}), 0);
  EXPECT_EQ(removed.uri(), "bdev:///c");

  api::ResizeNexusRequest resized;
  nexuses.on_ResizeNexus = keep<api::ResizeNexusRequest, api::ResizeNexusResponse>(resized);
  EXPECT_EQ(run({"nexus", "resize", uuid, "2 GiB"}), 0);
  EXPECT_EQ(resized.requested_size(), 2ull << 30);
}

TEST_F(NexusCommandsTest, ChildOperations) {
  api::ChildOperationRequest request;
  nexuses.on_ChildOperation = keep<api::ChildOperationRequest, api::ChildOperationResponse>(request);
  const std::vector<std::pair<const char*, api::ChildAction>> actions = {
      {"offline", api::Offline}, {"online", api::Online}, {"retire", api::FaultIOError}};
  for (const auto& [verb, action] : actions) {
    EXPECT_EQ(run({"nexus", "child", verb, uuid, "bdev:///a"}), 0);
    EXPECT_EQ(request.action(), action);
    EXPECT_EQ(request.nexus_uuid(), uuid);
    EXPECT_EQ(out, "bdev:///a\n");
  }
  api::FaultNexusChildRequest faulted;
  nexuses.on_FaultNexusChild = keep<api::FaultNexusChildRequest, api::FaultNexusChildResponse>(faulted);
  EXPECT_EQ(run({"nexus", "child", "fault", uuid, "bdev:///a"}), 0);
  EXPECT_EQ(faulted.uri(), "bdev:///a");
}

class HostCommandsTest : public EngineCommandsTest {};

TEST_F(HostCommandsTest, DeviceList) {
  host.on_ListBlockDevices = [](const api::ListBlockDevicesRequest& request, auto& answer) {
    if (!request.all()) return grpc::Status::OK;
    auto* d = answer.add_devices();
    d->set_devname("/dev/sda1");
    d->set_devtype("partition");
    d->set_size(2048);
    d->mutable_partition()->set_scheme("gpt");
    d->mutable_partition()->set_typeid_("0fc63daf");
    d->mutable_filesystem()->set_fstype("ext4");
    d->mutable_filesystem()->add_mountpoints("/data");
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"device", "list"}), 0);
  EXPECT_THAT(err, HasSubstr("no available devices"));
  EXPECT_EQ(run({"device", "list", "-a"}), 0);
  EXPECT_THAT(out, HasSubstr("gpt:0fc63daf  ext4"));
  EXPECT_THAT(out, HasSubstr("\"/data\""));
  EXPECT_THAT(out, HasSubstr("2048"));
  EXPECT_EQ(run({"device", "list", "-a", "-u", "i"}), 0);
  EXPECT_THAT(out, HasSubstr("1 MiB"));
}

TEST_F(HostCommandsTest, PerfControllersInfo) {
  host.on_GetMayastorResourceUsage = [](const auto&, auto& answer) {
    answer.mutable_usage()->set_vol_csw(77);
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"perf", "resource"}), 0);
  EXPECT_THAT(out, HasSubstr("77"));

  host.on_ListNvmeControllers = [](const auto&, auto& answer) {
    auto* c = answer.add_controllers();
    c->set_name("h:8420/nqnn1");
    c->set_state(api::RUNNING);
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"controller", "list"}), 0);
  EXPECT_THAT(out, HasSubstr("running"));

  host.on_StatNvmeController = [](const auto& request, auto& answer) {
    EXPECT_EQ(request.name(), "c1");
    answer.mutable_stats()->set_num_read_ops(5);
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"controller", "stats", "c1"}), 0);
  EXPECT_THAT(out, HasSubstr("c1"));

  host.on_GetMayastorInfo = [](const auto&, auto& answer) {
    answer.set_version("v9");
    answer.mutable_registration_info()->set_id("node-1");
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"info"}), 0);
  EXPECT_THAT(out, HasSubstr("node-1  v9"));
}

class ErrorsTest : public EngineCommandsTest {};

TEST_F(ErrorsTest, TheCodeAndTheTextReachTheUser) {
  nexuses.on_DestroyNexus = [](const auto&, auto&) {
    return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "it is published");
  };
  EXPECT_EQ(run({"nexus", "destroy", uuid}), exit_failed);
  EXPECT_EQ(out, "");
  EXPECT_EQ(err, "error: FAILED_PRECONDITION: it is published\n");
}

TEST_F(ErrorsTest, UnimplementedHasAHint) {
  EXPECT_EQ(run({"info"}), exit_failed);
  EXPECT_THAT(
      err, HasSubstr("error: UNIMPLEMENTED: GetMayastorInfo is not faked\nhint: the engine at unix:/tmp/"));
}

TEST_F(ErrorsTest, NoEngineThereHasAHint) {
  EXPECT_EQ(run({"info", "--bind", "http://127.0.0.1:1"}), exit_usage) << "--bind is given once";
  std::ostringstream o, e;
  Tool tool(o, e, false);
  add_engine_commands(tool);
  EXPECT_EQ(tool.run({"engine", "-b", "http://127.0.0.1:1", "info"}), exit_failed);
  EXPECT_THAT(e.str(), HasSubstr("error: UNAVAILABLE: "));
  EXPECT_THAT(e.str(), HasSubstr("hint: is the engine running at http://127.0.0.1:1?"));
}

TEST_F(ErrorsTest, SilenceEndsWithTheDeadline) {
  host.on_GetMayastorInfo = [](const auto&, auto&) {
    sleep(1);
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"info", "--timeout", "0.1"}), exit_failed);
  EXPECT_THAT(err, HasSubstr("error: DEADLINE_EXCEEDED: "));
  EXPECT_THAT(err, HasSubstr("longer with --timeout"));
}

TEST_F(ErrorsTest, TheAddressIsCheckedBeforeAnythingIsDone) {
  for (const char* bad : {"https://h:1", "http://", "http://h:1/path", ""}) {
    std::ostringstream o, e;
    Tool tool(o, e, false);
    add_engine_commands(tool);
    EXPECT_EQ(tool.run({"engine", "-b", bad, "info"}), exit_usage) << bad;
  }
}

TEST_F(ErrorsTest, TheEnvironmentNamesTheEngine) {
  setenv("HOLDFAST_BIND", "http://127.0.0.1:2", 1);
  std::ostringstream o, e;
  Tool tool(o, e, false);
  add_engine_commands(tool);
  EXPECT_EQ(tool.run({"engine", "info"}), exit_failed);
  EXPECT_THAT(e.str(), HasSubstr("http://127.0.0.1:2?"));
  unsetenv("HOLDFAST_BIND");
}

TEST_F(ErrorsTest, VerboseTellsTheCall) {
  host.on_GetMayastorInfo = [](const auto&, auto& answer) {
    answer.set_version("v9");
    return grpc::Status::OK;
  };
  EXPECT_EQ(run({"info", "-vv"}), 0);
  EXPECT_THAT(err, HasSubstr("google.protobuf.Empty"));
  EXPECT_THAT(err, HasSubstr(": OK after "));
  EXPECT_THAT(err, HasSubstr("\"version\": \"v9\""));
}

TEST(GrpcTarget, FormsOfAnAddress) {
  EXPECT_EQ(grpc_target("http://127.0.0.1:10124").value(), "127.0.0.1:10124");
  EXPECT_EQ(grpc_target("node2").value(), "node2:10124");
  EXPECT_EQ(grpc_target("http://node2/").value(), "node2:10124");
  EXPECT_EQ(grpc_target("http://[::1]:99").value(), "[::1]:99");
  EXPECT_EQ(grpc_target("[::1]").value(), "[::1]:10124");
  EXPECT_EQ(grpc_target("fe80::1").value(), "[fe80::1]:10124");
  EXPECT_EQ(grpc_target("unix:/run/x").value(), "unix:/run/x");
}

}  // namespace
}  // namespace holdfast::cli
