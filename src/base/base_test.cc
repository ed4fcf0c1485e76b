#include <array>
#include <vector>

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/endian.h"
#include "base/error.h"
#include "base/log.h"
#include "base/prng.h"
#include "base/units.h"
#include "base/uuid.h"

namespace holdfast {
namespace {

Result<int> positive(int n) {
  if (n <= 0) return Error(Errc::invalid_argument, "not positive");
  return n;
}
Result<int> twice(int n) {
  HF_TRY(const int v, positive(n));
  return 2 * v;
}

TEST(Result, CarriesValueOrError) {
  EXPECT_EQ(twice(4).value(), 8);
  const auto bad = twice(-1);
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().code(), Errc::invalid_argument);
  EXPECT_EQ(bad.error().with_context("twice").message(), "twice: not positive");
}

TEST(Result, AssignmentReplacesEitherKind) {
  Result<std::string> r = std::string("a");
  EXPECT_TRUE(r.ok());
  r = Error(Errc::busy);
  EXPECT_EQ(r.code(), Errc::busy);
  r = std::string("b");
  EXPECT_EQ(r.value(), "b");
}

#ifndef NDEBUG
TEST(ResultDeathTest, DroppedUncheckedPanics) {
  EXPECT_DEATH({ [[maybe_unused]] auto r = positive(1); }, "unchecked");
}
#endif

TEST(Error, NamesTheErrno) {
  EXPECT_EQ(error_from_errno(ENOSPC).code(), Errc::out_of_space);
  EXPECT_EQ(error_from_errno(EIO).message(), "io_error (Input/output error)");
}

TEST(Crc32c, KnownAnswersAndBothPathsAgree) {
  const std::string text = "123456789";
  EXPECT_EQ(crc32c(std::as_bytes(std::span(text))), 0xe3069283u);
  std::vector<std::byte> zeros(32);
  EXPECT_EQ(crc32c(zeros), 0x8a9136aau);
  if (!detail::crc32c_has_hardware()) GTEST_SKIP() << "no CRC32 instruction";
  Prng prng(1);
  for (std::size_t n = 0; n < 300; ++n) {
    std::vector<std::byte> data(n);
    for (auto& b : data) b = static_cast<std::byte>(prng.next());
    EXPECT_EQ(detail::crc32c_table(7, data), detail::crc32c_hardware(7, data)) << n;
  }
}

TEST(Uuid, RoundTripAndRejects) {
  const std::string text = "61a1c4c1-3b5f-4f8e-8f0e-0123456789ab";
  EXPECT_EQ(Uuid::parse(text).value().to_string(), text);
  for (const auto* bad : {"", "61a1c4c13b5f4f8e8f0e0123456789ab", "61a1c4c1-3b5f-4f8e-8f0e-0123456789ag",
                          "61a1c4c1-3b5f-4f8e-8f0e-0123456789abc", "61a1c4c1+3b5f-4f8e-8f0e-0123456789ab"}) {
    EXPECT_EQ(Uuid::parse(bad).code(), Errc::invalid_argument) << bad;
  }
  Prng prng(3);
  const auto u = Uuid::random(prng);
  EXPECT_EQ(u.to_string()[14], '4');
  EXPECT_EQ(Uuid::from_name("a"), Uuid::from_name("a"));
  EXPECT_NE(Uuid::from_name("a"), Uuid::from_name("b"));
}

TEST(Units, ParseAndFormat) {
  EXPECT_EQ(parse_size("4096").value(), 4096u);
  EXPECT_EQ(parse_size("4KiB").value(), 4096u);
  EXPECT_EQ(parse_size("2 GiB").value(), 2 * GiB);
  EXPECT_EQ(parse_size("1kB").value(), 1000u);
  EXPECT_EQ(parse_size("1G").value(), GiB);
  for (const auto* bad : {"", "x", "1X", "-1", "1.5G", "99999999999999999999", "99999999999P"}) {
    EXPECT_EQ(parse_size(bad).code(), Errc::invalid_argument) << bad;
  }
  EXPECT_EQ(format_size(1536 * MiB), "1.5 GiB");
  EXPECT_EQ(format_size(0), "0 B");
}

TEST(Log, QuotesValuesThatNeedIt) {
  std::string seen;
  log::set_sink([&](log::Level, std::string_view, std::string_view line) { seen = line; });
  HF_LOG(warn, "test", "hello", {"a", 1}, {"b", "two words"}, {"c", "line\nbreak"});
  log::set_sink({});
  EXPECT_EQ(seen, "test: hello a=1 b=\"two words\" c=\"line\\u000abreak\"");
}

// As a host may call itself.
TEST(Log, ValuesSteerNoTerminalAndAreText) {
  std::string seen;
  log::set_sink([&](log::Level, std::string_view, std::string_view line) { seen = line; });
  HF_LOG(warn, "test", "hello", {"a", "\x1b[31m"}, {"b", "\xC2\x9B\x7F"}, {"c", "\xFFt\xC3\xA9"},
         {"d", "t\xC3\xA9"});
  log::set_sink({});
  EXPECT_EQ(seen, "test: hello a=\"\\u001b[31m\" b=\"\\u009b\\u007f\" c=\"\\ufffdt\xC3\xA9\" d=t\xC3\xA9");
}

}  // namespace
}  // namespace holdfast
