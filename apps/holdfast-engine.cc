// The storage engine: flags, the data directory, the runtime and signals. Everything else is src/engine.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/data_dir.h"
#include "engine/options.h"
#include "engine/run.h"
#include "uring/runtime.h"

namespace {

using namespace holdfast;

int fail(const Error& error) {
  std::fprintf(stderr, "holdfast-engine: %s\n", error.message().c_str());
  return EXIT_FAILURE;
}

engine::Surroundings surroundings() {
  char hostname[256] = "";
  static_cast<void>(::gethostname(hostname, sizeof hostname - 1));
  return {[](const char* name) -> const char* { return std::getenv(name); }, hostname, HF_VERSION};
}

// Every host connection is a descriptor: all that the process may have.
std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlim_t before = std::exchange(limit.rlim_cur, limit.rlim_max);
  return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : before;
}

// Tells the watcher that there is nothing left to stop.
constexpr int signal_of_the_end = SIGUSR1;

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, signal_of_the_end);
  return set;
}

// The first signal asks for a clean stop, the second one ends the process at once.
void watch_signals(uring::Runtime& runtime) {
  const sigset_t set = watched_signals();
  int signal = 0;
  if (sigwait(&set, &signal) != 0 || signal == signal_of_the_end) return;
  HF_LOG(info, "engine", "asked to stop", {"signal", signal});
  runtime.stop();
  if (sigwait(&set, &signal) != 0 || signal == signal_of_the_end) return;
  HF_LOG(warn, "engine", "asked again: ending now, without a clean record", {"signal", signal});
  std::_Exit(EXIT_FAILURE);
}

Status serve(engine::Options options, const engine::DataDir& data) {
  uring::Runtime::Options cores;
  cores.cores = options.cores;
  cores.spin_us = options.spin < Nanos{0} ? -1 : options.spin / 1us;
  cores.memory_bytes = options.memory_bytes;
  HF_TRY(auto runtime, uring::Runtime::create(cores));
  std::thread watcher([&runtime] { watch_signals(*runtime); });
  Status served = runtime->run(
      engine::run_engine(runtime->cores(), std::move(options), HF_VERSION, data, runtime->stop_token()));
  pthread_kill(watcher.native_handle(), signal_of_the_end);
  watcher.join();
  return served;
}

}  // namespace

int main(int argc, char** argv) {
  auto parsed = engine::parse_options(argc, argv, surroundings());
  if (!parsed.ok()) return fail(parsed.error());
  if (!parsed.value().options) {
    std::fputs(parsed.value().text.c_str(), stdout);
    return EXIT_SUCCESS;
  }
  engine::Options options = std::move(*parsed.value().options);
  options.descriptors = raise_descriptor_limit();
  log::configure(options.log_level, options.log_format);
  std::signal(SIGPIPE, SIG_IGN);
  // Every thread inherits this; only the one that watches takes them.
  const sigset_t set = watched_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  const auto data_dir = engine::DataDir::open(options.data_dir);
  if (!data_dir.ok()) return fail(data_dir.error());
  const Status served = serve(std::move(options), *data_dir.value());
  if (!served.ok()) return fail(served.error());
  return EXIT_SUCCESS;
}
