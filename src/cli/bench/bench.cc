#include "cli/bench/bench.h"

#include <algorithm>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "base/units.h"
#include "cli/bench/core_load.h"
#include "rt/cross_core.h"
#include "rt/scope.h"

namespace holdfast::cli {
namespace {

constexpr std::uint64_t io_bytes_max = 64 * MiB;

Status refuse(std::string text) { return Error(Errc::invalid_argument, std::move(text)); }

// Checks the options against the device and fills in what follows from it.
Status make_plan(const BlockDevice& device, unsigned cores, BenchPlan& plan) {
  BenchOptions& o = plan.options;
  const Geometry& g = device.geometry();
  plan.block_bytes = g.block_bytes;
  if (o.io_bytes == 0 || o.io_bytes % g.block_bytes != 0 || o.io_bytes > io_bytes_max) {
    return refuse(fmt::format("--bs {} is not a multiple of the device's block of {} bytes, at most 64 MiB",
                              o.io_bytes, g.block_bytes));
  }
  if (o.offset % g.block_bytes != 0 || o.offset >= g.size_bytes()) {
    return refuse(fmt::format("--offset {} is not the start of a block on a device of {}", o.offset,
                              format_size(g.size_bytes())));
  }
  if (o.size == 0) o.size = g.size_bytes() - o.offset;
  if (o.size > g.size_bytes() - o.offset) {
    return refuse(fmt::format("--offset and --size reach beyond the end of the device of {}",
                              format_size(g.size_bytes())));
  }
  if (o.writes() && device.capabilities().read_only) {
    return Error(Errc::read_only,
                 fmt::format("device '{}' is read-only: only --rw read and randread work", device.name()));
  }
  if (o.stride == 0) o.stride = o.io_bytes;
  if (o.stride % g.block_bytes != 0 || o.stride < o.io_bytes) {
    return refuse(
        fmt::format("--stride {} is not a multiple of the device's block of {} bytes, at least --bs",
                    o.stride, g.block_bytes));
  }
  plan.units_per_core = o.size / o.stride / cores;
  const std::uint64_t wanted = o.verify ? std::uint64_t{o.queue_depth} + 1 : 1;
  if (plan.units_per_core < wanted) {
    return refuse(fmt::format("the range of {} is too small for --bs {} and --qd {} on {} cores",
                              format_size(o.size), o.io_bytes, o.queue_depth, cores));
  }
  return Status();
}

class Bench {
 public:
  Bench(const Cores& cores, BlockDevice& device, BenchSurroundings surroundings, StopToken stop)
      : cores_(cores),
        device_(device),
        surroundings_(std::move(surroundings)),
        stop_(stop),
        loads_(cores.count()) {}

  Task<Result<BenchReport>> run(BenchOptions options);

 private:
  // Hears of the stop on the home core; the flag carries it to the others.
  class StopBridge final : public StopCallback {
   public:
    explicit StopBridge(std::atomic<bool>& flag) : flag_(flag) {}
    void on_stop() noexcept override { flag_.store(true, std::memory_order_relaxed); }

   private:
    std::atomic<bool>& flag_;
  };

  Task<Status> on_every_core(Task<Status> (*what)(Bench&, Reactor&));
  static Task<Status> open_on(Bench& bench, Reactor& core);
  static Task<Status> measure_on(Bench& bench, Reactor& core);
  static Task<Status> verify_on(Bench& bench, Reactor& core);
  static Task<Status> close_on(Bench& bench, Reactor& core);

  Task<Status> measure(BenchReport& report);
  Task<Status> verify();
  Task<void> watch(BenchReport& report, StopToken over);
  Task<void> watch_verify(StopToken over);
  void tell(BenchProgress::Phase phase, Nanos since, BenchCounts& last, Nanos& last_at);
  BenchCounts counts() const noexcept;
  std::uint64_t verified() const noexcept;

  const Cores& cores_;
  BlockDevice& device_;
  const BenchSurroundings surroundings_;
  const StopToken stop_;
  BenchPlan plan_;
  std::vector<std::unique_ptr<CoreLoad>> loads_;  // by core; each made and destroyed there
  Nanos measure_from_{0};
  Nanos measure_to_{0};
};

Task<Status> Bench::on_every_core(Task<Status> (*what)(Bench&, Reactor&)) {
  std::vector<std::optional<Error>> errors(cores_.count());
  auto one = [this, what, &errors](Reactor& core) -> Task<void> {
    const Status done = co_await what(*this, core);
    if (!done.ok()) errors[core.core()] = done.error();
  };
  co_await run_on_all(cores_.home(), cores_, one);
  for (const auto& e : errors) {
    if (e) co_return *e;
  }
  co_return Status();
}

Task<Status> Bench::open_on(Bench& bench, Reactor& core) {
  auto& load = bench.loads_[core.core()];
  load = std::make_unique<CoreLoad>(core, bench.plan_);
  co_return co_await load->open(bench.device_);
}

Task<Status> Bench::measure_on(Bench& bench, Reactor& core) {
  co_return co_await bench.loads_[core.core()]->run(bench.measure_from_, bench.measure_to_);
}

Task<Status> Bench::verify_on(Bench& bench, Reactor& core) {
  co_return co_await bench.loads_[core.core()]->verify_written();
}

Task<Status> Bench::close_on(Bench& bench, Reactor& core) {
  auto& load = bench.loads_[core.core()];
  if (load != nullptr) co_await load->close();
  load.reset();
  co_return Status();
}

BenchCounts Bench::counts() const noexcept {
  BenchCounts sum;
  for (const auto& load : loads_) {
    sum.reads += load->live().reads.load(std::memory_order_relaxed);
    sum.writes += load->live().writes.load(std::memory_order_relaxed);
  }
  return sum;
}

std::uint64_t Bench::verified() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& load : loads_) sum += load->live().verified.load(std::memory_order_relaxed);
  return sum;
}

