#include "sim/disk.h"

#include <algorithm>
#include <cerrno>

#include "base/assert.h"
#include "base/units.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::sim {

// An open SimDisk.
class SimFile final : public File {
 public:
  SimFile(SimDisk& disk, SimReactor& reactor, const OpenOptions& options) : disk_(disk), reactor_(reactor) {
    const auto& d = disk.options();
    info_.size_bytes = disk.bytes_.size();
    info_.block_bytes = d.sector_bytes;
    info_.is_block_device = true;
    info_.direct = options.direct;
    info_.read_only = options.read_only;
    info_.can_discard = d.can_discard;
    info_.can_write_zeroes = d.can_write_zeroes;
  }
  ~SimFile() override { HF_ASSERT(closed_ && in_flight_ == 0); }

  const Info& info() const noexcept override { return info_; }
  Task<Status> refresh() override {
    co_await reactor_.yield();
    info_.size_bytes = disk_.bytes_.size();
    co_return Status();
  }
  Task<void> close() override {
    HF_ASSERT(!closed_ && in_flight_ == 0);
    closed_ = true;
    if (disk_.exclusive_file_ == this) {
      disk_.exclusive_file_ = nullptr;
      disk_.exclusive_ = nullptr;
    }
    co_await reactor_.yield();
  }
  void ended() noexcept { --in_flight_; }

 private:
  void start(FileOp& op) noexcept override {
    HF_ASSERT(!closed_ && reactor_.world().current() == &reactor_);
    ++in_flight_;
    disk_.start(op, reactor_);
  }

  SimDisk& disk_;
  SimReactor& reactor_;
  Info info_;
  bool closed_ = false;
  std::size_t in_flight_ = 0;
};

namespace {

constexpr std::size_t versions_kept_max = 4;

bool changes(const FileOp& op) {
  return op.kind == FileOp::Kind::write || op.kind == FileOp::Kind::discard ||
         op.kind == FileOp::Kind::write_zeroes;
}

// Walks the memory of a vector operation piece by piece.
class Cursor {
 public:
  explicit Cursor(IoVecs vectors) : vectors_(vectors) {}
  void read(std::span<std::byte> into) {
    each(into.size(), [&](std::byte* p, std::size_t at, std::size_t n) {
      std::copy_n(p, n, into.begin() + static_cast<std::ptrdiff_t>(at));
    });
  }
  void write(std::span<const std::byte> from) {
    each(from.size(), [&](std::byte* p, std::size_t at, std::size_t n) {
      std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(at), n, p);
    });
  }

 private:
  template <class F>
  void each(std::size_t bytes, F f) {
    for (std::size_t done = 0; done < bytes;) {
      const IoVec& v = vectors_[vector_];
      const std::size_t n = std::min(bytes - done, v.size - offset_);
      if (n > 0) f(v.data + offset_, done, n);
      done += n;
      offset_ += n;
      if (offset_ == v.size) {
        ++vector_;
        offset_ = 0;
      }
    }
  }
  IoVecs vectors_;
  std::size_t vector_ = 0;
  std::size_t offset_ = 0;
};

}  // namespace

SimDisk::SimDisk(World& world, const DiskOptions& options)
    : world_(world), random_(world.fork_random()), options_(options), bytes_(options.size_bytes) {
  HF_ASSERT(is_power_of_two(options.sector_bytes) && options.size_bytes % options.sector_bytes == 0);
}

void SimDisk::resize(std::uint64_t size_bytes) { bytes_.resize(size_bytes); }

void SimDisk::poke(std::uint64_t offset, std::span<const std::byte> from) {
  bytes_.write(offset, from);
  const std::uint64_t last = (offset + from.size() - 1) / options_.sector_bytes;
  for (std::uint64_t s = offset / options_.sector_bytes; s <= last; ++s) undurable_.erase(s);
}

Result<std::unique_ptr<File>> SimDisk::open(SimReactor& reactor, const std::string& path,
                                            const OpenOptions& options) {
  if (faults_.failed) return Error(Errc::io_error, "'" + path + "' does not answer");
  const bool is_taken = exclusive_ != nullptr && !has_paths_;
  if (options.exclusive && is_taken) return Error(Errc::busy, "'" + path + "' is in use");
  auto file = std::make_unique<SimFile>(*this, reactor, options);
  if (options.exclusive) {
    exclusive_ = reactor.node().process();
    exclusive_file_ = file.get();
  }
  return std::unique_ptr<File>(std::move(file));
}

