#include "base/error.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace holdfast {

void panic(const char* what, const char* file, int line) noexcept {
  std::fprintf(stderr, "panic: %s at %s:%d\n", what, file, line);
  std::abort();
}

const char* name(Errc code) noexcept {
  switch (code) {  // no default: -Wswitch makes a forgotten value a build error
    case Errc::ok:
      return "ok";
    case Errc::io_error:
      return "io_error";
    case Errc::miscompare:
      return "miscompare";
    case Errc::out_of_space:
      return "out_of_space";
    case Errc::out_of_range:
      return "out_of_range";
    case Errc::not_connected:
      return "not_connected";
    case Errc::timed_out:
      return "timed_out";
    case Errc::cancelled:
      return "cancelled";
    case Errc::protocol:
      return "protocol";
    case Errc::reservation_conflict:
      return "reservation_conflict";
    case Errc::fenced:
      return "fenced";
    case Errc::read_only:
      return "read_only";
    case Errc::not_supported:
      return "not_supported";
    case Errc::invalid_argument:
      return "invalid_argument";
    case Errc::not_found:
      return "not_found";
    case Errc::already_exists:
      return "already_exists";
    case Errc::failed_precondition:
      return "failed_precondition";
    case Errc::busy:
      return "busy";
    case Errc::resource_exhausted:
      return "resource_exhausted";
    case Errc::bad_format:
      return "bad_format";
    case Errc::internal:
      return "internal";
  }
  return "?";
}

Error::Error(const Error& other)
    : code_(other.code_),
      sys_errno_(other.sys_errno_),
      injected_(other.injected_),
      text_(other.text_ ? std::make_unique<std::string>(*other.text_) : nullptr) {}

Error& Error::operator=(const Error& other) {
  if (this != &other) *this = Error(other);
  return *this;
}

std::string Error::message() const {
  if (text_) return *text_;
  std::string text = name(code_);
  if (sys_errno_ > 0) text.append(" (").append(std::strerror(sys_errno_)).append(")");
  return text;
}

Error Error::with_context(std::string_view context) const {
  Error e = *this;
  // A number below 0 is a module's finer code: the text given says it all.
  const bool complete = !text_ && sys_errno_ < 0;
  e.text_ = std::make_unique<std::string>(complete ? std::string(context)
                                                   : std::string(context) + ": " + message());
  return e;
}

Error error_from_errno(int sys_errno) noexcept {
  switch (sys_errno) {
    case ENOSPC:
    case EDQUOT:
      return Error(Errc::out_of_space, sys_errno);
    case EROFS:
      return Error(Errc::read_only, sys_errno);
    case EOPNOTSUPP:
    case ENOSYS:
      return Error(Errc::not_supported, sys_errno);
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return Error(Errc::not_found, sys_errno);
    case EEXIST:
      return Error(Errc::already_exists, sys_errno);
    case EBUSY:
    case EADDRINUSE:
      return Error(Errc::busy, sys_errno);
    case EINVAL:
      return Error(Errc::invalid_argument, sys_errno);
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return Error(Errc::resource_exhausted, sys_errno);
    case EPIPE:
    case ECONNRESET:
    case ECONNREFUSED:
    case ECONNABORTED:
    case ENOTCONN:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
      return Error(Errc::not_connected, sys_errno);
    case ETIMEDOUT:
      return Error(Errc::timed_out, sys_errno);
    case ECANCELED:
      return Error(Errc::cancelled, sys_errno);
    case EACCES:
    case EPERM:
      return Error(Errc::failed_precondition, sys_errno);
    default:
      return Error(Errc::io_error, sys_errno);
  }
}

}  // namespace holdfast
