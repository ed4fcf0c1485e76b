// Cancellation: a StopSource is asked once; StopTokens carry the wish into operations, which end with
// Errc::cancelled after their I/O has come back. One reactor; not thread safe.
#pragma once

#include "base/assert.h"

namespace holdfast {

class StopSource;

// Runs on_stop() once when the stop is requested. Leaves its source on destruction.
class StopCallback {
 public:
  virtual void on_stop() noexcept = 0;

 protected:
  StopCallback() = default;
  StopCallback(const StopCallback&) = delete;
  StopCallback& operator=(const StopCallback&) = delete;
  ~StopCallback() { unregister(); }
  void unregister() noexcept;

 private:
  friend class StopSource;
  friend class StopToken;
  StopSource* source_ = nullptr;
  StopCallback* prev_ = nullptr;
  StopCallback* next_ = nullptr;
};

// A view of a StopSource, which must outlive it. The empty token never stops.
class StopToken {
 public:
  StopToken() noexcept = default;
  explicit StopToken(StopSource& source) noexcept : source_(&source) {}
  bool stop_requested() const noexcept;
  // From now on, until it is unregistered, `cb` hears of the stop; at once if it was already requested.
  void subscribe(StopCallback& cb) const noexcept;

 private:
  StopSource* source_ = nullptr;
};

class StopSource {
 public:
  StopSource() = default;
  StopSource(const StopSource&) = delete;
  StopSource& operator=(const StopSource&) = delete;
  ~StopSource() { HF_ASSERT(first_ == nullptr); }

  StopToken token() noexcept { return StopToken(*this); }
  bool stop_requested() const noexcept { return requested_; }
  void request_stop() noexcept;  // the second time is a no-op

 private:
  friend class StopCallback;
  friend class StopToken;
  StopCallback* first_ = nullptr;
  bool requested_ = false;
};

}  // namespace holdfast
