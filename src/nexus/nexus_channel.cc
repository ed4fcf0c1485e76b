#include "nexus/nexus_channel.h"

#include <algorithm>
#include <cstring>

namespace holdfast::nexus {

Task<Status> NexusChannel::read(Lba first, IoVecs into) { return state_.read(first, into); }

Task<Status> NexusChannel::write(Lba first, IoVecs from, Durable durable) {
  Modify m;
  m.kind = Modify::Kind::write;
  m.span = {to_blocks(first), total_bytes(from) / state_.volume().block_bytes};
  m.data = from;
  m.durable = durable;
  return state_.modify(m);
}

Task<Status> NexusChannel::write_zeroes(BlockRange range, Unmap unmap, Durable durable) {
  Modify m;
  m.kind = Modify::Kind::zeroes;
  m.span = {to_blocks(range.first), range.count};
  m.unmap = unmap;
  m.durable = durable;
  return state_.modify(m);
}

Task<Status> NexusChannel::deallocate(BlockRange range) {
  Modify m;
  m.kind = Modify::Kind::deallocate;
  m.span = {to_blocks(range.first), range.count};
  return state_.modify(m);
}

Task<Status> NexusChannel::flush() { return state_.modify(Modify()); }

Task<Status> NexusChannel::compare(Lba first, IoVecs with) {
  const std::uint32_t block_bytes = state_.volume().block_bytes;
  const std::size_t total = total_bytes(with);
  const std::size_t piece = std::min(total, BufferPool::piece_bytes_max);
  if (total == 0) co_return Status();
  const Buffer buffer = co_await state_.reactor().buffers().acquire(piece);
  std::size_t vector = 0;
  std::size_t offset = 0;  // in with[vector]
  for (std::size_t done = 0; done < total;) {
    const std::size_t size = std::min(piece, total - done);
    const IoVec vec{buffer.data(), size};
    const IoVecs vecs(&vec, 1);
    HF_CO_CHECK(co_await state_.read(Lba{to_blocks(first) + done / block_bytes}, vecs));
    for (std::size_t at = 0; at < size;) {
      const std::size_t same = std::min(size - at, with[vector].size - offset);
      if (std::memcmp(buffer.data() + at, with[vector].data + offset, same) != 0)
        co_return Error(Errc::miscompare);
      at += same;
      offset += same;
      if (offset == with[vector].size) {
        ++vector;
        offset = 0;
      }
    }
    done += size;
  }
  co_return Status();
}

Task<void> NexusChannel::close() { co_return; }

}  // namespace holdfast::nexus
