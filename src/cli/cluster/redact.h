// Taking secrets out of what leaves the site in a support bundle.
#pragma once

#include <string>

#include "cli/rest/json_view.h"

namespace holdfast::cli {

inline constexpr const char* redacted = "REDACTED";

// The values of members whose names say that they are secret: passwords, tokens, keys, credentials, and
// everything below them. Other strings as redact_text.
void redact(Tree& tree);
// Bearer tokens, JSON web tokens, NVMe authentication secrets, PEM private keys, credentials in URLs, and what
// follows "password=" and the like.
std::string redact_text(std::string text);

}  // namespace holdfast::cli
