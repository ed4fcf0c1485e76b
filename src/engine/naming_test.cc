#include "engine/naming.h"

#include <gtest/gtest.h>

namespace holdfast::engine {
namespace {

TEST(Naming, ANexusNamedByAVolumeIsThatVolumeToItsHosts) {
  const Uuid volume = Uuid::parse("5ce00000-0000-4000-8000-000000000001").value();
  const Uuid nexus = Uuid::parse("6d5a5b0c-3d3f-4d5c-8d0a-0f6f7d3c9a11").value();
  EXPECT_EQ(nexus_identity(volume.to_string(), nexus), volume);
  EXPECT_EQ(nexus_identity("5ce00000-0000-4000-8000-00000000000", nexus), nexus);
  EXPECT_EQ(nexus_identity("a mirror", nexus), nexus);
}

TEST(Naming, SerialNumbersAreThoseOfEveryEngineForTheSameUuid) {
  const auto uuid = Uuid::parse("6e3c062c-293b-46e6-8ab3-ff13c1643437").value();
  // echo -n 6e3c062c-293b-46e6-8ab3-ff13c1643437 | sha256sum | cut -c1-17
  EXPECT_EQ(serial_number(uuid), "DCS6d2cc3b168ee9c5e7");
  EXPECT_EQ(serial_number(uuid).size(), 20u);
}

TEST(Naming, SubsystemsAreNamedAfterTheirDevice) {
  const auto uuid = Uuid::parse("6e3c062c-293b-46e6-8ab3-ff13c1643437").value();
  EXPECT_EQ(subsystem_nqn("disk0", uuid), "nqn.2019-05.io.openebs:disk0");
  EXPECT_EQ(subsystem_nqn("/var/disk 0.img", uuid), "nqn.2019-05.io.openebs:var-disk-0.img");
  EXPECT_EQ(subsystem_nqn("///", uuid), "nqn.2019-05.io.openebs:" + uuid.to_string());
  EXPECT_EQ(subsystem_nqn(std::string(201, 'x'), uuid), "nqn.2019-05.io.openebs:" + uuid.to_string());
  EXPECT_EQ(subsystem_nqn(std::string(200, 'x'), uuid).size(), nqn_bytes_max);
}

TEST(Naming, ShareUrisCarryTheUuidOfDevices) {
  const auto uuid = Uuid::parse("6e3c062c-293b-46e6-8ab3-ff13c1643437").value();
  EXPECT_EQ(share_uri({"127.0.0.1", 8420}, "nqn.x:y"), "nvmf://127.0.0.1:8420/nqn.x:y");
  EXPECT_EQ(share_uri({"::1", 8420}, "nqn.x:y", &uuid),
            "nvmf://[::1]:8420/nqn.x:y?uuid=6e3c062c-293b-46e6-8ab3-ff13c1643437");
  EXPECT_EQ(local_uri("disk0", uuid), "bdev:///disk0?uuid=6e3c062c-293b-46e6-8ab3-ff13c1643437");
}

TEST(Naming, NamesFitIntoNqnAndUri) {
  EXPECT_TRUE(check_name("name", "volume-1_a.b:c").ok());
  for (const char* bad : {"", "a b", "a/b", "a?b", "a\nb", "\x80"})
    EXPECT_FALSE(check_name("name", bad).ok()) << bad;
  EXPECT_TRUE(check_name("name", std::string(200, 'x')).ok());
  const auto longer = check_name("nexus name", std::string(201, 'x'));
  ASSERT_FALSE(longer.ok());
  EXPECT_EQ(longer.error().message(), "nexus name has 201 bytes, at most 200 are allowed");
}

TEST(Naming, AllowedHostsAreNqns) {
  EXPECT_TRUE(check_host_nqn("nqn.2014-08.org.nvmexpress:uuid:6e3c062c-293b-46e6-8ab3-ff13c1643437").ok());
  EXPECT_FALSE(check_host_nqn("host").ok());
  EXPECT_FALSE(check_host_nqn("nqn.a b").ok());
  EXPECT_FALSE(check_host_nqn("nqn." + std::string(220, 'x')).ok());
  const Status two = check_host_nqn("nqn.2014-08.org.a:x,nqn.2014-08.org.b:y");
  ASSERT_FALSE(two.ok());
  EXPECT_NE(two.error().message().find("comma"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::engine
