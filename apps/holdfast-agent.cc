// The agent: flags, the data directory, the runtime and signals. Everything else is src/agent.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "agent/options.h"
#include "agent/run.h"
#include "base/log.h"
#include "process.h"
#include "uring/runtime.h"

namespace {

using namespace holdfast;

int fail(const Error& error) {
  std::fprintf(stderr, "holdfast-agent: %s\n", error.message().c_str());
  return EXIT_FAILURE;
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

Status serve(agent::Options options) {
  constexpr std::uint64_t io_memory_bytes = 16 * MiB;
  uring::Runtime::Options core;
  core.spin_us = 0;
  core.memory_bytes = io_memory_bytes;
  HF_TRY(auto runtime, uring::Runtime::create(core));
  const apps::SignalWatcher watcher(*runtime, "agent",
                                    "asked again: ending now; another agent leads when the lease is over");
  return runtime->run(
      agent::run_agent(runtime->home(), std::move(options), HF_VERSION, runtime->stop_token()));
}

}  // namespace

int main(int argc, char** argv) {
  auto parsed = agent::parse_options(argc, argv, apps::hostname(), HF_VERSION);
  if (!parsed.ok()) return fail(parsed.error());
  if (!parsed.value().options) {
    std::fputs(parsed.value().text.c_str(), stdout);
    return EXIT_SUCCESS;
  }
  agent::Options options = std::move(*parsed.value().options);
  apps::raise_descriptor_limit();
  log::configure(options.log_level, options.log_format);
  std::signal(SIGPIPE, SIG_IGN);
  apps::block_stop_signals();
  const Status made = make_data_dir(options);
  if (!made.ok()) return fail(made.error());
  const Status served = serve(std::move(options));
  if (!served.ok()) return fail(served.error());
  return EXIT_SUCCESS;
}
