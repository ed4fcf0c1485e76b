// Who may call: JSON Web Tokens (RFC 7519) signed with an RSA key (RFC 7515, RFC 7518 section 3.3), checked
// against the public key in a file (a JSON Web Key, RFC 7517, or a set of them).
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace holdfast::http {

class TokenVerifier {
 public:
  struct Options {
    // Of the token's `aud`, when given: a token that does not name it is refused.
    std::string audience;
  };

  // `jwk` is the text of the file: {"kty":"RSA","n":...,"e":...,"alg":...} or {"keys":[...]}. Keys of other types in
  // a set are passed over. Errors: invalid_argument, saying what is wrong with it.
  static Result<TokenVerifier> create(std::string_view jwk, Options options);
  TokenVerifier(TokenVerifier&&) noexcept;
  TokenVerifier& operator=(TokenVerifier&&) noexcept;
  ~TokenVerifier();

  // The value of the header field Authorization, "Bearer <token>", at `now` (seconds since the epoch). The signature
  // must be RS256, RS384 or RS512 of one of our keys; `exp` must be there and not be over, `nbf` must be over, both
  // with half a minute of tolerance. Any thread. Errors: invalid_argument, saying what is wrong; the text never
  // holds the token.
  Status check(std::string_view authorization, std::int64_t now) const;

 private:
  struct Key;
  TokenVerifier() noexcept;

  std::vector<std::unique_ptr<Key>> keys_;
  Options options_;
};

// Base64 with the alphabet of URLs and without padding (RFC 4648 section 5). Errors: invalid_argument.
Result<std::string> decode_base64url(std::string_view text);

}  // namespace holdfast::http