int SimDisk::refusal(const FileOp& op) const noexcept {
  const auto& info = op.file.info();
  if (changes(op) && info.read_only) return EBADF;
  if (op.kind == FileOp::Kind::discard && !options_.can_discard) return EOPNOTSUPP;
  if (op.kind == FileOp::Kind::write_zeroes && !options_.can_write_zeroes) return EOPNOTSUPP;
  if (op.offset % options_.sector_bytes != 0 || op.length % options_.sector_bytes != 0) return EINVAL;
  if (changes(op) && (op.offset > bytes_.size() || op.length > bytes_.size() - op.offset)) return ENOSPC;
  if (info.direct) {
    for (const auto& v : op.vectors) {
      if (reinterpret_cast<std::uintptr_t>(v.data) % options_.sector_bytes != 0) return EINVAL;
      if (v.size % options_.sector_bytes != 0) return EINVAL;
    }
  }
  return 0;
}

Nanos SimDisk::latency(const FileOp& op) {
  Nanos mean = options_.write_latency;
  if (op.kind == FileOp::Kind::read) mean = options_.read_latency;
  if (op.kind == FileOp::Kind::sync || op.durable) mean = options_.sync_latency;
  const auto quarter = static_cast<std::uint64_t>(mean.count()) / 4;
  std::uint64_t ns = random_.between(quarter, 7 * quarter) * std::max(1u, faults_.slowdown);
  if (random_.below(1000) < options_.tail_per_mille) ns *= 20;
  return Nanos(ns);
}

void SimDisk::start(FileOp& op, SimReactor& reactor) {
  if (reactor.dead()) return bury(&op);
  const std::uint64_t id = order_++;
  if (const int err = refusal(op)) {
    ending_[id] = {&op, &reactor};
    op.result = -err;
    world_.after(
        1us,
        [this, id] {
          const auto node = ending_.extract(id);
          static_cast<SimFile&>(node.mapped().first->file).ended();
          node.mapped().second->complete(*node.mapped().first, node.mapped().first->result);
        },
        &reactor);
    return;
  }
  pending_[id] = {&op, &reactor, id};
  world_.after(latency(op), [this, id] { take_effect(id); });
}

