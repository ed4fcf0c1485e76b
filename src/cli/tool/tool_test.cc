#include "cli/tool/tool.h"

#include <fstream>
#include <sstream>

#include <CLI/CLI.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/tool/choice.h"

namespace holdfast::cli {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::StartsWith;

struct Options {
  std::string name;
  std::uint64_t size = 0;
};

class ToolTest : public testing::Test {
 protected:
  ToolTest() : tool(out, err, false), options(tool.keep<Options>()) {
    auto& group = tool.add_group(tool.app(), "box", "Boxes");
    tool.add_output_options(group);
    auto& inner = tool.add_group(group, "lid", "Their lids");
    auto& open = tool.add_command(inner, "open", "Opens a lid", [this] {
      ran = true;
      return tool.output().format == Format::json ? 0 : 7;
    });
    open.add_option("NAME", options.name, "Which")->required();
    add_size(open, "--size", options.size, "How far");
  }

  std::ostringstream out, err;
  Tool tool;
  Options& options;
  bool ran = false;
};

TEST_F(ToolTest, RunsTheCommandGivenAndReturnsItsStatus) {
  EXPECT_EQ(tool.run({"box", "lid", "open", "a", "--size", "4KiB"}), 7);
  EXPECT_EQ(options.name, "a");
  EXPECT_EQ(options.size, 4096u);
}

TEST(Tool, AnAnswerThatCannotBeWrittenIsAFailure) {
  std::ofstream full("/dev/full");
  std::ostringstream err;
  Tool tool(full, err, false);
  tool.add_command(tool.app(), "tell", "Says something", [&tool] {
    tool.output().line("something");
    return exit_ok;
  });
  EXPECT_EQ(tool.run({"tell"}), exit_failed);
  EXPECT_THAT(err.str(), HasSubstr("standard output"));
}

TEST_F(ToolTest, GroupOptionsMayFollowTheCommand) {
  EXPECT_EQ(tool.run({"box", "lid", "open", "a", "-o", "json"}), 0);
}

TEST_F(ToolTest, GroupOptionsMayStandBeforeTheCommand) {
  EXPECT_EQ(tool.run({"box", "-o", "json", "lid", "open", "a"}), 0);
}

TEST_F(ToolTest, UsageErrorsEndWithTwoAndRunNothing) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{},
                                             {"sphere"},
                                             {"box"},
                                             {"box", "lid"},
                                             {"box", "lid", "open"},
                                             {"box", "lid", "open", "a", "b"},
                                             {"box", "lid", "open", "a", "--size", "4 apples"},
                                             {"box", "lid", "open", "a", "-o", "xml"},
                                             {"box", "lid", "open", "a", "--colour"}}) {
    EXPECT_EQ(tool.run(args), exit_usage) << testing::PrintToString(args);
    EXPECT_FALSE(err.str().empty());
    err.str("");
  }
  EXPECT_FALSE(ran);
}

TEST_F(ToolTest, AWordThatIsNoneOfTheChoicesIsExplained) {
  EXPECT_EQ(tool.run({"box", "lid", "open", "a", "-o", "xml"}), exit_usage);
  EXPECT_THAT(err.str(), HasSubstr("--output: 'xml' is none of json, table, yaml\n"));
  EXPECT_EQ(tool.run({"box", "lid", "open", "a", "-u", "k"}), exit_usage);
  EXPECT_THAT(err.str(), HasSubstr("--units: 'k' is none of b, d, i\n"));
  EXPECT_EQ(tool.run({"box", "lid", "open", "a", "-o", "1"}), exit_usage);
  for (const char c : err.str()) EXPECT_TRUE(c == '\n' || c >= ' ') << static_cast<int>(c);
}

enum class Shade : std::uint8_t { light, dark };

struct Looks {
  Shade shade = Shade::light;
  bool shiny = false;
};

TEST_F(ToolTest, ChoicesAreValuesAndMayBeSpeltFreely) {
  auto& looks = tool.keep<Looks>();
  auto& paint = tool.add_command(tool.app(), "paint", "Paints it", [] { return exit_ok; });
  const std::map<std::string, Shade> shades = {{"Light", Shade::light}, {"Dark", Shade::dark}};
  paint.add_option("SHADE", looks.shade, "Light or Dark")
      ->transform(choice(shades, CLI::ignore_case))
      ->type_name("");
  const std::map<std::string, bool> finishes = {{"matt", false}, {"glossy", true}};
  paint.add_option("--finish", looks.shiny, "matt or glossy")
      ->transform(choice(finishes))
      ->type_name("FINISH");
  EXPECT_EQ(tool.run({"paint", "dARK", "--finish", "glossy"}), exit_ok);
  EXPECT_EQ(looks.shade, Shade::dark);
  EXPECT_TRUE(looks.shiny);
  EXPECT_EQ(tool.run({"paint", "--finish", "Glossy"}), exit_usage);
  EXPECT_EQ(tool.run({"paint", "--help"}), exit_ok);
  EXPECT_THAT(out.str(), ContainsRegex("\n  SHADE +Light or Dark\n"));
  EXPECT_THAT(out.str(), ContainsRegex("\n  --finish FINISH +matt or glossy\n"));
}

TEST_F(ToolTest, WhatThereIsNotIsNamed) {
  const struct {
    std::vector<std::string> words;
    const char* text;
  } cases[] = {
      {{"bxo"}, "there is no 'bxo' here\n"},
      {{"bxo", "lid"}, "there is no 'bxo' here\n"},
      {{"box", "lid", "opne", "a"}, "there is no 'opne' here\n"},
      {{"box", "lid", "open", "--nmae"}, "there is no '--nmae' here\n"},
      {{"box", "lid", "open"}, "NAME is required\n"},
      {{"box"}, "A subcommand is required\n"},
  };
  for (const auto& c : cases) {
    err.str("");
    EXPECT_EQ(tool.run(c.words), exit_usage);
    EXPECT_THAT(err.str(), StartsWith(c.text));
  }
}

TEST_F(ToolTest, TheVersionIsPrinted) {
  tool.set_version("1.2.3");
  EXPECT_EQ(tool.run({"--version"}), exit_ok);
  EXPECT_EQ(out.str(), "holdfast 1.2.3\n");
  EXPECT_EQ(err.str(), "");
}

TEST_F(ToolTest, AWrongSizeIsExplained) {
  tool.run({"box", "lid", "open", "a", "--size", "4 apples"});
  EXPECT_THAT(err.str(), HasSubstr("'4 apples' is not a size"));
}

TEST_F(ToolTest, HelpGoesToStandardOutputAndIsNoError) {
  EXPECT_EQ(tool.run({"box", "lid", "open", "--help"}), exit_ok);
  EXPECT_THAT(out.str(), HasSubstr("Opens a lid"));
  EXPECT_EQ(err.str(), "");
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace holdfast::cli
