#include "pool/volume_channel.h"

namespace holdfast::pool {

namespace {

Task<Status> refused() { co_return Error(Errc::cancelled); }

}  // namespace

Task<Status> VolumeChannel::read(Lba first, IoVecs into) {
  return cancelled_ ? refused() : core_.read(first, into);
}

Task<Status> VolumeChannel::write(Lba first, IoVecs from, Durable durable) {
  return cancelled_ ? refused() : core_.write(first, from, durable);
}

Task<Status> VolumeChannel::write_zeroes(BlockRange range, Unmap unmap, Durable durable) {
  return cancelled_ ? refused() : core_.write_zeroes(range, unmap, durable);
}

Task<Status> VolumeChannel::deallocate(BlockRange range) {
  return cancelled_ ? refused() : core_.deallocate(range, Durable::no);
}

Task<Status> VolumeChannel::flush() { return cancelled_ ? refused() : core_.flush(); }

Task<Status> VolumeChannel::compare(Lba first, IoVecs with) {
  return cancelled_ ? refused() : core_.compare(first, with, *this);
}

Task<void> VolumeChannel::close() {
  volume_.channel_closed();
  co_return;
}

}  // namespace holdfast::pool
