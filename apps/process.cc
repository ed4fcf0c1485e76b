#include "process.h"

#include <cstdlib>
#include <utility>

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

namespace holdfast::apps {
namespace {

// Tells the watcher that there is nothing left to stop.
constexpr int signal_of_the_end = SIGUSR1;

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, signal_of_the_end}) sigaddset(&set, signal);
  return set;
}

}  // namespace

std::string hostname() {
  char name[256] = "";
  static_cast<void>(::gethostname(name, sizeof name - 1));
  return name;
}

std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlim_t before = std::exchange(limit.rlim_cur, limit.rlim_max);
  return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : before;
}

void block_stop_signals() {
  const sigset_t set = watched_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

SignalWatcher::SignalWatcher(uring::Runtime& runtime, const char* what, const char* at_once)
    : runtime_(runtime), what_(what), at_once_(at_once), thread_([this] { watch(); }) {}

SignalWatcher::~SignalWatcher() {
  over_ = true;
  pthread_kill(thread_.native_handle(), signal_of_the_end);
  thread_.join();
}

// The signal of the end may come from elsewhere too, and means nothing then.
int SignalWatcher::next() const {
  const sigset_t set = watched_signals();
  for (int signal = 0; sigwait(&set, &signal) == 0;) {
    if (signal != signal_of_the_end) return signal;
    if (over_) return 0;
  }
  return 0;
}

void SignalWatcher::watch() const {
  int signal = next();
  if (signal == 0) return;
  HF_LOG(info, what_, "asked to stop", {"signal", signal});
  runtime_.stop();
  signal = next();
  if (signal == 0) return;
  HF_LOG(warn, what_, at_once_, {"signal", signal});
  std::_Exit(EXIT_FAILURE);
}

}  // namespace holdfast::apps
