#include "block/uri.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

std::string why(std::string_view text) {
  auto uri = Uri::parse(text);
  if (uri.ok()) return "accepted";
  EXPECT_EQ(uri.code(), Errc::invalid_argument);
  return uri.error().message();
}

TEST(Uri, TakesItsPartsApart) {
  auto parsed = Uri::parse("NVMf://host:8420/nqn.2019-05.io%2Fx?uuid=a&flag&empty=&p=%26%3d");
  ASSERT_TRUE(parsed.ok());
  const Uri& u = parsed.value();
  EXPECT_EQ(u.scheme, "nvmf");
  EXPECT_EQ(u.authority, "host:8420");
  EXPECT_EQ(u.path, "/nqn.2019-05.io/x");
  EXPECT_EQ(u.query.size(), 4u);
  EXPECT_EQ(u.query.at("uuid"), "a");
  EXPECT_EQ(u.query.at("flag"), "");
  EXPECT_EQ(u.query.at("empty"), "");
  EXPECT_EQ(u.query.at("p"), "&=");
}

TEST(Uri, KeepsIpv6HostsAndPlusSigns) {
  auto parsed = Uri::parse("nvmf+tcp://[fd00::1]:8420/nqn?hostnqn=a+b:c/d");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed.value().scheme, "nvmf+tcp");
  EXPECT_EQ(parsed.value().authority, "[fd00::1]:8420");
  EXPECT_EQ(parsed.value().query.at("hostnqn"), "a+b:c/d");
}

TEST(Uri, RefusesAndSaysWhy) {
  EXPECT_NE(why("").find("SCHEME:///NAME"), std::string::npos);
  EXPECT_NE(why("/dev/sda").find("SCHEME:///NAME"), std::string::npos);
  EXPECT_NE(why("malloc:disk").find("SCHEME:///NAME"), std::string::npos);
  EXPECT_NE(why(":///x").find("scheme is missing"), std::string::npos);
  EXPECT_NE(why("ma_lloc:///x").find("scheme has a character"), std::string::npos);
  EXPECT_NE(why("1a:///x").find("scheme has a character"), std::string::npos);
  EXPECT_NE(why("malloc:///x?a=1&a=2").find("'a' is given twice"), std::string::npos);
  EXPECT_NE(why("malloc:///x?=1").find("no name"), std::string::npos);
  EXPECT_NE(why("malloc:///x%2").find("two hex digits"), std::string::npos);
  EXPECT_NE(why("malloc:///x?a=%zz").find("two hex digits"), std::string::npos);
  EXPECT_NE(why("malloc:///x?%zz=%zz").find("two hex digits"), std::string::npos);
  EXPECT_NE(why("malloc:///x%00").find("control character"), std::string::npos);
  EXPECT_NE(why("malloc://h%0ax/y").find("control character"), std::string::npos);
  EXPECT_NE(why("malloc:///x#y").find("#"), std::string::npos);
  EXPECT_NE(why("malloc:///" + std::string(4096, 'x')).find("4096"), std::string::npos);
}

TEST(Uri, PercentCodingIsReversible) {
  const std::string text = "malloc:///m?size_mb=8&x=\xc3\xa9 %";
  EXPECT_EQ(percent_encode("a/b?c"), "a%2Fb%3Fc");
  auto back = percent_decode(percent_encode(text));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back.value(), text);
}

TEST(UriParameters, ReadsEachKind) {
  auto uri =
      Uri::parse("x:///n?n=12&s=4KiB&uuid=6B29FC40-CA47-1067-B31D-00DD010662DA&on&off=0&yes=true&text=t");
  ASSERT_TRUE(uri.ok());
  UriParameters p(uri.value());
  EXPECT_EQ(p.take_number("n").value(), 12u);
  EXPECT_EQ(p.take_size("s").value(), 4096u);
  EXPECT_EQ(p.take_uuid().value()->to_string(), "6b29fc40-ca47-1067-b31d-00dd010662da");
  EXPECT_TRUE(p.take_flag("on").value());
  EXPECT_FALSE(p.take_flag("off").value());
  EXPECT_TRUE(p.take_flag("yes").value());
  EXPECT_FALSE(p.take_flag("absent").value());
  EXPECT_EQ(p.take_number("absent").value(), std::nullopt);
  EXPECT_EQ(p.finish().code(), Errc::invalid_argument);
  EXPECT_EQ(p.take("text"), "t");
  EXPECT_TRUE(p.finish().ok());
}

TEST(UriParameters, NamesWhatIsWrong) {
  auto uri = Uri::parse("x:///n?n=1x&s=4XB&uuid=12&flag=maybe&extra=1");
  ASSERT_TRUE(uri.ok());
  UriParameters p(uri.value());
  EXPECT_NE(p.take_number("n").error().message().find("'n' is '1x'"), std::string::npos);
  EXPECT_NE(p.take_size("s").error().message().find("'s' is '4XB'"), std::string::npos);
  EXPECT_NE(p.take_uuid().error().message().find("'uuid' is '12'"), std::string::npos);
  EXPECT_NE(p.take_flag("flag").error().message().find("'flag' is 'maybe'"), std::string::npos);
  const Status left = p.finish();
  ASSERT_FALSE(left.ok());
  EXPECT_NE(left.error().message().find("scheme 'x' has no parameter 'extra'"), std::string::npos);
  EXPECT_NE(left.error().message().find("it has flag, n, s, uuid"), std::string::npos);
}

TEST(UriParameters, RefusesTheNilUuid) {
  auto uri = Uri::parse("x:///n?uuid=00000000-0000-0000-0000-000000000000");
  ASSERT_TRUE(uri.ok());
  UriParameters p(uri.value());
  EXPECT_EQ(p.take_uuid().code(), Errc::invalid_argument);
}

}  // namespace
}  // namespace holdfast