void Bench::tell(BenchProgress::Phase phase, Nanos since, BenchCounts& last, Nanos& last_at) {
  const Nanos now = cores_.home().now();
  const BenchCounts all = counts();
  BenchProgress p;
  p.phase = phase;
  p.elapsed = now - since;
  p.interval = now - last_at;
  p.interval_counts = {all.reads - last.reads, all.writes - last.writes};
  last = all;
  last_at = now;
  if (surroundings_.on_progress) surroundings_.on_progress(p);
}

// Tells the progress and takes the figures at both ends of the measured time.
Task<void> Bench::watch(BenchReport& report, StopToken over) {
  Reactor& home = cores_.home();
  const Nanos started = home.now();
  BenchCounts last;
  Nanos last_at = started;
  while (home.now() < measure_from_ && !over.stop_requested()) {
    co_await home.sleep(std::min<Nanos>(1s, measure_from_ - home.now()), over);
    tell(BenchProgress::Phase::warmup, started, last, last_at);
  }
  const Nanos cpu_before = surroundings_.cpu_time();
  const BenchCounts before = counts();
  const Nanos measured_from = home.now();
  while (home.now() < measure_to_ && !over.stop_requested()) {
    co_await home.sleep(std::min<Nanos>(1s, measure_to_ - home.now()), over);
    tell(BenchProgress::Phase::measuring, measured_from, last, last_at);
  }
  report.elapsed = home.now() - measured_from;
  report.cpu_time = surroundings_.cpu_time() - cpu_before;
  const BenchCounts after = counts();
  report.counts = {after.reads - before.reads, after.writes - before.writes};
}

Task<Status> Bench::measure(BenchReport& report) {
  Reactor& home = cores_.home();
  const BenchOptions& o = plan_.options;
  measure_from_ = home.now() + (o.once ? Nanos{0} : o.warmup);
  measure_to_ = o.once ? no_deadline : measure_from_ + o.time;
  StopSource over;
  TaskScope watching(home);
  watching.spawn(watch(report, over.token()));
  const Status done = co_await on_every_core(&Bench::measure_on);
  over.request_stop();
  co_await watching.join();
  for (const auto& load : loads_) {
    report.reads.merge(load->reads());
    report.writes.merge(load->writes());
  }
  co_return done.ok() ? Status() : Status(done.error());
}

Task<void> Bench::watch_verify(StopToken over) {
  Reactor& home = cores_.home();
  const Nanos started = home.now();
  const std::uint64_t verified_before = verified();
  BenchProgress p;
  p.phase = BenchProgress::Phase::verifying;
  for (const auto& load : loads_) p.to_verify += load->units_written();
  while (co_await home.sleep(1s, over)) {
    p.elapsed = home.now() - started;
    p.verified = verified() - verified_before;
    if (surroundings_.on_progress) surroundings_.on_progress(p);
  }
}

Task<Status> Bench::verify() {
  StopSource over;
  TaskScope watching(cores_.home());
  watching.spawn(watch_verify(over.token()));
  const Status done = co_await on_every_core(&Bench::verify_on);
  over.request_stop();
  co_await watching.join();
  co_return done.ok() ? Status() : Status(done.error());
}

Task<Result<BenchReport>> Bench::run(BenchOptions options) {
  plan_.options = options;
  HF_CO_CHECK(make_plan(device_, cores_.count(), plan_));
  StopBridge bridge(plan_.stop);
  stop_.subscribe(bridge);
  BenchReport report;
  Status done = co_await on_every_core(&Bench::open_on);
  if (done.ok()) done = co_await measure(report);
  if (done.ok() && plan_.options.verify && plan_.options.writes()) done = co_await verify();
  report.interrupted = stop_.stop_requested();
  if (done.ok()) report.verified = verified();
  const Status closed = co_await on_every_core(&Bench::close_on);
  closed.ignore("closing a channel cannot fail");
  if (!done.ok()) co_return done.error();
  co_return report;
}

}  // namespace

Task<Result<BenchReport>> run_bench(const Cores& cores, BlockDevice& device, BenchOptions options,
                                    BenchSurroundings surroundings, StopToken stop) {
  Bench bench(cores, device, std::move(surroundings), stop);
  co_return co_await bench.run(std::move(options));
}

}  // namespace holdfast::cli
