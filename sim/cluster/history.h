// BlockHistory: judges whether what reads returned is what some legal order of the writes allows.
//
// Every block of the volume is a register. A write that was acknowledged took effect at one moment between
// its start and its end; one that failed, or never ended, took effect at one moment after its start or never.
// But once an operation on the block that STARTED after the failure has succeeded, the failed write's fate is
// decided: either it is visible by then or it never will be.
//
// For each block it keeps the values that it may hold, with the latest moment at which the write of that
// value may have taken effect, and the writes that are open (in flight, or failed and undecided).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace holdfast::sim {

// What a block holds: zero for zeroes, the number of the write, or (top bit) a hash of bytes nobody wrote.
using Value = std::uint64_t;
inline constexpr Value value_zeroes = 0;
inline constexpr Value value_garbage = std::uint64_t{1} << 63;
// As the value of a write: afterwards the block holds anything (a deallocate, lost power).
inline constexpr Value value_any = ~std::uint64_t{0};

std::string to_string(Value v);

// Fills a block with its write's number and its own; value_zeroes gives zeroes.
void stamp_block(std::span<std::byte> block, Value write, std::uint64_t lba);
// The value of such a block; garbage when any byte is not as stamp_block made it for this lba.
Value read_stamp(std::span<const std::byte> block, std::uint64_t lba);

class BlockHistory {
 public:
  using Op = std::uint64_t;

  explicit BlockHistory(std::uint64_t block_count);

  Op begin_write(std::uint64_t first, std::uint64_t count, Value value);
  void end_write(Op op, bool acknowledged, bool durable = false);
  Op begin_read(std::uint64_t first, std::uint64_t count);
  // Empty when every block's value is legal; else what is wrong.
  std::string end_read(Op op, std::span<const Value> values);
  void fail_read(Op op);
  // Ends a read whose values come later: what each block may be.
  std::vector<std::vector<Value>> end_look(Op op);
  Op begin_flush();
  void end_flush(Op op, bool acknowledged);
  // A flush failed at the only copy: what the cache dropped then no later flush makes durable, only writing it again.
  void lose_flush(Op op);
  // A cache was lost together with what the nexus knew: each block may be back at whatever it may have held
  // since a flush covered it last, or garbage.
  void lose_unflushed();

  // Whether the block may hold the value now.
  bool may_hold(std::uint64_t block, Value value) const;
  // No write of the block is in flight or undecided.
  bool quiet(std::uint64_t block) const { return blocks_[block].open.empty(); }
  bool in_flight(std::uint64_t block) const;
  std::string describe(std::uint64_t block) const;
  std::uint64_t block_count() const noexcept { return blocks_.size(); }

 private:
  struct Possible {
    Value value;
    std::uint64_t latest;  // moment
  };
  struct OpenWrite {
    Op op;
    Value value;
    std::uint64_t start;
    std::uint64_t failed;  // moment; 0 while in flight
  };
  struct Block {
    std::vector<Possible> possible;
    std::vector<OpenWrite> open;
    std::vector<Value> since_flush;  // whatever it may have held since then
    bool unflushed = false;          // something was written since then, perhaps the same again
    std::uint64_t dropped = 0;  // moment: perhaps, by a flush that failed; nothing was written since. 0: no
  };
  // A read, a write or a flush under way.
  struct Running {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
    std::uint64_t start = 0;
    Value value = 0;
    std::vector<std::vector<Value>> legal;  // reads: by block
    std::vector<bool> overlapped;           // reads: a write of the block was open meanwhile
  };

  static void add(std::vector<Possible>& to, Possible p);
  static void decide(Block& b, std::uint64_t before);
  std::string check_block(Running& read, std::uint64_t index, Value value);

  std::vector<Block> blocks_;
  std::map<Op, Running> reads_;
  std::map<Op, Running> writes_;
  std::map<Op, std::uint64_t> flushes_;
  std::uint64_t moment_ = 1;
  Op ops_ = 0;
};

}  // namespace holdfast::sim
