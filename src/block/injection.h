// Injection: one fault that an inject device plays: which operations, when, and what happens to them. The
// text form is the query of an inject:// URI (docs/reference/uri.md).
#pragma once

#include <cstdint>
#include <limits>

#include "base/error.h"
#include "block/block_device.h"
#include "block/uri.h"
#include "rt/time.h"

namespace holdfast {

struct Injection {
  enum class Stage : std::uint8_t { submit, completion };
  enum class Method : std::uint8_t {
    none,    // only the delay
    status,  // the operation ends with `status`
    data     // bits of the data are flipped; the operation succeeds
  };

  bool reads = true;   // read and compare
  bool writes = true;  // write, write zeroes, deallocate
  Stage stage = Stage::submit;
  Method method = Method::status;
  Errc status = Errc::io_error;
  // From the first matching operation on.
  Nanos begin{0};
  Nanos end = no_deadline;
  BlockRange range{Lba{0}, std::numeric_limits<std::uint64_t>::max()};
  std::uint64_t times = std::numeric_limits<std::uint64_t>::max();  // per core
  Nanos delay{0};

  // Takes its parameters; the caller finishes. Errors: invalid_argument.
  static Result<Injection> parse(const Uri& uri, UriParameters& parameters);
};

// An injection at work on one core.
class ActiveInjection {
 public:
  ActiveInjection(std::uint64_t id, const Injection& what) noexcept : id_(id), what_(what) {}
  std::uint64_t id() const noexcept { return id_; }
  const Injection& what() const noexcept { return what_; }
  // Whether it acts on this operation; counts it if so. Starts the clock at the first that matches.
  bool strikes(Injection::Stage stage, bool is_write, BlockRange range, Nanos now) noexcept;
  // Whether it would act on an operation that matches now.
  bool is_active(Nanos now) const noexcept;

 private:
  std::uint64_t id_;
  Injection what_;
  Nanos started_ = no_deadline;
  std::uint64_t struck_ = 0;
};

}  // namespace holdfast
