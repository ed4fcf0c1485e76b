// A conformance case, and what came of it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace holdfast::cli::conformance {

class Test;

enum class Spec : std::uint8_t {
  tcp,      // NVM Express TCP Transport Specification 1.0
  fabrics,  // what NVM Express Base Specification 2.0 says of Fabrics (NVMe over Fabrics 1.1 went into it)
  base,     // NVM Express Base Specification 2.0
  nvm,      // NVM Express NVM Command Set Specification 1.0
};
const char* title(Spec spec) noexcept;

enum class Level : std::uint8_t {
  mandatory,
  optional,  // asked only of a target that says it has the feature
};

enum class Verdict : std::uint8_t {
  pass,
  fail,           // the target does not do what the requirement says
  not_supported,  // the target says that it has not got what this is about
  skipped,        // not run, or it could not be judged here; the text says why
  error,          // the tool could not do its part: no connection
};
const char* name(Verdict verdict) noexcept;

struct Case {
  std::string id;     // "tcp.icreq.pfv": group and name, unique
  std::string title;  // one line
  Spec spec;
  std::string section;      // of the specification
  std::string requirement;  // in our own words
  Level level = Level::mandatory;
  bool writes = false;  // changes data, or reservations, of the namespace: only with --destructive
  std::function<void(Test&)> run;

  // Everything up to the last dot.
  std::string group() const { return id.substr(0, id.rfind('.')); }
};
using Cases = std::vector<Case>;

struct Outcome {
  const Case* of = nullptr;
  Verdict verdict = Verdict::pass;
  std::string text;                    // why, when it is not a pass
  std::vector<std::string> more;       // further findings of the same case
  std::string sent_hex, received_hex;  // the last PDUs before the first finding
  double seconds = 0;
};

}  // namespace holdfast::cli::conformance
