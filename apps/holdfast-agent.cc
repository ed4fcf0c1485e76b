// The agent: flags, the data directory, the runtime and signals. Everything else is src/agent.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <utility>

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/options.h"
#include "agent/run.h"
#include "base/log.h"
#include "uring/runtime.h"

namespace {

using namespace holdfast;

int fail(const Error& error) {
  std::fprintf(stderr, "holdfast-agent: %s\n", error.message().c_str());
  return EXIT_FAILURE;
}

std::string hostname() {
  char name[256] = "";
  static_cast<void>(::gethostname(name, sizeof name - 1));
  return name;
}

// Every client and every engine is a descriptor: all that the process may have.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  static_cast<void>(setrlimit(RLIMIT_NOFILE, &limit));
}

Status make_data_dir(const agent::Options& options) {
  if (options.embedded_path.empty()) return Status();
  std::error_code error;
  const auto folder = std::filesystem::path(options.embedded_path).parent_path();
  std::filesystem::create_directories(folder, error);
  if (!error) return Status();
  return Error(Errc::failed_precondition,
               "--data-dir: " + folder.string() + " cannot be made: " + error.message());
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
  HF_LOG(info, "agent", "asked to stop", {"signal", signal});
  runtime.stop();
  if (sigwait(&set, &signal) != 0 || signal == signal_of_the_end) return;
  HF_LOG(warn, "agent", "asked again: ending now; another agent leads when the lease is over",
         {"signal", signal});
  std::_Exit(EXIT_FAILURE);
}

Status serve(agent::Options options) {
  constexpr std::uint64_t io_memory_bytes = 16 * MiB;
  uring::Runtime::Options core;
  core.spin_us = 0;
  core.memory_bytes = io_memory_bytes;
  HF_TRY(auto runtime, uring::Runtime::create(core));
  std::thread watcher([&runtime] { watch_signals(*runtime); });
  Status served =
      runtime->run(agent::run_agent(runtime->home(), std::move(options), HF_VERSION, runtime->stop_token()));
  pthread_kill(watcher.native_handle(), signal_of_the_end);
  watcher.join();
  return served;
}

}  // namespace

int main(int argc, char** argv) {
  auto parsed = agent::parse_options(argc, argv, hostname(), HF_VERSION);
  if (!parsed.ok()) return fail(parsed.error());
  if (!parsed.value().options) {
    std::fputs(parsed.value().text.c_str(), stdout);
    return EXIT_SUCCESS;
  }
  agent::Options options = std::move(*parsed.value().options);
  raise_descriptor_limit();
  log::configure(options.log_level, options.log_format);
  std::signal(SIGPIPE, SIG_IGN);
  // Every thread inherits this; only the one that watches takes them.
  const sigset_t set = watched_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  const Status made = make_data_dir(options);
  if (!made.ok()) return fail(made.error());
  const Status served = serve(std::move(options));
  if (!served.ok()) return fail(served.error());
  return EXIT_SUCCESS;
}
