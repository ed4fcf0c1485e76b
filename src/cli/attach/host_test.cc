// What the machine tells, from copies of its files.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "block/uri.h"
#include "cli/attach/kernel_nvme.h"
#include "cli/attach/mounts.h"
#include "cli/attach/system.h"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;
using testing::Optional;

TEST(Mountinfo, TargetsSourcesAndEscapes) {
  const auto mounts = parse_mountinfo(
      "22 1 7:3 / /mnt/my\\040vol rw,relatime shared:1 master:2 - ext4 /dev/loop3 rw\n"
      "23 1 0:44 /sub /mnt/b rw - btrfs /dev/nvme0n1 rw\n"
      "garbage\n");
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_EQ(mounts[0].device_number, "7:3");
  EXPECT_EQ(mounts[0].target, "/mnt/my vol");
  EXPECT_EQ(mounts[0].source, "/dev/loop3");
  EXPECT_EQ(mounts[1].source, "/dev/nvme0n1") << "btrfs shows no device number of its own";
}

TEST(Mounts, ThingsThatAreNoDevices) {
  EXPECT_EQ(device_number("/dev/null").code(), Errc::invalid_argument);
  EXPECT_EQ(device_number("/dev/nothing-there").code(), Errc::not_found);
  EXPECT_TRUE(mounts_of("/dev/nothing-there").empty());
}

class SysTest : public testing::Test {
 protected:
  SysTest() {
    char name[] = "/tmp/holdfast-sys-XXXXXX";
    sys = ::mkdtemp(name);
  }
  ~SysTest() override { fs::remove_all(sys); }

  void file(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(sys + path).parent_path());
    std::ofstream(sys + path) << text << "\n";
  }
  void space(const std::string& name, const std::string& subsystem, const std::string& nsid,
             const std::string& identifier) {
    file("/block/" + name + "/device/subsysnqn", subsystem);
    file("/block/" + name + "/nsid", nsid);
    file("/block/" + name + "/uuid", identifier);
  }
  static nvmf::RemoteConfig remote(const std::string& uri) {
    return nvmf::parse_remote(Uri::parse(uri).value(), nvmf::InitiatorConfig()).value();
  }

  std::string sys;
  static constexpr const char* nqn = "nqn.2019-05.io.openebs:v";
  static constexpr const char* uuid = "6d5a5b0c-3d3f-4d5c-8d0a-0f6f7d3c9a11";
};

TEST_F(SysTest, ANamespaceOfAnotherTargetWithTheSameNameIsNotTaken) {
  space("nvme1n1", nqn, "1", uuid);  // behind nvme1
  file("/class/nvme/nvme1/nvme1c1n1/nsid", "1");
  file("/class/nvme/nvme2/subsysnqn", nqn);
  file("/class/nvme/nvme2/address", "traddr=10.0.0.2,trsvcid=8420");
  const auto r = remote("nvmf://10.0.0.2:8420/nqn.2019-05.io.openebs:v");
  EXPECT_EQ(connect_kernel(r, sys, 0.1).code(), Errc::not_found);
  file("/class/nvme/nvme2/nvme1c2n1/nsid", "1");
  const auto made = connect_kernel(r, sys, 0.1);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made.value().device, "/dev/nvme1n1");
}

TEST_F(SysTest, OfSeveralNamespacesTheFirstIsTaken) {
  for (const char* nsid : {"3", "1", "2"}) space(std::string("nvme1n") + nsid, nqn, nsid, uuid);
  EXPECT_EQ(find_namespace(remote("nvmf://10.0.0.2:8420/nqn.2019-05.io.openebs:v"), sys), "nvme1n1");
}

TEST_F(SysTest, FindsTheNamespaceOfTheSubsystem) {
  space("nvme0n1", "nqn.other", "1", uuid);
  space("nvme1c1n1", nqn, "1", uuid);  // one path of it
  space("nvme1n1p1", nqn, "1", uuid);  // a partition
  EXPECT_EQ(find_namespace(remote("nvmf://h/nqn.2019-05.io.openebs:v"), sys), std::nullopt);
  space("nvme1n1", nqn, "1", uuid);
  EXPECT_THAT(find_namespace(remote("nvmf://h/nqn.2019-05.io.openebs:v"), sys),
              Optional(std::string("nvme1n1")));
}

TEST_F(SysTest, TheNamespaceAskedForAndNoOther) {
  space("nvme1n1", nqn, "1", uuid);
  space("nvme1n2", nqn, "2", "00000000-0000-0000-0000-000000000002");
  const std::string uri = "nvmf://h/nqn.2019-05.io.openebs:v?";
  EXPECT_THAT(find_namespace(remote(uri + "nsid=2"), sys), Optional(std::string("nvme1n2")));
  EXPECT_THAT(find_namespace(remote(uri + "uuid=" + uuid), sys), Optional(std::string("nvme1n1")));
  EXPECT_EQ(find_namespace(remote(uri + "nsid=3"), sys), std::nullopt);
  EXPECT_EQ(find_namespace(remote(uri + "nsid=2&uuid=" + uuid), sys), std::nullopt);
}

TEST_F(SysTest, FindsTheControllerAtTheAddress) {
  file("/class/nvme/nvme0/subsysnqn", nqn);
  file("/class/nvme/nvme0/address", "traddr=10.0.0.1,trsvcid=84201,src_addr=10.0.0.9");
  const auto r = remote("nvmf://10.0.0.1:8420/nqn.2019-05.io.openebs:v");
  EXPECT_EQ(find_controller(r, sys), std::nullopt) << "another port";
  file("/class/nvme/nvme1/subsysnqn", nqn);
  file("/class/nvme/nvme1/address", "traddr=10.0.0.1,trsvcid=8420,src_addr=10.0.0.9");
  EXPECT_THAT(find_controller(r, sys), Optional(std::string("nvme1")));
}

TEST_F(SysTest, DisconnectsByTheKernelsFile) {
  EXPECT_TRUE(disconnect_kernel("nvme9", sys).ok()) << "gone already";
  file("/class/nvme/nvme1/delete_controller", "");
  EXPECT_TRUE(disconnect_kernel("nvme1", sys).ok());
  EXPECT_EQ(read_text(sys + "/class/nvme/nvme1/delete_controller").value().substr(0, 1), "1");
}

TEST(HostIdentity, IsOfThisMachineAndAlwaysTheSame) {
  nvmf::InitiatorConfig a, b;
  set_host_identity(a);
  set_host_identity(b);
  EXPECT_FALSE(a.hostnqn.empty());
  EXPECT_EQ(a.hostnqn, b.hostnqn);
  EXPECT_EQ(a.hostid, b.hostid);
}

}  // namespace
}  // namespace holdfast::cli
