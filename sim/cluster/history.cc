#include "sim/cluster/history.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace holdfast::sim {

namespace {

bool contains(const std::vector<Value>& values, Value v) {
  return std::any_of(values.begin(), values.end(), [&](Value x) { return x == v || x == value_any; });
}

void add_value(std::vector<Value>& to, Value v) {
  if (std::find(to.begin(), to.end(), v) == to.end()) to.push_back(v);
}

// What the words of a stamped block are.
std::uint64_t stamp_word(Value write, std::uint64_t lba, std::size_t index) {
  switch (index % 4) {
    case 0:
      return write;
    case 1:
      return lba;
    case 2:
      return ~write;
    default:
      return index;
  }
}

}  // namespace

std::string to_string(Value v) {
  if (v == value_zeroes) return "zeroes";
  if (v == value_any) return "anything";
  if ((v & value_garbage) != 0) return "garbage";
  return "write " + std::to_string(v);
}

void stamp_block(std::span<std::byte> block, Value write, std::uint64_t lba) {
  for (std::size_t i = 0; i < block.size() / 8; ++i) {
    const std::uint64_t word = write == value_zeroes ? 0 : stamp_word(write, lba, i);
    std::memcpy(block.data() + i * 8, &word, 8);
  }
}

Value read_stamp(std::span<const std::byte> block, std::uint64_t lba) {
  Value write = 0;
  std::memcpy(&write, block.data(), 8);
  bool right = true;
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < block.size() / 8; ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, block.data() + i * 8, 8);
    right = right && word == (write == value_zeroes ? 0 : stamp_word(write, lba, i));
    hash = (hash ^ word) * 0x9e3779b97f4a7c15;
  }
  if (right && (write & value_garbage) == 0) return write;
  return (hash >> 2) | value_garbage;
}

BlockHistory::BlockHistory(std::uint64_t block_count) : blocks_(block_count) {
  for (Block& b : blocks_) {
    b.possible.push_back({value_zeroes, 0});
    b.since_flush.push_back(value_zeroes);
  }
}

void BlockHistory::add(std::vector<Possible>& to, Possible p) {
  for (Possible& there : to) {
    if (there.value != p.value) continue;
    there.latest = std::max(there.latest, p.latest);
    return;
  }
  to.push_back(p);
}

// Writes that failed before this moment are decided: visible now, or never.
void BlockHistory::decide(Block& b, std::uint64_t before) {
  std::erase_if(b.open, [&](const OpenWrite& w) {
    if (w.failed == 0 || w.failed >= before) return false;
    add(b.possible, {w.value, before});
    return true;
  });
}

BlockHistory::Op BlockHistory::begin_write(std::uint64_t first, std::uint64_t count, Value value) {
  const Op op = ++ops_;
  Running& w = writes_[op];
  w.first = first;
  w.count = count;
  w.value = value;
  w.start = moment_++;
  for (std::uint64_t i = first; i < first + count; ++i) {
    blocks_[i].open.push_back({op, value, w.start, 0});
    add_value(blocks_[i].since_flush, value);
    blocks_[i].unflushed = true;
  }
  for (auto& [id, read] : reads_) {
    const std::uint64_t low = std::max(first, read.first);
    const std::uint64_t high = std::min(first + count, read.first + read.count);
    for (std::uint64_t i = low; i < high; ++i) {
      add_value(read.legal[i - read.first], value);
      read.overlapped[i - read.first] = true;
    }
  }
  return op;
}

void BlockHistory::end_write(Op op, bool acknowledged, bool durable) {
  const auto node = writes_.extract(op);
  const Running& w = node.mapped();
  const std::uint64_t now = moment_++;
  for (std::uint64_t i = w.first; i < w.first + w.count; ++i) {
    Block& b = blocks_[i];
    if (!acknowledged) {
      for (OpenWrite& open : b.open) {
        if (open.op == op) open.failed = now;
      }
      continue;
    }
    std::erase_if(b.open, [&](const OpenWrite& open) { return open.op == op; });
    // What took effect before this write began is overwritten, whatever the order of the rest.
    std::erase_if(b.open, [&](const OpenWrite& open) { return open.failed != 0 && open.failed < w.start; });
    std::erase_if(b.possible, [&](const Possible& p) { return p.latest < w.start; });
    add(b.possible, {w.value, now});
    if (w.start > b.dropped) b.dropped = 0;
    // Where nothing overlapped it, it is all that lost power can leave.
    if (!durable || !b.open.empty() || b.possible.size() != 1) continue;
    b.since_flush.assign(1, w.value);
    b.unflushed = false;
    b.dropped = 0;
  }
}

