#include "uring/direct_receives.h"

#include <poll.h>

#include "uring/uring_stream.h"

namespace holdfast::uring {

bool DirectReceives::try_new(Nanos now) noexcept {
  bool ended = false;
  for (UringStream* stream : new_) {
    stream->looked_at = stream->has_more;
    if (stream->has_more && stream->try_receive()) {
      ended = true;
      continue;
    }
    stream->has_more = false;
    if (count_ == most) {
      stream->start_receive();
      continue;
    }
    stream->receiving_since = now;
    waiting_[count_++] = stream;
  }
  new_.clear();
  return ended;
}

bool DirectReceives::look() noexcept {
  std::array<pollfd, most> wanted;
  for (std::size_t i = 0; i < count_; ++i) wanted[i] = pollfd{waiting_[i]->fd(), POLLIN, 0};
  const bool any = ::poll(wanted.data(), count_, 0) > 0;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    UringStream* stream = waiting_[i];
    const bool first = !stream->looked_at;
    stream->looked_at = true;
    if (any && wanted[i].revents != 0 && stream->try_receive()) {
      stream->has_more = first;
    } else {
      waiting_[kept++] = stream;
    }
  }
  const bool ended = kept < count_;
  count_ = kept;
  return ended;
}

bool DirectReceives::look_and_give_up(Nanos now) noexcept {
  next_look_ = now + look_interval;
  const bool ended = look();
  std::size_t kept = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    UringStream* stream = waiting_[i];
    if (now - stream->receiving_since < patience) {
      waiting_[kept++] = stream;
    } else {
      stream->start_receive();
    }
  }
  count_ = kept;
  return ended;
}

void DirectReceives::give_up() noexcept {
  for (UringStream* stream : new_) stream->start_receive();
  for (std::size_t i = 0; i < count_; ++i) waiting_[i]->start_receive();
  new_.clear();
  count_ = 0;
}

}  // namespace holdfast::uring
