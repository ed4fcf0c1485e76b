#include "cli/conformance/test.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::cli::conformance {
namespace {

constexpr int answers_per_case = 12;
constexpr std::size_t further_findings_max = 8;

}  // namespace

const char* title(Spec spec) noexcept {
  switch (spec) {
    case Spec::tcp:
      return "NVMe/TCP Transport 1.0";
    case Spec::fabrics:
      return "NVMe Base 2.0 (Fabrics)";
    case Spec::base:
      return "NVMe Base 2.0";
    case Spec::nvm:
      return "NVM Command Set 1.0";
  }
  return "?";
}

const char* name(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::pass:
      return "pass";
    case Verdict::fail:
      return "fail";
    case Verdict::not_supported:
      return "not supported";
    case Verdict::skipped:
      return "skipped";
    case Verdict::error:
      return "error";
  }
  return "?";
}

Test::Test(Network& network, const Settings& settings, const Case& of)
    : network_(network), settings_(settings), until_(network.now() + answers_per_case * settings.timeout) {
  outcome_.of = &of;
}

void Test::conclude(Verdict verdict, std::string text) {
  if (!ok()) {
    // A case that ended for another reason than a fault is over: nothing that follows is a finding.
    const bool judged = outcome_.verdict == Verdict::fail && verdict == Verdict::fail;
    if (judged && outcome_.more.size() < further_findings_max) outcome_.more.push_back(std::move(text));
    return;
  }
  outcome_.verdict = verdict;
  outcome_.text = std::move(text);
  outcome_.sent_hex = hex(sent_);
  outcome_.received_hex = hex(received_);
}

void Test::fail(std::string text) { conclude(Verdict::fail, std::move(text)); }
void Test::error(std::string text) { conclude(Verdict::error, std::move(text)); }
void Test::skip(std::string why) { conclude(Verdict::skipped, std::move(why)); }
void Test::not_supported(std::string why) { conclude(Verdict::not_supported, std::move(why)); }

bool Test::expect(bool right, std::string_view otherwise) {
  if (!right) fail(std::string(otherwise));
  return right;
}

bool Test::equal_numbers(std::string_view what, std::uint64_t got, std::uint64_t wanted) {
  if (got == wanted) return true;
  fail(fmt::format("{}: expected {:#x}, got {:#x}", what, wanted, got));
  return false;
}

bool Test::equal_text(std::string_view what, std::string_view got, std::string_view wanted) {
  if (got == wanted) return true;
  fail(fmt::format("{}: expected \"{}\", got \"{}\"", what, wanted, got));
  return false;
}

bool Test::equal_bytes(std::string_view what, View got, View wanted) {
  if (std::equal(got.begin(), got.end(), wanted.begin(), wanted.end())) return true;
  if (got.size() != wanted.size()) {
    fail(fmt::format("{}: expected {} bytes, got {}", what, wanted.size(), got.size()));
    return false;
  }
  const auto at =
      static_cast<std::size_t>(std::mismatch(got.begin(), got.end(), wanted.begin()).first - got.begin());
  fail(fmt::format("{}: differs from byte {} on: expected {}, got {}", what, at, hex(slice(wanted, at, 16)),
                   hex(slice(got, at, 16))));
  return false;
}

bool Test::needs(bool bit, std::string_view why) {
  if (!bit) not_supported(std::string(why));
  return bit && ok();
}

void Test::sleep(Nanos time) {
  if (ok()) network_.sleep(std::min(time, std::max(Nanos{0}, until_ - now())));
}

Nanos Test::answer_deadline() const noexcept { return deadline_in(settings_.timeout); }
Nanos Test::deadline_in(Nanos time) const noexcept { return std::min(now() + time, until_); }

}  // namespace holdfast::cli::conformance