BlockHistory::Op BlockHistory::begin_read(std::uint64_t first, std::uint64_t count) {
  const Op op = ++ops_;
  Running& r = reads_[op];
  r.first = first;
  r.count = count;
  r.start = moment_++;
  r.legal.resize(count);
  r.overlapped.resize(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    const Block& b = blocks_[first + i];
    for (const Possible& p : b.possible) add_value(r.legal[i], p.value);
    for (const OpenWrite& w : b.open) {
      add_value(r.legal[i], w.value);
      if (w.failed == 0) r.overlapped[i] = true;
    }
  }
  return op;
}

std::string BlockHistory::check_block(Running& read, std::uint64_t index, Value value) {
  const std::uint64_t lba = read.first + index;
  if (!contains(read.legal[index], value)) {
    std::string legal;
    for (const Value v : read.legal[index]) legal += (legal.empty() ? "" : ", ") + to_string(v);
    return "block " + std::to_string(lba) + " read as " + to_string(value) + ", legal: " + legal + "\n";
  }
  Block& b = blocks_[lba];
  decide(b, read.start);
  if (read.overlapped[index]) return "";
  // Nobody wrote meanwhile: later reads must agree. A write that began at this very moment is still open.
  b.possible.assign(1, {value, read.start});
  add_value(b.since_flush, value);
  return "";
}

std::string BlockHistory::end_read(Op op, std::span<const Value> values) {
  auto node = reads_.extract(op);
  Running& r = node.mapped();
  HF_ASSERT(values.size() == r.count);
  std::string wrong;
  for (std::uint64_t i = 0; i < r.count; ++i) {
    const std::string text = check_block(r, i, values[i]);
    if (wrong.size() < 2000) wrong += text;
  }
  return wrong;
}

void BlockHistory::fail_read(Op op) { reads_.erase(op); }

std::vector<std::vector<Value>> BlockHistory::end_look(Op op) {
  auto node = reads_.extract(op);
  return std::move(node.mapped().legal);
}

BlockHistory::Op BlockHistory::begin_flush() {
  flushes_[++ops_] = moment_++;
  return ops_;
}

void BlockHistory::end_flush(Op op, bool acknowledged) {
  const std::uint64_t start = flushes_.extract(op).mapped();
  if (!acknowledged) return;
  for (Block& b : blocks_) {
    const bool covered = std::all_of(b.possible.begin(), b.possible.end(),
                                     [&](const Possible& p) { return p.latest < start; });
    if (!covered || b.dropped != 0) continue;
    b.since_flush.clear();
    for (const Possible& p : b.possible) add_value(b.since_flush, p.value);
    for (const OpenWrite& w : b.open) add_value(b.since_flush, w.value);
    b.unflushed = !b.open.empty();
  }
}

void BlockHistory::lose_flush(Op op) {
  flushes_.erase(op);
  const std::uint64_t now = moment_++;
  for (Block& b : blocks_) {
    if (b.unflushed) b.dropped = now;
  }
}

void BlockHistory::lose_unflushed() {
  const std::uint64_t now = moment_++;
  for (Block& b : blocks_) {
    if (!b.unflushed) continue;
    for (const Value v : b.since_flush) add(b.possible, {v, now});
    add(b.possible, {value_any, now});
  }
  for (auto& [id, read] : reads_) {
    for (auto& legal : read.legal) add_value(legal, value_any);
    read.overlapped.assign(read.count, true);
  }
}

bool BlockHistory::may_hold(std::uint64_t block, Value value) const {
  const Block& b = blocks_[block];
  const auto is = [&](const auto& x) { return x.value == value || x.value == value_any; };
  return std::any_of(b.possible.begin(), b.possible.end(), is) ||
         std::any_of(b.open.begin(), b.open.end(), is);
}

bool BlockHistory::in_flight(std::uint64_t block) const {
  const auto& open = blocks_[block].open;
  return std::any_of(open.begin(), open.end(), [](const OpenWrite& w) { return w.failed == 0; });
}

std::string BlockHistory::describe(std::uint64_t block) const {
  std::string text = "possible:";
  for (const Possible& p : blocks_[block].possible) text += " " + to_string(p.value);
  text += "; open:";
  for (const OpenWrite& w : blocks_[block].open) {
    text += " " + to_string(w.value) + (w.failed != 0 ? " (failed)" : " (in flight)");
  }
  return text;
}

}  // namespace holdfast::sim
