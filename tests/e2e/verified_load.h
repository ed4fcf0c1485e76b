// Reads and writes of an exported disk that go on whatever happens to it, and know every byte (content.h): each place is
// written by one worker only. What is lost, or written again later, is seen.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "e2e/content.h"

namespace holdfast::e2e {

struct LoadOutcome {
  std::uint64_t reads = 0;
  std::uint64_t writes = 0;  // acknowledged
  std::uint64_t lost = 0;    // operations without an answer, or with an error
  std::string last_error;    // of those
  std::string wrong;         // the first thing; empty when nothing was
};

// In a thread of its own, in the network namespace of its maker, from when it is made.
class VerifiedLoad {
 public:
  struct Options {
    std::uint64_t seed = 1;
    std::chrono::milliseconds pace{0};  // between the operations of a worker, of which there are eight
  };
  // The disk is as it was made: zeroes, at least `bytes_at_first`.
  static constexpr std::uint64_t bytes_at_first = 16 << 20;
  VerifiedLoad(std::string uri, Options options);
  ~VerifiedLoad();
  VerifiedLoad(const VerifiedLoad&) = delete;
  VerifiedLoad& operator=(const VerifiedLoad&) = delete;

  bool failed() const noexcept { return failed_; }
  // What the disk may hold now.
  Content content() const;
  // So much of the disk is used from now on: it has grown, and the connection hears of that in time.
  void grow(std::uint64_t bytes);
  // Reads every place a last time, and ends.
  LoadOutcome finish();

 private:
  friend class Workers;
  void run(const std::string& uri);

  const Options options_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> failed_ = false;
  mutable std::mutex mutex_;
  Content content_;
  LoadOutcome outcome_;
  std::thread thread_;
};

}  // namespace holdfast::e2e
