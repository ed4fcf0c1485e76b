#include "cli/tool/completion.h"

#include <sstream>

#include <CLI/CLI.hpp>
#include <gmock/gmock.h>

#include "cli/tool/tool.h"

namespace holdfast::cli {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CompletionTest : public testing::Test {
 protected:
  CompletionTest() {
    auto& get = tool.add_group(tool.app(), "get", "Show");
    tool.add_output_options(get, true);
    auto& volume = tool.add_command(get, "volume", "One volume", [] { return 0; });
    volume.add_option("VOLUME", value, "Which")->required();
    volume.add_option("--source", value, "Whence")->type_name("none|snapshot");
    auto& pool = tool.add_command(get, "pool", "One pool", [] { return 0; });
    pool.add_option("POOL", value, "Which");
    pool.add_option("DISK", disks, "Where");
    pool.add_option("--ca-file", value, "Trust")->type_name("FILE");
    pool.add_flag("--all", flag, "All");
    tool.set_names([](const std::string& kind) {
      return std::vector<std::string>{kind + "-1", kind + "-2"};
    });
  }
  std::vector<std::string> words(std::vector<std::string> typed) {
    std::vector<std::string> arguments = {"__complete", "--"};
    arguments.insert(arguments.end(), typed.begin(), typed.end());
    out.str("");
    EXPECT_EQ(tool.run(arguments), 0);
    std::vector<std::string> found;
    std::istringstream lines(out.str());
    for (std::string line; std::getline(lines, line);) found.push_back(line.substr(0, line.find('\t')));
    return found;
  }

  std::ostringstream out, err;
  Tool tool{out, err, false};
  std::string value;
  std::vector<std::string> disks;
  bool flag = false;
};

TEST_F(CompletionTest, Commands) {
  EXPECT_THAT(words({""}), ElementsAre("completion", "get"));
  EXPECT_THAT(words({"g"}), ElementsAre("get"));
  EXPECT_THAT(words({"get", ""}), ElementsAre("volume", "pool"));
  EXPECT_THAT(words({"get", "v"}), ElementsAre("volume"));
  EXPECT_THAT(words({"nonsense", ""}), IsEmpty());
  EXPECT_THAT(words({}), ElementsAre("completion", "get"));
}

TEST_F(CompletionTest, OptionsOfTheCommandAndOfItsGroup) {
  EXPECT_THAT(words({"get", "pool", "--"}), Contains("--all"));
  EXPECT_THAT(words({"get", "pool", "--"}), Contains("--output"));
  EXPECT_THAT(words({"get", "pool", "--out"}), ElementsAre("--output"));
  EXPECT_THAT(words({"get", "pool", "--help"}), ElementsAre("--help", "--help-all"));
  EXPECT_THAT(words({"--help-"}), ElementsAre("--help-all"));
}

TEST_F(CompletionTest, ValuesOfOptions) {
  EXPECT_THAT(words({"get", "volume", "--source", ""}), ElementsAre("none", "snapshot"));
  EXPECT_THAT(words({"get", "-o", "j"}), ElementsAre("json"));
  EXPECT_THAT(words({"get", "pool", "--ca-file", ""}), ElementsAre(":files"));
}

TEST_F(CompletionTest, ArgumentsThatOnlyTheClusterKnows) {
  EXPECT_THAT(words({"get", "volume", ""}), ElementsAre("VOLUME-1", "VOLUME-2"));
  EXPECT_THAT(words({"get", "-o", "json", "volume", "VOLUME-2"}), ElementsAre("VOLUME-2"));
  EXPECT_THAT(words({"get", "volume", "VOLUME-1", ""}), IsEmpty());
  EXPECT_THAT(words({"get", "pool", "--all", ""}), ElementsAre("POOL-1", "POOL-2"));
  EXPECT_THAT(words({"get", "pool", "p", ""}), ElementsAre(":files"));
  EXPECT_THAT(words({"get", "pool", "p", "/dev/a", ""}), ElementsAre(":files"));
}

TEST_F(CompletionTest, AScriptForEachShell) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    out.str("");
    EXPECT_EQ(tool.run({"completion", shell}), 0);
    EXPECT_THAT(out.str(), HasSubstr("__complete"));
  }
  EXPECT_THAT(words({"completion", "z"}), ElementsAre("zsh"));
}

}  // namespace
}  // namespace holdfast::cli
