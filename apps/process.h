// What every server of ours is as a process: its limits, and how it is asked to stop.
#pragma once

#include <atomic>
#include <csignal>
#include <cstdint>
#include <string>
#include <thread>

#include "uring/runtime.h"

namespace holdfast::apps {

std::string hostname();

// Every connection is a descriptor: takes all that the process may have. How many that is; 0: unknown.
std::uint64_t raise_descriptor_limit();

// Before the first thread is started: all of them inherit it.
void block_stop_signals();

// The first SIGTERM or SIGINT asks the runtime for a clean stop, the second one ends the process at once. In a thread
// of its own for as long as it lives. The texts and the runtime outlive it; block_stop_signals() was called.
class SignalWatcher {
 public:
  // `what` is the component that the log names, `at_once` what it says before an end that is not clean.
  SignalWatcher(uring::Runtime& runtime, const char* what, const char* at_once);
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  void watch() const;
  // The next signal that asks to stop; 0: there is nothing left to stop.
  int next() const;

  uring::Runtime& runtime_;
  const char* what_;
  const char* at_once_;
  std::atomic<bool> over_{false};
  std::thread thread_;
};

}  // namespace holdfast::apps
