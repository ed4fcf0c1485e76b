#include "base/uuid.h"

namespace holdfast {
namespace {

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr bool dash_before(std::size_t byte) noexcept {
  return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void set_version(Uuid& u, unsigned version) noexcept {
  u.bytes[6] = static_cast<std::uint8_t>((u.bytes[6] & 0x0f) | (version << 4));
  u.bytes[8] = static_cast<std::uint8_t>((u.bytes[8] & 0x3f) | 0x80);
}

Uuid from_halves(std::uint64_t high, std::uint64_t low) noexcept {
  Uuid u;
  for (std::size_t i = 0; i < 8; ++i) {
    u.bytes[i] = static_cast<std::uint8_t>(high >> (56 - 8 * i));
    u.bytes[8 + i] = static_cast<std::uint8_t>(low >> (56 - 8 * i));
  }
  return u;
}

std::uint64_t fnv1a(std::string_view text, std::uint64_t basis) noexcept {
  for (char c : text) basis = (basis ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  return basis;
}

}  // namespace

Result<Uuid> Uuid::parse(std::string_view text) {
  const auto bad = [&] {
    return Error(Errc::invalid_argument, "'" + std::string(text.substr(0, 64)) + "' is not a UUID");
  };
  if (text.size() != 36) return bad();
  Uuid u;
  std::size_t at = 0;
  for (std::size_t i = 0; i < 16; ++i) {
    if (dash_before(i) && text[at++] != '-') return bad();
    const int high = hex_digit(text[at]);
    const int low = hex_digit(text[at + 1]);
    if (high < 0 || low < 0) return bad();
    u.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
    at += 2;
  }
  return u;
}

Uuid Uuid::random(Prng& prng) noexcept {
  Uuid u = from_halves(prng.next(), prng.next());
  set_version(u, 4);
  return u;
}

Uuid Uuid::from_name(std::string_view text) noexcept {
  // Two passes of FNV-1a, stirred by splitmix64: good enough to tell names apart, not to resist an attacker.
  Uuid u =
      from_halves(Prng(fnv1a(text, 0xcbf29ce484222325)).next(), Prng(fnv1a(text, 0x84222325cbf29ce4)).next());
  set_version(u, 8);
  return u;
}

std::string Uuid::to_string() const {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (std::size_t i = 0; i < 16; ++i) {
    if (dash_before(i)) text.push_back('-');
    text.push_back(digits[bytes[i] >> 4]);
    text.push_back(digits[bytes[i] & 0xf]);
  }
  return text;
}

}  // namespace holdfast
