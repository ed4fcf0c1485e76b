#include "nexus/nexus_channel.h"

#include "block/leaf_device.h"

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

// Without a place in the line for memory: who compares holds some, and could wait for its like for ever.
Task<Status> NexusChannel::compare(Lba first, IoVecs with) {
  return compare_by_reading(*this, state_.reactor(), state_.volume().block_bytes, first, with);
}

Task<void> NexusChannel::close() { co_return; }

}  // namespace holdfast::nexus
