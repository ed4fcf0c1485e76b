#include "cli/bench/report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/units.h"

namespace holdfast::cli {
namespace {

using Tree = nlohmann::ordered_json;

double in_seconds(Nanos n) { return static_cast<double>(n.count()) / 1e9; }
double in_us(Nanos n) { return static_cast<double>(n.count()) / 1e3; }

// 0 for an empty time.
double per_second(std::uint64_t count, Nanos time) {
  return time.count() <= 0 ? 0 : static_cast<double>(count) / in_seconds(time);
}

std::string rate(std::uint64_t operations, std::uint64_t io_bytes, Nanos time) {
  const double iops = per_second(operations, time);
  return fmt::format("{:.0f} IOPS {}/s", iops,
                     format_size(static_cast<std::uint64_t>(iops * static_cast<double>(io_bytes))));
}

// Rounded, so that the JSON stays readable.
double round_to(double value, double step) {
  return static_cast<double>(static_cast<std::int64_t>(value / step + 0.5)) * step;
}

Tree direction_tree(std::uint64_t operations, std::uint64_t io_bytes, Nanos elapsed, const Histogram& h) {
  const double iops = per_second(operations, elapsed);
  return {{"operations", operations},
          {"iops", round_to(iops, 1)},
          {"bytes_per_second", static_cast<std::uint64_t>(iops * static_cast<double>(io_bytes))},
          {"latency_ns",
           {{"mean", static_cast<std::uint64_t>(h.mean_ns())},
            {"p50", h.percentile(50).count()},
            {"p90", h.percentile(90).count()},
            {"p99", h.percentile(99).count()},
            {"p99.9", h.percentile(99.9).count()},
            {"max", h.max().count()}}}};
}

Tree to_tree(const std::string& uri, unsigned cores, const BenchOptions& o, const BenchReport& r) {
  const std::uint64_t operations = r.counts.reads + r.counts.writes;
  Tree tree = {{"uri", uri},
               {"rw", access_word(o.access)},
               {"block_size", o.io_bytes},
               {"queue_depth", o.queue_depth},
               {"cores", cores},
               {"seconds", in_seconds(r.elapsed)},
               {"interrupted", r.interrupted}};
  if (o.reads()) tree["read"] = direction_tree(r.counts.reads, o.io_bytes, r.elapsed, r.reads);
  if (o.writes()) tree["write"] = direction_tree(r.counts.writes, o.io_bytes, r.elapsed, r.writes);
  tree["cpu_seconds"] = in_seconds(r.cpu_time);
  tree["cpu_ns_per_io"] = operations == 0 ? 0 : r.cpu_time.count() / static_cast<std::int64_t>(operations);
  if (o.verify) tree["blocks_verified"] = r.verified;
  return tree;
}

void add_row(Table& table, const char* name, std::uint64_t operations, const BenchOptions& o, Nanos elapsed,
             const Histogram& h) {
  const double iops = per_second(operations, elapsed);
  auto us = [](double value) { return fmt::format("{:.1f}", value); };
  table.add_row({name, fmt::format("{:.0f}", iops),
                 fmt::format("{:.1f}", iops * static_cast<double>(o.io_bytes) / static_cast<double>(MiB)),
                 us(h.mean_ns() / 1e3), us(in_us(h.percentile(50))), us(in_us(h.percentile(99))),
                 us(in_us(h.percentile(99.9))), us(in_us(h.max()))});
}

void write_table(Output& out, const std::string& uri, unsigned cores, const BenchOptions& o,
                 const BenchReport& r) {
  constexpr auto right = Align::right;
  out.line(fmt::format("{} {} over {}, {} in flight on {} core{}, {:.1f} s{}", access_word(o.access),
                       format_size(o.io_bytes), uri, o.queue_depth, cores, cores == 1 ? "" : " each",
                       in_seconds(r.elapsed), r.interrupted ? " (interrupted)" : ""));
  Table table{{"RW"},
              {"IOPS", right},
              {"MIB/S", right},
              {"MEAN_US", right},
              {"P50_US", right},
              {"P99_US", right},
              {"P99.9_US", right},
              {"MAX_US", right}};
  if (o.reads()) add_row(table, "read", r.counts.reads, o, r.elapsed, r.reads);
  if (o.writes()) add_row(table, "write", r.counts.writes, o, r.elapsed, r.writes);
  if (o.reads() && o.writes()) {
    Histogram both = r.reads;
    both.merge(r.writes);
    add_row(table, "both", r.counts.reads + r.counts.writes, o, r.elapsed, both);
  }
  out.print(table);
  const std::uint64_t operations = r.counts.reads + r.counts.writes;
  if (operations > 0) {
    out.line(fmt::format("CPU {:.2f} us per I/O, {:.0f} % of a core",
                         in_us(r.cpu_time) / static_cast<double>(operations),
                         100 * in_seconds(r.cpu_time) / in_seconds(r.elapsed)));
  }
  if (o.verify)
    out.line(fmt::format("verified {} operations, all right{}", r.verified, r.interrupted ? " so far" : ""));
}

}  // namespace

const char* access_word(Access access) noexcept {
  switch (access) {
    case Access::read:
      return "read";
    case Access::write:
      return "write";
    case Access::rand_read:
      return "randread";
    case Access::rand_write:
      return "randwrite";
    case Access::rand_rw:
      return "randrw";
  }
  return "?";
}

std::string progress_line(const BenchOptions& o, const BenchProgress& p) {
  if (p.phase == BenchProgress::Phase::verifying) {
    return fmt::format("{:3.0f} s  reading back: {} of {}", in_seconds(p.elapsed), p.verified, p.to_verify);
  }
  std::string text = fmt::format("{:3.0f} s", in_seconds(p.elapsed));
  if (p.phase == BenchProgress::Phase::warmup) text += "  warming up";
  if (o.reads()) text += "  read " + rate(p.interval_counts.reads, o.io_bytes, p.interval);
  if (o.writes()) text += "  write " + rate(p.interval_counts.writes, o.io_bytes, p.interval);
  return text;
}

void write_report(Output& out, const std::string& uri, unsigned cores, const BenchOptions& options,
                  const BenchReport& report) {
  out.answer(to_tree(uri, cores, options, report), [&] { write_table(out, uri, cores, options, report); });
}

}  // namespace holdfast::cli
