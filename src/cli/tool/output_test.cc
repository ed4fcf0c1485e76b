#include "cli/tool/output.h"

#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <yaml-cpp/yaml.h>

#include "base/units.h"

namespace holdfast::cli {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;
using testing::Not;

struct Screen {
  explicit Screen(bool live = false) : output(out, err, live) {}
  std::ostringstream out, err;
  Output output;
};

Table people() {
  Table t{{"NAME"}, {"AGE", Align::right}};
  t.add_row({"Ada", "36"});
  t.add_row({"Grace Hopper", "7"});
  return t;
}

TEST(Table, AlignsColumnsAndLeavesNoTrailingBlanks) {
  EXPECT_EQ(people().to_string(true), "NAME          AGE\nAda            36\nGrace Hopper    7\n");
  Table last_is_left{{"A"}, {"B"}};
  last_is_left.add_row({"1", "long"});
  last_is_left.add_row({"2", "s"});
  EXPECT_EQ(last_is_left.to_string(true), "A  B\n1  long\n2  s\n");
}

TEST(Table, WithoutTitlesIsAsWideAsItsContent) {
  EXPECT_EQ(people().to_string(false), "Ada           36\nGrace Hopper   7\n");
}

TEST(Table, EmptyCellsStayCountable) {
  Table t{{"A"}, {"B"}, {"C"}};
  t.add_row({"1", "", "3"});
  EXPECT_EQ(t.to_string(false), "1  -  3\n");
}

TEST(Table, CountsCharactersNotBytesAndDefusesControls) {
  Table t{{"A"}, {"B"}};
  t.add_row({"\xC3\xA9t\xC3\xA9", "x"});
  t.add_row({"abcd", "\x1b[31mred\n"});
  EXPECT_EQ(t.to_string(false), "\xC3\xA9t\xC3\xA9   x\nabcd  ?[31mred?\n");
}

TEST(Table, DefusesControlsBeyondAsciiAndBytesThatAreNoText) {
  Table t{{"A"}, {"B"}};
  t.add_row(
      {"a\xC2\x9B"
       "31m",
       "1"});  // what some terminals take for ESC [
  t.add_row({"\xFF\x80\xC3", "2"});
  t.add_row({"\xE2\x82", "3"});
  t.add_row({"\xE2\x82\xAC\xC2\xA0.", "4"});
  EXPECT_EQ(t.to_string(false), "a?31m  1\n???    2\n??     3\n\xE2\x82\xAC\xC2\xA0.    4\n");
}

TEST(Output, BytesThatAreNoTextStopNoAnswer) {
  for (const Format format : {Format::json, Format::yaml}) {
    Screen s;
    s.output.format = format;
    s.output.answer({{"mountpoint", "/mnt/\xE9t\xE9"}}, [] {});
    EXPECT_THAT(s.out.str(), HasSubstr("/mnt/\xEF\xBF\xBDt\xEF\xBF\xBD"));
  }
}

TEST(Output, TheFormatChoosesWhatAnAnswerBecomes) {
  const ordered_json tree = {{"b", 1}, {"a", {{"list", {1, 2}}}}};
  Screen s;
  s.output.answer(tree, [&] { s.output.print(people()); });
  EXPECT_THAT(s.out.str(), HasSubstr("Grace"));

  Screen j;
  j.output.format = Format::json;
  j.output.answer(tree, [&] { FAIL() << "no table is wanted"; });
  EXPECT_EQ(ordered_json::parse(j.out.str()), tree);
  EXPECT_LT(j.out.str().find("\"b\""), j.out.str().find("\"a\"")) << "the order of the message is kept";

  Screen y;
  y.output.format = Format::yaml;
  y.output.answer(tree, [&] { FAIL() << "no table is wanted"; });
  EXPECT_EQ(y.out.str(), "b: 1\na:\n  list:\n    - 1\n    - 2\n");
}

TEST(Output, QuietTakesAwayTitlesAndNotesOnly) {
  Screen s;
  s.output.quiet = true;
  s.output.print(people());
  s.output.note("a note");
  EXPECT_EQ(s.output.error("NOT_FOUND", "no such thing"), exit_failed);
  EXPECT_THAT(s.out.str(), Not(HasSubstr("NAME")));
  EXPECT_EQ(s.err.str(), "error: NOT_FOUND: no such thing\n");
}

TEST(Output, AnEmptyTableIsANote) {
  Screen s;
  s.output.print(Table{{"A"}}, "no nexus");
  EXPECT_EQ(s.out.str(), "");
  EXPECT_EQ(s.err.str(), "no nexus\n");
}

TEST(Output, ErrorsNameTheCodeOnce) {
  Screen s;
  s.output.error(Error(Errc::not_found, "device 'x' does not exist"), "list them with ...");
  s.output.error(Error(Errc::timed_out));
  EXPECT_EQ(s.err.str(),
            "error: not_found: device 'x' does not exist\nhint: list them with ...\nerror: timed_out\n");
}

TEST(Output, LiveLinesAreForTerminalsAndGoAwayBeforeOtherText) {
  Screen file;
  file.output.live_line("50 %");
  EXPECT_EQ(file.err.str(), "");

  Screen terminal(true);
  terminal.output.live_line("50 %");
  terminal.output.note("done");
  EXPECT_EQ(terminal.err.str(), "\r\x1b[K50 %\r\x1b[Kdone\n");
}

TEST(Output, SizesByUnit) {
  Screen s;
  EXPECT_EQ(s.output.size(1536), "1536");
  s.output.units = Units::binary;
  EXPECT_EQ(s.output.size(1536), "1.5 KiB");
  s.output.units = Units::decimal;
  EXPECT_EQ(s.output.size(1536), "1.54 kB");
  EXPECT_EQ(format_size_decimal(999), "999 B");
  EXPECT_EQ(format_size_decimal(2'000'000'000), "2 GB");
}

TEST(Yaml, KeepsTypesWhenReadAgain) {
  const ordered_json tree = {{"number", 7},
                             {"text", "7"},
                             {"yes", "yes"},
                             {"empty", ""},
                             {"none", nullptr},
                             {"colon", "a: b # c"},
                             {"flag", true},
                             {"map", ordered_json::object()},
                             {"list", ordered_json::array()},
                             {"lines", "one\ntwo"},
                             {"minus", "-"}};
  const auto node = YAML::Load(to_yaml(tree));
  EXPECT_EQ(node["number"].as<int>(), 7);
  EXPECT_EQ(node["text"].Tag(), "!") << "quoted";
  EXPECT_EQ(node["text"].as<std::string>(), "7");
  EXPECT_EQ(node["yes"].Tag(), "!");
  EXPECT_EQ(node["empty"].as<std::string>(), "");
  EXPECT_TRUE(node["none"].IsNull());
  EXPECT_EQ(node["colon"].as<std::string>(), "a: b # c");
  EXPECT_TRUE(node["flag"].as<bool>());
  EXPECT_TRUE(node["map"].IsMap());
  EXPECT_TRUE(node["list"].IsSequence());
  EXPECT_EQ(node["lines"].as<std::string>(), "one\ntwo");
  EXPECT_EQ(node["minus"].as<std::string>(), "-");
}

}  // namespace
}  // namespace holdfast::cli
