// Data integrity: what was written is read, over sizes, places, queues and paths of the data.
#include <algorithm>
#include <functional>
#include <map>

#include <fmt/format.h>

#include "base/prng.h"
#include "cli/conformance/session.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

void sizes(Test& t, SessionOptions options, Session::Carry how) {
  Session s(t, std::move(options));
  const auto queue = s.io_queue();
  const std::uint32_t block = s.block_bytes();
  // Of this case alone: what another case left here must not look like its own.
  std::uint64_t slba = 1, seed = t.settings().seed ^ std::hash<std::string>{}(t.outcome().of->id);
  for (std::uint32_t blocks = 1; blocks * std::uint64_t{block} <= s.transfer_max() && t.ok();
       blocks = blocks * 2 + 1) {
    if (slba + blocks > s.blocks()) break;

    const Bytes data = pattern(std::size_t{blocks} * block, ++seed);
    queue->expect_good("Write", queue->execute(s.write_command(slba, data, how)));
    const Answer a = queue->execute(s.read_command(slba, blocks));
    if (queue->expect_good("Read", a))
      t.equal_bytes(fmt::format("{} blocks from LBA {}", blocks, slba), a.data, data);
    slba += blocks;
  }
}

// Random overlapping writes against a model of the first blocks.
void random_writes(Test& t) {
  Session s(t);
  const auto queue = s.io_queue();
  const std::uint32_t block = s.block_bytes();
  const auto area = static_cast<std::uint32_t>(std::min<std::uint64_t>(s.blocks(), 256));
  Bytes model(std::size_t{area} * block);
  const std::uint32_t step = std::min(area, 32u);
  for (std::uint32_t at = 0; at < area; at += step)
    queue->expect_good("Write", queue->execute(s.write_command(at, Bytes(std::size_t{step} * block))));
  Prng prng(t.settings().seed);
  for (int i = 0; i < 100 && t.ok(); ++i) {
    const auto slba = static_cast<std::uint32_t>(prng.next() % area);
    const auto blocks = static_cast<std::uint32_t>(1 + prng.next() % std::min(area - slba, 16u));
    const Bytes data = pattern(std::size_t{blocks} * block, prng.next());
    std::copy(data.begin(), data.end(),
              model.begin() + static_cast<std::ptrdiff_t>(slba * std::size_t{block}));
    queue->expect_good("Write", queue->execute(s.write_command(slba, data)));
  }
  for (std::uint32_t at = 0; at < area && t.ok(); at += step) {
    const Answer a = queue->execute(s.read_command(at, step));
    if (queue->expect_good("Read", a))
      t.equal_bytes(fmt::format("{} blocks from LBA {}", step, at), a.data,
                    slice(model, std::size_t{at} * block, std::size_t{step} * block));
  }
}

// Many writes under way on two queues, then everything read over the other one.
void parallel(Test& t) {
  Session s(t);
  const auto one = s.io_queue(1), two = s.io_queue(2);
  const std::uint32_t block = s.block_bytes();
  constexpr std::uint32_t count = 20, blocks = 16;
  if (!t.ok()) return;
  if (s.blocks() < 2 * count * blocks) return t.skip("the namespace is too small");
  std::vector<std::uint16_t> first, second;
  const auto data = [&](std::uint32_t i) {
    return pattern(std::size_t{blocks} * block, t.settings().seed + 1000 + i);
  };
  for (std::uint32_t i = 0; i < count; ++i) {
    first.push_back(one->submit(s.write_command(i * blocks, data(i))));
    second.push_back(two->submit(s.write_command((count + i) * blocks, data(count + i))));
  }
  for (const std::uint16_t cid : first) one->expect_good("Write", one->await(cid));
  for (const std::uint16_t cid : second) two->expect_good("Write", two->await(cid));
  for (std::uint32_t i = 0; i < 2 * count && t.ok(); ++i) {
    const auto& queue = i < count ? two : one;
    const Answer a = queue->execute(s.read_command(i * blocks, blocks));
    if (queue->expect_good("Read", a)) t.equal_bytes(fmt::format("write {}", i), a.data, data(i));
  }
}

