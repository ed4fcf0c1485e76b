#include "http/jwt.h"

#include <array>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include "http/openssl_handle.h"

namespace holdfast::http {
namespace {

using nlohmann::json;

constexpr std::int64_t tolerance_seconds = 30;
constexpr int key_bits_min = 2048;
constexpr std::size_t token_bytes_max = 8192;

using BigNumber = std::unique_ptr<BIGNUM, OpensslFree<BN_free>>;
using KeyHandle = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;

Error refused(std::string_view why) { return Error(Errc::invalid_argument, std::string(why)); }

const EVP_MD* digest_of(std::string_view algorithm) {
  if (algorithm == "RS256") return EVP_sha256();
  if (algorithm == "RS384") return EVP_sha384();
  if (algorithm == "RS512") return EVP_sha512();
  return nullptr;
}

std::string text_field(const json& object, const char* name) {
  const auto field = object.find(name);
  return field != object.end() && field->is_string() ? field->get<std::string>() : std::string();
}

Result<BigNumber> big_number(const json& key, const char* name) {
  auto bytes = decode_base64url(text_field(key, name));
  if (!bytes.ok() || bytes.value().empty()) {
    return refused(fmt::format("the key's \"{}\" is not a number in base64url", name));
  }
  const auto& text = bytes.value();
  return BigNumber(
      BN_bin2bn(reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()), nullptr));
}

Result<KeyHandle> make_key(const json& jwk) {
  HF_TRY(const BigNumber modulus, big_number(jwk, "n"));
  HF_TRY(const BigNumber exponent, big_number(jwk, "e"));
  const std::unique_ptr<OSSL_PARAM_BLD, OpensslFree<OSSL_PARAM_BLD_free>> builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get());
  const std::unique_ptr<OSSL_PARAM, OpensslFree<OSSL_PARAM_free>> parameters(
      OSSL_PARAM_BLD_to_param(builder.get()));
  const std::unique_ptr<EVP_PKEY_CTX, OpensslFree<EVP_PKEY_CTX_free>> context(
      EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
  EVP_PKEY* key = nullptr;
  if (EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get()) != 1) {
    return refused("\"n\" and \"e\" are not an RSA public key");
  }
  KeyHandle handle(key);
  if (EVP_PKEY_get_bits(key) < key_bits_min) {
    return refused(
        fmt::format("the key has {} bits; give one of at least {}", EVP_PKEY_get_bits(key), key_bits_min));
  }
  return handle;
}

bool signed_by(EVP_PKEY* key, const EVP_MD* digest, std::string_view message, std::string_view signature) {
  const std::unique_ptr<EVP_MD_CTX, OpensslFree<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
  };
  return EVP_DigestVerifyInit(context.get(), nullptr, digest, nullptr, key) == 1 &&
         EVP_DigestVerify(context.get(), bytes(signature), signature.size(), bytes(message),
                          message.size()) == 1;
}

Result<json> decode_part(std::string_view part, std::string_view what) {
  auto text = decode_base64url(part);
  if (!text.ok()) return refused(fmt::format("the token's {} is not base64url", what));
  json object = json::parse(text.value(), nullptr, false);
  if (!object.is_object()) return refused(fmt::format("the token's {} is not a JSON object", what));
  return object;
}

Result<std::optional<std::int64_t>> time_claim(const json& claims, const char* name) {
  const auto claim = claims.find(name);
  if (claim == claims.end()) return std::optional<std::int64_t>();
  // RFC 7519 section 2: NumericDate may have a fraction.
  constexpr double latest = 1e15;
  const double seconds = claim->is_number() ? claim->get<double>() : -1;
  if (!(seconds >= 0 && seconds <= latest))
    return refused(fmt::format("the token's \"{}\" is not a time", name));
  return std::optional(static_cast<std::int64_t>(seconds));
}

Status check_times(const json& claims, std::int64_t now) {
  HF_TRY(const auto expires, time_claim(claims, "exp"));
  HF_TRY(const auto begins, time_claim(claims, "nbf"));
  if (!expires) return refused("the token has no \"exp\": make tokens that end");
  if (now >= *expires + tolerance_seconds) {
    return refused(fmt::format("the token has expired {} s ago", now - *expires));
  }
  if (begins && now < *begins - tolerance_seconds) {
    return refused(fmt::format("the token is valid only in {} s", *begins - now));
  }
  return Status();
}

Status check_audience(const json& claims, const std::string& audience) {
  if (audience.empty()) return Status();
  const auto claim = claims.find("aud");
  bool named = claim != claims.end() && *claim == audience;
  if (claim != claims.end() && claim->is_array()) {
    for (const json& one : *claim) named = named || one == audience;
  }
  if (!named) return refused(fmt::format("the token's \"aud\" does not name '{}'", audience));
  return Status();
}

