#include "cli/bench/bench_command.h"

#include <atomic>
#include <csignal>
#include <limits>
#include <map>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/units.h"
#include "block/builtin.h"
#include "block/registry.h"
#include "cli/bench/bench.h"
#include "cli/bench/report.h"
#include "cli/tool/choice.h"
#include "nvmf/initiator/initiator.h"
#include "pool/pool_scheme.h"
#include "uring/runtime.h"

namespace holdfast::cli {
namespace {

constexpr unsigned cores_by_default_max = 4;

struct CommandOptions {
  BenchOptions bench;
  std::string uri;
  double time_seconds = 10;
  double warmup_seconds = 1;
  unsigned cores = 1;
  std::int64_t spin_us = 50;
};

Nanos seconds(double s) { return Nanos{static_cast<std::int64_t>(s * 1e9)}; }

Nanos process_cpu_time() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto nanos = [](const timeval& t) {
    return Nanos{std::int64_t{t.tv_sec} * 1'000'000'000 + std::int64_t{t.tv_usec} * 1000};
  };
  return nanos(usage.ru_utime) + nanos(usage.ru_stime);
}

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  const bool seeded = getrandom(&seed, sizeof seed, 0) == sizeof seed;  // always, for 8 bytes
  HF_ASSERT(seeded);
  return seed;
}

// Ctrl-C ends the run and shows what was measured until then; the second one ends the process.
class StopOnSignal {
 public:
  explicit StopOnSignal(uring::Runtime& runtime) {
    running = &runtime;
    struct sigaction act {};
    act.sa_handler = [](int) {
      if (auto* r = running.exchange(nullptr)) r->stop();
    };
    act.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(SIGINT, &act, nullptr);
    sigaction(SIGTERM, &act, nullptr);
  }
  ~StopOnSignal() { running = nullptr; }
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;

 private:
  static inline std::atomic<uring::Runtime*> running{nullptr};
};

uring::Runtime::Options runtime_options(const CommandOptions& o) {
  uring::Runtime::Options options;
  options.cores = o.cores;
  options.spin_us = o.spin_us;
  const std::uint64_t in_flight =
      o.bench.queue_depth * round_up(std::max<std::uint64_t>(o.bench.io_bytes, 4 * KiB), 4 * KiB);
  // Pieces are powers of two of whole slabs: twice as much always does. The rest is for the device itself.
  options.memory_bytes = o.cores * (2 * in_flight + 64 * MiB);
  return options;
}

Task<Result<BenchReport>> bench_uri(const Cores& cores, std::string uri, BenchOptions options,
                                    BenchSurroundings surroundings, StopToken stop) {
  DeviceRegistry registry(cores);
  register_builtin_schemes(registry, cores);
  nvmf::register_nvmf_scheme(registry, cores, nvmf::InitiatorConfig());
  registry.add_scheme("pool", pool::pool_scheme(registry));
  const Result<BlockDevice*> device = co_await registry.create(uri);
  if (!device.ok()) {
    co_await registry.close();
    co_return device.error();
  }
  Result<BenchReport> report =
      co_await run_bench(cores, *device.value(), options, std::move(surroundings), stop);
  co_await registry.close();
  co_return report;
}

int run(Tool& tool, CommandOptions& o) {
  Output& out = tool.output();
  log::configure(out.verbosity > 0 ? log::Level::info : log::Level::error, log::Format::text);
  o.bench.time = seconds(o.time_seconds);
  o.bench.warmup = seconds(o.warmup_seconds);
  if (o.bench.seed == 0) o.bench.seed = random_seed();
  o.bench.run = static_cast<std::uint32_t>(random_seed());
  // The memory is for each of them.
  if (o.cores == 0) o.cores = std::min(cores_by_default_max, uring::Runtime::usable_cpus());
  auto runtime = uring::Runtime::create(runtime_options(o));
  if (!runtime.ok()) return out.error(runtime.error());
  BenchSurroundings surroundings;
  surroundings.cpu_time = process_cpu_time;
  surroundings.on_progress = [&out, &o](const BenchProgress& p) { out.live_line(progress_line(o.bench, p)); };
  const StopOnSignal signals(*runtime.value());
  const auto report = runtime.value()->run(bench_uri(runtime.value()->cores(), o.uri, o.bench,
                                                     std::move(surroundings), runtime.value()->stop_token()));
  if (!report.ok()) return out.error(report.error());
  write_report(out, o.uri, o.cores, o.bench, report.value());
  return exit_ok;
}

// A check whose limits do not show between the option's name and its help.
CLI::Validator quiet(CLI::Range range) { return range.description(""); }

void add_load_options(CLI::App& c, CommandOptions& o) {
  static const std::map<std::string, Access> accesses = {{"read", Access::read},
                                                         {"write", Access::write},
                                                         {"randread", Access::rand_read},
                                                         {"randwrite", Access::rand_write},
                                                         {"randrw", Access::rand_rw}};
  c.add_option("--rw", o.bench.access, "read, write, randread, randwrite or randrw")
      ->transform(choice(accesses))
      ->type_name("ACCESS")
      ->default_str("randread");
  c.add_option("--mix", o.bench.read_percent, "Percentage of reads of randrw")
      ->check(quiet(CLI::Range(0, 100)))
      ->type_name("PERCENT")
      ->capture_default_str();
  add_size(c, "--bs", o.bench.io_bytes, "Size of one operation, up to 64 MiB")->default_str("4KiB");
  c.add_option("--qd", o.bench.queue_depth, "Operations in flight on each core")
      ->check(quiet(CLI::Range(1, 4096)))
      ->type_name("N")
      ->capture_default_str();
  c.add_option("--time", o.time_seconds, "Seconds to measure")
      ->check(quiet(CLI::Range(0.01, 1e7)))
      ->type_name("S")
      ->capture_default_str();
  c.add_option("--warmup", o.warmup_seconds, "Seconds of the same load before that")
      ->check(quiet(CLI::Range(0.0, 1e5)))
      ->type_name("S")
      ->capture_default_str();
  c.add_flag("--once", o.bench.once, "Each place in the range once, instead of --time and --warmup");
  add_size(c, "--stride", o.bench.stride,
           "From the start of one place to that of the next; --bs if absent. With --once and as long\n"
           "as a cluster: first writes only");
  add_size(c, "--offset", o.bench.offset, "Start of the range that is used")->default_str("0");
  add_size(c, "--size", o.bench.size, "Length of the range; to the end of the device if absent")
      ->check(CLI::Range(std::uint64_t{1}, std::numeric_limits<std::uint64_t>::max()).description(""));
}

}  // namespace

