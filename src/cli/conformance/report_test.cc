// Reports say the same in every format, whatever a target put into the texts.
#include "cli/conformance/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace holdfast::cli::conformance {
namespace {

using testing::HasSubstr;
using testing::Not;

class Report : public testing::Test {
 protected:
  Report() {
    cases_[0].id = "a.one.x";
    cases_[1].id = "a.one.y";
    cases_[2].id = "b.two.z";
    for (Case& c : cases_) c.section = "1.2", c.requirement = "It does \"so\" & <thus>", c.spec = Spec::nvm;
    for (std::size_t i = 0; i < 3; ++i) outcomes_[i].of = &cases_[i];
    outcomes_[1].verdict = Verdict::fail;
    outcomes_[1].text = "expected \"a\" & <b>, got \x1b[2J";
    outcomes_[1].sent_hex = "04 00";
    outcomes_[2].verdict = Verdict::not_supported;
    outcomes_[2].text = "a bit is clear";
  }
  std::vector<Outcome> outcomes() const { return {outcomes_, outcomes_ + 3}; }

  Case cases_[3];
  Outcome outcomes_[3];
  const RunInfo info_{"1.2.3.4:5", "nqn.x", "nqn.h", false, 1.5};
};

TEST_F(Report, Counts) {
  const Counts n = count(outcomes());
  EXPECT_EQ(n.total(), 3u);
  EXPECT_EQ(n.pass, 1u);
  EXPECT_EQ(n.fail, 1u);
  EXPECT_EQ(n.not_supported, 1u);
}

TEST_F(Report, Json) {
  const auto tree = to_tree(info_, outcomes());
  EXPECT_EQ(tree["summary"]["fail"], 1);
  EXPECT_EQ(tree["groups"].size(), 2u);
  EXPECT_EQ(tree["tests"][1]["outcome"], "fail");
  EXPECT_EQ(tree["tests"][1]["last_sent"], "04 00");
  EXPECT_EQ(tree["tests"][0].count("last_sent"), 0u);
}

TEST_F(Report, JunitIsXml) {
  const std::string xml = to_junit(info_, outcomes());
  EXPECT_THAT(xml,
              HasSubstr("<testsuite name=\"a.one\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\">"));
  EXPECT_THAT(xml, HasSubstr("expected &quot;a&quot; &amp; &lt;b&gt;, got ?[2J"));
  EXPECT_THAT(xml, HasSubstr("<skipped message=\"not supported: a bit is clear\"/>"));
  EXPECT_THAT(xml, Not(HasSubstr("\x1b")));
}

TEST_F(Report, TextNamesWhatDidNotPass) {
  const std::string text = to_text(info_, outcomes());
  EXPECT_THAT(text, HasSubstr("a.one.y: fail: expected \"a\" & <b>, got ?[2J\n"));
  EXPECT_THAT(text, HasSubstr("requirement: It does \"so\" & <thus> [NVM Command Set 1.0, 1.2]"));
  EXPECT_THAT(text, Not(HasSubstr("a.one.x")));
}

TEST_F(Report, WhatIsNoTextIsShownAllTheSame) {
  outcomes_[1].text = "got \"\xff\xc3(\"";
  outcomes_[1].more = {"\x1b]0;x\x07\xfe"};
  EXPECT_THAT(to_tree(info_, outcomes()).dump(), HasSubstr("\xEF\xBF\xBD"));
  EXPECT_THAT(to_text(info_, outcomes()), Not(HasSubstr("\x1b")));
  EXPECT_THAT(to_junit(info_, outcomes()), Not(HasSubstr("\xff")));
}

}  // namespace
}  // namespace holdfast::cli::conformance
