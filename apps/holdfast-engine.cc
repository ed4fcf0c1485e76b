// The storage engine: flags, the data directory, the runtime and signals. Everything else is src/engine.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "base/log.h"
#include "engine/data_dir.h"
#include "engine/options.h"
#include "engine/run.h"
#include "process.h"
#include "uring/runtime.h"

namespace {

using namespace holdfast;

int fail(const Error& error) {
  std::fprintf(stderr, "holdfast-engine: %s\n", error.message().c_str());
  return EXIT_FAILURE;
}

engine::Surroundings surroundings() {
  return {[](const char* name) -> const char* { return std::getenv(name); }, apps::hostname(), HF_VERSION};
}

Status serve(engine::Options options, const engine::DataDir& data) {
  uring::Runtime::Options cores;
  cores.cores = options.cores;
  cores.spin_us = options.spin < Nanos{0} ? -1 : options.spin / 1us;
  cores.memory_bytes = options.memory_bytes;
  HF_TRY(auto runtime, uring::Runtime::create(cores));
  const apps::SignalWatcher watcher(*runtime, "engine", "asked again: ending now, without a clean record");
  return runtime->run(
      engine::run_engine(runtime->cores(), std::move(options), HF_VERSION, data, runtime->stop_token()));
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
  options.descriptors = apps::raise_descriptor_limit();
  log::configure(options.log_level, options.log_format);
  std::signal(SIGPIPE, SIG_IGN);
  apps::block_stop_signals();
  const auto data_dir = engine::DataDir::open(options.data_dir);
  if (!data_dir.ok()) return fail(data_dir.error());
  const Status served = serve(std::move(options), *data_dir.value());
  if (!served.ok()) return fail(served.error());
  return EXIT_SUCCESS;
}