void add_bench_command(Tool& tool) {
  auto& o = tool.keep<CommandOptions>();
  auto& c = tool.add_command(tool.app(), "bench", "Measure a block device: IOPS, bandwidth, latency, CPU",
                             [&tool, &o] { return run(tool, o); });
  c.add_option("URI", o.uri, "Device: nvmf://HOST:PORT/NQN, uring:///PATH, malloc:///NAME?size_mb=N, ...")
      ->required();
  add_load_options(c, o);
  c.add_flag("--verify", o.bench.verify,
             "Writes carry a pattern with address and generation, reads check it, and at the end\n"
             "everything written is read back. read and randread check what an earlier run wrote");
  c.add_option("--seed", o.bench.seed, "Of the addresses; random if absent")->type_name("N");
  c.add_option("--cores", o.cores,
               "Cores that do I/O; each has --qd operations in flight in a part of the range of its\n"
               "own. 0: all that the process may use, at most 4")
      ->check(quiet(CLI::Range(0u, uring::Runtime::cores_max)))
      ->type_name("N")
      ->capture_default_str();
  c.add_option("--spin-us", o.spin_us,
               "Microseconds that an idle core polls before it sleeps; -1: it always polls")
      ->check(quiet(CLI::Range(std::int64_t{-1}, std::int64_t{1'000'000})))
      ->type_name("US")
      ->capture_default_str();
  tool.add_output_options(c);
  c.footer(
      "Whatever is written destroys the content of the device. Latencies are in microseconds; CPU is that "
      "of\n"
      "this process alone, user and system time. Ctrl-C ends the run early and shows the figures so far.\n"
      "Exit status: 0 success, 1 an operation failed or verification found other content, 2 wrong usage.\n\n"
      "  holdfast bench nvmf://10.0.0.1:8420/nqn.2019-05.io.openebs:disk0 --rw randwrite --qd 32 --verify\n"
      "  holdfast bench uring:///var/tmp/file --rw write --bs 1MiB --qd 4 --once");
}

}  // namespace holdfast::cli
