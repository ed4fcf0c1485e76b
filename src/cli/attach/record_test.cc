#include "cli/attach/record.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "block/uri.h"

namespace holdfast::cli {
namespace {

using testing::HasSubstr;

class RecordTest : public testing::Test {
 protected:
  RecordTest() {
    char name[] = "/tmp/holdfast-record-XXXXXX";
    directory = ::mkdtemp(name);
  }
  ~RecordTest() override { std::filesystem::remove_all(directory); }

  static Attachment sample() {
    Attachment a;
    a.id = "0011aabb";
    a.uri = "nvmf://h:8420/nqn.2019-05.io.openebs:v?grace_ms=5";
    a.device = "/dev/loop7";
    a.pid = 4711;
    a.state = "online";
    return a;
  }
  static std::string id_of(const char* uri) {
    return attachment_id(nvmf::parse_remote(Uri::parse(uri).value(), nvmf::InitiatorConfig()).value());
  }

  std::string directory;
  AttachStore store() const { return AttachStore(directory + "/a/b"); }
};

TEST_F(RecordTest, IsReadAsItWasWritten) {
  ASSERT_TRUE(store().prepare().ok());
  ASSERT_TRUE(store().save(sample()).ok());
  const auto read = store().load("0011aabb");
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(read.value().to_tree(), sample().to_tree());
  EXPECT_EQ(store().all().value().size(), 1u);
  store().forget("0011aabb");
  EXPECT_EQ(store().load("0011aabb").code(), Errc::not_found);
  EXPECT_TRUE(store().all().value().empty());
}

TEST_F(RecordTest, DamagedRecordsAreNamedAndLeftOut) {
  ASSERT_TRUE(store().prepare().ok());
  ASSERT_TRUE(store().save(sample()).ok());
  for (const char* text : {"", "{", "[]", "{\"id\":1}", "{\"id\":\"x\",\"uri\":\"u\"}"}) {
    std::ofstream(directory + "/a/b/bad.json") << text;
    const auto read = store().load("bad");
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_EQ(read.code(), Errc::bad_format);
    EXPECT_THAT(read.error().message(), HasSubstr("bad.json"));
  }
  EXPECT_EQ(store().all().value().size(), 1u);
}

TEST_F(RecordTest, WhatIsForRootAloneIsNotAnEmptyList) {
  if (::geteuid() != 0) GTEST_SKIP() << "the directory is to be another's";
  ASSERT_TRUE(store().prepare().ok());
  ASSERT_TRUE(store().save(sample()).ok());
  ASSERT_EQ(::seteuid(65534), 0);
  const auto seen = store().all();
  ASSERT_EQ(::seteuid(0), 0);
  ASSERT_FALSE(seen.ok());
  EXPECT_EQ(seen.code(), Errc::failed_precondition);
  EXPECT_THAT(seen.error().message(), HasSubstr("sudo"));
}

TEST_F(RecordTest, TheLockIsHeldUntilItIsClosed) {
  ASSERT_TRUE(store().prepare().ok());
  auto held = store().lock("x");
  ASSERT_TRUE(held.ok());
  EXPECT_EQ(store().lock("x").code(), Errc::busy);
  EXPECT_TRUE(store().lock("y").ok());
  std::move(held).value().reset();
  EXPECT_TRUE(store().lock("x").ok());
}

TEST_F(RecordTest, NothingAttachedIsAnEmptyList) {
  EXPECT_TRUE(AttachStore(directory + "/none").all().value().empty());
}

TEST_F(RecordTest, TheIdIsThatOfTheNamespaceNotOfTheParameters) {
  const auto id = id_of("nvmf://h:8420/nqn.2019-05.io.openebs:v");
  EXPECT_EQ(id.size(), 8u);
  EXPECT_EQ(id_of("nvmf+tcp://h/nqn.2019-05.io.openebs:v?grace_ms=9&hdgst"), id);
  EXPECT_NE(id_of("nvmf://h:8421/nqn.2019-05.io.openebs:v"), id);
  EXPECT_NE(id_of("nvmf://h:8420/nqn.2019-05.io.openebs:w"), id);
  EXPECT_NE(id_of("nvmf://h:8420/nqn.2019-05.io.openebs:v?nsid=2"), id);
}

}  // namespace
}  // namespace holdfast::cli