// "header.claims.signature"
Result<std::array<std::string_view, 3>> split(std::string_view token) {
  std::array<std::string_view, 3> parts;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto dot = token.find('.');
    if ((dot == std::string_view::npos) != (i + 1 == parts.size())) {
      return refused("the token is not three parts with dots between them");
    }
    parts[i] = token.substr(0, dot);
    token.remove_prefix(std::min(parts[i].size() + 1, token.size()));
  }
  return parts;
}

}  // namespace

struct TokenVerifier::Key {
  KeyHandle handle;
  std::string id;         // "kid"; empty: any token may be meant for it
  std::string algorithm;  // "alg"; empty: each of the three
};

TokenVerifier::TokenVerifier() noexcept = default;
TokenVerifier::TokenVerifier(TokenVerifier&&) noexcept = default;
TokenVerifier& TokenVerifier::operator=(TokenVerifier&&) noexcept = default;
TokenVerifier::~TokenVerifier() = default;

Result<TokenVerifier> TokenVerifier::create(std::string_view jwk, Options options) {
  TokenVerifier verifier;
  verifier.options_ = std::move(options);
  const json document = json::parse(jwk, nullptr, false);
  if (!document.is_object()) return refused("it is not a JSON object");
  const auto set = document.find("keys");
  const bool is_set = set != document.end() && set->is_array();
  for (const json& key : is_set ? *set : json::array({document})) {
    if (!key.is_object() || (is_set && text_field(key, "kty") != "RSA")) continue;
    if (text_field(key, "kty") != "RSA") return refused("its \"kty\" is not \"RSA\"");
    auto made = std::make_unique<Key>();
    made->id = text_field(key, "kid");
    made->algorithm = text_field(key, "alg");
    if (!made->algorithm.empty() && digest_of(made->algorithm) == nullptr) {
      return refused(
          fmt::format("its \"alg\" is '{}': RS256, RS384 and RS512 are supported", made->algorithm));
    }
    HF_TRY(made->handle, make_key(key));
    verifier.keys_.push_back(std::move(made));
  }
  if (verifier.keys_.empty()) return refused("it holds no RSA key");
  return verifier;
}

Status TokenVerifier::check(std::string_view authorization, std::int64_t now) const {
  if (authorization.empty()) return refused("the request has no token: send \"Authorization: Bearer TOKEN\"");
  constexpr std::string_view scheme = "Bearer ";
  if (!authorization.starts_with(scheme)) return refused("the Authorization field is not \"Bearer TOKEN\"");
  const std::string_view token = authorization.substr(scheme.size());
  if (token.size() > token_bytes_max) return refused("the token is too long");
  HF_TRY(const auto parts, split(token));
  HF_TRY(const json header, decode_part(parts[0], "header"));
  const std::string algorithm = text_field(header, "alg");
  const EVP_MD* digest = digest_of(algorithm);
  if (digest == nullptr) return refused("the token is not signed with RS256, RS384 or RS512");
  if (header.contains("crit")) return refused("the token's \"crit\" names extensions that are not supported");
  auto signature = decode_base64url(parts[2]);
  if (!signature.ok()) return refused("the token's signature is not base64url");
  const std::string_view message(parts[0].data(), parts[0].size() + 1 + parts[1].size());
  const std::string id = text_field(header, "kid");
  bool good = false;
  for (const auto& key : keys_) {
    if (!key->algorithm.empty() && key->algorithm != algorithm) continue;
    if (!key->id.empty() && !id.empty() && key->id != id) continue;
    good = good || signed_by(key->handle.get(), digest, message, signature.value());
  }
  if (!good) return refused("the token is not signed by the key that this server knows");
  HF_TRY(const json claims, decode_part(parts[1], "claims"));
  HF_CHECK(check_times(claims, now));
  return check_audience(claims, options_.audience);
}

Result<std::string> decode_base64url(std::string_view text) {
  std::string out;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    std::uint32_t value = 0;
    if (c >= 'A' && c <= 'Z') {
      value = static_cast<std::uint32_t>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      value = static_cast<std::uint32_t>(c - 'a') + 26;
    } else if (c >= '0' && c <= '9') {
      value = static_cast<std::uint32_t>(c - '0') + 52;
    } else if (c == '-' || c == '_') {
      value = c == '-' ? 62 : 63;
    } else {
      return refused("not base64url");
    }
    bits = (bits << 6 | value) & 0xffffff;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xff);
    }
  }
  const bool rest_is_zero = (bits & ((1u << count) - 1)) == 0;
  if (count >= 6 || !rest_is_zero) return refused("not base64url");
  return out;
}

}  // namespace holdfast::http
