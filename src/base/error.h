// Error and Result<T>: how every fallible function reports an OPERATING error.
//
// Errc values are for code that branches; a new one needs a caller that reacts to it differently. The text of
// an Error is for people: it names the thing and, where there is one, the remedy. Errors made on the I/O path
// carry no text and cost no allocation. Programmer errors are not Errors: see assert.h.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/assert.h"

namespace holdfast {

enum class Errc : std::uint16_t {
  ok = 0,
  // What the I/O path branches on.
  io_error,              // the medium said no; the content of the range is unknown
  miscompare,            // compare found other bytes
  out_of_space,          // a thin device has nothing left to allocate
  out_of_range,          // beyond the end of the device
  not_connected,         // no path: the operation may or may not have happened at the peer
  timed_out,             // the same, after waiting long enough
  cancelled,             // the caller asked to stop
  protocol,              // the peer broke its specification: drop the connection
  reservation_conflict,  // fenced by another host's reservation
  fenced,                // this nexus lost its membership: another owner exists
  read_only,
  not_supported,
  // What the management path branches on.
  invalid_argument,
  not_found,
  already_exists,
  failed_precondition,  // the state of the thing forbids it now; the text says which state
  busy,                 // in use by somebody, or locked; try again later
  resource_exhausted,   // memory, descriptors, queue slots
  bad_format,           // bytes from disk or file that cannot be what they claim
  internal,
};
// The enumerator's name, for logs.
const char* name(Errc code) noexcept;

class [[nodiscard]] Error {
 public:
  Error(Errc code, int sys_errno = 0) noexcept
      : code_(code), sys_errno_(static_cast<std::int16_t>(sys_errno)) {
    HF_ASSERT(code != Errc::ok);
  }
  Error(Errc code, std::string text) : code_(code), text_(std::make_unique<std::string>(std::move(text))) {
    HF_ASSERT(code != Errc::ok);
  }
  Error(const Error& other);
  Error(Error&&) noexcept = default;
  Error& operator=(const Error& other);
  Error& operator=(Error&&) noexcept = default;
  ~Error() = default;

  Errc code() const noexcept { return code_; }
  int sys_errno() const noexcept { return sys_errno_; }  // 0: no system call failed; below 0: a control::Kind
  // The text given, else the code's name with the errno's message.
  std::string message() const;
  // The same error with "context: " before its text.
  Error with_context(std::string_view context) const;
  // Marks an error that a fault injector or the simulation made. For logs only; never branch on it.
  Error as_injected() const {
    Error e = *this;
    e.injected_ = true;
    return e;
  }
  bool injected() const noexcept { return injected_; }

 private:
  Errc code_;
  std::int16_t sys_errno_ = 0;
  bool injected_ = false;
  std::unique_ptr<std::string> text_;
};

// The Error for a failed system call.
Error error_from_errno(int sys_errno) noexcept;

// Holds a T or an Error. Debug builds panic when a Result dies with nobody having asked ok(): g++ 12 gives no
// -Wunused-result for `co_await f();`, so the type has to catch it.
template <class T>
class [[nodiscard]] Result {
  struct Unit {};
  using V = std::conditional_t<std::is_void_v<T>, Unit, T>;

 public:
  using value_type = T;

  Result() noexcept requires std::is_void_v<T> : has_(true) { ::new (&v_) V(); }
  Result(V v) noexcept(std::is_nothrow_move_constructible_v<V>) requires(!std::is_void_v<T>) : has_(true) {
    ::new (&v_) V(std::move(v));
  }
  Result(Error e) noexcept : has_(false) { ::new (&e_) Error(std::move(e)); }
  Result(Result&& o) noexcept : has_(o.has_) {
    if (has_) {
      ::new (&v_) V(std::move(o.v_));
    } else {
      ::new (&e_) Error(std::move(o.e_));
    }
    o.checked_ = true;
  }
  Result& operator=(Result&& o) noexcept {
    if (this == &o) return *this;
    this->~Result();
    return *::new (this) Result(std::move(o));
  }
  ~Result() {
#ifndef NDEBUG
    if (!checked_) panic("Result dropped unchecked");
#endif
    if (has_) {
      v_.~V();
    } else {
      e_.~Error();
    }
  }

  bool ok() const noexcept {
    checked_ = true;
    return has_;
  }
  explicit operator bool() const noexcept { return ok(); }
  V& value() & {
    HF_ASSERT(ok());
    return v_;
  }
  const V& value() const& {
    HF_ASSERT(ok());
    return v_;
  }
  V&& value() && {
    HF_ASSERT(ok());
    return std::move(v_);
  }
  const Error& error() const {
    HF_ASSERT(!ok());
    return e_;
  }
  // Errc::ok, or the error's code: for switches.
  Errc code() const noexcept { return ok() ? Errc::ok : e_.code(); }
  // Says that dropping the outcome is meant, and why.
  void ignore([[maybe_unused]] const char* why) const noexcept { checked_ = true; }

 private:
  bool has_;
  mutable bool checked_ = false;
  union {
    V v_;
    Error e_;
  };
};

using Status = Result<void>;

// Statement macros, never GNU statement expressions: g++ 12 crashes on those around co_await.
#define HF_CAT2(a, b) a##b
#define HF_CAT(a, b) HF_CAT2(a, b)
#define HF_TRY_(ret, tmp, decl, ...) \
  auto tmp = (__VA_ARGS__);          \
  if (!tmp.ok()) [[unlikely]]        \
    ret tmp.error();                 \
  decl = std::move(tmp).value()
#define HF_CHECK_(ret, tmp, ...)                        \
  if (auto tmp = (__VA_ARGS__); !tmp.ok()) [[unlikely]] \
  ret tmp.error()
// HF_TRY(auto x, f()): binds the value, or returns the Error.  HF_CHECK(f()): returns the Error, if any.
#define HF_TRY(decl, ...) HF_TRY_(return, HF_CAT(try_, __LINE__), decl, __VA_ARGS__)
#define HF_CHECK(...) HF_CHECK_(return, HF_CAT(chk_, __LINE__), __VA_ARGS__)
// The same inside a coroutine.
#define HF_CO_TRY(decl, ...) HF_TRY_(co_return, HF_CAT(try_, __LINE__), decl, __VA_ARGS__)
#define HF_CO_CHECK(...) HF_CHECK_(co_return, HF_CAT(chk_, __LINE__), __VA_ARGS__)

}  // namespace holdfast
