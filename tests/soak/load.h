// Reads and writes of a published volume that go on whatever happens to it, and know every byte: each place is
// written by one worker only, with a pattern of its generation. What was acknowledged has to be there; a write whose
// answer was lost may have happened or not, and a read tells which, once and for all.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

namespace holdfast::soak {

struct LoadOutcome {
  std::uint64_t reads = 0;
  std::uint64_t writes = 0;  // acknowledged
  std::uint64_t lost = 0;    // operations without an answer, or with an error
  std::string wrong;         // the first thing; empty when nothing was
};

// In a thread of its own, from when it is made.
class Load {
 public:
  // The disk is as it was made: zeroes, at least 16 MiB.
  Load(std::string uri, std::uint64_t seed);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  bool failed() const noexcept { return failed_; }
  // Of all kinds, so far.
  std::uint64_t operations() const noexcept { return operations_; }
  // Reads every place a last time, and ends.
  LoadOutcome finish();

 private:
  friend class Workers;
  void run(const std::string& uri, std::uint64_t seed);

  std::atomic<bool> stop_ = false;
  std::atomic<bool> failed_ = false;
  std::atomic<std::uint64_t> operations_ = 0;
  LoadOutcome outcome_;
  std::thread thread_;
};

}  // namespace holdfast::soak
