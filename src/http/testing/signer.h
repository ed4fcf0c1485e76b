// Makes tokens for tests.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "http/openssl_handle.h"

namespace holdfast::http::testing {

inline std::string encode_base64url(std::string_view bytes) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : bytes) {
    bits = bits << 8 | static_cast<std::uint8_t>(c);
    for (count += 8; count >= 6; count -= 6) out += digits[bits >> (count - 6) & 63];
  }
  if (count > 0) out += digits[bits << (6 - count) & 63];
  return out;
}

// An RSA key pair that signs JSON Web Tokens.
class Signer {
 public:
  explicit Signer(unsigned bits = 2048) : key_(EVP_RSA_gen(bits)) {}

  nlohmann::json jwk() const {
    return {{"kty", "RSA"}, {"n", number(OSSL_PKEY_PARAM_RSA_N)}, {"e", number(OSSL_PKEY_PARAM_RSA_E)}};
  }
  std::string token(nlohmann::json header, const nlohmann::json& claims) const {
    const std::string message = encode_base64url(header.dump()) + "." + encode_base64url(claims.dump());
    return message + "." + encode_base64url(sign(message, header["alg"].dump()));
  }

 private:
  std::string number(const char* name) const {
    BIGNUM* n = nullptr;
    EXPECT_EQ(EVP_PKEY_get_bn_param(key_.get(), name, &n), 1);
    std::string bytes(static_cast<std::size_t>(BN_num_bytes(n)), '\0');
    BN_bn2bin(n, reinterpret_cast<unsigned char*>(bytes.data()));
    BN_free(n);
    return encode_base64url(bytes);
  }
  // `algorithm` as it stands in the header, which may be no text at all.
  std::string sign(const std::string& message, const std::string& algorithm) const {
    const EVP_MD* digest = EVP_sha256();
    if (algorithm == "\"RS384\"") digest = EVP_sha384();
    if (algorithm == "\"RS512\"") digest = EVP_sha512();
    const std::unique_ptr<EVP_MD_CTX, OpensslFree<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
    EVP_DigestSignInit(context.get(), nullptr, digest, nullptr, key_.get());
    std::string signature(1024, '\0');
    std::size_t size = signature.size();
    const auto* bytes = reinterpret_cast<const unsigned char*>(message.data());
    EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, bytes,
                   message.size());
    signature.resize(size);
    return signature;
  }

  std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>> key_;
};

}  // namespace holdfast::http::testing
