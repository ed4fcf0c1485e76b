// Test: what a case works with. It knows the target, collects findings, and bounds the time.
//
// Findings stick: after the first one every connection of the case answers at once and with nothing, and
// further findings are only listed behind it. So a case is written straight down, without looking at every
// step whether the one before went well.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "cli/conformance/bytes.h"
#include "cli/conformance/case.h"
#include "cli/conformance/network.h"

namespace holdfast::cli::conformance {

// The same for all cases of a run.
struct Settings {
  std::string subsystem;
  std::string host_nqn;
  std::uint32_t nsid = 0;  // 0: the first active one
  bool destructive = false;
  Nanos timeout = 5s;  // for one answer; a case gets 12 times as much
  std::uint64_t seed = 1;
};

class Test {
 public:
  Test(Network& network, const Settings& settings, const Case& of);
  Test(const Test&) = delete;
  Test& operator=(const Test&) = delete;

  Network& network() noexcept { return network_; }
  const Settings& settings() const noexcept { return settings_; }
  bool ok() const noexcept { return outcome_.verdict == Verdict::pass; }
  const Outcome& outcome() const noexcept { return outcome_; }

  // --- Findings. ---
  void fail(std::string text);
  void error(std::string text);         // the tool cannot do its part
  void skip(std::string why);           // the rest cannot be judged here
  void not_supported(std::string why);  // by what the target itself says
  bool expect(bool right, std::string_view otherwise);
  template <std::unsigned_integral T>
  bool equal(std::string_view what, T got, std::type_identity_t<T> wanted) {
    return equal_numbers(what, got, wanted);
  }
  bool equal_text(std::string_view what, std::string_view got, std::string_view wanted);
  bool equal_bytes(std::string_view what, View got, View wanted);
  // not_supported() with `why` unless `bit` is there. Returns whether to go on.
  bool needs(bool bit, std::string_view why);

  // --- Time. ---
  Nanos now() const noexcept { return network_.now(); }
  void sleep(Nanos time);
  // The end of a wait for one answer that begins now, within the time of the case.
  Nanos answer_deadline() const noexcept;
  Nanos deadline_in(Nanos time) const noexcept;
  bool over() const noexcept { return now() >= until_; }  // the time of the case

  // --- For connections. ---
  void note_sent(View pdu) { sent_.assign(pdu.begin(), pdu.end()); }
  void note_received(View pdu) { received_.assign(pdu.begin(), pdu.end()); }

 private:
  bool equal_numbers(std::string_view what, std::uint64_t got, std::uint64_t wanted);
  void conclude(Verdict verdict, std::string text);

  Network& network_;
  const Settings& settings_;
  Outcome outcome_;
  Bytes sent_, received_;
  const Nanos until_;
};

}  // namespace holdfast::cli::conformance
