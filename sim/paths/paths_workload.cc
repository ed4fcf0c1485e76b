#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "sim/paths/paths.h"

namespace holdfast::sim {
namespace {

constexpr std::uint64_t block_bytes = SharedStore::block_bytes;
// After a failed write, beyond KATO: a stall or a freeze at the target, and the reset of the connection.
constexpr Nanos settle_margin = 4s;

}  // namespace

void PathsRun::start_workload() {
  const unsigned slots = swarm_.tenants * swarm_.slots_per_tenant;
  slots_running_ = slots;
  for (unsigned i = 0; i < slots; ++i) world_.spawn(host_->core(i % swarm_.host_cores), slot(i));
}

Task<void> PathsRun::slot(unsigned index) {
  SimReactor& core = host_->core(index % swarm_.host_cores);
  Channel& channel = *channels_[index % swarm_.host_cores];
  Tenant& tenant = tenants_[index % swarm_.tenants];
  Prng random = world_.fork_random();
  while (left_ > 0 && !over()) {
    --left_;
    if (!co_await operation(core, channel, tenant, random)) {
      ++failed_;
      if (swarm_.long_grace) fail("an operation failed although I/O may wait for ever");
      co_await core.sleep(50ms);
    }
    ++finished_;
    const auto pause = static_cast<std::uint64_t>(swarm_.pause_max.count());
    if (random.chance(1, 2)) co_await core.sleep(Nanos(random.below(pause)));
  }
  --slots_running_;
}

Task<bool> PathsRun::operation(SimReactor& core, Channel& channel, Tenant& tenant, Prng& random) {
  const auto disputed = [&](std::uint64_t first, std::uint64_t count) {
    return std::any_of(tenant.changes.begin(), tenant.changes.end(),
                       [&](const auto& c) { return first < c.first + c.second && c.first < first + count; });
  };
  const bool reads = random.chance(2, 5);
  for (;;) {
    while (core.now() < tenant.quiet_until) co_await core.sleep(tenant.quiet_until - core.now());
    const std::uint64_t count =
        random.between(1, std::min<std::uint64_t>(swarm_.operation_blocks_max, tenant.count));
    const std::uint64_t first = tenant.first + random.between(0, tenant.count - count);
    if (reads) co_return co_await read(channel, first, count);
    // Writes in flight at once do not overlap: no file system does that.
    if (!disputed(first, count))
      co_return co_await change(channel, tenant, first, count, random.chance(1, 8));
    co_await core.sleep(1ms);
  }
}

Task<bool> PathsRun::read(Channel& channel, std::uint64_t first, std::uint64_t count) {
  // What the device leaves untouched must not look like data.
  std::vector<std::byte> bytes(count * block_bytes, std::byte{0xee});
  const IoVec vec{bytes.data(), bytes.size()};
  const auto op = history_.begin_read(first, count);
  const Status s = co_await channel.read(Lba{first}, IoVecs(&vec, 1));
  note(fmt::format("read {}+{}: {}", first, count, s.ok() ? "ok" : s.error().message()));
  if (!s.ok()) {
    history_.fail_read(op);
    co_return false;
  }
  std::vector<Value> values;
  for (std::uint64_t i = 0; i < count; ++i)
    values.push_back(read_stamp(std::span(bytes).subspan(i * block_bytes, block_bytes), first + i));
  const std::string wrong = history_.end_read(op, values);
  if (!wrong.empty()) fail("a read returned what no legal order of the writes allows:\n" + wrong);
  co_return true;
}

Task<bool> PathsRun::change(Channel& channel, Tenant& tenant, std::uint64_t first, std::uint64_t count,
                            bool zeroes) {
  const auto claim = tenant.changes.insert(tenant.changes.end(), {first, count});
  const Value value = zeroes ? value_zeroes : next_value_++;
  std::vector<std::byte> bytes(zeroes ? 0 : count * block_bytes);
  for (std::uint64_t i = 0; !zeroes && i < count; ++i)
    stamp_block(std::span(bytes).subspan(i * block_bytes, block_bytes), value, first + i);
  const IoVec vec{bytes.data(), bytes.size()};
  const auto op = history_.begin_write(first, count, value);
  Status s;
  s.ignore("replaced");
  if (zeroes) {
    const BlockRange range{Lba{first}, count};
    s = co_await channel.write_zeroes(range, Unmap::no, Durable::no);
  } else {
    s = co_await channel.write(Lba{first}, IoVecs(&vec, 1), Durable::no);
  }
  const bool ok = s.ok();
  history_.end_write(op, ok);
  tenant.changes.erase(claim);
  note(fmt::format("{} {} to {}+{}: {}", zeroes ? "zeroes" : "write", value, first, count,
                   ok ? "ok" : s.error().message()));
  if (!ok)
    tenant.quiet_until =
        std::max(tenant.quiet_until, world_.now() + swarm_.config.keep_alive * 2 + settle_margin);
  co_return ok;
}

// What lies there in the end is what the acknowledged writes left.
void PathsRun::check_store() {
  for (std::uint64_t lba = 0; lba < store_.blocks(); ++lba) {
    const Value value = read_stamp(std::span(store_.at(lba), block_bytes), lba);
    if (!history_.may_hold(lba, value)) {
      fail("the store holds what no legal order of the writes allows: " + history_.describe(lba) +
           ", holds " + to_string(value));
      return;
    }
  }
}

}  // namespace holdfast::sim
