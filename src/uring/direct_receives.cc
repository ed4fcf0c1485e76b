#include "uring/direct_receives.h"

#include <utility>

#include <poll.h>

#include "uring/uring_stream.h"

namespace holdfast::uring {

bool DirectReceives::try_new(Nanos now) noexcept {
  bool ended = false;
  for (UringStream* stream : new_) {
    const bool tried = stream->has_more;
    if (tried && stream->try_receive()) {
      ended = true;
      continue;
    }
    stream->has_more = false;
    if (count_ == most) {
      stream->start_receive();
    } else {
      waiting_[count_++] = Waiting{stream, now, tried};
    }
  }
  new_.clear();
  return ended;
}

bool DirectReceives::look() noexcept {
  std::array<pollfd, most> wanted;
  for (std::size_t i = 0; i < count_; ++i) wanted[i] = pollfd{waiting_[i].stream->fd(), POLLIN, 0};
  const bool any = ::poll(wanted.data(), count_, 0) > 0;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    Waiting& one = waiting_[i];
    const bool first = !std::exchange(one.looked_at, true);
    if (any && wanted[i].revents != 0 && one.stream->try_receive()) {
      one.stream->has_more = first;
    } else {
      waiting_[kept++] = one;
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
    if (now - waiting_[i].since < patience) {
      waiting_[kept++] = waiting_[i];
    } else {
      waiting_[i].stream->start_receive();
    }
  }
  count_ = kept;
  return ended;
}

void DirectReceives::give_up() noexcept {
  for (UringStream* stream : new_) stream->start_receive();
  for (std::size_t i = 0; i < count_; ++i) waiting_[i].stream->start_receive();
  new_.clear();
  count_ = 0;
}

}  // namespace holdfast::uring