void SimDisk::take_effect(std::uint64_t id) {
  const auto found = pending_.find(id);
  if (found == pending_.end()) return;  // its process died
  if (faults_.stalled_until > world_.now()) {
    world_.at(faults_.stalled_until + Nanos(random_.below(1'000'000)), [this, id] { take_effect(id); });
    return;
  }
  const Pending p = found->second;
  pending_.erase(found);
  p.op->result = perform(p);
  if (p.op->result < 0) ++stats_.errors;
  ending_[id] = {p.op, p.reactor};
  // It took effect; that the caller hears of it is another moment.
  const Nanos news(random_.below(20'000));
  world_.after(news, [this, id] {
    const auto node = ending_.extract(id);
    if (node.empty()) return;
    const auto [op, reactor] = node.mapped();
    static_cast<SimFile&>(op->file).ended();
    reactor->complete(*op, op->result);
  });
}

int SimDisk::fault(const FileOp& op) {
  const bool reading = op.kind == FileOp::Kind::read;
  if (faults_.failed) return EIO;
  if (changes(op) && faults_.read_only) return EROFS;
  if (op.kind == FileOp::Kind::sync) return random_.below(1000) < faults_.sync_error_per_mille ? EIO : 0;
  if (changes(op) && op.kind != FileOp::Kind::discard && faults_.out_of_space) return ENOSPC;
  for (const auto& bad : faults_.bad) {
    const bool meant = reading ? bad.reads : bad.writes;
    if (meant && op.offset < bad.offset + bad.length && bad.offset < op.offset + op.length) return EIO;
  }
  const unsigned rate = reading ? faults_.read_error_per_mille : faults_.write_error_per_mille;
  return random_.below(1000) < rate ? EIO : 0;
}

std::int64_t SimDisk::perform(const Pending& p) {
  const FileOp& op = *p.op;
  const bool durable = op.durable || !options_.volatile_cache;
  if (const int err = fault(op)) {
    if (op.kind == FileOp::Kind::sync) leave_out(p.order);
    if (changes(op) && err == EIO && !faults_.failed) change(op, false, [&] { return random_.chance(1, 2); });
    return -err;
  }
  switch (op.kind) {
    case FileOp::Kind::read:
      ++stats_.reads;
      return read(op);
    case FileOp::Kind::sync:
      ++stats_.syncs;
      sync(p.order);
      return 0;
    case FileOp::Kind::write:
      ++stats_.writes;
      break;
    case FileOp::Kind::discard:
      ++stats_.discards;
      break;
    case FileOp::Kind::write_zeroes:
      ++stats_.zeroes;
      break;
  }
  stats_.written_bytes += op.length;
  change(op, durable, [] { return true; });
  return op.kind == FileOp::Kind::write ? static_cast<std::int64_t>(op.length) : 0;
}

std::int64_t SimDisk::read(const FileOp& op) {
  const std::uint64_t there = op.offset < bytes_.size() ? bytes_.size() - op.offset : 0;
  const std::uint64_t n = std::min(op.length, there);
  std::vector<std::byte> data(n);
  bytes_.read(op.offset, data);
  Cursor(op.vectors).write(data);
  return static_cast<std::int64_t>(n);
}

// Applies the operation to those of its sectors that choose() picks.
template <class Choose>
void SimDisk::change(const FileOp& op, bool durable, Choose choose) {
  using Discarded = DiskOptions::Discarded;
  if (op.kind == FileOp::Kind::discard && options_.discarded == Discarded::old) return;
  Cursor from(op.vectors);
  Sector content(options_.sector_bytes);
  for (std::uint64_t at = 0; at < op.length; at += options_.sector_bytes) {
    if (op.kind == FileOp::Kind::write) from.read(content);
    if (op.kind == FileOp::Kind::discard && options_.discarded == Discarded::garbage) garbage(content);
    if (choose()) put_sector((op.offset + at) / options_.sector_bytes, content, durable);
  }
}

void SimDisk::put_sector(std::uint64_t sector, std::span<const std::byte> content, bool durable) {
  const std::uint64_t offset = sector * options_.sector_bytes;
  if (durable) {
    undurable_.erase(sector);
  } else {
    auto& versions = undurable_[sector];
    if (versions.empty()) {
      Sector old(options_.sector_bytes);
      bytes_.read(offset, old);
      versions.push_back({0, std::move(old)});
    }
    if (versions.size() == versions_kept_max) versions.erase(versions.begin() + 1);
    versions.push_back({order_++, Sector(content.begin(), content.end())});
  }
  bytes_.write(offset, content);
}

void SimDisk::sync(std::uint64_t order) {
  for (auto it = undurable_.begin(); it != undurable_.end();) {
    auto& versions = it->second;
    auto keep = versions.begin();  // the newest that the sync covers
    for (auto v = std::next(versions.begin()); v != versions.end(); ++v) {
      if (v->order < order) keep = v;
    }
    versions.erase(versions.begin(), keep);
    it = versions.size() == 1 ? undurable_.erase(it) : std::next(it);
  }
}

// What a sync could not write is out of the cache; only writing it again makes it durable.
void SimDisk::leave_out(std::uint64_t order) {
  for (auto& [sector, versions] : undurable_) {
    for (Version& v : versions) {
      if (v.order != 0 && v.order < order && random_.chance(1, 2)) v.order = left_out;
    }
  }
}

void SimDisk::garbage(std::span<std::byte> into) {
  for (std::byte& b : into) b = static_cast<std::byte>(random_.next());
}

void SimDisk::process_died(const Process& process) {
  if (exclusive_ == &process) {
    exclusive_ = nullptr;
    exclusive_file_ = nullptr;
  }
  const auto mine = [&](const SimReactor* r) { return process.owns(*r); };
  for (auto it = pending_.begin(); it != pending_.end();) {
    if (!mine(it->second.reactor)) {
      ++it;
      continue;
    }
    const FileOp& op = *it->second.op;
    if (changes(op) && !faults_.failed) change(op, false, [&] { return random_.chance(1, 2); });
    bury(it->second.op);
    it = pending_.erase(it);
  }
  for (auto it = ending_.begin(); it != ending_.end();) {
    if (!mine(it->second.second)) {
      ++it;
      continue;
    }
    bury(it->second.first);
    it = ending_.erase(it);
  }
}

void SimDisk::lose_power() {
  Sector content(options_.sector_bytes);
  for (auto& [sector, versions] : undurable_) {
    if (random_.chance(1, 8)) {
      garbage(content);
      const std::size_t cut = random_.below(options_.sector_bytes);
      std::copy_n(versions.back().content.begin(), cut, content.begin());
    } else {
      content = versions[random_.below(versions.size())].content;
    }
    bytes_.write(sector * options_.sector_bytes, content);
  }
  undurable_.clear();
}

}  // namespace holdfast::sim
