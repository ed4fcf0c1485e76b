#include "block/leaf_device.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/units.h"

namespace holdfast {

namespace {

constexpr std::size_t compare_bytes_max = 128 * KiB;

// Calls visit(part of a vector, offset in the run) for `bytes` bytes of the vectors, `skip` bytes in.
template <class F>
void for_each_part(IoVecs vectors, std::size_t skip, std::size_t bytes, F visit) noexcept {
  std::size_t at = 0;
  for (const IoVec& v : vectors) {
    if (at == bytes) return;
    if (skip >= v.size) {
      skip -= v.size;
      continue;
    }
    const std::size_t n = std::min(v.size - skip, bytes - at);
    visit(v.data + skip, at, n);
    at += n;
    skip = 0;
  }
  HF_ASSERT(at == bytes);
}

}  // namespace

void CoreCounters::add_to(IoStats& sum) const noexcept {
  sum.read_ops += read_ops_.load(std::memory_order_relaxed);
  sum.read_bytes += read_bytes_.load(std::memory_order_relaxed);
  sum.write_ops += write_ops_.load(std::memory_order_relaxed);
  sum.write_bytes += write_bytes_.load(std::memory_order_relaxed);
  sum.unmap_ops += unmap_ops_.load(std::memory_order_relaxed);
  sum.unmapped_bytes += unmapped_bytes_.load(std::memory_order_relaxed);
  sum.errors += errors_.load(std::memory_order_relaxed);
}

IoStats IoCounters::sum() const noexcept {
  IoStats sum;
  for (const auto& c : of_core_) c.add_to(sum);
  return sum;
}

void LeafDevice::set_block_count(std::uint64_t count) noexcept {
  if (count == geometry_.block_count) return;
  geometry_.block_count = count;
  block_count_.store(count, std::memory_order_relaxed);
  raise(DeviceEvent::resized);
}

Status LeafChannel::admit(BlockRange range, Access access) noexcept {
  if (cancelled_) [[unlikely]]
    return Error(Errc::cancelled);
  const std::uint64_t first = to_blocks(range.first);
  const std::uint64_t count = device_.block_count();
  if (first > count || range.count > count - first) [[unlikely]]
    return fail(Error(Errc::out_of_range));
  if (access == Access::write && device_.is_read_only()) [[unlikely]]
    return fail(Error(Errc::read_only));
  return Status();
}

BlockRange LeafChannel::range_of(Lba first, IoVecs vectors) const noexcept {
  const std::uint64_t n = total_bytes(vectors);
  HF_ASSERT(n % device_.block_bytes() == 0);
  return BlockRange{first, n / device_.block_bytes()};
}

Task<Status> LeafChannel::compare(Lba first, IoVecs with) {
  return compare_by_reading(*this, core_, device_.block_bytes(), first, with);
}

ScratchBuffer::ScratchBuffer(Reactor& core, std::size_t bytes) : size_(bytes) {
  if (bytes <= BufferPool::piece_bytes_max) pooled_ = core.buffers().try_acquire(bytes);
  data_ = pooled_ ? pooled_.data()
                  : static_cast<std::byte*>(::operator new(bytes, std::align_val_t(BufferPool::alignment)));
}

ScratchBuffer::~ScratchBuffer() {
  if (!pooled_) ::operator delete(data_, std::align_val_t(BufferPool::alignment));
}

void copy_to_vectors(const std::byte* from, std::size_t bytes, IoVecs to, std::size_t skip) noexcept {
  for_each_part(to, skip, bytes,
                [&](std::byte* part, std::size_t at, std::size_t n) { std::memcpy(part, from + at, n); });
}

void copy_from_vectors(IoVecs from, std::size_t skip, std::byte* to, std::size_t bytes) noexcept {
  for_each_part(from, skip, bytes,
                [&](const std::byte* part, std::size_t at, std::size_t n) { std::memcpy(to + at, part, n); });
}

Task<Status> compare_by_reading(Channel& channel, Reactor& core, std::uint32_t block_bytes, Lba first,
                                IoVecs with) {
  const std::size_t total = total_bytes(with);
  const ScratchBuffer buffer(core, std::min(std::max<std::size_t>(total, block_bytes), compare_bytes_max));
  for (std::size_t at = 0; at < total;) {
    const std::size_t n = std::min(total - at, buffer.size());
    const IoVec into{buffer.data(), n};
    const Lba lba{to_blocks(first) + at / block_bytes};
    HF_CO_CHECK(co_await channel.read(lba, IoVecs(&into, 1)));
    bool same = true;
    for_each_part(with, at, n, [&](const std::byte* part, std::size_t offset, std::size_t bytes) {
      same = same && std::memcmp(part, buffer.data() + offset, bytes) == 0;
    });
    if (!same) co_return Error(Errc::miscompare);
    at += n;
  }
  co_return Status();
}

}  // namespace holdfast
