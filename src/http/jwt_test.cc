#include "http/jwt.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "http/testing/signer.h"

namespace holdfast::http {
namespace {

using nlohmann::json;
using testing::encode_base64url;
using testing::Signer;

constexpr std::int64_t now = 1'800'000'000;

std::string why(const Status& status) { return status.ok() ? "ok" : status.error().message(); }

class JwtTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { signer = new Signer; }
  static void TearDownTestSuite() { delete signer; }
  static TokenVerifier verifier(const json& jwk, std::string audience = "") {
    auto made = TokenVerifier::create(jwk.dump(), {std::move(audience)});
    EXPECT_TRUE(made.ok()) << made.error().message();
    return std::move(made).value();
  }
  static std::string check(const TokenVerifier& v, const json& header, const json& claims) {
    return why(v.check("Bearer " + signer->token(header, claims), now));
  }
  static inline Signer* signer = nullptr;
};

TEST_F(JwtTest, TakesWhatTheKeySigned) {
  const auto v = verifier(signer->jwk());
  for (const char* algorithm : {"RS256", "RS384", "RS512"}) {
    EXPECT_EQ(check(v, {{"alg", algorithm}, {"typ", "JWT"}}, {{"exp", now + 60}}), "ok") << algorithm;
  }
}

TEST_F(JwtTest, LooksAtEachClaim) {
  const struct {
    json claims;
    const char* why;
  } cases[] = {
      {{{"exp", now + 60}, {"aud", "holdfast"}}, "ok"},
      {{{"exp", now + 60.5}, {"aud", {"other", "holdfast"}}}, "ok"},
      {{{"exp", now - 29}, {"aud", "holdfast"}}, "ok"},
      {{{"exp", now + 60}, {"nbf", now + 29}, {"aud", "holdfast"}}, "ok"},
      {{{"exp", now - 60}, {"aud", "holdfast"}}, "expired 60 s ago"},
      {{{"exp", now + 60}, {"nbf", now + 60}, {"aud", "holdfast"}}, "valid only in 60 s"},
      {{{"aud", "holdfast"}}, "no \"exp\""},
      {{{"exp", "tomorrow"}, {"aud", "holdfast"}}, "\"exp\" is not a time"},
      {{{"exp", -1}, {"aud", "holdfast"}}, "\"exp\" is not a time"},
      {{{"exp", now + 60}, {"nbf", true}, {"aud", "holdfast"}}, "\"nbf\" is not a time"},
      {{{"exp", now + 60}}, "does not name 'holdfast'"},
      {{{"exp", now + 60}, {"aud", "other"}}, "does not name 'holdfast'"},
      {{{"exp", now + 60}, {"aud", {"other", 3}}}, "does not name 'holdfast'"},
      {json::array({1}), "not a JSON object"},
  };
  const auto v = verifier(signer->jwk(), "holdfast");
  for (const auto& c : cases) {
    EXPECT_NE(check(v, {{"alg", "RS256"}}, c.claims).find(c.why), std::string::npos)
        << c.claims << check(v, {{"alg", "RS256"}}, c.claims);
  }
}

TEST_F(JwtTest, RefusesEverythingElse) {
  const auto v = verifier(signer->jwk());
  const json good = {{"exp", now + 60}};
  const std::string token = signer->token({{"alg", "RS256"}}, good);
  const auto dot = token.rfind('.');
  std::string other_claims = token;
  other_claims.replace(token.find('.') + 1, dot - token.find('.') - 1,
                       encode_base64url(R"({"exp":9999999999})"));
  const Signer stranger;
  const struct {
    std::string field;
    const char* why;
  } cases[] = {
      {"", "no token"},
      {"Basic YTpi", "not \"Bearer TOKEN\""},
      {"Bearer", "not \"Bearer TOKEN\""},
      {"Bearer ", "three parts"},
      {"Bearer a.b", "three parts"},
      {"Bearer a.b.c.d", "three parts"},
      {"Bearer ..", "header is not a JSON object"},
      {"Bearer !.b.c", "header is not base64url"},
      {"Bearer " + token.substr(0, dot) + ".", "not signed by the key"},
      {"Bearer " + token.substr(0, dot + 1) + "AAAA", "not signed by the key"},
      {"Bearer " + token.substr(0, dot + 1) + "A", "signature is not base64url"},
      {"Bearer " + other_claims, "not signed by the key"},
      {"Bearer " + stranger.token({{"alg", "RS256"}}, good), "not signed by the key"},
      {"Bearer " + signer->token({{"alg", "none"}}, good), "not signed with RS256"},
      {"Bearer " + signer->token({{"alg", "HS256"}}, good), "not signed with RS256"},
      {"Bearer " + signer->token({{"alg", 7}, {"exp", 1}}, good), "not signed with RS256"},
      {"Bearer " + signer->token({{"alg", "RS256"}, {"crit", {"x"}}}, good), "\"crit\""},
      {"Bearer " + std::string(20'000, 'a'), "too long"},
  };
  for (const auto& c : cases) {
    const std::string text = why(v.check(c.field, now));
    EXPECT_NE(text.find(c.why), std::string::npos) << c.field.substr(0, 60) << ": " << text;
    if (c.field.size() > 40) {
      EXPECT_EQ(text.find(c.field.substr(7, 20)), std::string::npos);
    }
  }
}

TEST_F(JwtTest, KeysHaveNamesAndAlgorithms) {
  json first = signer->jwk();
  first["kid"] = "first";
  first["alg"] = "RS256";
  const Signer other;
  json second = other.jwk();
  second["kid"] = "second";
  const auto v = verifier({{"keys", {{{"kty", "EC"}}, second, first}}});
  const json claims = {{"exp", now + 60}};
  EXPECT_EQ(check(v, {{"alg", "RS256"}, {"kid", "first"}}, claims), "ok");
  EXPECT_EQ(check(v, {{"alg", "RS256"}}, claims), "ok");
  EXPECT_NE(check(v, {{"alg", "RS256"}, {"kid", "second"}}, claims), "ok");
  EXPECT_NE(check(v, {{"alg", "RS512"}, {"kid", "first"}}, claims), "ok");
  EXPECT_EQ(why(v.check("Bearer " + other.token({{"alg", "RS512"}}, claims), now)), "ok");
}

TEST_F(JwtTest, BadKeyFilesAreRefused) {
  json no_exponent = signer->jwk();
  no_exponent.erase("e");
  json other_algorithm = signer->jwk();
  other_algorithm["alg"] = "ES256";
  const struct {
    std::string text;
    const char* why;
  } cases[] = {
      {"", "not a JSON object"},
      {"[]", "not a JSON object"},
      {"{}", "\"kty\" is not \"RSA\""},
      {R"({"kty":"EC"})", "\"kty\" is not \"RSA\""},
      {R"({"keys":[]})", "no RSA key"},
      {R"({"kty":"RSA","n":"AQAB"})", "\"e\" is not a number"},
      {R"({"kty":"RSA","n":"!","e":"AQAB"})", "\"n\" is not a number"},
      {R"({"kty":"RSA","n":"AQAB","e":"AQAB"})", "at least 2048"},
      {no_exponent.dump(), "\"e\" is not a number"},
      {other_algorithm.dump(), "RS256, RS384 and RS512"},
      {Signer(1024).jwk().dump(), "1024 bits"},
  };
  for (const auto& c : cases) {
    const auto made = TokenVerifier::create(c.text, {});
    ASSERT_FALSE(made.ok()) << c.text;
    EXPECT_NE(made.error().message().find(c.why), std::string::npos)
        << c.text << ": " << made.error().message();
  }
}

}  // namespace
}  // namespace holdfast::http