void over_controllers(Test& t) {
  Session one(t), two(t);
  const auto a = one.io_queue(), b = two.io_queue();
  const Bytes data = pattern(std::size_t{8} * one.block_bytes(), t.settings().seed + 7);
  a->expect_good("Write over one controller", a->execute(one.write_command(24, data)));
  const Answer r = b->execute(two.read_command(24, 8));
  if (b->expect_good("Read over another", r)) t.equal_bytes("content over another controller", r.data, data);
}

void after_reset(Test& t) {
  Session s(t);
  const Bytes data = pattern(std::size_t{8} * s.block_bytes(), t.settings().seed + 8);
  {
    const auto queue = s.io_queue();
    queue->expect_good("Write", queue->execute(s.write_command(24, data)));
  }
  s.admin().expect_good("Property Set of CC without EN", s.property_set(prop::cc, s.enabling_cc() & ~1u));
  s.wait_csts(1, 0);
  s.enable();
  const auto queue = s.io_queue(2);  // a target may need a moment to forget queue 1
  const Answer a = queue->execute(s.read_command(24, 8));
  if (queue->expect_good("Read", a)) t.equal_bytes("content after a reset", a.data, data);
}

// A write whose data never comes whole writes nothing else and keeps nobody waiting.
void broken_write(Test& t) {
  Session s(t);
  const auto good = s.io_queue(1);
  const std::uint32_t block = s.block_bytes();
  const Bytes before = pattern(std::size_t{16} * block, t.settings().seed + 9);
  good->expect_good("Write", good->execute(s.write_command(64, before)));
  {
    const auto broken = s.io_queue(2);
    Command c = s.write_command(68, pattern(std::size_t{4} * block, 1)).cid(0x77);
    const Bytes capsule = broken->capsule(c);
    broken->send(slice(capsule, 0, capsule.size() / 2));
  }
  t.sleep(200ms);
  Session again(t);
  const auto queue = again.io_queue();
  const Answer a = queue->execute(again.read_command(64, 16));
  if (!queue->expect_good("Read", a)) return;
  t.equal_bytes("blocks before the write that broke off", slice(a.data, 0, 4 * block),
                slice(before, 0, 4 * block));
  t.equal_bytes("blocks behind it", slice(a.data, 8 * block, 8 * block), slice(before, 8 * block, 8 * block));
}

}  // namespace

void add_integrity_cases(Cases& to) {
  const auto add = [&](const char* id, const char* title, const char* requirement,
                       std::function<void(Test&)> run) {
    to.push_back({std::string("nvm.integrity.") + id, title, Spec::nvm, "3.2.4, 3.2.6", requirement,
                  Level::mandatory, true, std::move(run)});
  };
  constexpr const char* same = "What was written is read";
  add("sizes", "Sizes up to MDTS", same, [](Test& t) { sizes(t, {}, Session::Carry::naturally); });
  add("sizes-r2t", "Sizes up to MDTS, by R2T only", same,
      [](Test& t) { sizes(t, {}, Session::Carry::by_r2t); });
  add("sizes-digests", "Sizes up to MDTS with digests", same, [](Test& t) {
    SessionOptions o;
    o.ic.dgst = 3;
    sizes(t, o, Session::Carry::naturally);
  });
  add("sizes-no-flow-control", "Sizes up to MDTS without flow control", same, [](Test& t) {
    SessionOptions o;
    o.no_flow_control = true;
    sizes(t, o, Session::Carry::naturally);
  });
  add("random", "Random overlapping writes", "The last write of a block is what is read", random_writes);
  add("parallel", "Writes under way on two queues", "Commands under way do not mix their data", parallel);
  add("controllers", "Over two controllers", "A write that ended is seen over every controller",
      over_controllers);
  add("reset", "After a controller reset", "A reset keeps what was written", after_reset);
  add("broken", "A write that breaks off", "A write whose connection ends touches no block but its own",
      broken_write);
}

}  // namespace holdfast::cli::conformance
